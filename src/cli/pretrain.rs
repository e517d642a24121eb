//! `prulong pretrain`.

use crate::attention::choose::Case;
use crate::checkpoint::identity::Identity;
use crate::checkpoint::store::Loaded as Checkpoint;
use crate::cli::config_args::ConfigArgs;
use crate::cli::pretrain_model::{Start, pretrainer};
use crate::cli::sources::{SourceSpec, open_sources};
use crate::cli::{console::Console, kernels, output, run_setup};
use crate::config::corpus::CorpusSettings;
use crate::config::load::Loaded;
use crate::config::pretrain::{PretrainConfig, PretrainFile};
use crate::data::generate::TokenCorpus;
use crate::data::generate::build::Materials;
use crate::data::generate::corpus::{MemoryCorpus, NaturalText};
use crate::data::generate::mixture::Mixture;
use crate::data::source::select::{Selection, Split};
use crate::data::tokenizer::Tokenizer;
use crate::fault::AnyFault;
use crate::model::config::WeightDtype;
use crate::model::save::SavedModel;
use crate::torch::memory;
use crate::train::error::TrainError;
use crate::train::pretrain_loop::{Batches, Schedule, restore, run as run_stages};
use crate::train::pretrain_step::{Pretrainer, Sample};
use crate::train::run_dir::{CONFIG_NAME, Resume, RunDir};
use crate::train::run_io::{Observer, RunIo};
use crate::train::signal::Interrupt;
use std::path::PathBuf;
use std::sync::Arc;

/// Train a small Llama on text of this machine and generated documents.
///
/// It starts from fresh weights, or from those of another model folder (`init.from`). A run is a list of stages, each with a
/// sequence length, a batch and a mixture of document kinds. It continues where it stopped when the same command is given
/// again; the finished model is written as a Hugging Face folder.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    config: ConfigArgs,

    /// Directory of the run: settings, metrics, checkpoints.
    #[arg(long, value_name = "DIR")]
    run_dir: PathBuf,

    /// Where to continue: `auto`, `never`, or a checkpoint folder.
    #[arg(long, value_name = "WHERE", default_value = "auto")]
    resume: Resume,

    /// Settings that may differ from those of the checkpoint.
    #[arg(long, value_name = "KEY", value_delimiter = ',')]
    allow_config_change: Vec<String>,

    /// Where the model is written at the end; default `RUN/model`.
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
}

/// What to do when memory runs out.
const WAY_OUT: &str =
    "the last checkpoint is intact; make `batch_len` or `seq_len` of this stage smaller";

/// Mixtures of every stage.
struct StageBatches {
    seed: u64,
    stages: Vec<(Mixture, usize, usize)>,
}

impl Batches for StageBatches {
    fn batch(&self, stage: usize, step: u64) -> Result<Vec<Sample>, AnyFault> {
        let (mixture, batch_len, seq_len) = &self.stages[stage];
        let sequences = mixture.batch(self.seed, step, *batch_len, *seq_len)?;
        let sample = |sequence: crate::data::generate::sequence::Sequence| Sample {
            ids: sequence.ids.into_iter().map(i64::from).collect(),
            weights: sequence.weights,
        };
        Ok(sequences.into_iter().map(sample).collect())
    }
}

/// Runs all stages and writes the model.
///
/// # Errors
/// Wrong settings, missing text, failures of storage; 75 after a signal, with a checkpoint saved.
pub fn run(args: Args) -> Result<(), AnyFault> {
    let loaded = args.config.load::<PretrainFile>()?;
    let (run, request) = (&loaded.config.run, loaded.config.model.dtype);
    let device = run_setup::device(run.device)?;
    run_setup::keep_freed_memory(device);
    run_setup::arithmetic(device, run.threads, run.products)?;
    let (loaded, dtype) =
        run_setup::settle_dtype::<PretrainFile>(&args.config.config, loaded, request, device)?;
    let config = &loaded.config;
    let kind = dtype.dtype.kind();
    let kernels = kernels::choose(config.run.kernels, device, kind)?;
    let tokenizer = Arc::new(Tokenizer::from_file(&config.tokenizer)?);
    let start_model = Start::open(config, &tokenizer)?;
    let batches = batches(config, &tokenizer)?;
    let dir = RunDir::open(&args.run_dir)?;
    let interrupt = Interrupt::install().map_err(run_setup::signals)?;
    let store = dir.store()?;
    let identity = identity(&loaded, &start_model, &tokenizer);
    let checkpoint = dir.resume(&store, &args.resume, &identity, &args.allow_config_change)?;
    dir.record(CONFIG_NAME, &loaded.resolved)?;
    let (mut pretrainer, attention) = pretrainer(config, start_model, Case { device, kind })?;
    let mut console = Console::new();
    console.log_to(dir.log()?);
    console.note(&format!("computes in {dtype}"));
    console.note(&kernels.phrase());
    console.note(&attention);
    let start = resume(&mut pretrainer, checkpoint.as_ref(), &mut console)?;
    let settings = (identity, config.checkpoint.clone());
    let mut io = RunIo::open(dir, store, interrupt, settings, checkpoint.as_ref())?;
    let schedule = Schedule {
        stages: &config.stages,
        log_every: config.run.log_every,
    };
    let exhausted = |detail| TrainError::OutOfMemory {
        detail,
        way_out: WAY_OUT,
    };
    memory::guard(exhausted, || {
        run_stages(
            &mut pretrainer,
            schedule,
            &batches,
            (&mut io, start),
            &mut console,
        )
    })?;
    let output = args.output.unwrap_or_else(|| io.dir.path().join("model"));
    let model = pretrainer.model();
    let saved = SavedModel {
        config: model.config(),
        tensors: model.named_tensors().into_iter().collect(),
        dtype: WeightDtype::Bf16,
        companions: vec![config.tokenizer.clone()],
    };
    saved.write(&output)?;
    output::line(format!("model written to {}", output.display()))?;
    Ok(())
}

fn resume(
    pretrainer: &mut Pretrainer,
    checkpoint: Option<&Checkpoint>,
    console: &mut Console,
) -> Result<u64, AnyFault> {
    let Some(checkpoint) = checkpoint else {
        return Ok(0);
    };
    for warning in &checkpoint.warnings {
        console.note(&warning.to_string());
    }
    restore(pretrainer, checkpoint)?;
    console.note(&format!("continuing after step {}", checkpoint.step));
    Ok(checkpoint.step)
}

/// What must not change between interruption and resumption: everything but device, logging and checkpoint cadence.
fn identity(loaded: &Loaded<PretrainConfig>, start: &Start, tokenizer: &Tokenizer) -> Identity {
    let settings = run_setup::deciding_settings(&loaded.resolved);
    Identity::new(&settings, start.fingerprint(), tokenizer.fingerprint())
}

fn batches(config: &PretrainConfig, tokenizer: &Arc<Tokenizer>) -> Result<StageBatches, AnyFault> {
    let text = config
        .corpus
        .as_ref()
        .map(|corpus| natural_text(corpus, tokenizer))
        .transpose()?;
    let materials = Materials::new(tokenizer.clone(), text)?;
    let stages = config.stages.iter().map(|stage| {
        Ok((
            materials.mixture(&stage.mix)?,
            stage.batch_len,
            stage.seq_len,
        ))
    });
    Ok(StageBatches {
        seed: config.seed,
        stages: stages.collect::<Result<_, AnyFault>>()?,
    })
}

/// The training side of the corpus, tokenized.
fn natural_text(corpus: &CorpusSettings, tokenizer: &Tokenizer) -> Result<NaturalText, AnyFault> {
    let specs: Vec<SourceSpec> = corpus.sources.iter().map(SourceSpec::from).collect();
    let selection = Selection {
        split: Split::Train,
        held_out_share: corpus.held_out,
        max_bytes: Some(corpus.max_bytes),
        seed: corpus.seed,
    };
    let found = MemoryCorpus::build(&open_sources(&specs)?, &selection, tokenizer)?;
    output::note(format!(
        "corpus: {} documents, {} bytes, {} tokens, blake3 {}",
        found.num_documents(),
        found.num_bytes(),
        found.num_tokens(),
        found.fingerprint()
    ));
    Ok(NaturalText::new(Arc::new(found), tokenizer)?)
}
