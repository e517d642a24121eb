//! `cwe`: ten words come often in a numbered list, all others seldom, and the ten are asked for.
//!
//! # Decisions
//! - Words are pseudo-words, a stand-in for the published task's dictionary, which has too few words for long contexts.
//! - Counts are RULER's: 30 and 3, and 6 and 1 below 4,096 tokens. One word more in the list is one unit.
//! - Words stand everywhere, so there is no place to choose: an item's depth is the mean place of the ten words in the list,
//!   about the middle, and its distance that of the last one.

use super::{Card, Category, Generated, Needs};
use crate::eval::error::EvalError;
use crate::eval::gold::Gold;
use crate::eval::item::Item;
use crate::eval::material::Material;
use crate::eval::metric::registry::Metric;
use crate::eval::plan::Place;
use crate::eval::prompt_text::{Asked, Context, PromptText};
use crate::eval::reading::Reading;
use crate::eval::ruler::coded::{MAX_WORDS, draw_distinct};
use crate::eval::ruler::needle::listed;
use crate::eval::ruler::spread::Spread;
use crate::eval::scoring::Scoring;
use crate::eval::units::Units;
use crate::random::shuffle;
use rand_chacha::ChaCha8Rng;

/// The task's name on the command line and in results.
const NAME: &str = "cwe";

/// Words asked for.
const NUM_COMMON: usize = 10;

/// Fewest other words.
const MIN_OTHERS: usize = 10;

/// No tokenizer writes an entry, a number, a full stop and a word, in fewer.
const MIN_ENTRY_TOKENS: usize = 3;

/// Lengths from here on have long lists, in tokens.
const LONG_LISTS: usize = 4096;

/// Most tokens of an output, as in HELMET.
const LIMIT: usize = 100;

const ANNOUNCEMENT: &str = "The list below has some words many times and others only seldom. Find the ten that come most often.\n";
const QUESTION: &str = "Which ten words come most often in the list above?\n";
const CUE: &str = "In the list above, the ten words that come most often are";

/// The task.
#[derive(Debug, Clone, Copy)]
pub struct CommonWords;

impl Generated for CommonWords {
    fn card(&self) -> Card {
        Card {
            name: NAME,
            about: "the ten words that come most often in a list of pseudo-words, a stand-in for a dictionary's",
            category: Category::Counting,
            metric: Metric::RulerRecall,
            also: &[Metric::RulerAny],
            headline: Scoring::Strict,
            reading: Reading::Whole,
            // Ten of 34,000 words; none is guessed.
            chance: 0.0,
            needs: Needs::Nothing,
            proxy: false,
        }
    }

    fn item(&self, material: &Material<'_>, place: &Place) -> Result<Item, EvalError> {
        let copies = if place.length < LONG_LISTS {
            SHORT
        } else {
            LONG
        };
        let most = MIN_OTHERS + place.length / (copies.other * MIN_ENTRY_TOKENS);
        let units = Units {
            task: NAME,
            name: "words",
            min: MIN_OTHERS,
            max: most.min(MAX_WORDS),
        };
        let mut rng = place.stream(NAME);
        let fixed = [ANNOUNCEMENT, QUESTION, CUE].concat();
        let example_len = NUM_COMMON + EXAMPLE_OTHERS;
        let mut words: Vec<String> = draw_distinct(&mut rng, &fixed)
            .take(example_len + NUM_COMMON + units.max)
            .collect();
        let list = words.split_off(example_len);
        let asked = ask(&mut rng, &words, &list[..NUM_COMMON]);
        PromptText::fill(&units, place, material, |num| {
            let mut rng = place.stream("cwe order");
            PromptText {
                context: numbered(&mut rng, &list[..NUM_COMMON + num], copies),
                asked: asked.clone(),
            }
        })
    }
}

/// How often words come.
#[derive(Debug, Clone, Copy)]
struct Copies {
    common: usize,
    other: usize,
}

const LONG: Copies = Copies {
    common: 30,
    other: 3,
};

const SHORT: Copies = Copies {
    common: 6,
    other: 1,
};

/// Those of the worked example.
const EXAMPLE: Copies = Copies {
    common: 2,
    other: 1,
};

/// Other words of the worked example.
const EXAMPLE_OTHERS: usize = 5;

/// The shuffled list of `words`, the common ones first.
fn numbered(rng: &mut ChaCha8Rng, words: &[String], copies: Copies) -> Context {
    let mut indices: Vec<usize> = Vec::new();
    for index in 0..words.len() {
        let times = if index < NUM_COMMON {
            copies.common
        } else {
            copies.other
        };
        indices.extend(std::iter::repeat_n(index, times));
    }
    shuffle(rng, &mut indices);
    let mut spread = Spread::default();
    for (at, index) in indices.iter().enumerate() {
        let entry = format!("{}. {}\n", at + 1, words[*index]);
        spread.push(&entry, *index < NUM_COMMON);
    }
    spread.context()
}

fn ask(rng: &mut ChaCha8Rng, example: &[String], common: &[String]) -> Asked {
    let answer = |words: &[String]| {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        format!(" {}", listed(&words))
    };
    let list = numbered(rng, example, EXAMPLE).text;
    let solution = answer(&example[..NUM_COMMON]);
    Asked {
        instruction: format!(
            "{ANNOUNCEMENT}An example:\n{list}{QUESTION}{CUE}{solution}.\nNow the list that counts:\n"
        ),
        question: QUESTION.to_owned(),
        cue: CUE.to_owned(),
        answer: answer(common),
        gold: Gold::Answers {
            answers: common.to_vec(),
        },
        limit: LIMIT,
    }
}
