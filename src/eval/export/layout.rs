//! Every layout there is; a new one is a file beside this one, a variant, and its line below.

use super::{helmet, kvpress, lm_eval};
use crate::eval::results::Results;
use crate::mask::export::ExportFile;

/// Whose files are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// HELMET and LongProc.
    Helmet,
    /// lm-evaluation-harness.
    LmEval,
    /// kvpress.
    KvPress,
}

impl Layout {
    /// All layouts, in the order of the help.
    pub const ALL: [Self; 3] = [Self::Helmet, Self::LmEval, Self::KvPress];

    /// Its word on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Helmet => "helmet",
            Self::LmEval => "lm-eval",
            Self::KvPress => "kvpress",
        }
    }

    /// What it is, in a few words.
    pub fn about(self) -> &'static str {
        match self {
            Self::Helmet => {
                "a JSON file per task, length and seed, with `.score` beside it, in a folder per method"
            }
            Self::LmEval => {
                "results_TIME.json and samples_TASK_TIME.jsonl, in a folder per method; TIME is when results.json was last written"
            }
            Self::KvPress => {
                "a folder per method and length, with predictions.csv, metrics.json and config.yaml"
            }
        }
    }

    /// The files; `written_s` is when the results were written, in seconds since 1970.
    pub fn files(self, results: &Results, written_s: u64) -> Vec<ExportFile> {
        match self {
            Self::Helmet => helmet::files(results),
            Self::LmEval => lm_eval::files(results, written_s),
            Self::KvPress => kvpress::files(results),
        }
    }
}
