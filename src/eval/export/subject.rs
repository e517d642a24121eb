//! One model with one method and chunk length: what other harnesses call a run.

use crate::eval::item_result::ItemResult;
use crate::eval::results::{MethodResult, Part, Results, TaskInfo};

/// One model with one method and chunk length.
pub(super) struct Subject<'a> {
    /// The model with its settings.
    pub(super) part: &'a Part,
    /// Name of the method.
    pub(super) method: &'a str,
    /// Its answers to every task.
    pub(super) tasks: Vec<(&'a TaskInfo, &'a MethodResult)>,
}

/// Every one of a run, by part and method.
pub(super) fn subjects(results: &Results) -> Vec<Subject<'_>> {
    let mut subjects = Vec::new();
    for part in &results.parts {
        let methods = part.tasks.first().map_or(&[][..], |task| &task.methods);
        for method in methods {
            let of_task = part.tasks.iter().filter_map(|task| {
                let mut methods = task.methods.iter();
                let same = methods.find(|other| other.name == method.name)?;
                Some((&task.task, same))
            });
            subjects.push(Subject {
                part,
                method: &method.name,
                tasks: of_task.collect(),
            });
        }
    }
    subjects
}

impl Subject<'_> {
    /// Method and chunk length as a word that may be part of a file's name on every system.
    pub(super) fn method_word(&self) -> String {
        let method = self.method.replace([':', '='], "-");
        format!("{method}-chunk{}", self.part.chunk_len)
    }

    /// The model's name as such a word, but for its other letters.
    pub(super) fn model_word(&self) -> String {
        self.part.model.name.replace('/', "--")
    }

    /// Model, method and chunk length as such a word.
    pub(super) fn word(&self) -> String {
        format!("{}__{}", self.model_word(), self.method_word())
    }
}

/// The most tokens that any of `items` could have written; nothing of none.
pub(super) fn max_output<'a>(items: impl IntoIterator<Item = &'a ItemResult>) -> Option<usize> {
    items.into_iter().map(|item| item.tokens.max_output).max()
}

/// Items with an answer.
pub(super) fn answered(method: &MethodResult) -> impl Iterator<Item = &ItemResult> {
    method.items.iter().filter(|item| item.error.is_none())
}
