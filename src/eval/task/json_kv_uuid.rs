//! `json_kv_uuid`: one JSON object of UUIDs, each with another one, and the value of one key is asked for.
//!
//! ```text
//! The JSON object below has one value for every key.
//! {
//!   "5a1e...": "c07f...",
//!   ...
//! }
//! Tell the value that the object has for the last key.
//! Key: 9b3d...
//! Corresponding value: 1c64...
//! Key: 5a1e...
//! Corresponding value: c07f...
//! ```
//!
//! # Decisions
//! The two pairs that show how to answer are drawn from the object itself, so that what is asked is true of them as well.

use super::{Card, Category, Generated, Needs};
use crate::data::generate::json_kv::{OPEN, Pair, object};
use crate::eval::error::EvalError;
use crate::eval::gold::Gold;
use crate::eval::item::Item;
use crate::eval::material::Material;
use crate::eval::metric::registry::Metric;
use crate::eval::plan::{Place, depth_of};
use crate::eval::prompt_text::{Asked, Context, PromptText};
use crate::eval::reading::Reading;
use crate::eval::ruler::kind::{KeyKind, ValueKind};
use crate::eval::scoring::Scoring;
use crate::eval::units::Units;
use crate::random::index_below;

/// The task's name on the command line and in results.
const NAME: &str = "json_kv_uuid";

/// Pairs that show how to answer.
const NUM_DEMOS: usize = 2;

/// Fewest pairs: those shown, the one asked for, and another.
const MIN_PAIRS: usize = NUM_DEMOS + 2;

/// No tokenizer writes a pair's line, two UUIDs of five numbers, in fewer.
const MIN_PAIR_TOKENS: usize = 10;

/// Most tokens of an output, as in HELMET.
const LIMIT: usize = 100;

const HEADER: &str = "The JSON object below has one value for every key.\n";
const INSTRUCTION: &str = "Tell the value that the object has for the last key.\n";
const CUE: &str = "Corresponding value:";

/// The task.
#[derive(Debug, Clone, Copy)]
pub struct JsonKvUuid;

impl Generated for JsonKvUuid {
    fn card(&self) -> Card {
        Card {
            name: NAME,
            about: "the UUID of one key of a JSON object of UUIDs that fills the length, after two examples",
            category: Category::Recall,
            metric: Metric::SubstringExactMatch,
            also: &[Metric::ExactMatch],
            headline: Scoring::Strict,
            reading: Reading::Either { prefix: CUE },
            chance: ValueKind::Uuid.chance(),
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
        let keys = KeyKind::Uuid.draw_distinct(&mut rng, "");
        let keys: Vec<String> = keys.take(units.max).collect();
        let values = ValueKind::Uuid.draw_distinct(&mut rng, "");
        let pairs: Vec<Pair> = std::iter::zip(keys, values)
            .map(|(key, value)| Pair { key, value })
            .collect();
        PromptText::fill(&units, place, material, |num| prompt(&pairs[..num], place))
    }
}

fn prompt(pairs: &[Pair], place: &Place) -> PromptText {
    let at = place.index_among(pairs.len());
    let lines = pairs[..=at].iter().enumerate();
    let lines_len: usize = lines
        .map(|(index, pair)| pair.line(index + 1 == pairs.len()).len())
        .sum();
    let context = Context {
        text: format!("{HEADER}{}", object(pairs)),
        needle_end: HEADER.len() + OPEN.len() + lines_len,
        depth: depth_of(at, pairs.len()),
        num_units: pairs.len(),
    };
    let demo = |index: usize| {
        let Pair { key, value } = &pairs[index];
        format!("Key: {key}\n{CUE} {value}\n")
    };
    let demos: String = demos(pairs.len(), at, place)
        .into_iter()
        .map(demo)
        .collect();
    let Pair { key, value } = &pairs[at];
    let asked = Asked {
        instruction: String::new(),
        question: format!("{INSTRUCTION}{demos}Key: {key}\n"),
        cue: CUE.to_owned(),
        gold: Gold::answer(value),
        answer: format!(" {value}"),
        limit: LIMIT,
    };
    PromptText { context, asked }
}

/// Two different indices below `num_pairs`, neither the one asked for.
fn demos(num_pairs: usize, asked: usize, place: &Place) -> Vec<usize> {
    let mut rng = place.stream("json_kv_uuid demos");
    let mut demos = Vec::with_capacity(NUM_DEMOS);
    while demos.len() < NUM_DEMOS {
        let drawn = index_below(&mut rng, num_pairs);
        if drawn != asked && !demos.contains(&drawn) {
            demos.push(drawn);
        }
    }
    demos
}
