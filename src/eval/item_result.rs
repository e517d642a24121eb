//! One answer as it is written down: a line of `predictions.jsonl`, schema `prulong.prediction/1`.
//!
//! **Invariant:** the same settings give the same bytes, but for `timing`.

use super::gold::Gold;
use super::item::Origin;
use super::metric::registry::Scores;
use super::scoring::ScorePair;
use crate::fault::{AnyFault, Coded};
use crate::footprint::predict::Prediction;

/// Name and version of the format of one line.
pub const SCHEMA: &str = "prulong.prediction/1";

/// One answer.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ItemResult {
    /// [`SCHEMA`].
    pub schema: String,
    /// Name of the model.
    pub model: String,
    /// Tokens per prefill chunk.
    pub chunk_len: usize,
    /// Name of the task.
    pub task: String,
    /// Name of the method.
    pub method: String,
    /// The item within its task: names length, depth, index and seed.
    pub id: String,
    /// Length asked for, in tokens.
    pub length_target: usize,
    /// Place in the depth grid.
    pub depth_index: usize,
    /// Where the needle really stands, in [0, 1], where there is one.
    pub depth: Option<f64>,
    /// Tokens from the last one of what the answer is read from to the prompt's last one, where it is known.
    pub needle_distance: Option<usize>,
    /// Pairs, lines, sentences or steps that the context is made of, where it is made of such.
    pub num_units: Option<usize>,
    /// Seed of the item.
    pub seed: u64,
    /// Where it was read, where it was not generated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// Name of the mask file in use; nothing for other methods and random masks.
    pub mask: Option<String>,
    /// Whether the method compressed the context before it saw the question.
    pub query_agnostic: bool,
    /// blake3 of the prompt's token ids, 8 bytes each, little-endian.
    pub prompt_hash: String,
    /// Sizes.
    pub tokens: TokenCounts,
    /// What was asked, without the context.
    pub question: String,
    /// Last words of the prompt, where they begin the answer that is scored as text.
    pub cue: String,
    /// Answer given; empty if there was none.
    pub output: String,
    /// The part of cue and output that was read as the answer.
    pub parsed: String,
    /// Answer given, token ids, without the one that ended it.
    pub output_ids: Vec<i64>,
    /// Right answer.
    pub gold: Gold,
    /// A right answer, token ids.
    pub gold_ids: Vec<i64>,
    /// Why decoding ended.
    pub finish: Finish,
    /// Why there is no answer.
    pub error: Option<ItemError>,
    /// Both scores by every metric of the task, each in [0, 1]; none where there is no answer.
    pub scores: Scores<ScorePair>,
    /// Keys and values; nothing where there is no answer.
    pub kv: Option<KvCounts>,
    /// Attention kernel.
    pub backend: String,
    /// Wall times.
    pub timing: Timing,
}

/// Which answer of a run this is; no two are the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
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
}

/// Tokens of one item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct TokenCounts {
    /// Prompt, begin token included.
    pub prompt: usize,
    /// The prompt's context: its long part.
    pub context: usize,
    /// The prompt's question.
    pub question: usize,
    /// The prompt's last words, where they begin the answer.
    pub cue: usize,
    /// Output, the token that ended it included.
    pub output: usize,
    /// The most that the output could have been.
    pub max_output: usize,
}

/// Why decoding ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Finish {
    /// A stop token of the model came.
    Eos,
    /// A line end came, and the item ends at one.
    Newline,
    /// The limit of new tokens was reached.
    Length,
    /// It failed.
    Error,
}

/// Why an item has no answer.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ItemError {
    /// The error's stable code.
    pub code: String,
    /// What happened, causes included.
    pub message: String,
}

/// What an answer cost in keys and values.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
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

/// Wall times of one answer.
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Serialize, serde::Deserialize)]
pub struct Timing {
    /// Prompt pass.
    pub prefill_ms: f64,
    /// Decoding, all tokens.
    pub decode_ms: f64,
}

impl ItemResult {
    /// Which answer of a run this is.
    pub fn key(&self) -> Key {
        Key {
            model: self.model.clone(),
            chunk_len: self.chunk_len,
            task: self.task.clone(),
            method: self.method.clone(),
            id: self.id.clone(),
        }
    }

    /// KV footprint, counted from the caches; 0 where there is no answer.
    pub fn kv_footprint(&self) -> f64 {
        self.kv.map_or(0.0, |kv| kv.counted.kv_footprint)
    }

    /// KV peak, counted from the caches; 0 where there is no answer.
    pub fn kv_peak(&self) -> f64 {
        self.kv.map_or(0.0, |kv| kv.counted.kv_peak)
    }

    /// Wall time of prompt pass and decoding, in milliseconds.
    pub fn total_ms(&self) -> f64 {
        self.timing.prefill_ms + self.timing.decode_ms
    }
}

impl From<&AnyFault> for ItemError {
    fn from(fault: &AnyFault) -> Self {
        let error: &(dyn Coded + Send + Sync) = &**fault;
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            message = format!("{message}: {cause}");
            source = cause.source();
        }
        Self {
            code: fault.code().to_owned(),
            message,
        }
    }
}

/// Results for tests.
#[cfg(test)]
pub(crate) mod samples {
    use super::*;

    /// One answer to the item `id`.
    pub(crate) fn result(id: &str) -> ItemResult {
        ItemResult {
            schema: SCHEMA.to_owned(),
            model: "tiny".to_owned(),
            chunk_len: 32,
            task: "recall".to_owned(),
            method: "full".to_owned(),
            id: id.to_owned(),
            length_target: 160,
            depth_index: 0,
            depth: Some(0.1),
            needle_distance: Some(100),
            num_units: None,
            seed: 0,
            origin: None,
            mask: None,
            query_agnostic: false,
            prompt_hash: "00".to_owned(),
            tokens: TokenCounts::default(),
            output: "a\u{2028}\n\"b\"".to_owned(),
            output_ids: vec![1, 2],
            question: "b?".to_owned(),
            cue: String::new(),
            parsed: "a".to_owned(),
            gold: Gold::answer("c"),
            gold_ids: vec![3],
            finish: Finish::Length,
            error: None,
            scores: Scores::new(),
            kv: None,
            backend: "cpu-flash".to_owned(),
            timing: Timing {
                prefill_ms: 1.0 / 3.0,
                decode_ms: 0.1,
            },
        }
    }

    /// The same item without an answer.
    pub(crate) fn failed(id: &str) -> ItemResult {
        ItemResult {
            error: Some(ItemError {
                code: "gpu.oom".to_owned(),
                message: "no room".to_owned(),
            }),
            ..result(id)
        }
    }
}
