//! Means over the tasks of a category, by method; said to be partial where tasks or items are missing.

use super::results::{MethodResult, TaskInfo, TaskResult};
use super::summary::mean;
use super::task::Category;
use super::task::registry::ALL;
use std::collections::BTreeSet;

/// One method on the tasks of one category.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct CategoryResult {
    /// What the tasks measure.
    pub category: Category,
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

/// The means of every category that `tasks` touch, and of every method.
pub fn categories(tasks: &[TaskResult]) -> Vec<CategoryResult> {
    let touched: BTreeSet<Category> = tasks.iter().map(|of| of.task.category).collect();
    let names = tasks.first().map_or(&[][..], |of| &of.methods);
    let mut results = Vec::new();
    for category in touched {
        let of_category: Vec<&TaskResult> = tasks
            .iter()
            .filter(|of| of.task.category == category)
            .collect();
        results.extend(
            names
                .iter()
                .map(|method| one(category, &method.name, &of_category)),
        );
    }
    results
}

fn one<'a>(category: Category, method: &str, tasks: &[&'a TaskResult]) -> CategoryResult {
    let with_method = |task: &&'a TaskResult| {
        let mut methods = task.methods.iter();
        Some((*task, methods.find(|of| of.name == method)?))
    };
    let found: Vec<(&TaskResult, &MethodResult)> = tasks.iter().filter_map(with_method).collect();
    let means = found.iter().map(|(task, method)| {
        let TaskInfo {
            metric, headline, ..
        } = task.task;
        let score = method.summary.overall(metric, headline);
        score.map_or(0.0, |score| score.mean)
    });
    let whole = |(_, method): &(&TaskResult, &MethodResult)| method.summary.is_complete();
    let num_tasks = ALL
        .iter()
        .filter(|task| task.card().category == category)
        .count();
    CategoryResult {
        category,
        method: method.to_owned(),
        mean: mean(means),
        tasks: found
            .iter()
            .map(|(task, _)| task.task.name.clone())
            .collect(),
        num_tasks,
        partial: found.len() < num_tasks || !found.iter().all(whole),
    }
}
