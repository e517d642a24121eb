//! `fwe`: words come as often as their rank allows, and the three most frequent ones are asked for.
//!
//! # Decisions
//! - Of `N` words, the one of rank `r` comes `N / r^2 / zeta(2)` times, rounded down. The first is `...`, which does not
//!   count; ranks two to four are asked for. There are as many ranks as a fiftieth of the length.
//! - From 53 words on the fourth rank comes more often than the fifth: with fewer there is no one right answer.
//! - Words stand everywhere, so there is no place to choose: an item's depth is the mean place of the three words, about the
//!   middle, and its distance that of the last one.

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

/// The task's name on the command line and in results.
const NAME: &str = "fwe";

/// What stands for the most frequent word.
const DOTS: &str = "...";

/// Words asked for: those of ranks 2, 3 and 4.
const NUM_ASKED: usize = 3;

/// Tokens of the length per rank.
const TOKENS_PER_RANK: usize = 50;

/// Fewest words of which the ranks asked for have one order.
const MIN_WORDS: usize = 53;

/// Most tokens of an output, as in HELMET.
const LIMIT: usize = 50;

const ANNOUNCEMENT: &str = "The text below is coded. Find the three coded words that come most often. The dots are no word.\n";
const QUESTION: &str =
    "Which three coded words come most often in the text above, the dots left out?\n";
const CUE: &str = "In the text above, the three coded words that come most often are";

/// The task.
#[derive(Debug, Clone, Copy)]
pub struct FrequentWords;

impl Generated for FrequentWords {
    fn card(&self) -> Card {
        Card {
            name: NAME,
            about: "the three most frequent words of a coded text, but for one that does not count",
            category: Category::Counting,
            metric: Metric::RulerRecall,
            also: &[Metric::RulerAny],
            headline: Scoring::Strict,
            reading: Reading::Whole,
            // Three of 34,000 words; none is guessed.
            chance: 0.0,
            needs: Needs::Nothing,
            proxy: false,
        }
    }

    fn item(&self, material: &Material<'_>, place: &Place) -> Result<Item, EvalError> {
        let num_ranks = (place.length / TOKENS_PER_RANK).clamp(NUM_ASKED + 2, MAX_WORDS);
        let units = Units {
            task: NAME,
            name: "words",
            min: MIN_WORDS,
            // More than half of them are dots, each at least one token.
            max: MIN_WORDS + 2 * place.length,
        };
        let mut rng = place.stream(NAME);
        let fixed = [ANNOUNCEMENT, QUESTION, CUE].concat();
        let mut words = vec![DOTS.to_owned()];
        words.extend(draw_distinct(&mut rng, &fixed).take(num_ranks - 1));
        let asked = ask(&words[1..=NUM_ASKED]);
        PromptText::fill(&units, place, material, |num| PromptText {
            context: coded(&words, num, place),
            asked: asked.clone(),
        })
    }
}

/// How often the word of `rank`, counted from 1, comes among `num_words`.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "texts have fewer than 2^52 words"
)]
fn times(num_words: usize, rank: usize) -> usize {
    let zeta = std::f64::consts::PI.powi(2) / 6.0;
    (num_words as f64 / (rank as f64).powi(2) / zeta) as usize
}

/// The text of about `num_words`, `words` being sorted by rank.
fn coded(words: &[String], num_words: usize, place: &Place) -> Context {
    let mut indices: Vec<usize> = Vec::new();
    for index in 0..words.len() {
        indices.extend(std::iter::repeat_n(index, times(num_words, index + 1)));
    }
    shuffle(&mut place.stream("fwe order"), &mut indices);
    let mut spread = Spread::default();
    for (at, index) in indices.iter().enumerate() {
        let space = if at + 1 == indices.len() { "\n" } else { " " };
        let counts = (1..=NUM_ASKED).contains(index);
        spread.push(&format!("{}{space}", words[*index]), counts);
    }
    spread.context()
}

fn ask(frequent: &[String]) -> Asked {
    let words: Vec<&str> = frequent.iter().map(String::as_str).collect();
    Asked {
        instruction: ANNOUNCEMENT.to_owned(),
        question: QUESTION.to_owned(),
        cue: CUE.to_owned(),
        answer: format!(" {}", listed(&words)),
        gold: Gold::Answers {
            answers: frequent.to_vec(),
        },
        limit: LIMIT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fifty_three_words_are_the_fewest_with_an_order() {
        let of = |num_words| [1, 2, 3, 4, 5].map(|rank| times(num_words, rank));
        assert_eq!(of(MIN_WORDS), [32, 8, 3, 2, 1]);
        assert_eq!(of(MIN_WORDS - 1), [31, 7, 3, 1, 1]);
        for num_words in MIN_WORDS..100_000 {
            let [.., fourth, fifth] = of(num_words);
            assert!(fourth > fifth, "{num_words}");
        }
    }
}
