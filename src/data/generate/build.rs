//! Generators from the settings of a pretraining file.

use super::Generate;
use super::code_repeats::{self, CodeRepeats};
use super::copy_table::CopyTable;
use super::corpus::NaturalText;
use super::json_kv::JsonKv;
use super::key_values::KeyValues;
use super::label_map::LabelMap;
use super::mixture::Mixture;
use super::multiple_passkey::{self, MultiplePasskey};
use super::natural::{self, Natural};
use super::needle_tokens::NeedleTokens;
use super::needles::{self, Needles};
use super::quiz::{DrawQuiz, Quizzes};
use super::random_repeats::RandomRepeats;
use crate::config::generator::GeneratorSettings;
use crate::data::error::DataError;
use crate::data::tokenizer::Tokenizer;
use std::sync::Arc;

/// What generators are made from, shared by all stages of a run.
#[derive(Clone)]
pub struct Materials {
    tokenizer: Arc<Tokenizer>,
    needle_tokens: NeedleTokens,
    text: Option<NaturalText>,
}

impl Materials {
    /// Gathers the tokenizer and, unless no generator needs it, natural text.
    ///
    /// # Errors
    /// [`DataError::Tokenize`] if the tokenizer cannot write needles.
    pub fn new(tokenizer: Arc<Tokenizer>, text: Option<NaturalText>) -> Result<Self, DataError> {
        Ok(Self {
            needle_tokens: NeedleTokens::new(tokenizer.clone())?,
            tokenizer,
            text,
        })
    }

    /// Builds the mixture of one stage.
    ///
    /// # Errors
    /// [`DataError::GeneratorSetting`] if a setting makes no sense or natural text is missing.
    pub fn mixture(&self, mix: &[GeneratorSettings]) -> Result<Mixture, DataError> {
        let parts = mix
            .iter()
            .map(|settings| Ok((settings.weight(), self.generator(settings)?)))
            .collect::<Result<_, DataError>>()?;
        Mixture::new(parts)
    }

    /// Builds one generator.
    ///
    /// # Errors
    /// [`DataError::GeneratorSetting`] if a setting makes no sense or natural text is missing.
    pub fn generator(&self, settings: &GeneratorSettings) -> Result<Box<dyn Generate>, DataError> {
        Ok(match settings {
            GeneratorSettings::RandomRepeats(settings) => {
                Box::new(RandomRepeats::from_settings(settings, &self.tokenizer)?)
            }
            GeneratorSettings::CodeRepeats(settings) => {
                let text = self.text(code_repeats::NAME)?;
                Box::new(CodeRepeats::from_settings(settings, text, &self.tokenizer)?)
            }
            GeneratorSettings::KeyValues(settings) => {
                self.quizzes(KeyValues::from_settings(settings)?, settings.answer_weight)
            }
            GeneratorSettings::JsonKv(settings) => {
                self.quizzes(JsonKv::from_settings(settings)?, settings.answer_weight)
            }
            GeneratorSettings::LabelMap(settings) => {
                self.quizzes(LabelMap::from_settings(settings)?, settings.answer_weight)
            }
            GeneratorSettings::CopyTable(settings) => {
                self.quizzes(CopyTable::from_settings(settings)?, settings.answer_weight)
            }
            GeneratorSettings::Needles(settings) => {
                let (text, tokens) = (self.text(needles::NAME)?, self.needle_tokens.clone());
                Box::new(Needles::from_settings(settings, text, tokens)?)
            }
            GeneratorSettings::MultiplePasskey(settings) => {
                let text = self.text(multiple_passkey::NAME)?;
                let (tokens, tokenizer) = (self.needle_tokens.clone(), self.tokenizer.clone());
                Box::new(MultiplePasskey::from_settings(
                    settings, text, tokens, tokenizer,
                )?)
            }
            GeneratorSettings::Natural(_) => {
                let text = self.text(natural::NAME)?;
                Box::new(Natural::new(text, self.tokenizer.bos()))
            }
        })
    }

    fn quizzes(&self, form: impl DrawQuiz + 'static, answer_weight: f64) -> Box<dyn Generate> {
        let tokenizer = Arc::clone(&self.tokenizer);
        Box::new(Quizzes::new(tokenizer, form, answer_weight))
    }

    fn text(&self, generator: &'static str) -> Result<NaturalText, DataError> {
        self.text
            .clone()
            .ok_or_else(|| DataError::GeneratorSetting {
                generator,
                setting: "corpus",
                problem: "is missing: this kind needs natural text".to_owned(),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::generate::corpus::tests::{TOKENIZER, natural};
    use crate::fault::Coded;

    fn settings(text: &str) -> GeneratorSettings {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn every_kind_builds_and_makes_sequences_of_the_asked_length() {
        let materials = Materials::new(TOKENIZER.clone(), Some(natural())).unwrap();
        let without_text = Materials::new(TOKENIZER.clone(), None).unwrap();
        for text in [
            r#"{"kind": "random-repeats", "weight": 1, "span_min": 16, "span_max": 32}"#,
            r#"{"kind": "code-repeats", "weight": 1, "span_min": 16, "span_max": 32}"#,
            r#"{"kind": "key-values", "weight": 1, "num_pairs_min": 1, "num_pairs_max": 3, "num_queries": 2}"#,
            r#"{"kind": "random-repeats", "weight": 1, "span_min": 16, "span_max": 32, "alphabet": [8, 16]}"#,
            r#"{"kind": "json-kv", "weight": 1, "num_pairs_min": 1, "num_pairs_max": 5, "num_queries": 2}"#,
            r#"{"kind": "label-map", "weight": 1, "num_words_min": 2, "num_words_max": 5, "num_queries": 2}"#,
            r#"{"kind": "copy-table", "weight": 1, "num_rows_min": 1, "num_rows_max": 4, "num_queries": 2}"#,
            r#"{"kind": "needles", "weight": 1, "num_needles_min": 1, "num_needles_max": 3}"#,
            r#"{"kind": "multiple-passkey", "weight": 1, "num_passkeys": 2, "num_words": 3}"#,
            r#"{"kind": "natural", "weight": 1}"#,
        ] {
            let settings = settings(text);
            let generator = materials.generator(&settings).unwrap();
            assert!(text.contains(generator.name()));
            let mixture = materials.mixture(std::slice::from_ref(&settings)).unwrap();
            for sequence in mixture.batch(1, 2, 8, 200).unwrap() {
                assert_eq!((sequence.ids.len(), sequence.weights.len()), (200, 200));
                assert!(sequence.weights[0].abs() < 1e-9);
                assert!(sequence.weights.iter().any(|weight| *weight > 0.0));
            }
            assert_eq!(
                without_text.generator(&settings).is_err(),
                settings.needs_corpus()
            );
        }
        let error = without_text
            .generator(&settings(r#"{"kind": "natural", "weight": 1}"#))
            .err()
            .unwrap();
        assert_eq!(error.code(), "generate.setting");
    }
}
