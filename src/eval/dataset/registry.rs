//! Every data set there is; a new one is a file beside this one and a line below.

use super::longproc::{countdown, html_to_tsv, path_traversal, tom_tracking, travel_planning};
use super::task::FileTask;
use super::{
    helmet_json_kv, helmet_niah, icl, infbench, kilt, msmarco, multi_lexsum, narrativeqa, ruler,
};
use std::sync::LazyLock;

/// The paper's 21 data sets by category, one of them at three lengths.
static HELMET: [FileTask; 23] = [
    FileTask(&helmet_niah::MK_2),
    FileTask(&helmet_niah::MK_3),
    FileTask(&helmet_niah::MV),
    FileTask(&helmet_json_kv::HelmetJsonKv),
    FileTask(&kilt::NQ),
    FileTask(&kilt::TRIVIAQA),
    FileTask(&kilt::HOTPOTQA),
    FileTask(&kilt::POPQA),
    FileTask(&msmarco::MsMarco),
    FileTask(&icl::TREC_COARSE),
    FileTask(&icl::TREC_FINE),
    FileTask(&icl::BANKING77),
    FileTask(&icl::CLINIC150),
    FileTask(&icl::NLU),
    FileTask(&narrativeqa::NarrativeQa),
    FileTask(&infbench::QA),
    FileTask(&infbench::CHOICE),
    FileTask(&infbench::SUM),
    FileTask(&multi_lexsum::MultiLexSum),
    FileTask(&html_to_tsv::SHORT),
    FileTask(&html_to_tsv::MIDDLE),
    FileTask(&html_to_tsv::LONG),
    FileTask(&travel_planning::MIDDLE),
];

/// LongProc's other ones.
static LONGPROC: [FileTask; 10] = [
    FileTask(&path_traversal::SHORT),
    FileTask(&path_traversal::MIDDLE),
    FileTask(&path_traversal::LONG),
    FileTask(&tom_tracking::SHORT),
    FileTask(&tom_tracking::MIDDLE),
    FileTask(&tom_tracking::LONG),
    FileTask(&countdown::SHORT),
    FileTask(&countdown::MIDDLE),
    FileTask(&countdown::LONG),
    FileTask(&travel_planning::LONG),
];

static RULER: LazyLock<Vec<FileTask>> =
    LazyLock::new(|| ruler::ALL.iter().map(|set| FileTask(set)).collect());

/// The data set of the task `name`.
pub fn find(name: &str) -> Option<&'static FileTask> {
    all().find(|set| set.0.card().name == name)
}

/// Every data set.
pub fn all() -> impl Iterator<Item = &'static FileTask> {
    HELMET.iter().chain(&LONGPROC).chain(RULER.iter())
}
