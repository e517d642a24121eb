//! Documents that pretraining generates, as named in a stage's `mix`.

use crate::config::error::Bad;
use crate::config::generator_kinds::{
    CodeRepeatsSettings, CopyTableSettings, JsonKvSettings, KeyValuesSettings, LabelMapSettings,
    NaturalSettings, NeedlesSettings, RandomRepeatsSettings,
};

/// One kind of generated document and its share of a stage's rows, relative to the other shares.
///
/// Lengths are in tokens. What makes up the mixture has no default: it is the experiment.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum GeneratorSettings {
    /// Uniformly random tokens that repeat after a span: teaches induction before any language.
    RandomRepeats(RandomRepeatsSettings),
    /// Natural text in which spans reappear later.
    CodeRepeats(CodeRepeatsSettings),
    /// Definitions of keys, then questions about some of them.
    KeyValues(KeyValuesSettings),
    /// A JSON object of short hexadecimal keys and values, then questions for values.
    JsonKv(JsonKvSettings),
    /// Pseudo-words that stand for labels, shown, then asked for.
    LabelMap(LabelMapSettings),
    /// A table in which rows share names, then requests for all rows of a name.
    CopyTable(CopyTableSettings),
    /// Definitions hidden in natural text, asked for at its end.
    Needles(NeedlesSettings),
    /// Natural text as it is.
    Natural(NaturalSettings),
}

impl GeneratorSettings {
    /// The relative share of rows.
    pub fn weight(&self) -> f64 {
        match self {
            Self::RandomRepeats(settings) => settings.weight,
            Self::CodeRepeats(settings) => settings.weight,
            Self::KeyValues(settings) => settings.weight,
            Self::JsonKv(settings) => settings.weight,
            Self::LabelMap(settings) => settings.weight,
            Self::CopyTable(settings) => settings.weight,
            Self::Needles(settings) => settings.weight,
            Self::Natural(settings) => settings.weight,
        }
    }

    /// Whether rows of this kind are made from the corpus's text.
    pub fn needs_corpus(&self) -> bool {
        matches!(
            self,
            Self::CodeRepeats(_) | Self::Needles(_) | Self::Natural(_)
        )
    }

    pub(super) fn check(&self, at: &str) -> Result<(), Bad> {
        match self {
            Self::RandomRepeats(settings) => settings.check(at),
            Self::CodeRepeats(settings) => settings.check(at),
            Self::KeyValues(settings) => settings.check(at),
            Self::JsonKv(settings) => settings.check(at),
            Self::LabelMap(settings) => settings.check(at),
            Self::CopyTable(settings) => settings.check(at),
            Self::Needles(settings) => settings.check(at),
            Self::Natural(settings) => settings.check(at),
        }
    }
}
