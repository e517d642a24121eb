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

    /// Model, method and chunk length as such a word.
    pub(super) fn word(&self) -> String {
        let model = self.part.model.name.replace('/', "--");
        format!("{model}__{}", self.method_word())
    }
}

/// Items with an answer.
pub(super) fn answered(method: &MethodResult) -> impl Iterator<Item = &ItemResult> {
    method.items.iter().filter(|item| item.error.is_none())
}
