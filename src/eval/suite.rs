//! Named lists of tasks.

/// A named list of tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Suite {
    /// Its name on the command line and in files.
    pub name: &'static str,
    /// What it is for, in one sentence without a period.
    pub about: &'static str,
    /// Names of its tasks.
    pub tasks: &'static [&'static str],
    /// Whether tasks are left out, and named, where files of the user's are not there.
    pub found_only: bool,
}

/// All suites.
pub const ALL: [Suite; 4] = [
    Suite {
        name: "quick",
        about: "the small tasks, which a model of a few million parameters can do",
        tasks: &["recall", "json_kv", "label_map", "copy_table"],
        found_only: false,
    },
    Suite {
        name: "offline",
        about: "the tasks of published long-context evaluations that are generated on this machine, stand-ins included",
        tasks: &[
            "json_kv_uuid",
            "niah_single_1",
            "niah_multikey_2",
            "niah_multikey_3",
            "vt",
            "fwe",
            "path_traversal",
            "tom_tracking",
            "countdown",
            "niah_single_2",
            "niah_single_3",
            "niah_multikey_1",
            "niah_multivalue",
            "niah_multiquery",
            "cwe",
        ],
        found_only: false,
    },
    Suite {
        name: "helmet",
        about: "the paper's 21 data sets, those whose files are found in the folders of HELMET and LongProc",
        tasks: &[
            "helmet_niah_mk_2",
            "helmet_niah_mk_3",
            "helmet_niah_mv",
            "helmet_json_kv",
            "kilt_nq",
            "kilt_triviaqa",
            "kilt_hotpotqa",
            "kilt_popqa_3",
            "msmarco_rerank_psg",
            "icl_trec_coarse",
            "icl_trec_fine",
            "icl_banking77",
            "icl_clinic150",
            "icl_nlu",
            "narrativeqa",
            "infbench_qa_eng",
            "infbench_choice_eng",
            "infbench_sum_eng",
            "multi_lexsum",
            "html_to_tsv_0.5k",
            "html_to_tsv_2k",
            "html_to_tsv_8k",
            "travel_planning_2k",
        ],
        found_only: true,
    },
    Suite {
        name: "ruler",
        about: "RULER's thirteen tasks, those whose files are found",
        tasks: &[
            "ruler_niah_single_1",
            "ruler_niah_single_2",
            "ruler_niah_single_3",
            "ruler_niah_multikey_1",
            "ruler_niah_multikey_2",
            "ruler_niah_multikey_3",
            "ruler_niah_multivalue",
            "ruler_niah_multiquery",
            "ruler_vt",
            "ruler_cwe",
            "ruler_fwe",
            "ruler_qa_1",
            "ruler_qa_2",
        ],
        found_only: true,
    },
];

/// The suite of that name.
pub fn find(name: &str) -> Option<Suite> {
    ALL.into_iter().find(|suite| suite.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::task::registry;
    use std::collections::BTreeSet;

    #[test]
    fn suites_hold_tasks_that_there_are_none_twice() {
        for suite in ALL {
            assert_eq!(find(suite.name), Some(suite));
            let distinct: BTreeSet<&str> = suite.tasks.iter().copied().collect();
            assert_eq!(distinct.len(), suite.tasks.len());
            for name in suite.tasks {
                assert!(registry::find(name).is_some(), "{name}");
            }
        }
        assert!(find("slow").is_none());
    }
}
