//! Runs a checked evaluation: every model, chunk length, task and method in turn.
//!
//! The weights of a model are loaded once, and every method meets the same items.

use super::compute::{self, Compute};
use super::eval_console::Console;
use super::eval_subject::Subject;
use super::eval_tasks::{self, Questions};
use super::{output, run_setup, text_args};
use crate::config::load::{Loaded, values};
use crate::eval::categories::categories;
use crate::eval::ceiling;
use crate::eval::evaluate::Evaluation;
use crate::eval::files::library::Library;
use crate::eval::haystack::{Haystack, HaystackIdentity};
use crate::eval::item_result::Key;
use crate::eval::ledger::Ledger;
use crate::eval::material::Material;
use crate::eval::request::{LeftOut, Request};
use crate::eval::results::{Failure, Part, Provenance, Results, SCHEMA, TaskInfo, TaskResult};
use crate::eval::run_folder::RunFolder;
use crate::fault::AnyFault;
use crate::model::llama::Llama;
use crate::train::signal::Interrupt;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

/// How to run, whatever is asked.
pub(super) struct Conduct<'a> {
    /// Where every answer is kept.
    pub(super) run_dir: Option<&'a Path>,
    /// Whether the first failed item ends the run.
    pub(super) fail_fast: bool,
    /// Items of each task, length and seed, where not all are run.
    pub(super) limit: Option<usize>,
}

/// A run under way.
struct Run<'a> {
    request: &'a Request,
    machine: Compute,
    ledger: Ledger,
    console: Console,
    /// Every item in the order of the plan.
    keys: Vec<Key>,
}

/// Runs everything that `loaded` asks for; `conclude` sees the results before failed items end the command.
///
/// # Errors
/// What does not fit, before anything is written; a signal; items that failed.
pub(super) fn run(
    loaded: &Loaded<Request>,
    conduct: &Conduct<'_>,
    conclude: impl FnOnce(&Results) -> Result<(), AnyFault>,
) -> Result<(), AnyFault> {
    let request = &loaded.config;
    let machine = compute::choose(&request.file.run)?;
    let subjects = Subject::all(request)?;
    // The questions of the first model are made before anything is written: what cannot be asked ends here.
    let ask = |of| ask(request, of, conduct.limit);
    let mut first = subjects.first().map(ask).transpose()?;
    let haystack = first.as_ref().and_then(|(_, haystack)| haystack.clone());
    let items = first.iter().flat_map(|(questions, _)| questions);
    let lens: Vec<usize> = items.flat_map(Questions::lengths).collect();
    let mut provenance = provenance(loaded, &machine, haystack);
    provenance.grid.limit = conduct.limit;
    let questions = first.as_ref().map_or(&[][..], |(questions, _)| questions);
    let facts = facts(&provenance, &subjects, questions);
    let opened = conduct
        .run_dir
        .map(|path| RunFolder::open(path, &loaded.resolved, &facts));
    let (folder, ledger) = match opened.transpose()? {
        Some((folder, ledger)) => (Some(folder), ledger),
        None => (None, Ledger::in_memory()),
    };
    let mut run = Run {
        console: console(request, &subjects, &lens, conduct, folder.as_ref())?,
        request,
        machine,
        ledger,
        keys: Vec::new(),
    };
    run.begin(&provenance);
    let mut parts = Vec::new();
    let mut notes = BTreeSet::new();
    for subject in &subjects {
        let (questions, _) = match first.take() {
            Some(first) => first,
            None => ask(subject)?,
        };
        notes.extend(questions.iter().flat_map(|of| of.set.notes.clone()));
        parts.extend(run.subject(subject, &questions)?);
    }
    run.console.finish();
    run.ledger.settle(&run.keys)?;
    let results = Results {
        schema: SCHEMA.to_owned(),
        warnings: warnings(
            request,
            &subjects,
            &provenance,
            &parts,
            conduct.limit,
            &notes,
        ),
        provenance,
        parts,
        failures: run.ledger.failures().filter_map(Failure::of).collect(),
    };
    if let Some(folder) = &folder {
        let page = folder.write(&results)?;
        output::note(format!("the page of these results: {}", page.display()));
    }
    conclude(&results)?;
    Ok(run.console.verdict()?)
}

/// Every question to `subject`, and the text that hides the answers.
pub(super) fn ask(
    request: &Request,
    subject: &Subject,
    limit: Option<usize>,
) -> Result<(Vec<Questions>, Option<HaystackIdentity>), AnyFault> {
    let haystack = request
        .needs_haystack()
        .then(|| text_args::open(&request.file.text, &subject.tokenizer))
        .transpose()?;
    let haystack: Option<&dyn Haystack> = haystack.as_deref();
    let library = Library::open(&request.file.files)?.for_model(subject.dir())?;
    let material = Material::new(Arc::clone(&subject.tokenizer), haystack)?.with_library(library);
    let questions = eval_tasks::questions(request, &material, limit)?;
    Ok((questions, haystack.map(Haystack::identity)))
}

/// A console for items of these lengths, asked of every model in every way.
fn console(
    request: &Request,
    subjects: &[Subject],
    lens: &[usize],
    conduct: &Conduct<'_>,
    folder: Option<&RunFolder>,
) -> Result<Console, AnyFault> {
    let num_methods: usize = subjects.iter().map(|of| of.methods.len()).sum();
    let num_series = num_methods * request.file.chunk_lens.len();
    // Without a folder nothing would be kept: signals end the process as usual.
    let interrupt = match folder {
        Some(_) => Interrupt::install().map_err(run_setup::signals)?,
        None => Interrupt::detached(),
    };
    let num_items = num_series * lens.len();
    let total_len = num_series * lens.iter().sum::<usize>();
    let mut console = Console::new(num_items, total_len, conduct.fail_fast, interrupt);
    if let Some(folder) = folder {
        console.log_to(folder.log()?);
    }
    Ok(console)
}

impl Run<'_> {
    fn begin(&mut self, provenance: &Provenance) {
        let (version, command) = (&provenance.version, provenance.command_line());
        self.console.log(&format!("prulong {version}: {command}"));
        let machine = &provenance.machine;
        self.console.log(&format!(
            "{} ({}) on {}, attention {} ({}), products {}, kernels {}, {} threads, libtorch {}; {} items are finished already",
            machine.dtype,
            self.machine.dtype_reason,
            machine.device,
            machine.backend,
            self.machine.backend_reason,
            machine.products,
            machine.kernels,
            machine.num_threads,
            machine.libtorch,
            self.ledger.len()
        ));
        for LeftOut { task, reason } in &self.request.left_out {
            output::note(format!("left out: {task}: {reason}"));
        }
    }

    fn subject(
        &mut self,
        subject: &Subject,
        questions: &[Questions],
    ) -> Result<Vec<Part>, AnyFault> {
        let mut llama = subject.load(&self.machine)?;
        let mut parts = Vec::new();
        for chunk_len in &self.request.file.chunk_lens {
            let tasks = questions
                .iter()
                .map(|of| self.task(&mut llama, subject, of, *chunk_len))
                .collect::<Result<Vec<TaskResult>, AnyFault>>()?;
            parts.push(Part {
                model: subject.identity.clone(),
                masks: subject.masks(),
                streaming: subject.streaming,
                chunk_len: *chunk_len,
                categories: categories(&tasks),
                tasks,
            });
        }
        Ok(parts)
    }

    fn task(
        &mut self,
        llama: &mut Llama,
        subject: &Subject,
        questions: &Questions,
        chunk_len: usize,
    ) -> Result<TaskResult, AnyFault> {
        let evaluation = evaluation(self.request, &self.machine, subject, questions, chunk_len);
        self.keys.extend(evaluation.keys());
        Ok(TaskResult {
            task: TaskInfo {
                own: questions.set.own(),
                ..TaskInfo::from(&questions.card)
            },
            methods: evaluation.run(llama, &mut self.ledger, &mut self.console)?,
        })
    }
}

/// One task asked of `subject` in chunks of one length.
pub(super) fn evaluation<'a>(
    request: &Request,
    machine: &Compute,
    subject: &'a Subject,
    questions: &'a Questions,
    chunk_len: usize,
) -> Evaluation<'a> {
    let Questions { card, set } = questions;
    Evaluation {
        model: &subject.identity.name,
        task: card.name,
        items: &set.items,
        num_expected: set.num_expected,
        metrics: card.metrics().collect(),
        reading: card.reading,
        tokenizer: &subject.tokenizer,
        methods: &subject.methods,
        chunk_len,
        query_agnostic: request.file.query_agnostic,
        backend: Arc::clone(&machine.backend),
    }
}

pub(super) fn provenance(
    loaded: &Loaded<Request>,
    machine: &Compute,
    haystack: Option<HaystackIdentity>,
) -> Provenance {
    let words = std::env::args_os().skip(1);
    let words = words.map(|word| word.to_string_lossy().into_owned());
    Provenance {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        commit: option_env!("PRULONG_COMMIT").map(str::to_owned),
        command: std::iter::once("prulong".to_owned()).chain(words).collect(),
        config: values(&loaded.resolved).unwrap_or_default(),
        grid: loaded.config.grid(),
        haystack,
        machine: machine.identity(),
    }
}

/// Everything that decides answers: settings, files by their fingerprints instead of their places, program and machine.
pub(super) fn facts(
    provenance: &Provenance,
    subjects: &[Subject],
    questions: &[Questions],
) -> Value {
    let mut facts = provenance.config.clone();
    let Some(table) = facts.as_object_mut() else {
        return facts;
    };
    for of_place in ["models", "text", "run", "streaming"] {
        table.remove(of_place);
    }
    if let Some(files) = table.get_mut("files").and_then(Value::as_object_mut) {
        for of_place in ["helmet", "longproc", "ruler", "prompts"] {
            files.remove(of_place);
        }
    }
    for of in questions {
        if let Some(fingerprint) = &of.set.fingerprint {
            table.insert(format!("files_of_{}", of.card.name), json!(fingerprint));
        }
    }
    let models = subjects.iter();
    let models: serde_json::Map<String, Value> = models
        .map(|subject| (subject.identity.name.clone(), subject.facts()))
        .collect();
    table.insert("models".to_owned(), Value::Object(models));
    table.insert("text".to_owned(), json!(provenance.haystack));
    table.insert("machine".to_owned(), json!(provenance.machine));
    table.insert("version".to_owned(), json!(provenance.version));
    facts
}

fn warnings(
    request: &Request,
    subjects: &[Subject],
    provenance: &Provenance,
    parts: &[Part],
    limit: Option<usize>,
    notes: &BTreeSet<String>,
) -> Vec<String> {
    let mut warnings: Vec<String> = subjects
        .iter()
        .flat_map(|subject| subject.warnings(request))
        .collect();
    warnings.extend(request.left_out_note());
    warnings.extend(notes.iter().cloned());
    warnings.extend(limit.map(|limit| {
        format!("at most {limit} items of each task, length and seed were run (`--limit`)")
    }));
    let haystack = provenance.haystack.as_ref();
    if haystack.is_some_and(|haystack| !haystack.held_out) {
        warnings.push("the text may have been trained on: its rows name no held-out split".into());
    }
    for part in parts {
        warnings.extend(ceiling::warnings(&part.tasks, &request.file.lengths));
    }
    warnings.dedup();
    warnings
}
