//! Every task there is; a new generated one is a file beside this one and a line below, a data set one in
//! `eval::dataset`.

use super::Task;
use super::copy_table::CopyTable;
use super::countdown::Countdown;
use super::cwe::CommonWords;
use super::fwe::FrequentWords;
use super::json_kv::JsonKv;
use super::json_kv_uuid::JsonKvUuid;
use super::label_map::LabelMap;
use super::path_traversal::PathTraversal;
use super::tom_tracking::TomTracking;
use super::vt::VariableTracking;
use super::{
    niah_multikey_1, niah_multikey_2, niah_multikey_3, niah_multiquery, niah_multivalue,
    niah_single_1, niah_single_2, niah_single_3, recall,
};
use crate::eval::dataset;

/// All tasks that make their prompts, in the order in which they are listed.
pub const GENERATED: [&'static dyn Task; 20] = [
    &recall::IN_CODE,
    &recall::IN_PROSE,
    &JsonKv,
    &LabelMap,
    &CopyTable,
    &niah_single_1::TASK,
    &niah_single_2::TASK,
    &niah_single_3::TASK,
    &niah_multikey_1::TASK,
    &niah_multikey_2::TASK,
    &niah_multikey_3::TASK,
    &niah_multivalue::TASK,
    &niah_multiquery::TASK,
    &VariableTracking,
    &CommonWords,
    &FrequentWords,
    &JsonKvUuid,
    &PathTraversal,
    &TomTracking,
    &Countdown,
];

/// All tasks, generated ones first.
pub fn all() -> impl Iterator<Item = &'static dyn Task> {
    let sets = dataset::registry::all();
    GENERATED
        .into_iter()
        .chain(sets.map(|set| set as &dyn Task))
}

/// The task of that name.
pub fn find(name: &str) -> Option<&'static dyn Task> {
    all().find(|task| task.card().name == name)
}
