//! Results as they are stored and printed, as far as tables need them.

use super::TableError;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};

/// Everything in `benches/results/` that tables show, the last run of each case on each kind of machine.
#[derive(Debug, Default)]
pub(crate) struct Stored {
    /// Training steps.
    pub(crate) steps: Vec<Found<Step>>,
    /// Answered prompts.
    pub(crate) prompts: Vec<Found<Prompt>>,
    /// Attention alone, a backend's case each.
    pub(crate) attention: Vec<Found<Timed>>,
    /// Kernels alone, and libtorch's operators in their place.
    pub(crate) kernels: Vec<Found<Kernel>>,
}

/// A result and where it comes from.
#[derive(Debug)]
pub(crate) struct Found<T> {
    /// Instruction set.
    pub(crate) machine: String,
    /// Beginning of the commit's name, with `+` where something was not committed.
    pub(crate) commit: String,
    /// The result.
    pub(crate) result: T,
}

/// One appended run of a file.
#[derive(Debug, Deserialize)]
struct Run<T> {
    commit: String,
    is_clean: bool,
    device: String,
    results: Vec<T>,
}

/// The peer's time over ours.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct Ratio {
    pub(crate) median: f64,
    pub(crate) p10: f64,
    pub(crate) p90: f64,
    pub(crate) n: u64,
}

impl Ratio {
    /// Of samples that were taken one after the other on each side: the median of their quotients, the lowest and the highest.
    pub(crate) fn of(peer: &[f64], ours: &[f64]) -> Option<Self> {
        let mut ratios: Vec<f64> = peer
            .iter()
            .zip(ours)
            .map(|(peer, ours)| peer / ours)
            .collect();
        ratios.sort_by(f64::total_cmp);
        Some(Self {
            median: *ratios.get(ratios.len() / 2)?,
            p10: *ratios.first()?,
            p90: *ratios.last()?,
            n: u64::try_from(ratios.len()).ok()?,
        })
    }

    /// `1.99 [1.95, 2.02]`, or the number alone where it is one sample.
    pub(crate) fn text(&self) -> String {
        if self.n < 2 {
            format!("{:.2}", self.median)
        } else {
            format!("{:.2} [{:.2}, {:.2}]", self.median, self.p10, self.p90)
        }
    }
}

/// A training step beside a peer's.
#[derive(Debug, Deserialize)]
pub(crate) struct Step {
    pub(crate) case: StepCase,
    pub(crate) peer: StepPeer,
    pub(crate) ratio_cpu: Ratio,
    pub(crate) error_to_peer: StepError,
    pub(crate) peak_rss_bytes: u64,
    pub(crate) peer_peak_rss_bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct StepCase {
    pub(crate) shape: String,
    pub(crate) num_tokens: u64,
    pub(crate) num_heads: u64,
    pub(crate) num_kv_heads: u64,
    pub(crate) dtype: String,
    pub(crate) sink: u64,
    pub(crate) window: u64,
    pub(crate) block: u64,
    pub(crate) saving: String,
    pub(crate) threads: u64,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct StepPeer {
    pub(crate) backend: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct StepError {
    pub(crate) loss_abs: f64,
    pub(crate) dz_rel: Option<f64>,
}

/// A prompt answered beside a peer.
#[derive(Debug, Deserialize)]
pub(crate) struct Prompt {
    pub(crate) case: PromptCase,
    pub(crate) rule: Option<String>,
    pub(crate) chunk_len: u64,
    pub(crate) peer: PromptPeer,
    pub(crate) prefill_ratio_cpu: Ratio,
    pub(crate) decode_ratio_cpu: Ratio,
    pub(crate) agreement: Option<Agreement>,
    pub(crate) kv_bytes: u64,
    pub(crate) peer_kv_bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct PromptCase {
    pub(crate) shape: String,
    pub(crate) method: String,
    pub(crate) num_tokens: u64,
    pub(crate) num_new_tokens: u64,
    pub(crate) dtype: String,
    pub(crate) sink: Option<u64>,
    pub(crate) window: Option<u64>,
    pub(crate) streaming_heads: Option<f64>,
    pub(crate) threads: u64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct PromptPeer {
    pub(crate) backend: String,
    pub(crate) rule: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Agreement {
    pub(crate) logits_rel: f64,
    pub(crate) tokens_same: u64,
}

/// A line of `cargo bench --bench engine`.
#[derive(Debug, Deserialize)]
pub(crate) struct Case {
    pub(crate) case: String,
    pub(crate) samples_ms: Vec<f64>,
    pub(crate) cpu_ms: Vec<f64>,
    pub(crate) threads: u64,
    pub(crate) tokens_per_s: f64,
    pub(crate) peak_rss_bytes: Option<u64>,
    pub(crate) roofline_share: Option<f64>,
    pub(crate) span: Option<[u64; 3]>,
    pub(crate) device: Option<String>,
}

/// Such a line of one solver of an attention alone, `attention/HEAD_DIM/TOKENS/GATES/SOLVER`.
#[derive(Debug, Deserialize)]
pub(crate) struct Timed {
    pub(crate) case: String,
    pub(crate) cpu_ms: Vec<f64>,
    pub(crate) threads: u64,
}

/// Such a line of a kernel alone, `kernel/NAME/ROWSxNUMBERS`, or of its twin, `kernel/NAME/ROWSxNUMBERS/aten`.
#[derive(Debug, Deserialize)]
pub(crate) struct Kernel {
    pub(crate) case: String,
    pub(crate) samples_ms: Vec<f64>,
    pub(crate) gb_per_s: f64,
    pub(crate) roofline_share: f64,
}

/// The files of `folder` that tables show, in the order of their names.
///
/// # Errors
/// A folder or file that cannot be read, or holds something else.
pub(crate) fn load(folder: &Path) -> Result<Stored, TableError> {
    let entries = std::fs::read_dir(folder).map_err(|error| TableError::io(folder, error))?;
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|end| end == "json"))
        .collect();
    paths.sort();
    let mut stored = Stored::default();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("step-cpu-") {
            let is_same = |a: &Step, b: &Step| a.case == b.case && a.peer == b.peer;
            keep_last(read(&path)?, &mut stored.steps, is_same);
        } else if name.starts_with("infer-cpu-") {
            let is_same = |a: &Prompt, b: &Prompt| a.case == b.case && a.chunk_len == b.chunk_len;
            keep_last(read(&path)?, &mut stored.prompts, is_same);
        } else if name.starts_with("attention-cpu-") {
            let is_same = |a: &Timed, b: &Timed| a.case == b.case && a.threads == b.threads;
            keep_last(read(&path)?, &mut stored.attention, is_same);
        } else if name.starts_with("kernels-") {
            let is_same = |a: &Kernel, b: &Kernel| a.case == b.case;
            keep_last(read(&path)?, &mut stored.kernels, is_same);
        }
    }
    Ok(stored)
}

/// The lines of a file that `make bench` wrote.
///
/// # Errors
/// A file that cannot be read or holds something else.
pub(crate) fn cases(path: &Path) -> Result<Vec<Case>, TableError> {
    let text = std::fs::read_to_string(path).map_err(|error| TableError::io(path, error))?;
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    lines.map(|line| TableError::parse(path, line)).collect()
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Vec<Run<T>>, TableError> {
    let text = std::fs::read_to_string(path).map_err(|error| TableError::io(path, error))?;
    TableError::parse(path, &text)
}

/// Adds the results of `runs`; a later one of the same case replaces an earlier one in its place.
fn keep_last<T>(runs: Vec<Run<T>>, kept: &mut Vec<Found<T>>, is_same: impl Fn(&T, &T) -> bool) {
    for run in runs {
        let machine = run.device.rsplit(", ").next().unwrap_or_default();
        let changed = if run.is_clean { "" } else { "+" };
        let commit = format!(
            "{}{changed}",
            &run.commit.chars().take(7).collect::<String>()
        );
        for result in run.results {
            let found = Found {
                machine: machine.to_owned(),
                commit: commit.clone(),
                result,
            };
            let earlier = kept.iter_mut().find(|earlier| {
                earlier.machine == found.machine && is_same(&earlier.result, &found.result)
            });
            match earlier {
                Some(earlier) => *earlier = found,
                None => kept.push(found),
            }
        }
    }
}
