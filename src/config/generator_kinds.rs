//! Settings of each kind of generated document, checked.

use crate::config::check;
use crate::config::error::Bad;

/// Most labels of a mapping, and why.
const MAX_LABELS: (usize, &str) = (26, "the number of capital letters");
/// Most rows of a table, and why: drawing different names ends only while there are names left.
const MAX_ROWS: (usize, &str) = (10_000, "which leaves most names unused");
/// Most passkeys of a document, and why.
const MAX_PASSKEYS: (usize, &str) = (20, "the number of ordinals");
/// Most hexadecimal digits of a key or value, and why.
const MAX_DIGITS: (usize, &str) = (32, "the digits of a UUID");

/// Uniformly random tokens that repeat after a span.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RandomRepeatsSettings {
    /// Relative share.
    pub weight: f64,
    /// Shortest span.
    pub span_min: usize,
    /// Longest span.
    pub span_max: usize,
    /// Fewest and most tokens that a sequence is made of, so that several together tell what follows; drawn with repeats, so
    /// the different ones may be fewer. Absent = the whole vocabulary, where one token tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alphabet: Option<[usize; 2]>,
}

/// Natural text in which spans reappear later.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CodeRepeatsSettings {
    /// Relative share.
    pub weight: f64,
    /// Shortest span.
    pub span_min: usize,
    /// Longest span.
    pub span_max: usize,
}

/// Definitions of keys, then questions about some of them.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyValuesSettings {
    /// Relative share.
    pub weight: f64,
    /// Fewest pairs in a document.
    pub num_pairs_min: usize,
    /// Most pairs in a document.
    pub num_pairs_max: usize,
    /// Questions in a document.
    pub num_queries: usize,
    /// Weight of an answer's tokens in the loss, other trained tokens having 1. 1: no emphasis.
    #[serde(default = "one")]
    pub answer_weight: f64,
}

/// A JSON object, then questions for values.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JsonKvSettings {
    /// Relative share.
    pub weight: f64,
    /// Fewest pairs of an object.
    pub num_pairs_min: usize,
    /// Most pairs of an object.
    pub num_pairs_max: usize,
    /// Questions after an object.
    pub num_queries: usize,
    /// Hexadecimal digits of a key. 4: what the evaluation's task uses.
    #[serde(default = "four")]
    pub key_len: usize,
    /// Hexadecimal digits of a value. 4: what the evaluation's task uses.
    #[serde(default = "four")]
    pub value_len: usize,
    /// Weight of an answer's tokens in the loss, other trained tokens having 1. 1: no emphasis.
    #[serde(default = "one")]
    pub answer_weight: f64,
}

/// Pseudo-words that stand for labels, shown, then asked for.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LabelMapSettings {
    /// Relative share.
    pub weight: f64,
    /// Fewest words of a mapping.
    pub num_words_min: usize,
    /// Most words of a mapping.
    pub num_words_max: usize,
    /// Labels of a mapping, at most 26. 8: what the evaluation's task uses.
    #[serde(default = "eight")]
    pub num_labels: usize,
    /// Times that each word is shown. 2: what the evaluation's task uses.
    #[serde(default = "two")]
    pub num_rounds: usize,
    /// Questions after a mapping.
    pub num_queries: usize,
    /// Weight of an answer's tokens in the loss, other trained tokens having 1. 1: no emphasis.
    #[serde(default = "one")]
    pub answer_weight: f64,
}

/// A table, then requests for all rows of a name.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CopyTableSettings {
    /// Relative share.
    pub weight: f64,
    /// Fewest rows of a table.
    pub num_rows_min: usize,
    /// Most rows of a table.
    pub num_rows_max: usize,
    /// Requests after a table.
    pub num_queries: usize,
    /// Weight of an answer's tokens in the loss, other trained tokens having 1. 1: no emphasis.
    #[serde(default = "one")]
    pub answer_weight: f64,
}

/// Definitions hidden in natural text, asked for at its end.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NeedlesSettings {
    /// Relative share.
    pub weight: f64,
    /// Fewest needles in a document.
    pub num_needles_min: usize,
    /// Most needles in a document.
    pub num_needles_max: usize,
    /// Most questions at the end, at most one per needle; their number is drawn from 1 up. 4: several answers per sequence
    /// teach more than one.
    #[serde(default = "four")]
    pub num_questions_max: usize,
    /// Needles stand in this first share of the text, (0, 1]. 1: anywhere; less: only far from the questions.
    #[serde(default = "one")]
    pub depth_max: f64,
    /// Weight of an answer's tokens in the loss, other trained tokens having 1. 1: no emphasis.
    #[serde(default = "one")]
    pub answer_weight: f64,
}

/// Long keys of common words hidden in one text, asked for in order at its end.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MultiplePasskeySettings {
    /// Relative share.
    pub weight: f64,
    /// Passkeys of a document, at most 20. 10: DuoAttention's value; small models need fewer.
    #[serde(default = "ten")]
    pub num_passkeys: usize,
    /// Words of a passkey. 32: DuoAttention's value; small models need fewer.
    #[serde(default = "thirty_two")]
    pub num_words: usize,
}

/// Natural text as it is.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NaturalSettings {
    /// Relative share.
    pub weight: f64,
}

fn one() -> f64 {
    1.0
}

fn two() -> usize {
    2
}

fn four() -> usize {
    4
}

fn eight() -> usize {
    8
}

fn ten() -> usize {
    10
}

fn thirty_two() -> usize {
    32
}

impl RandomRepeatsSettings {
    pub(super) fn check(&self, at: &str) -> Result<(), Bad> {
        positive(at, "weight", self.weight)?;
        if let Some([min, max]) = self.alphabet {
            check::ordered((&key(at, "alphabet.0"), &key(at, "alphabet.1")), min, max)?;
        }
        ordered(at, "span", (self.span_min, self.span_max))
    }
}

impl CodeRepeatsSettings {
    pub(super) fn check(&self, at: &str) -> Result<(), Bad> {
        positive(at, "weight", self.weight)?;
        ordered(at, "span", (self.span_min, self.span_max))
    }
}

impl KeyValuesSettings {
    pub(super) fn check(&self, at: &str) -> Result<(), Bad> {
        quiz(at, (self.weight, self.answer_weight), self.num_queries)?;
        ordered(at, "num_pairs", (self.num_pairs_min, self.num_pairs_max))
    }
}

impl JsonKvSettings {
    pub(super) fn check(&self, at: &str) -> Result<(), Bad> {
        quiz(at, (self.weight, self.answer_weight), self.num_queries)?;
        at_most(at, "key_len", self.key_len, MAX_DIGITS)?;
        at_most(at, "value_len", self.value_len, MAX_DIGITS)?;
        ordered(at, "num_pairs", (self.num_pairs_min, self.num_pairs_max))?;
        self.check_keys(at)
    }

    /// Refuses objects that need a large part of all keys there are: drawing different ones would take for ever.
    fn check_keys(&self, at: &str) -> Result<(), Bad> {
        let exponent = u32::try_from(self.key_len).unwrap_or(u32::MAX);
        let most = 16_u64.checked_pow(exponent).unwrap_or(u64::MAX) / 32;
        check::at_most(
            &key(at, "num_pairs_max"),
            self.num_pairs_max as u64,
            most,
            &format!("a thirty-second of all keys of {} digits", self.key_len),
        )
    }
}

impl LabelMapSettings {
    pub(super) fn check(&self, at: &str) -> Result<(), Bad> {
        quiz(at, (self.weight, self.answer_weight), self.num_queries)?;
        at_most(at, "num_labels", self.num_labels, MAX_LABELS)?;
        check::len(&key(at, "num_rounds"), self.num_rounds)?;
        ordered(at, "num_words", (self.num_words_min, self.num_words_max))
    }
}

impl CopyTableSettings {
    pub(super) fn check(&self, at: &str) -> Result<(), Bad> {
        quiz(at, (self.weight, self.answer_weight), self.num_queries)?;
        at_most(at, "num_rows_max", self.num_rows_max, MAX_ROWS)?;
        ordered(at, "num_rows", (self.num_rows_min, self.num_rows_max))
    }
}

impl NeedlesSettings {
    pub(super) fn check(&self, at: &str) -> Result<(), Bad> {
        positive(at, "weight", self.weight)?;
        positive(at, "answer_weight", self.answer_weight)?;
        check::len(&key(at, "num_questions_max"), self.num_questions_max)?;
        positive(at, "depth_max", self.depth_max)?;
        check::share(&key(at, "depth_max"), self.depth_max)?;
        let range = (self.num_needles_min, self.num_needles_max);
        ordered(at, "num_needles", range)
    }
}

impl MultiplePasskeySettings {
    pub(super) fn check(&self, at: &str) -> Result<(), Bad> {
        positive(at, "weight", self.weight)?;
        at_most(at, "num_passkeys", self.num_passkeys, MAX_PASSKEYS)?;
        check::len(&key(at, "num_words"), self.num_words)
    }
}

impl NaturalSettings {
    pub(super) fn check(&self, at: &str) -> Result<(), Bad> {
        positive(at, "weight", self.weight)
    }
}

fn key(at: &str, name: &str) -> String {
    format!("{at}.{name}")
}

fn positive(at: &str, name: &str, value: f64) -> Result<(), Bad> {
    check::positive(&key(at, name), value)
}

/// Checks the range of `name`, written `name_min` and `name_max`.
fn ordered(at: &str, name: &str, (min, max): (usize, usize)) -> Result<(), Bad> {
    let keys = ["min", "max"].map(|end| key(at, &format!("{name}_{end}")));
    check::ordered((&keys[0], &keys[1]), min, max)
}

/// Checks what every quiz has.
fn quiz(at: &str, (weight, answer_weight): (f64, f64), num_queries: usize) -> Result<(), Bad> {
    positive(at, "weight", weight)?;
    positive(at, "answer_weight", answer_weight)?;
    check::len(&key(at, "num_queries"), num_queries)
}

fn at_most(at: &str, name: &str, value: usize, (most, what): (usize, &str)) -> Result<(), Bad> {
    let key = key(at, name);
    check::len(&key, value)?;
    check::at_most(&key, value as u64, most as u64, what)
}
