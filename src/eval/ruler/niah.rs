//! Needle in a haystack: values are hidden under their keys in a long text, and those of some keys are asked for.
//!
//! # Decisions
//! The first needle asked for stands at the depth of the item; where several are asked for, or others only distract, those
//! stand anywhere. The distance of an item is that of the last needle asked for.

use super::essay::{self, Essay};
use super::kind::{KeyKind, ValueKind};
use super::needle::{Needle, Wording};
use super::noise;
use crate::eval::error::EvalError;
use crate::eval::item::Item;
use crate::eval::material::Material;
use crate::eval::metric::registry::Metric;
use crate::eval::plan::{Place, depth_of};
use crate::eval::prompt_text::{Asked, Context, PromptText};
use crate::eval::reading::Reading;
use crate::eval::scoring::Scoring;
use crate::eval::task::{Card, Category, Generated, Needs};
use crate::eval::units::Units;
use rand_chacha::ChaCha8Rng;

/// Fewest lines between which a model must tell.
const MIN_LINES: usize = 2;

/// Fewest sentences of natural text.
const MIN_SENTENCES: usize = 4;

/// No tokenizer writes a needle, seven words, in fewer.
const MIN_NEEDLE_TOKENS: usize = 7;

/// One task of the family.
#[derive(Debug, Clone, Copy)]
pub struct Niah {
    /// Its name.
    pub name: &'static str,
    /// What it asks.
    pub about: &'static str,
    /// What hides the needles.
    pub haystack: Hay,
    /// What keys are.
    pub keys: KeyKind,
    /// What values are.
    pub values: ValueKind,
    /// Keys hidden in noise or natural text.
    pub num_keys: usize,
    /// Values of each key.
    pub num_values: usize,
    /// Keys asked for.
    pub num_queries: usize,
    /// Most tokens of an output, as in HELMET.
    pub limit: usize,
}

/// What hides the needles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hay {
    /// One line again and again.
    Noise,
    /// Other needles: every line is one.
    Needles,
    /// Natural text, which stands in for the essays of the published task.
    Essay,
}

impl Generated for Niah {
    fn card(&self) -> Card {
        Card {
            name: self.name,
            about: self.about,
            category: Category::Recall,
            metric: Metric::RulerRecall,
            also: &[Metric::RulerAny],
            headline: Scoring::Strict,
            reading: Reading::Whole,
            chance: self.values.chance(),
            proxy: false,
            needs: match self.haystack {
                Hay::Noise | Hay::Needles => Needs::Nothing,
                Hay::Essay => Needs::Haystack,
            },
        }
    }

    fn item(&self, material: &Material<'_>, place: &Place) -> Result<Item, EvalError> {
        let mut rng = place.stream(self.name);
        match self.haystack {
            Hay::Noise => self.in_noise(&mut rng, material, place),
            Hay::Needles => self.among_needles(&mut rng, material, place),
            Hay::Essay => self.in_essay(&mut rng, material, place),
        }
    }
}

impl Niah {
    fn in_noise(
        &self,
        rng: &mut ChaCha8Rng,
        material: &Material<'_>,
        place: &Place,
    ) -> Result<Item, EvalError> {
        let wording = self.wording(1);
        let needles = self.needles(rng, "", 1);
        let asked = wording.ask(&needles, self.limit);
        let sentence = wording.sentence(&needles[0]);
        let units = Units {
            task: self.name,
            name: "lines",
            min: MIN_LINES,
            max: MIN_LINES + place.length / noise::MIN_LINE_TOKENS,
        };
        PromptText::fill(&units, place, material, |num_lines| {
            let at = place.index_among(num_lines);
            let (text, needle_end) = noise::hide(num_lines, &[(at, sentence.clone())]);
            let context = Context {
                text,
                needle_end,
                depth: depth_of(at, num_lines),
                num_units: num_lines,
            };
            prompt(context, &asked)
        })
    }

    fn among_needles(
        &self,
        rng: &mut ChaCha8Rng,
        material: &Material<'_>,
        place: &Place,
    ) -> Result<Item, EvalError> {
        let most = MIN_LINES + place.length / MIN_NEEDLE_TOKENS;
        let units = Units {
            task: self.name,
            name: "keys",
            min: MIN_LINES,
            max: most.min(KeyKind::MAX_DISTINCT),
        };
        let wording = self.wording(units.max);
        let needles = self.needles(rng, "", units.max);
        let line = |needle| wording.sentence(needle) + "\n";
        let lines: Vec<String> = needles.iter().map(line).collect();
        PromptText::fill(&units, place, material, |num_lines| {
            let at = place.index_among(num_lines);
            let before: usize = lines[..=at].iter().map(String::len).sum();
            let context = Context {
                text: lines[..num_lines].concat(),
                needle_end: before,
                depth: depth_of(at, num_lines),
                num_units: num_lines,
            };
            prompt(context, &wording.ask(&needles[at..=at], self.limit))
        })
    }

    fn in_essay(
        &self,
        rng: &mut ChaCha8Rng,
        material: &Material<'_>,
        place: &Place,
    ) -> Result<Item, EvalError> {
        let essay = Essay::draw(rng, material, place.length)?;
        let num_needles = self.num_keys * self.num_values;
        let wording = self.wording(num_needles);
        let needles = self.needles(rng, &essay.text(), num_needles);
        let num_asked = self.num_queries * self.num_values;
        let asked = wording.ask(&needles[..num_asked], self.limit);
        let sentences: Vec<String> = needles.iter().map(|of| wording.sentence(of)).collect();
        let depths = essay::depths(rng, place, num_needles);
        let units = Units {
            task: self.name,
            name: "sentences of the text that was drawn",
            min: MIN_SENTENCES,
            max: essay.len(),
        };
        PromptText::fill(&units, place, material, |num| {
            let at = |depth: &usize| num * depth / 100;
            let needles: Vec<(usize, &str)> = std::iter::zip(&depths, &sentences)
                .map(|(depth, sentence)| (at(depth), sentence.as_str()))
                .collect();
            let (text, ends) = essay.hide(num, &needles);
            let context = Context {
                text,
                needle_end: ends[..num_asked].iter().copied().max().unwrap_or(0),
                depth: depth_of(at(&depths[0]), num + 1),
                num_units: num,
            };
            prompt(context, &asked)
        })
    }

    fn wording(&self, num_needles: usize) -> Wording {
        Wording {
            values: self.values,
            num_values: self.num_values,
            is_alone: num_needles == 1,
        }
    }

    /// Needles whose keys and values do not stand in `text`, those of one key together.
    fn needles(&self, rng: &mut ChaCha8Rng, text: &str, num: usize) -> Vec<Needle> {
        let num_keys = num / self.num_values;
        let keys: Vec<String> = self.keys.draw_distinct(rng, text).take(num_keys).collect();
        let keys = keys
            .iter()
            .flat_map(|key| std::iter::repeat_n(key, self.num_values));
        let values = self.values.draw_distinct(rng, text);
        keys.zip(values)
            .map(|(key, value)| Needle {
                key: key.clone(),
                value,
            })
            .collect()
    }
}

fn prompt(context: Context, asked: &Asked) -> PromptText {
    PromptText {
        context,
        asked: asked.clone(),
    }
}
