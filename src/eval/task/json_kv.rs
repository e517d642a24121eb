//! `json_kv`: one JSON object of hexadecimal pairs fills the length, and the value of one key is asked for.
//!
//! The object and the question are those of `data::generate::json_kv`; keys are of the evaluation class.
//!
//! # Decisions
//! Keys and values have four digits, as in pretraining. A tokenizer that packs a pair into `MIN_PAIR_TOKENS` tokens would
//! need more pairs beyond `SHORT_KEYS_LENGTH` tokens than half of the evaluation keys of four digits: longer documents
//! have keys of eight. The chance level depends on the value alone.

use super::{Card, Category, Generated, Needs};
use crate::data::generate::fact::KeyClass;
use crate::data::generate::json_kv::{Digits, OPEN, Pair, object};
use crate::eval::document::Document;
use crate::eval::error::EvalError;
use crate::eval::gold::Gold;
use crate::eval::item::Item;
use crate::eval::material::Material;
use crate::eval::metric::registry::Metric;
use crate::eval::plan::{Place, depth_of};
use crate::eval::reading::Reading;
use crate::eval::scoring::Scoring;
use crate::eval::units::Units;

/// The task's name on the command line and in results.
const NAME: &str = "json_kv";

/// Digits of a value; each is one of sixteen.
const VALUE_LEN: usize = 4;

/// Longest document with keys of four digits, in tokens.
const SHORT_KEYS_LENGTH: usize = 16_384;

/// No tokenizer writes a pair's line, four quoted pieces, in fewer.
const MIN_PAIR_TOKENS: usize = 5;

/// Fewest pairs between which a model must tell.
const MIN_PAIRS: usize = 2;

/// The task.
#[derive(Debug, Clone, Copy)]
pub struct JsonKv;

impl Generated for JsonKv {
    fn card(&self) -> Card {
        Card {
            name: NAME,
            about: "the value of one key of a JSON object that fills the length",
            category: Category::Recall,
            metric: Metric::ExactTokens,
            also: &[Metric::SubstringExactMatch, Metric::TokenAccuracy],
            headline: Scoring::Strict,
            reading: Reading::FIRST_LINE,
            // 16^-4: four hexadecimal digits.
            chance: 1.0 / 65_536.0,
            needs: Needs::Nothing,
            proxy: false,
        }
    }

    fn item(&self, material: &Material<'_>, place: &Place) -> Result<Item, EvalError> {
        let units = Units {
            task: NAME,
            name: "pairs",
            min: MIN_PAIRS,
            max: MIN_PAIRS + place.length / MIN_PAIR_TOKENS,
        };
        let mut rng = place.stream(NAME);
        let pairs: Vec<Pair> =
            Pair::draw_distinct(&mut rng, digits(place.length), KeyClass::Evaluation)
                .take(units.max)
                .collect();
        let draft = |num| document(&pairs[..num], place);
        let num_pairs = units.fill(place, material, draft)?;
        draft(num_pairs).at(place, material.tokenizer())
    }
}

fn digits(length: usize) -> Digits {
    Digits {
        key_len: if length <= SHORT_KEYS_LENGTH { 4 } else { 8 },
        value_len: VALUE_LEN,
    }
}

fn document(pairs: &[Pair], place: &Place) -> Document {
    let asked = place.index_among(pairs.len());
    let lines = pairs.iter().enumerate().take(asked + 1);
    let lines_len: usize = lines
        .map(|(index, pair)| pair.line(index + 1 == pairs.len()).len())
        .sum();
    let question = pairs[asked].question();
    Document {
        context: object(pairs),
        needle_end: OPEN.len() + lines_len,
        depth: depth_of(asked, pairs.len()),
        gold: Gold::answer(&question.answer),
        num_units: pairs.len(),
        question,
    }
}
