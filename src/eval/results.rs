//! What an evaluation writes down: `prulong.eval/3`.
//!
//! **Invariant:** the same settings give the same bytes, but for the `timing` objects.

use super::error::EvalError;
use super::haystack::HaystackIdentity;
use super::method::{Keeps, MethodKind, Streaming};
use super::metric::registry::Scores;
use super::scoring::ScorePair;
use super::summary::Summary;
use super::task::Card;
use crate::footprint::predict::Prediction;
use crate::infer::decode::Finish;
use crate::infer::policy::evicting::{EvictionMethod, Selection};
use crate::infer::policy::skipping::SkippingMethod;
use crate::infer::policy::snapkv::Smoothing;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Name and version of the format.
pub const SCHEMA: &str = "prulong.eval/3";

/// Everything about one evaluation.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Results {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// Where the numbers come from.
    pub provenance: Provenance,
    /// One entry per task, in the order asked for.
    pub tasks: Vec<TaskResult>,
}

/// Every method on one task.
#[derive(Debug, Clone, serde::Serialize)]
pub struct TaskResult {
    /// The task.
    pub task: Card,
    /// One entry per method, full attention first.
    pub methods: Vec<MethodResult>,
}

/// Everything needed to run the same evaluation again.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Provenance {
    /// Version of this program.
    pub version: &'static str,
    /// What was asked.
    pub settings: Settings,
    /// Sink, window and rule of streaming heads; nothing if no method streams.
    pub streaming: Option<Streaming>,
    /// The model.
    pub model: ModelIdentity,
    /// The masks under test, in the order of their methods.
    pub masks: Vec<MaskIdentity>,
    /// The text that hides the needles; nothing if no task needs one.
    pub haystack: Option<HaystackIdentity>,
    /// What computed it.
    pub machine: MachineIdentity,
    /// What the reader should know before trusting the numbers.
    pub warnings: Vec<String>,
}

/// What was asked.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Settings {
    /// Names every random choice.
    pub seed: u64,
    /// Prompt and answer together, in tokens.
    pub lengths: Vec<usize>,
    /// Places of the depth grid, in [0, 1].
    pub depths: Vec<f64>,
    /// Items per length and depth.
    pub items_per_cell: usize,
    /// Tokens per prefill chunk.
    pub chunk_len: usize,
}

/// What computed the numbers.
#[derive(Debug, Clone, serde::Serialize)]
pub struct MachineIdentity {
    /// Version of libtorch.
    pub libtorch: String,
    /// Dtype of weights, activations and caches.
    pub dtype: String,
    /// Device computed on.
    pub device: String,
    /// Attention kernel.
    pub backend: &'static str,
    /// Threads of one operator: part of the rounding.
    pub num_threads: usize,
}

/// Which model was evaluated.
#[derive(Debug, Clone, serde::Serialize)]
pub struct ModelIdentity {
    /// Name of the folder, without its path.
    pub name: String,
    /// SHA-256 of the seven facts that make tensors fit.
    pub arch_sha256: String,
    /// SHA-256 over every layer's key projection, as mask files store it.
    pub weights_sha256: String,
    /// blake3 of `tokenizer.json`.
    pub tokenizer_blake3: String,
}

/// Which mask was evaluated.
#[derive(Debug, Clone, serde::Serialize)]
pub struct MaskIdentity {
    /// Folder and name of the file; more folders only where that takes them to tell it from the other masks.
    pub name: String,
    /// blake3 of the file.
    pub blake3: String,
    /// Retrieval heads.
    pub num_retrieval: usize,
    /// Streaming heads.
    pub num_streaming: usize,
    /// Share of streaming heads, in [0, 1].
    pub sparsity: f64,
}

/// One method on all items.
#[derive(Debug, Clone, serde::Serialize)]
pub struct MethodResult {
    /// Its kind.
    pub kind: MethodKind,
    /// Its unique name.
    pub name: String,
    /// The mask in checkpoint order, one text per layer, 1 = retrieval; nothing for full attention.
    pub retrieval_mask: Option<Vec<String>>,
    /// The method and its settings, where tokens are ranked and evicted.
    pub eviction: Option<EvictionIdentity>,
    /// The method and its settings, where queries of the prompt attend to a part of what is kept.
    pub skipping: Option<SkippingMethod>,
    /// Means.
    pub summary: Summary,
    /// Every item.
    pub items: Vec<ItemResult>,
}

/// How tokens were ranked and evicted.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub struct EvictionIdentity {
    /// The method's name.
    pub method: &'static str,
    /// Share of a chunk's entries evicted.
    pub token_sparsity: f64,
    /// Trailing tokens of each call that are kept and observe.
    pub observation_len: usize,
    /// Whether the prompt's end was appended to every chunk but the last.
    pub patch: bool,
    /// Who chose. Where heads chose for themselves, `formula` is what they would hold if they had agreed.
    pub selection: Selection,
    /// How scores were smoothed, where they were.
    pub smoothing: Option<Smoothing>,
    /// What names the draw of random tokens.
    pub seed: Option<u64>,
}

impl EvictionIdentity {
    /// The identity of a method that evicts ranked tokens.
    pub fn of(keeps: &Keeps) -> Option<Self> {
        let Keeps::Ranked(policy) = keeps else {
            return None;
        };
        let (method, settings) = (policy.method(), policy.settings());
        let (smoothing, seed) = match method {
            EvictionMethod::SnapKv(smoothing) | EvictionMethod::PyramidKv(smoothing) => {
                (Some(smoothing), None)
            }
            EvictionMethod::KeyNorm => (None, None),
            EvictionMethod::RandomTokens { seed } => (None, Some(seed)),
        };
        Some(Self {
            method: method.name(),
            token_sparsity: settings.sparsity.value(),
            observation_len: settings.observation_len,
            patch: settings.patch,
            selection: settings.selection,
            smoothing,
            seed,
        })
    }
}

/// One answer.
#[derive(Debug, Clone, serde::Serialize)]
pub struct ItemResult {
    /// Length asked for, in tokens.
    pub length: usize,
    /// Place in the depth grid.
    pub depth_index: usize,
    /// Place within the cell.
    pub index: usize,
    /// Where the needle really stands, in [0, 1].
    pub depth: f64,
    /// Tokens from the last one of what the answer is read from to the prompt's last one.
    pub needle_distance: usize,
    /// Prompt tokens.
    pub prompt_len: usize,
    /// blake3 of the prompt's token ids, 8 bytes each, little-endian.
    pub prompt_blake3: String,
    /// Right answer, token ids.
    pub answer: Vec<i64>,
    /// Answer given, token ids.
    pub output: Vec<i64>,
    /// Why decoding ended.
    pub finish: Finish,
    /// Both scores by every metric of the task, each in [0, 1].
    pub scores: Scores<ScorePair>,
    /// Keys and values.
    pub kv: KvCounts,
    /// Wall times.
    pub timing: Timing,
}

/// What an answer cost in keys and values.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub struct KvCounts {
    /// Counted from the caches.
    pub counted: Prediction,
    /// What the closed formula says.
    pub formula: Prediction,
    /// Attended (query, key) pairs as a share of all causal ones.
    pub compute_share: f64,
    /// Entries held at the peak, in bytes.
    pub peak_bytes: u64,
    /// Memory of the caches at its largest, in bytes.
    pub allocated_bytes: u64,
    /// Entries kept at the end, in bytes.
    pub stored_bytes: u64,
}

/// Wall times of one answer, or their means.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub struct Timing {
    /// Prompt pass.
    pub prefill_ms: f64,
    /// Decoding, all tokens.
    pub decode_ms: f64,
}

impl MethodResult {
    /// Retrieval heads of its mask; nothing for full attention.
    pub fn num_retrieval(&self) -> Option<usize> {
        let layers = self.retrieval_mask.as_ref()?.iter();
        Some(layers.map(|layer| layer.matches('1').count()).sum())
    }
}

impl TaskResult {
    /// Whether a needle of this length and depth stands among the last `window_len` tokens, as the question ends.
    pub fn is_in_window(&self, window_len: usize, length: usize, depth_index: usize) -> bool {
        let cells = self
            .methods
            .first()
            .map(|method| method.summary.cells.as_slice());
        cells.unwrap_or_default().iter().any(|cell| {
            let here = cell.length == length && cell.depth_index == depth_index;
            here && cell.min_needle_distance < window_len
        })
    }
}

impl Results {
    /// Writes indented JSON to `path`, replacing the file at once or not at all.
    ///
    /// # Errors
    /// [`EvalError::Write`] with the path.
    pub fn write(&self, path: &Path) -> Result<(), EvalError> {
        let failed = |source| EvalError::Write {
            path: path.to_path_buf(),
            source,
        };
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        // Temporary files are private by default; this one gets what the umask leaves.
        let mode = std::fs::Permissions::from_mode(0o666);
        let mut file = tempfile::Builder::new()
            .permissions(mode)
            .tempfile_in(folder)
            .map_err(failed)?;
        serde_json::to_writer_pretty(&mut file, self).map_err(|error| failed(error.into()))?;
        file.as_file().sync_all().map_err(failed)?;
        file.persist(path).map_err(|error| failed(error.error))?;
        Ok(())
    }
}
