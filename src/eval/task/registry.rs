//! Every task there is; a new one is a file beside this one and a line below.

use super::Task;
use super::copy_table::CopyTable;
use super::json_kv::JsonKv;
use super::label_map::LabelMap;
use super::recall;

/// All tasks, in the order in which they are listed.
pub const ALL: [&'static dyn Task; 5] = [
    &recall::IN_CODE,
    &recall::IN_PROSE,
    &JsonKv,
    &LabelMap,
    &CopyTable,
];

/// The task of that name.
pub fn find(name: &str) -> Option<&'static dyn Task> {
    ALL.into_iter().find(|task| task.card().name == name)
}
