//! `prulong eval --dry-run`: the same checks and the same prompts as a run, no weights, nothing written.

use super::compute;
use super::eval_run::{Conduct, ask, evaluation, facts, provenance};
use super::eval_subject::Subject;
use crate::config::load::Loaded;
use crate::eval::forecast::{CacheSize, Forecast, PartForecast};
use crate::eval::ledger::Ledger;
use crate::eval::request::Request;
use crate::eval::run_folder::RunFolder;
use crate::fault::AnyFault;
use std::collections::BTreeSet;

/// What [`super::eval_run::run`] would do.
///
/// # Errors
/// What it would refuse before it runs anything.
pub(super) fn forecast(
    loaded: &Loaded<Request>,
    conduct: &Conduct<'_>,
) -> Result<Forecast, AnyFault> {
    let request = &loaded.config;
    let machine = compute::choose(&request.file.run)?;
    let subjects = Subject::all(request)?;
    let mut ledger = Ledger::in_memory();
    let mut parts = Vec::new();
    let mut notes = BTreeSet::new();
    for (index, subject) in subjects.iter().enumerate() {
        let (questions, haystack) = ask(request, subject, conduct.limit)?;
        notes.extend(questions.iter().flat_map(|of| of.set.notes.clone()));
        if let (0, Some(path)) = (index, conduct.run_dir) {
            let facts = facts(
                &provenance(loaded, &machine, haystack),
                &subjects,
                &questions,
            );
            ledger = RunFolder::peek(path, &facts)?;
        }
        let size = CacheSize {
            shape: subject.shape,
            number_bytes: machine.dtype.size_bytes(),
        };
        for chunk_len in &request.file.chunk_lens {
            let tasks = questions.iter().map(|of| {
                evaluation(request, &machine, subject, of, *chunk_len).forecast(&size, &ledger)
            });
            parts.push(PartForecast {
                model: subject.identity.clone(),
                masks: subject.masks(),
                streaming: subject.streaming,
                chunk_len: *chunk_len,
                tasks: tasks.collect::<Result<_, _>>()?,
            });
        }
    }
    let warnings = subjects
        .iter()
        .flat_map(|subject| subject.warnings(request));
    let warnings = warnings.chain(request.left_out_note()).chain(notes);
    Ok(Forecast::new(parts, warnings.collect()))
}
