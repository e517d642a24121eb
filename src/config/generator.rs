//! Generated documents, as named in a pretraining stage's `mix` and by `prulong pack --generate`.

use crate::config::error::Bad;
use crate::config::generator_kinds::{
    CodeRepeatsSettings, CopyTableSettings, JsonKvSettings, KeyValuesSettings, LabelMapSettings,
    MultiplePasskeySettings, NaturalSettings, NeedlesSettings, RandomRepeatsSettings,
};
use std::str::FromStr;

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
    /// Long keys of common words hidden in one text, asked for in order at its end.
    MultiplePasskey(MultiplePasskeySettings),
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
            Self::MultiplePasskey(settings) => settings.weight,
            Self::Natural(settings) => settings.weight,
        }
    }

    /// Whether rows of this kind are made from the corpus's text.
    pub fn needs_corpus(&self) -> bool {
        matches!(
            self,
            Self::CodeRepeats(_) | Self::Needles(_) | Self::MultiplePasskey(_) | Self::Natural(_)
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
            Self::MultiplePasskey(settings) => settings.check(at),
            Self::Natural(settings) => settings.check(at),
        }
    }
}

/// A kind in one word, its settings behind it: `KIND` or `KIND:KEY=VALUE,...`. Its share is 1 unless `weight` says otherwise.
impl FromStr for GeneratorSettings {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, pairs) = text.split_once(':').unwrap_or((text, ""));
        let mut table = pairs_of(pairs)?;
        if table.contains_key("kind") {
            return Err("`kind` is what stands before the colon".to_owned());
        }
        table.insert("kind".to_owned(), toml::Value::String(kind.to_owned()));
        table.entry("weight").or_insert(toml::Value::Float(1.0));
        let settings: Self = table
            .try_into()
            .map_err(|error: toml::de::Error| error.message().to_owned())?;
        settings
            .check("generate")
            .map_err(|bad| format!("`{}` {}", bad.key, bad.problem))?;
        Ok(settings)
    }
}

/// `KEY=VALUE,...` as the inside of a TOML table.
fn pairs_of(pairs: &str) -> Result<toml::Table, String> {
    let refused = |why: &str| format!("`{pairs}` is no `KEY=VALUE,...` as in TOML: {why}");
    // One value and nothing after it: a brace of their own cannot end the table early.
    match format!("{{{pairs}}}").parse() {
        Ok(toml::Value::Table(table)) => Ok(table),
        Ok(_) => Err(refused("it is no table")),
        Err(error) => Err(refused(toml::de::Error::message(&error))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_names_a_kind_and_its_settings() {
        let parse = |text: &str| text.parse::<GeneratorSettings>();
        let passkeys = |num_passkeys, num_words, weight| {
            GeneratorSettings::MultiplePasskey(MultiplePasskeySettings {
                weight,
                num_passkeys,
                num_words,
            })
        };
        assert_eq!(parse("multiple-passkey").unwrap(), passkeys(10, 32, 1.0));
        let text = "multiple-passkey:num_passkeys=4,num_words=8,weight=0.5";
        assert_eq!(parse(text).unwrap(), passkeys(4, 8, 0.5));
        let repeats = parse("random-repeats:span_min=8,span_max=16,alphabet=[2,9]");
        let Ok(GeneratorSettings::RandomRepeats(repeats)) = repeats else {
            panic!("{repeats:?}")
        };
        assert_eq!(repeats.alphabet, Some([2, 9]));
        for (text, said) in [
            ("passkeys", "unknown variant `passkeys`"),
            ("multiple-passkey:num_keys=4", "unknown field `num_keys`"),
            (
                "multiple-passkey:num_words",
                "`num_words` is no `KEY=VALUE,...`",
            ),
            (
                "multiple-passkey:num_words=3} #,num_passkeys=4",
                "is no `KEY=VALUE,...` as in TOML",
            ),
            ("multiple-passkey:num_words=3,num_words=4", "duplicate"),
            ("random-repeats:kind=3", "`kind` is what stands before"),
            (
                "random-repeats:span_min=8,span_max=16,alphabet=[9,2]",
                "alphabet",
            ),
            (
                "multiple-passkey:num_passkeys=21",
                "`generate.num_passkeys` = 21 must be at most 20",
            ),
            (
                "multiple-passkey:num_words=0",
                "`generate.num_words` = 0 must be at least 1",
            ),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
