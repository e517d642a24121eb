//! `path_traversal`: one connection leads out of every city, and the whole route between two of them is asked for.
//!
//! ```text
//! From Bakori a ferry goes to Tunelo.
//! From Madisu a bus goes to Bakori.
//! ...
//! <Route>
//! Madisu -> Bakori (bus)
//! Bakori -> Tunelo (ferry)
//! ```
//!
//! # Decisions
//! - The world is `LongProc`'s: as many other cities beside those of the route, nearly all of which lead into it. A step of the
//!   route is one unit; other cities are added in proportion, so that a longer route is no easier to find.
//! - Connections stand in any order, so there is no place to choose: an item's depth is the mean place of those of the route
//!   among all, about the middle, and its distance that of the last one.

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
use crate::eval::ruler::spread::Spread;
use crate::eval::scoring::Scoring;
use crate::eval::units::Units;
use roads::{Road, Roads};
use std::collections::BTreeSet;

mod roads;

/// The task's name on the command line and in results.
const NAME: &str = "path_traversal";

/// Fewest steps of a route.
const MIN_STEPS: usize = 4;

/// No tokenizer writes a step, a connection of eight words and a line of the answer, in fewer.
const MIN_STEP_TOKENS: usize = 12;

const ANNOUNCEMENT: &str = "Each line below is a connection from one city to another by bus, train, plane or ferry. It goes in \
    that direction only, and no city has more than one connection out of it. To find the route between two cities, start at the \
    first and take the connection out of every city you come to, until you are at the second. Write the steps of the route \
    between <Route> and </Route>, one a line, as in the example.\n";

const EXAMPLE: &str = "An example:\n";
const REST: &str = "Now the connections that count:\n";
const CUE: &str = "<Route>\n";
const CLOSE: &str = "\n</Route>";

/// The worked example's cities, those of its route first.
const EXAMPLE_CITIES: [&str; 5] = ["Ombrel", "Tarsk", "Wielno", "Quend", "Hathby"];

/// Its connections.
const EXAMPLE_ROADS: [(usize, usize, &str); 4] = [
    (2, 3, "train"),
    (4, 1, "bus"),
    (0, 1, "ferry"),
    (1, 2, "plane"),
];

/// The task.
#[derive(Debug, Clone, Copy)]
pub struct PathTraversal;

impl Generated for PathTraversal {
    fn card(&self) -> Card {
        Card {
            name: NAME,
            about: "all steps of the route between two invented cities, one connection leading out of each",
            category: Category::Procedure,
            metric: Metric::Accuracy,
            also: &[Metric::PartialAccuracy, Metric::ExtractionRate],
            headline: Scoring::Strict,
            reading: Reading::Whole,
            // Cities out of 34,000 names, one after the other; none is guessed.
            chance: 0.0,
            needs: Needs::Nothing,
            proxy: false,
        }
    }

    fn item(&self, material: &Material<'_>, place: &Place) -> Result<Item, EvalError> {
        let most = MIN_STEPS + place.length / MIN_STEP_TOKENS;
        let units = Units {
            task: NAME,
            name: "steps",
            min: MIN_STEPS,
            max: most.min(MAX_WORDS / 2 - 1),
        };
        let names = draw_names(place, Roads::most_cities(units.max));
        PromptText::fill(&units, place, material, |num_steps| {
            let mut rng = place.stream("path_traversal roads");
            let problem = Problem {
                roads: Roads::draw(&mut rng, num_steps),
                names: &names,
                num_steps,
            };
            PromptText {
                context: problem.context(),
                asked: problem.ask(),
            }
        })
    }
}

/// Different names of so many cities, none of them elsewhere in the prompt.
fn draw_names(place: &Place, num_cities: usize) -> Vec<String> {
    let fixed = [&instruction(), CUE, CLOSE].concat();
    let mut rng = place.stream(NAME);
    draw_distinct(&mut rng, &fixed)
        .take(num_cities)
        .map(|name| name[..1].to_uppercase() + &name[1..])
        .collect()
}

/// What stands before the connections that count.
fn instruction() -> String {
    let road = |(from, to, kind)| Road { from, to, kind };
    let example = Problem {
        roads: Roads {
            all: EXAMPLE_ROADS.map(road).to_vec(),
        },
        names: &EXAMPLE_CITIES.map(str::to_owned),
        num_steps: 3,
    };
    [
        ANNOUNCEMENT,
        EXAMPLE,
        &example.context().text,
        &example.question(),
        CUE,
        &example.steps(),
        CLOSE,
        "\n",
        REST,
    ]
    .concat()
}

/// A route from city 0 to city `num_steps` to be found.
struct Problem<'a> {
    roads: Roads,
    names: &'a [String],
    num_steps: usize,
}

impl Problem<'_> {
    fn route(&self) -> Vec<Road> {
        let route = self.roads.route(0, self.num_steps);
        route.unwrap_or_default()
    }

    fn context(&self) -> Context {
        let on_route: BTreeSet<usize> = self.route().iter().map(|road| road.from).collect();
        let mut spread = Spread::default();
        for road in &self.roads.all {
            let Road { from, to, kind } = *road;
            let [start, end] = [from, to].map(|city| &self.names[city]);
            let line = format!("From {start} a {kind} goes to {end}.\n");
            spread.push(&line, on_route.contains(&from));
        }
        Context {
            num_units: self.num_steps,
            ..spread.context()
        }
    }

    fn question(&self) -> String {
        let [from, to] = [0, self.num_steps].map(|city| &self.names[city]);
        format!("What is the route from {from} to {to}?\n")
    }

    /// The answer, line by line.
    fn steps(&self) -> String {
        let step = |road: &Road| {
            let [from, to] = [road.from, road.to].map(|city| &self.names[city]);
            format!("{from} -> {to} ({})", road.kind)
        };
        let steps: Vec<String> = self.route().iter().map(step).collect();
        steps.join("\n")
    }

    fn ask(&self) -> Asked {
        let text = self.steps();
        Asked {
            instruction: instruction(),
            question: self.question(),
            cue: CUE.to_owned(),
            answer: format!("{text}{CLOSE}"),
            gold: Gold::Route { text },
            // The answer's own tokens.
            limit: 0,
        }
    }
}
