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
}

/// All suites.
pub const ALL: [Suite; 2] = [
    Suite {
        name: "quick",
        about: "the small tasks, which a model of a few million parameters can do",
        tasks: &["recall", "json_kv", "label_map", "copy_table"],
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
            "niah_single_2",
            "niah_single_3",
            "niah_multikey_1",
            "niah_multivalue",
            "niah_multiquery",
            "cwe",
        ],
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
