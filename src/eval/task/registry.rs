//! Every task there is; a new one is a file beside this one and a line below.

use super::Task;
use super::copy_table::CopyTable;
use super::cwe::CommonWords;
use super::fwe::FrequentWords;
use super::json_kv::JsonKv;
use super::json_kv_uuid::JsonKvUuid;
use super::label_map::LabelMap;
use super::vt::VariableTracking;
use super::{
    niah_multikey_1, niah_multikey_2, niah_multikey_3, niah_multiquery, niah_multivalue,
    niah_single_1, niah_single_2, niah_single_3, recall,
};

/// All tasks, in the order in which they are listed.
pub const ALL: [&'static dyn Task; 17] = [
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
];

/// The task of that name.
pub fn find(name: &str) -> Option<&'static dyn Task> {
    ALL.into_iter().find(|task| task.card().name == name)
}
