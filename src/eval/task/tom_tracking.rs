//! `tom_tracking`: two people move two things about two rooms, and what one of them believes is asked for, step by step.
//!
//! ```text
//! Step 0: Agnes is in the attic. Hugo is in the cellar. The coin is in the attic box. ...
//! Step 1: Agnes moves the coin to the attic jar.
//! Step 2: Hugo goes to the attic.
//! ...
//! - Step 0: Hugo: cellar; coin: attic box; belief: none
//! - Step 1: Hugo: cellar; coin: attic jar; belief: none
//! - Step 2: Hugo: attic; coin: attic jar; belief: attic jar
//! ```
//!
//! # Decisions
//! - The world and its rules are `LongProc`'s. A step of the story is one unit, and one line of the answer.
//! - Every step counts, so there is no place to choose: an item's depth is the middle, and its distance that of the last step.

use super::{Card, Category, Generated, Needs};
use crate::eval::error::EvalError;
use crate::eval::gold::Gold;
use crate::eval::item::Item;
use crate::eval::material::Material;
use crate::eval::metric::registry::Metric;
use crate::eval::plan::Place;
use crate::eval::prompt_text::{Asked, Context, PromptText};
use crate::eval::reading::Reading;
use crate::eval::ruler::spread::Spread;
use crate::eval::scoring::Scoring;
use crate::eval::units::Units;
use crate::random::index_below;
use cast::{Cast, TWO};
use story::{Deed, State, Story};
use trace::Pair;

mod cast;
mod story;
mod trace;

/// The task's name on the command line and in results.
const NAME: &str = "tom_tracking";

/// Fewest steps after the first, which tells where all are.
const MIN_STEPS: usize = 4;

/// No tokenizer writes a step, four words or more in the story and ten in the answer, in fewer.
const MIN_STEP_TOKENS: usize = 14;

const ANNOUNCEMENT: &str = "The story below tells what two people do with two things in two rooms. Follow one person and one \
    thing through it: write down for each step where they are when it is over, and where the person then believes the thing to \
    be. A person who is in the room with the thing sees it and believes it to be where it is. One who is not keeps the last \
    belief, which is none until the thing is seen for the first time. Whoever carries a thing to the other room is there with \
    it, and whoever leaves is nowhere until entering a room again. Repeat the last belief as the answer, as in the example.\n";

const EXAMPLE: &str = "An example:\n";
const REST: &str = "Now the story that counts:\n";
const CUE: &str = "Trace:\n";

/// The task.
#[derive(Debug, Clone, Copy)]
pub struct TomTracking;

impl Generated for TomTracking {
    fn card(&self) -> Card {
        Card {
            name: NAME,
            about: "where somebody believes a thing to be after each step of a story, seen or not seen by them",
            category: Category::Procedure,
            metric: Metric::Accuracy,
            also: &[Metric::PartialAccuracy, Metric::ExtractionRate],
            headline: Scoring::Strict,
            reading: Reading::Whole,
            // One of several rooms, containers and beliefs in each of many steps; all of them are not guessed.
            chance: 0.0,
            needs: Needs::Nothing,
            proxy: false,
        }
    }

    fn item(&self, material: &Material<'_>, place: &Place) -> Result<Item, EvalError> {
        let units = Units {
            task: NAME,
            name: "steps",
            min: MIN_STEPS,
            max: MIN_STEPS + place.length / MIN_STEP_TOKENS,
        };
        let mut rng = place.stream(NAME);
        let [person, thing] = [(); 2].map(|()| index_below(&mut rng, TWO));
        let story = Story::draw(&mut rng, units.max);
        PromptText::fill(&units, place, material, |num_steps| {
            let story = story.first(num_steps);
            let pair = Pair {
                story: &story,
                person,
                thing,
            };
            PromptText {
                context: context(&story),
                asked: ask(&pair),
            }
        })
    }
}

fn context(story: &Story) -> Context {
    let mut spread = Spread::default();
    for line in story.lines() {
        spread.push(&line, true);
    }
    Context {
        num_units: story.events.len(),
        ..spread.context()
    }
}

fn ask(pair: &Pair<'_>) -> Asked {
    let text = answer(pair);
    Asked {
        instruction: instruction(),
        question: question(pair),
        cue: CUE.to_owned(),
        answer: text.clone(),
        gold: Gold::Trace { text },
        // The answer's own tokens.
        limit: 0,
    }
}

/// What stands before the story that counts.
fn instruction() -> String {
    let story = example();
    let pair = Pair {
        story: &story,
        person: 1,
        thing: 0,
    };
    let lines = story.lines().concat();
    let (question, answer) = (question(&pair), answer(&pair));
    format!("{ANNOUNCEMENT}{EXAMPLE}{lines}{question}{CUE}{answer}\n{REST}")
}

fn question(pair: &Pair<'_>) -> String {
    let (person, thing) = pair.names();
    format!("Follow {person} and the {thing} through the story above.\n")
}

fn answer(pair: &Pair<'_>) -> String {
    format!("{}\nAnswer: {}", pair.trace().join("\n"), pair.last())
}

/// A story in which the second person does not see the first thing, sees it, is wrong about it, and sees it again.
fn example() -> Story {
    Story {
        cast: Cast::example(),
        start: State {
            people: [Some(0), Some(1)],
            things: [(0, 0), (1, 0)],
        },
        events: vec![
            (1, Deed::Go),
            (1, Deed::Leave),
            (0, Deed::Move(0)),
            (1, Deed::Enter(1)),
            (0, Deed::Carry(0, 1)),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_shows_every_kind_of_step_and_belief() {
        let expected = "\
            An example:\n\
            Step 0: Nils is in the hall. Vera is in the shed. The ball is in the hall bag. The comb is in the shed bin.\n\
            Step 1: Vera goes to the hall.\n\
            Step 2: Vera leaves.\n\
            Step 3: Nils moves the ball to the hall tub.\n\
            Step 4: Vera enters the shed.\n\
            Step 5: Nils carries the ball to the shed case.\n\
            Follow Vera and the ball through the story above.\n\
            Trace:\n\
            - Step 0: Vera: shed; ball: hall bag; belief: none\n\
            - Step 1: Vera: hall; ball: hall bag; belief: hall bag\n\
            - Step 2: Vera: nowhere; ball: hall bag; belief: hall bag\n\
            - Step 3: Vera: nowhere; ball: hall tub; belief: hall bag\n\
            - Step 4: Vera: shed; ball: hall tub; belief: hall bag\n\
            - Step 5: Vera: shed; ball: shed case; belief: shed case\n\
            Answer: shed case\n\
            Now the story that counts:\n";
        assert_eq!(instruction().strip_prefix(ANNOUNCEMENT), Some(expected));
    }
}
