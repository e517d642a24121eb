//! `countdown`: a target is to be made of four numbers, by a search that is written down until it finds a solution.
//!
//! ```text
//! - Pick two numbers: 3 and 5; left: 2, 4
//! - Try 5 + 3 = 8: now 8, 2, 4
//! -- Pick two numbers: 8 and 2; left: 4
//! -- Try 8 + 2 = 10: now 10, 4
//! --- Try 10 + 4 = 14: not the target, drop this branch
//! ```
//!
//! # Decisions
//! - Numbers, targets and the search are `LongProc`'s. Any solution is right; the search counts for partial credit.
//! - The prompt has one length, its answer any: numbers are drawn several times, the targets that each search meets are sorted by
//!   the length of the search up to there, and each of these problems is one unit.
//! - The whole search of four numbers takes some 20,000 tokens. Beyond lengths of 8,192, the longest of `LongProc`'s levels, there
//!   are five numbers, whose search is sixty times as long.
//! - The numbers stand in one line, so there is no place to choose: an item's depth is the middle.

use super::{Card, Category, Generated, Needs};
use crate::eval::error::EvalError;
use crate::eval::gold::Gold;
use crate::eval::item::Item;
use crate::eval::material::Material;
use crate::eval::metric::registry::Metric;
use crate::eval::plan::Place;
use crate::eval::prompt_text::{Asked, Context, PromptText};
use crate::eval::reading::Reading;
use crate::eval::scoring::Scoring;
use crate::eval::units::Units;
use crate::random::below;
use search::{Found, list, search, walk};
use std::collections::BTreeSet;
use std::ops::ControlFlow::{Break, Continue};
use std::ops::RangeInclusive;

mod search;

/// The task's name on the command line and in results.
const NAME: &str = "countdown";

/// Numbers of a problem, and of one of a length beyond [`LONG`].
const NUM_NUMBERS: usize = 4;
const MANY_NUMBERS: usize = 5;

/// Longest problems with few numbers, in tokens.
const LONG: usize = 8_192;

/// Largest number.
const MAX_NUMBER: u64 = 49;

/// What is to be made.
const TARGETS: RangeInclusive<u32> = 10..=50;

/// Draws of numbers, of whose problems one is taken: so many that some have nearly the length wanted.
const NUM_DRAWS: usize = 32;

/// No tokenizer writes a search in tokens of more bytes on average.
const MAX_TOKEN_BYTES: usize = 4;

const ANNOUNCEMENT: &str = "Make the target of the numbers with +, -, * and /, using every number once. Search for a solution \
    step by step, and write every step down as in the example. Pick two numbers, at first the first and the second, then the first \
    and the third, and so on up to the last two. With the larger one first, try +, -, * and / in this order. Drop a result that is \
    not a whole number, or is 2000 or more. Put any other result in front of the numbers left, and go on with these in the same \
    way before you try anything else. Drop the last number left unless it is the target. Lines begin with one dash for the first \
    calculation, two for the second, and so on; where only two numbers are left, none says that they are picked. When the target \
    is found, write the calculations that lead to it between <Solution> and </Solution>, one a line.\n";

const EXAMPLE: &str = "An example:\n";
const REST: &str = "Now the numbers that count:\n";
const QUESTION: &str = "How is the target made?\n";
const CUE: &str = "# Search Procedure\n";

/// The task.
#[derive(Debug, Clone, Copy)]
pub struct Countdown;

impl Generated for Countdown {
    fn card(&self) -> Card {
        Card {
            name: NAME,
            about: "calculations that make a target of four numbers, after the whole search for them; beyond 8,192 tokens of five",
            category: Category::Procedure,
            metric: Metric::Accuracy,
            also: &[Metric::PartialAccuracy, Metric::ExtractionRate],
            headline: Scoring::Strict,
            reading: Reading::Whole,
            // Three calculations with unknown numbers; none is guessed.
            chance: 0.0,
            needs: Needs::Nothing,
            proxy: false,
        }
    }

    fn item(&self, material: &Material<'_>, place: &Place) -> Result<Item, EvalError> {
        let problems = draw_problems(place);
        let units = Units {
            task: NAME,
            name: "problems",
            min: 1,
            max: problems.len(),
        };
        PromptText::fill(&units, place, material, |num| problems[num - 1].prompt())
    }
}

/// Numbers with a target.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Problem {
    numbers: Vec<u32>,
    target: u32,
}

/// Draws problems, those with short searches first.
fn draw_problems(place: &Place) -> Vec<Problem> {
    let num_numbers = if place.length <= LONG {
        NUM_NUMBERS
    } else {
        MANY_NUMBERS
    };
    let mut rng = place.stream(NAME);
    let mut problems = Vec::new();
    for _ in 0..NUM_DRAWS {
        let number = |_| 1 + u32::try_from(below(&mut rng, MAX_NUMBER)).unwrap_or(0);
        let numbers: Vec<u32> = (0..num_numbers).map(number).collect();
        let mut seen = BTreeSet::new();
        walk(&numbers, |target, search_len| {
            if TARGETS.contains(&target) && seen.insert(target) {
                let numbers = numbers.clone();
                problems.push((search_len, Problem { numbers, target }));
            }
            if search_len > MAX_TOKEN_BYTES * place.length {
                Break(())
            } else {
                Continue(())
            }
        });
    }
    problems.sort_by_key(|(search_len, _)| *search_len);
    problems.into_iter().map(|(_, problem)| problem).collect()
}

impl Problem {
    fn prompt(&self) -> PromptText {
        let Found { search, .. } = self.solve();
        let text = self.text();
        PromptText {
            context: Context {
                needle_end: text.trim_end().len(),
                depth: 0.5,
                num_units: search.lines().count(),
                text,
            },
            asked: Asked {
                instruction: instruction(),
                question: QUESTION.to_owned(),
                cue: CUE.to_owned(),
                answer: self.answer(),
                gold: Gold::Countdown {
                    numbers: self.numbers.iter().copied().map(i64::from).collect(),
                    target: i64::from(self.target),
                    search: search.trim_end().to_owned(),
                },
                // The answer's own tokens.
                limit: 0,
            },
        }
    }

    /// The search and what it finds; problems are made of what searches find.
    fn solve(&self) -> Found {
        search(&self.numbers, self.target).unwrap_or_default()
    }

    fn text(&self) -> String {
        format!(
            "Numbers: {}; target: {}\n",
            list(&self.numbers),
            self.target
        )
    }

    fn answer(&self) -> String {
        let Found { search, solution } = self.solve();
        let solution = solution.join("\n");
        format!("{search}Now we have found the target.\n<Solution>\n{solution}\n</Solution>")
    }
}

/// What stands before the numbers that count.
fn instruction() -> String {
    let example = Problem {
        numbers: vec![3, 5, 2, 4],
        target: 24,
    };
    let (text, answer) = (example.text(), example.answer());
    format!("{ANNOUNCEMENT}{EXAMPLE}{text}{QUESTION}{CUE}{answer}\n{REST}")
}
