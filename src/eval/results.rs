//! What an evaluation found, without its single answers: `results.json`, schema `prulong.results/1`.
//!
//! Plain values that can be read back. The answers themselves are lines of `predictions.jsonl`.
//!
//! **Invariant:** the same settings give the same bytes, but for the `timing` objects.

use super::categories::CategoryResult;
use super::grid::Grid;
use super::haystack::HaystackIdentity;
use super::item_result::{ItemError, ItemResult};
use super::method::{Keeps, MethodKind, Streaming};
use super::metric::registry::Metric;
use super::scoring::Scoring;
use super::summary::Summary;
use super::task::{Card, Category, Needs};
use crate::infer::policy::evicting::{EvictionMethod, Selection};
use crate::infer::policy::snapkv::Smoothing;
use crate::shape::AttentionShape;
use crate::span::StreamingRule;
use std::collections::BTreeSet;

/// Name and version of the format.
pub const SCHEMA: &str = "prulong.results/1";

/// Name of the file inside a run folder.
pub const FILE_NAME: &str = "results.json";

/// Everything about one evaluation.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Results {
    /// [`SCHEMA`].
    pub schema: String,
    /// Where the numbers come from.
    pub provenance: Provenance,
    /// One entry per model and chunk length, in the order in which they ran.
    pub parts: Vec<Part>,
    /// Items without an answer.
    pub failures: Vec<Failure>,
    /// What the reader should know before trusting the numbers.
    pub warnings: Vec<String>,
}

/// Everything needed to run the same evaluation again, besides what its parts say.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Provenance {
    /// Version of this program.
    pub version: String,
    /// Commit it was built from, where the build knew one.
    pub commit: Option<String>,
    /// The words of the command.
    pub command: Vec<String>,
    /// Every setting, as in the run folder's `config.toml`.
    pub config: serde_json::Value,
    /// The places of the items.
    pub grid: Grid,
    /// The text that hides the needles; nothing if no task needs one.
    pub haystack: Option<HaystackIdentity>,
    /// What computed it.
    pub machine: MachineIdentity,
}

/// One model with one chunk length.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Part {
    /// The model.
    pub model: ModelIdentity,
    /// The masks under test, in the order of their methods.
    pub masks: Vec<MaskIdentity>,
    /// How streaming heads stream; nothing if no method has any.
    pub streaming: Option<StreamingIdentity>,
    /// Tokens per prefill chunk.
    pub chunk_len: usize,
    /// One entry per task, in the order asked for.
    pub tasks: Vec<TaskResult>,
    /// Means over the tasks of each category, by method.
    pub categories: Vec<CategoryResult>,
}

/// Every method on one task.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct TaskResult {
    /// The task.
    pub task: TaskInfo,
    /// One entry per method, full attention first.
    pub methods: Vec<MethodResult>,
}

/// What a task is.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct TaskInfo {
    /// Its name.
    pub name: String,
    /// What it asks.
    pub about: String,
    /// What it measures.
    pub category: Category,
    /// The score it is judged by.
    pub metric: Metric,
    /// Other scores that are reported.
    pub also: Vec<Metric>,
    /// Which of the scores of every metric it is judged by.
    pub headline: Scoring,
    /// Expected score of a guess, in [0, 1].
    pub chance: f64,
    /// Whose tasks it is one of.
    #[serde(default = "ours")]
    pub collection: String,
    /// Whether its metric stands in for a judge that has to be paid.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub proxy: bool,
    /// Its items, where they are not those of the grid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own: Option<OwnItems>,
}

/// Items that were read from files.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct OwnItems {
    /// Depths at which they stand, in rising order; none where that is not known.
    pub depths: Vec<f64>,
    /// Names of those that were run.
    pub ids: BTreeSet<String>,
}

/// The collection of tasks that are generated.
fn ours() -> String {
    Needs::Nothing.collection().to_owned()
}

fn aten() -> String {
    "aten".to_owned()
}

/// What computed the numbers.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct MachineIdentity {
    /// Version of libtorch.
    pub libtorch: String,
    /// Dtype of weights, activations and caches.
    pub dtype: String,
    /// Device computed on.
    pub device: String,
    /// Attention kernel.
    pub backend: String,
    /// Library that multiplies matrices: part of the rounding. Empty in results of before there was a choice.
    #[serde(default)]
    pub products: String,
    /// Whose other kernels: libtorch's, before there were others.
    #[serde(default = "aten")]
    pub kernels: String,
    /// Threads of one operator: part of the rounding.
    pub num_threads: usize,
}

/// Which model was evaluated.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ModelIdentity {
    /// Name of the folder; with more of its path only where that takes it to tell it from the other models.
    pub name: String,
    /// SHA-256 of the seven facts that make tensors fit.
    pub arch_sha256: String,
    /// SHA-256 over every layer's key projection, as mask files store it.
    pub weights_sha256: String,
    /// blake3 of `tokenizer.json`.
    pub tokenizer_blake3: String,
    /// How its attention is laid out.
    pub shape: AttentionShape,
}

/// Which mask was evaluated.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
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

/// How streaming heads streamed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct StreamingIdentity {
    /// What a streaming head saw of a chunk.
    pub rule: StreamingRule,
    /// Leading tokens it always saw.
    pub sink_len: usize,
    /// Most recent tokens it saw, the query's own included.
    pub window_len: usize,
}

/// One method on all items of a task.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
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
    pub skipping: Option<serde_json::Value>,
    /// Means.
    pub summary: Summary,
    /// Every answer: not written here.
    #[serde(skip)]
    pub items: Vec<ItemResult>,
}

/// How tokens were ranked and evicted.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct EvictionIdentity {
    /// The method's name.
    pub method: String,
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

/// An item without an answer.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Failure {
    /// Name of the model.
    pub model: String,
    /// Tokens per prefill chunk.
    pub chunk_len: usize,
    /// Name of the task.
    pub task: String,
    /// Name of the method.
    pub method: String,
    /// The item within its task.
    pub id: String,
    /// Why.
    pub error: ItemError,
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
            method: method.name().to_owned(),
            token_sparsity: settings.sparsity.value(),
            observation_len: settings.observation_len,
            patch: settings.patch,
            selection: settings.selection,
            smoothing,
            seed,
        })
    }
}

impl Provenance {
    /// The command as a shell takes it.
    pub fn command_line(&self) -> String {
        shell_line(&self.command)
    }
}

/// Words of a command as a shell takes them.
pub fn shell_line(words: &[String]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./:,+@%".contains(c);
    let quoted = |word: &String| {
        if !word.is_empty() && word.chars().all(plain) {
            word.clone()
        } else {
            format!("'{}'", word.replace('\'', "'\\''"))
        }
    };
    words.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

impl From<&Card> for TaskInfo {
    fn from(card: &Card) -> Self {
        Self {
            name: card.name.to_owned(),
            about: card.about.to_owned(),
            category: card.category,
            metric: card.metric,
            also: card.also.to_vec(),
            headline: card.headline,
            chance: card.chance,
            collection: card.needs.collection().to_owned(),
            proxy: card.proxy,
            own: None,
        }
    }
}

impl TaskInfo {
    /// Every score that is reported, the one it is judged by first.
    pub fn metrics(&self) -> impl Iterator<Item = Metric> {
        std::iter::once(self.metric).chain(self.also.iter().copied())
    }

    /// What the metric it is judged by is called: where that stands in for a judge, it says so.
    pub fn title(&self) -> String {
        let title = self.metric.title();
        if self.proxy {
            format!("{title} (proxy)")
        } else {
            title.to_owned()
        }
    }

    /// How many items it has in this run.
    pub fn num_items(&self, grid: &Grid) -> usize {
        let own = self.own.as_ref();
        own.map_or_else(|| grid.num_items(), |own| own.ids.len())
    }

    /// The depths at which its items stand; none where that is not known.
    pub fn depths<'a>(&'a self, grid: &'a Grid) -> &'a [f64] {
        self.own.as_ref().map_or(&grid.depths, |own| &own.depths)
    }
}

impl From<Streaming> for StreamingIdentity {
    fn from(streaming: Streaming) -> Self {
        Self {
            rule: streaming.rule,
            sink_len: streaming.span.sink_len(),
            window_len: streaming.span.window_len(),
        }
    }
}

impl std::fmt::Display for StreamingIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (rule, sink, window) = (self.rule.name(), self.sink_len, self.window_len);
        write!(f, "{rule} with sink {sink} and window {window}")
    }
}

impl Failure {
    /// The failure of `result`; nothing if it has an answer.
    pub fn of(result: &ItemResult) -> Option<Self> {
        let error = result.error.clone()?;
        Some(Self {
            model: result.model.clone(),
            chunk_len: result.chunk_len,
            task: result.task.clone(),
            method: result.method.clone(),
            id: result.id.clone(),
            error,
        })
    }
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
            here && cell
                .min_needle_distance
                .is_some_and(|distance| distance < window_len)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_can_be_given_to_a_shell() {
        let words = ["prulong", "eval", "it's", "", "a=b,c"].map(str::to_owned);
        assert_eq!(shell_line(&words), "prulong eval 'it'\\''s' '' a=b,c");
    }
}
