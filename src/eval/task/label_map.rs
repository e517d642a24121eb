//! `label_map`: pseudo-words with labels, each shown twice, fill the length; the label of one word is asked for.
//!
//! The shots and the question are those of `data::generate::label_map`: two rounds, each with every word once in an order
//! of its own; words are of the evaluation class, and every label has as many words as any other, or one more.
//!
//! # Decisions
//! The depth of an item is that of the *last* shot of the word asked for, among all shots. As the second round repeats
//! every word, last shots would all stand in the second half. For a depth in the second half, the word asked for is simply
//! the one shown there. For a depth in the first half, a word shown before it is drawn, and its second shot changes places
//! with the shot at that depth: one swap, so that nothing behind the depth tells the label.

use super::{Card, Category, Generated, Needs};
use crate::data::generate::fact::KeyClass;
use crate::data::generate::label_map::Mapping;
use crate::data::generate::quiz::draw_rounds;
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
use crate::random::index_below;
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;

/// The task's name on the command line and in results.
const NAME: &str = "label_map";

const NUM_LABELS: usize = 8;

const NUM_ROUNDS: usize = 2;

/// No tokenizer writes both lines of a word, each word, arrow and label, in fewer.
const MIN_WORD_TOKENS: usize = 4;

/// The task.
#[derive(Debug, Clone, Copy)]
pub struct LabelMap;

impl Generated for LabelMap {
    fn card(&self) -> Card {
        Card {
            name: NAME,
            about: "the label of one of the pseudo-words whose labels, eight in all, were shown twice",
            category: Category::InContext,
            metric: Metric::ExactTokens,
            also: &[Metric::TokenAccuracy],
            headline: Scoring::Strict,
            reading: Reading::FIRST_LINE,
            // One of eight balanced labels.
            chance: 0.125,
            needs: Needs::Nothing,
            proxy: false,
        }
    }

    fn item(&self, material: &Material<'_>, place: &Place) -> Result<Item, EvalError> {
        let units = Units {
            task: NAME,
            name: "words",
            min: NUM_LABELS,
            max: NUM_LABELS + place.length / MIN_WORD_TOKENS,
        };
        let mut rng = place.stream(NAME);
        let drawn = Mapping::draw_distinct(&mut rng, units.max, NUM_LABELS, KeyClass::Evaluation);
        let mappings = balanced_prefixes(drawn);
        let draft = |num| document(&mappings[..num], place);
        let num_words = units.fill(place, material, draft)?;
        draft(num_words).at(place, material.tokenizer())
    }
}

/// Sorts such that the first `n` are balanced for every `n`: the first word of each label, then the second of each, ...
fn balanced_prefixes(mappings: Vec<Mapping>) -> Vec<Mapping> {
    let mut seen: BTreeMap<char, usize> = BTreeMap::new();
    let mut ranked: Vec<(usize, Mapping)> = Vec::with_capacity(mappings.len());
    for mapping in mappings {
        let rank = seen.entry(mapping.label).or_default();
        ranked.push((*rank, mapping));
        *rank += 1;
    }
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter().map(|(_, mapping)| mapping).collect()
}

fn document(mappings: &[Mapping], place: &Place) -> Document {
    let mut rng = place.stream("label_map shots");
    let num_shots = NUM_ROUNDS * mappings.len();
    let mut shots = draw_rounds(&mut rng, mappings.len(), num_shots);
    let last = place_last_shot(&mut rng, &mut shots, place.index_among(num_shots));
    let lines: Vec<String> = shots.iter().map(|index| mappings[*index].line()).collect();
    let question = mappings[shots[last]].question();
    Document {
        needle_end: lines[..=last].iter().map(String::len).sum(),
        context: lines.concat(),
        depth: depth_of(last, num_shots),
        gold: Gold::answer(question.answer.trim()),
        num_units: num_shots,
        question,
    }
}

/// Sees to it that some word has its last shot at `wanted`, or next to it, and returns where that is.
///
/// `shots` are two rounds. See the module's decisions.
fn place_last_shot(rng: &mut ChaCha8Rng, shots: &mut [usize], wanted: usize) -> usize {
    // The very first shot cannot be the second of its word.
    let last = wanted.max(1);
    let round_len = shots.len() / NUM_ROUNDS;
    if last < round_len {
        let word = shots[index_below(rng, last)];
        if let Some(again) = shots.iter().rposition(|shot| *shot == word) {
            shots.swap(last, again);
        }
    }
    last
}
