//! Generators from the settings of a pretraining file.

use super::Generate;
use super::code_repeats::CodeRepeats;
use super::corpus::NaturalText;
use super::key_values::{KeyValues, KeyValuesSettings};
use super::mixture::Mixture;
use super::natural::Natural;
use super::needle_tokens::NeedleTokens;
use super::needles::{Needles, NeedlesSettings};
use super::random_repeats::RandomRepeats;
use super::range::CountRange;
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
        Ok(match *settings {
            GeneratorSettings::RandomRepeats {
                span_min, span_max, ..
            } => Box::new(RandomRepeats::new(
                self.tokenizer.vocab_size(),
                &[self.tokenizer.bos(), self.tokenizer.eos()],
                CountRange::new("random-repeats", "span_min", span_min, span_max)?,
            )?),
            GeneratorSettings::CodeRepeats {
                span_min, span_max, ..
            } => Box::new(CodeRepeats::new(
                self.text("code-repeats")?,
                self.tokenizer.bos(),
                CountRange::new("code-repeats", "span_min", span_min, span_max)?,
            )),
            GeneratorSettings::KeyValues {
                num_pairs_min,
                num_pairs_max,
                num_queries,
                answer_weight,
                ..
            } => Box::new(KeyValues::new(
                self.needle_tokens.clone(),
                KeyValuesSettings {
                    pairs: CountRange::new(
                        "key-values",
                        "num_pairs_min",
                        num_pairs_min,
                        num_pairs_max,
                    )?,
                    num_queries,
                    answer_weight: narrow(answer_weight),
                },
            )),
            GeneratorSettings::Needles {
                num_needles_min,
                num_needles_max,
                num_questions_max,
                answer_weight,
                ..
            } => Box::new(Needles::new(
                self.text("needles")?,
                self.needle_tokens.clone(),
                NeedlesSettings {
                    needles: CountRange::new(
                        "needles",
                        "num_needles_min",
                        num_needles_min,
                        num_needles_max,
                    )?,
                    max_questions: num_questions_max,
                    answer_weight: narrow(answer_weight),
                },
            )),
            GeneratorSettings::Natural { .. } => {
                Box::new(Natural::new(self.text("natural")?, self.tokenizer.bos()))
            }
        })
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

/// Checked to be positive and finite when the file was read; a loss is computed in f32.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a weight needs no more than f32"
)]
fn narrow(weight: f64) -> f32 {
    weight as f32
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
            r#"{"kind": "needles", "weight": 1, "num_needles_min": 1, "num_needles_max": 3}"#,
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
