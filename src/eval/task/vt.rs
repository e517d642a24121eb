//! `vt`: names are set to a number, or to what the name before stands for, and all that stand for the number are asked for.
//!
//! ```text
//! The road is long. The fields are wide. ...
//! Let QWERT be 54321.
//! The road is long. The fields are wide. ...
//! Let ASDFG be QWERT.
//! ```
//!
//! # Decisions
//! The chain has five statements in their order. The third stands at the depth of the item, two before and two behind it
//! anywhere; the distance of the item is that of the last. A worked example, on lines of its own, comes first.

use super::{Card, Category, Generated, Needs};
use crate::eval::error::EvalError;
use crate::eval::gold::Gold;
use crate::eval::item::Item;
use crate::eval::material::Material;
use crate::eval::metric::registry::Metric;
use crate::eval::plan::{Place, depth_of};
use crate::eval::prompt_text::{Asked, Context, PromptText};
use crate::eval::reading::Reading;
use crate::eval::ruler::kind::distinct;
use crate::eval::ruler::needle::listed;
use crate::eval::ruler::noise;
use crate::eval::scoring::Scoring;
use crate::eval::units::Units;
use crate::random::{below, index_below};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeSet;

/// The task's name on the command line and in results.
const NAME: &str = "vt";

/// Names that stand for the number: RULER's chain of four hops.
const NUM_NAMES: usize = 5;

/// Statements before the one at the item's depth, and behind it.
const NUM_BESIDE: usize = NUM_NAMES / 2;

/// Capital letters of a name.
const NAME_LEN: usize = 5;

/// Fewest lines: half of them say nothing.
const MIN_LINES: usize = 2 * NUM_NAMES;

/// Most tokens of an output, as in HELMET.
const LIMIT: usize = 50;

const ANNOUNCEMENT: &str = "The lines below give names to a number: some of them set a name to the number itself, or to what \
    another name stands for. Find every name that stands for the number asked for at the end.\n";

const EXAMPLE: &str = "An example:\n";
const REST: &str = "Now the lines that count:\n";

/// The task.
#[derive(Debug, Clone, Copy)]
pub struct VariableTracking;

impl Generated for VariableTracking {
    fn card(&self) -> Card {
        Card {
            name: NAME,
            about: "the five names that stand for one number, each set to the one before, among lines that all say the same",
            category: Category::Tracking,
            metric: Metric::RulerRecall,
            also: &[Metric::RulerAny],
            headline: Scoring::Strict,
            reading: Reading::Whole,
            // Five of 26^5 names; none is guessed.
            chance: 0.0,
            needs: Needs::Nothing,
            proxy: false,
        }
    }

    fn item(&self, material: &Material<'_>, place: &Place) -> Result<Item, EvalError> {
        let mut rng = place.stream(NAME);
        let [example, chain] = Chain::draw_two(&mut rng);
        let units = Units {
            task: NAME,
            name: "lines",
            min: MIN_LINES,
            max: MIN_LINES + place.length / noise::MIN_LINE_TOKENS,
        };
        let asked = chain.ask(&example);
        PromptText::fill(&units, place, material, |num_lines| PromptText {
            context: chain.context(num_lines, place),
            asked: asked.clone(),
        })
    }
}

/// Names that stand for one number.
struct Chain {
    names: Vec<String>,
    number: u64,
}

impl Chain {
    /// Draws two chains without a name or number in common.
    fn draw_two(rng: &mut ChaCha8Rng) -> [Self; 2] {
        let fixed = [
            ANNOUNCEMENT,
            EXAMPLE,
            noise::LINE,
            REST,
            &question(0),
            &cue(0),
        ]
        .concat();
        let draw_name = |rng: &mut ChaCha8Rng| {
            let letter = |_| char::from(b'A' + u8::try_from(below(rng, 26)).unwrap_or(0));
            (0..NAME_LEN).map(letter).collect()
        };
        let mut names: Vec<String> = distinct(rng, &fixed, draw_name)
            .take(2 * NUM_NAMES)
            .collect();
        let [first, second] = draw_numbers(rng);
        let others = names.split_off(NUM_NAMES);
        [(names, first), (others, second)].map(|(names, number)| Self { names, number })
    }

    /// The lines that set each name.
    fn statements(&self) -> Vec<String> {
        let number = self.number.to_string();
        let values = std::iter::once(&number).chain(&self.names);
        std::iter::zip(&self.names, values)
            .map(|(name, value)| format!("Let {name} be {value}."))
            .collect()
    }

    /// The statements among `num_lines` lines.
    fn context(&self, num_lines: usize, place: &Place) -> Context {
        let middle = place.index_among(num_lines);
        let middle = middle.clamp(NUM_BESIDE, num_lines - 1 - NUM_BESIDE);
        let mut rng = place.stream("vt lines");
        let mut places = draw_places(&mut rng, 0, middle);
        places.insert(middle);
        places.extend(draw_places(&mut rng, middle + 1, num_lines));
        let lines: Vec<(usize, String)> = std::iter::zip(places, self.statements()).collect();
        let (text, needle_end) = noise::hide(num_lines, &lines);
        Context {
            text,
            needle_end,
            depth: depth_of(middle, num_lines),
            num_units: num_lines,
        }
    }

    fn ask(&self, example: &Self) -> Asked {
        let answer = |of: &Self| {
            let names: Vec<&str> = of.names.iter().map(String::as_str).collect();
            format!(" {}", listed(&names))
        };
        let lines = example.statements().into_iter().enumerate();
        let lines: Vec<(usize, String)> = lines.map(|(at, line)| (2 * at, line)).collect();
        let (lines, _) = noise::hide(2 * NUM_NAMES - 1, &lines);
        let instruction = format!(
            "{ANNOUNCEMENT}{EXAMPLE}{lines}{}{}{}.\n{REST}",
            question(example.number),
            cue(example.number),
            answer(example)
        );
        Asked {
            instruction,
            question: question(self.number),
            cue: cue(self.number),
            answer: answer(self),
            gold: Gold::Answers {
                answers: self.names.clone(),
            },
            limit: LIMIT,
        }
    }
}

fn question(number: u64) -> String {
    format!("Which {NUM_NAMES} names stand for {number} in the lines above?\n")
}

fn cue(number: u64) -> String {
    format!("In the lines above, the names that stand for {number} are")
}

/// Two different numbers from 10,000 to 99,998.
fn draw_numbers(rng: &mut ChaCha8Rng) -> [u64; 2] {
    let first = 10_000 + below(rng, 89_999);
    loop {
        let second = 10_000 + below(rng, 89_999);
        if second != first {
            return [first, second];
        }
    }
}

/// Draws as many different places from `start` to before `end` as statements stand on one side.
fn draw_places(rng: &mut ChaCha8Rng, start: usize, end: usize) -> BTreeSet<usize> {
    let mut places = BTreeSet::new();
    while places.len() < NUM_BESIDE {
        places.insert(start + index_below(rng, end - start));
    }
    places
}
