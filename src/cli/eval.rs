//! `prulong eval`.

use super::amounts::parse_share;
use super::compute::{Compute, ComputeArgs};
use super::eval_methods::MethodArgs;
use super::eval_tasks::{self, Questions};
use super::output::{self, Output};
use super::text_args::TextArgs;
use crate::data::tokenizer::Tokenizer;
use crate::eval::brief;
use crate::eval::ceiling;
use crate::eval::error::EvalError;
use crate::eval::evaluate::Evaluation;
use crate::eval::haystack::Haystack;
use crate::eval::mask_file;
use crate::eval::material::Material;
use crate::eval::method::{self, Method};
use crate::eval::plan::Plan;
use crate::eval::results::{
    MachineIdentity, ModelIdentity, Provenance, Results, SCHEMA, Settings, TaskResult,
};
use crate::eval::table;
use crate::eval::task::{Needs, Task};
use crate::fault::AnyFault;
use crate::model::config::ModelConfig;
use crate::model::fingerprint::arch_facts;
use crate::model::llama::Llama;
use crate::model::weights::Weights;
use crate::torch::device;
use crate::torch::{abi, threads};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Measure what a mask costs in answers and saves in memory.
///
/// Makes prompts that fill a length and have a known answer, and runs the model on them with real caches per kv head:
/// chunked prefill, greedy decoding. Full attention is always part of the run. What is printed about memory is counted
/// from the caches and checked against the closed formula.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Folder of the model: config.json, safetensors, tokenizer.json.
    #[arg(long, value_name = "DIR", required_unless_present = "list")]
    model: Option<PathBuf>,

    /// What to ask; several tasks are separated by commas.
    #[arg(long = "task", value_name = "TASK", value_parser = eval_tasks::parser(), value_delimiter = ',', default_value = "recall")]
    tasks: Vec<&'static dyn Task>,

    /// List all tasks with what they measure, how they are scored and what they need, and do nothing else.
    #[arg(long)]
    list: bool,

    /// Lengths of prompt and answer together, in tokens.
    #[arg(
        long,
        value_name = "TOKENS",
        value_delimiter = ',',
        default_value = "512,1024"
    )]
    lengths: Vec<usize>,

    /// Number of depths at which the answer stands: the middles of that many equal parts of the text.
    #[arg(long, value_name = "N", default_value_t = 5)]
    depths: usize,

    /// Items per length and depth.
    #[arg(long, value_name = "N", default_value_t = 4)]
    items: usize,

    /// Tokens per prefill chunk.
    #[arg(long, value_name = "TOKENS", default_value_t = 256)]
    chunk: usize,

    #[command(flatten)]
    methods: MethodArgs,

    #[command(flatten)]
    text: TextArgs,

    /// Names every random choice: same seed, same items.
    #[arg(long, default_value_t = 0)]
    seed: u64,

    #[command(flatten)]
    compute: ComputeArgs,

    #[command(flatten)]
    report: ReportArgs,

    /// Exit with 1 if the score of any task, by the metric it is judged by, is below this share: the lowest score of a
    /// mask if there is one, else of full attention.
    #[arg(long, value_name = "SHARE", value_parser = parse_share)]
    fail_under: Option<f64>,
}

/// Where results go.
#[derive(clap::Args, Debug)]
struct ReportArgs {
    /// Print one row per method, without depths, formulas and times.
    #[arg(long, conflicts_with = "json")]
    brief: bool,

    /// Print the results, or the list, as JSON instead of a table.
    #[arg(long)]
    json: bool,

    /// File to write the results to, with one record per item.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Replace the output file if it exists.
    #[arg(long, requires = "output")]
    force: bool,
}

/// A model on its machine.
struct Subject {
    llama: Llama,
    tokenizer: Arc<Tokenizer>,
    identity: ModelIdentity,
}

/// Evaluates, prints the results, and judges them where asked to.
///
/// # Errors
/// If the model, the text or a setting is unusable, or with `--fail-under` if the score is not reached.
#[expect(
    clippy::needless_pass_by_value,
    reason = "a subcommand owns its arguments"
)]
pub fn run(args: Args) -> Result<(), AnyFault> {
    let model = match &args.model {
        Some(model) if !args.list => model,
        _ => return eval_tasks::list(args.report.json),
    };
    check(&args)?;
    let machine = args.compute.choose()?;
    let config = ModelConfig::load(model)?;
    let weights_sha256 = Weights::open(model, &config)?.base_sha256(&config)?;
    let masks = args.methods.masks(&config, &weights_sha256)?;
    let method_plan = args.methods.plan(&masks, args.seed)?;
    let methods = method_plan.methods(&config.shape)?;
    methods
        .iter()
        .try_for_each(|method| method.check(args.chunk))?;
    let plan = plan(&args);
    plan.check(config.max_position_embeddings)?;
    let mut subject = Subject::load(model, weights_sha256, &machine)?;
    let haystack = haystack(&args, &subject.tokenizer)?;
    let material = Material::new(Arc::clone(&subject.tokenizer), haystack.as_deref())?;
    let questions = eval_tasks::questions(&args.tasks, &plan, &material)?;
    let tasks = evaluate(&args, &machine, &mut subject, &methods, questions)?;
    let haystack = haystack.map(|haystack| haystack.identity());
    let mut warnings = mask_file::warnings(&masks);
    if haystack.as_ref().is_some_and(|haystack| !haystack.held_out) {
        warnings.push("the text may have been trained on: its rows name no held-out split".into());
    }
    warnings.extend(method::warnings(&methods, &plan.lengths, args.chunk));
    warnings.extend(ceiling::warnings(&tasks, &plan.lengths));
    let results = Results {
        schema: SCHEMA,
        provenance: Provenance {
            version: env!("CARGO_PKG_VERSION"),
            settings: settings(&args, &plan),
            streaming: method_plan.streaming,
            model: subject.identity,
            masks: masks.into_iter().map(|mask| mask.identity).collect(),
            haystack,
            machine: machine_identity(&machine),
            warnings,
        },
        tasks,
    };
    if let Some(path) = &args.report.output {
        results.write(path)?;
    }
    print(&args, &results)?;
    eval_tasks::judge(args.fail_under, &results.tasks)?;
    Ok(())
}

fn check(args: &Args) -> Result<(), EvalError> {
    let counts = [
        ("--depths", args.depths),
        ("--items", args.items),
        ("--chunk", args.chunk),
    ];
    if let Some((setting, _)) = counts.into_iter().find(|(_, count)| *count == 0) {
        return Err(EvalError::Zero { setting });
    }
    args.report
        .output
        .as_deref()
        .map_or(Ok(()), |path| check_output(path, args.report.force))
}

/// Finds out before anything runs whether the results will have a place.
fn check_output(path: &Path, force: bool) -> Result<(), EvalError> {
    let folder = path.parent().filter(|of| !of.as_os_str().is_empty());
    let problem = if path.is_dir() {
        Some("it is a folder")
    } else if folder.is_some_and(|folder| !folder.is_dir()) {
        Some("its folder does not exist")
    } else {
        None
    };
    let path = path.to_path_buf();
    match problem {
        Some(problem) => Err(EvalError::NoFile { path, problem }),
        None if path.exists() && !force => Err(EvalError::Exists { path }),
        None => Ok(()),
    }
}

impl Subject {
    fn load(dir: &Path, weights_sha256: String, machine: &Compute) -> Result<Self, AnyFault> {
        let tokenizer = Tokenizer::from_file(dir)?;
        let llama = Llama::load(dir, machine.dtype.kind(), machine.device)?;
        tokenizer.check_embedding_rows(llama.config().vocab_size)?;
        Ok(Self {
            identity: ModelIdentity {
                name: name_of(dir),
                arch_sha256: arch_facts(llama.config()).fingerprint(),
                weights_sha256,
                tokenizer_blake3: tokenizer.fingerprint().to_owned(),
            },
            tokenizer: Arc::new(tokenizer),
            llama,
        })
    }
}

/// What was asked for; a length named twice is used once.
fn plan(args: &Args) -> Plan {
    let mut lengths = Vec::new();
    for &length in &args.lengths {
        if !lengths.contains(&length) {
            lengths.push(length);
        }
    }
    Plan {
        seed: args.seed,
        lengths,
        num_depths: args.depths,
        items_per_cell: args.items,
    }
}

/// Opens the text to hide needles in if any task needs it.
fn haystack(
    args: &Args,
    tokenizer: &Arc<Tokenizer>,
) -> Result<Option<Box<dyn Haystack>>, AnyFault> {
    let needs = |task: &&dyn Task| task.card().needs == Needs::Haystack;
    let needed = args.tasks.iter().any(needs);
    needed.then(|| args.text.open(tokenizer)).transpose()
}

fn evaluate(
    args: &Args,
    machine: &Compute,
    subject: &mut Subject,
    methods: &[Method],
    questions: Vec<Questions>,
) -> Result<Vec<TaskResult>, AnyFault> {
    let num_items: usize = questions.iter().map(|of| of.items.len()).sum();
    let bar = ProgressBar::with_draw_target(
        Some((methods.len() * num_items) as u64),
        ProgressDrawTarget::stderr(),
    );
    if let Ok(style) = ProgressStyle::with_template("{msg:>28} {bar:30} {pos}/{len} {eta}") {
        bar.set_style(style);
    }
    let mut one = |Questions { card, items }| {
        let evaluation = Evaluation {
            items: &items,
            metrics: card.metrics().collect(),
            reading: card.reading,
            tokenizer: &subject.tokenizer,
            methods,
            chunk_len: args.chunk,
            backend: Arc::clone(&machine.backend),
        };
        let methods = evaluation.run(&mut subject.llama, &mut |method, _| {
            bar.set_message(format!("{} {}", card.name, method.name));
            bar.inc(1);
        })?;
        Ok(TaskResult {
            task: card,
            methods,
        })
    };
    let results = questions.into_iter().map(&mut one).collect();
    bar.finish_and_clear();
    results
}

fn settings(args: &Args, plan: &Plan) -> Settings {
    Settings {
        seed: plan.seed,
        lengths: plan.lengths.clone(),
        depths: plan.depths(),
        items_per_cell: plan.items_per_cell,
        chunk_len: args.chunk,
    }
}

fn machine_identity(machine: &Compute) -> MachineIdentity {
    MachineIdentity {
        libtorch: abi::release(abi::loaded_version()),
        dtype: machine.dtype.name().to_owned(),
        device: device::name(machine.device),
        backend: machine.backend.name(),
        num_threads: threads::threads(),
    }
}

fn print(args: &Args, results: &Results) -> Result<(), AnyFault> {
    if args.report.json {
        output::json(results)?;
        return Ok(());
    }
    let mut out = Output::stdout();
    let lines = if args.report.brief {
        brief::lines(results)
    } else {
        table::lines(results)
    };
    for line in lines {
        out.line(line)?;
    }
    out.finish()?;
    Ok(())
}

/// The last component of a path, as results name things: where it lay is nobody's business.
fn name_of(path: &Path) -> String {
    let whole = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let name = whole.file_name().unwrap_or(whole.as_os_str());
    name.to_string_lossy().into_owned()
}
