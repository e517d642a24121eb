//! Means over the tasks of a category, by method; said to be partial where tasks or items are missing.

use super::results::{TaskInfo, TaskResult};
use super::summary::{Summary, mean};
use super::task::registry;
use super::task::{Category, Task};
use std::collections::BTreeSet;

/// One method on the tasks of one category.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct CategoryResult {
    /// What the tasks measure.
    pub category: Category,
    /// Whose tasks they are.
    pub collection: String,
    /// The method's unique name.
    pub method: String,
    /// Unweighted mean over the tasks of the score each is judged by.
    pub mean: f64,
    /// Names of the tasks in that mean.
    pub tasks: Vec<String>,
    /// Tasks of the category there are in all.
    pub num_tasks: usize,
    /// Whether tasks or items are missing: such a mean compares methods of this run, and nothing else.
    pub partial: bool,
}

/// The means of every category of a collection that `tasks` touch, and of every method that answered anything there.
pub fn categories(tasks: &[TaskResult]) -> Vec<CategoryResult> {
    let group = |of: &TaskResult| (of.task.collection.clone(), of.task.category);
    let touched: BTreeSet<(String, Category)> = tasks.iter().map(group).collect();
    let names = tasks.first().map_or(&[][..], |of| &of.methods);
    let mut results = Vec::new();
    for touched in touched {
        let of_category: Vec<&TaskResult> =
            tasks.iter().filter(|of| group(of) == touched).collect();
        results.extend(
            names
                .iter()
                .filter_map(|method| one(&touched, &method.name, &of_category)),
        );
    }
    results
}

/// The mean of `method` over the tasks of which it answered anything; nothing if there are none.
fn one<'a>(
    (collection, category): &(String, Category),
    method: &str,
    tasks: &[&'a TaskResult],
) -> Option<CategoryResult> {
    let answered = |task: &&'a TaskResult| {
        let TaskInfo {
            metric, headline, ..
        } = task.task;
        let mut methods = task.methods.iter();
        let summary = &methods.find(|of| of.name == method)?.summary;
        Some((*task, summary, summary.overall(metric, headline)?.mean))
    };
    let found: Vec<(&TaskResult, &Summary, f64)> = tasks.iter().filter_map(answered).collect();
    if found.is_empty() {
        return None;
    }
    let is_whole = |(_, summary, _): &(&TaskResult, &Summary, f64)| summary.is_complete();
    let cards = registry::all().map(Task::card);
    let num_tasks = cards
        .filter(|card| card.category == *category && card.needs.collection() == collection)
        .count();
    let names = found.iter().map(|(task, ..)| task.task.name.clone());
    Some(CategoryResult {
        category: *category,
        collection: collection.clone(),
        method: method.to_owned(),
        mean: mean(found.iter().map(|(_, _, mean)| *mean)),
        tasks: names.collect(),
        num_tasks,
        partial: found.len() < num_tasks || !found.iter().all(is_whole),
    })
}
