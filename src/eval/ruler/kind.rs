//! Keys and values that needles name.

use crate::data::generate::fact::word_lists;
use crate::random::{below, index_below};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeSet;

/// What a key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// `able-crab`: an adjective and the name of an animal or a plant.
    Words,
    /// As [`ValueKind::Uuid`].
    Uuid,
}

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueKind {
    /// Seven digits, the first not zero.
    Number,
    /// `f81d4fae-7dec-41d0-a765-00a0c91e6bf6`: 122 random bits.
    Uuid,
}

impl KeyKind {
    /// Most that are drawn for one item: there are about 117,000 pairs of words.
    pub const MAX_DISTINCT: usize = 100_000;

    /// Draws keys without end, all different, and none of them in `text` in any case.
    ///
    /// At most [`MAX_DISTINCT`](Self::MAX_DISTINCT) should be taken.
    pub fn draw_distinct<'a>(
        self,
        rng: &'a mut ChaCha8Rng,
        text: &str,
    ) -> impl Iterator<Item = String> + use<'a> {
        distinct(
            rng,
            text,
            match self {
                Self::Words => words,
                Self::Uuid => uuid,
            },
        )
    }
}

impl ValueKind {
    /// Draws values without end, all different, and none of them in `text` in any case. All have one length, so that none
    /// is a part of another.
    pub fn draw_distinct<'a>(
        self,
        rng: &'a mut ChaCha8Rng,
        text: &str,
    ) -> impl Iterator<Item = String> + use<'a> {
        distinct(
            rng,
            text,
            match self {
                Self::Number => number,
                Self::Uuid => uuid,
            },
        )
    }

    /// What a value is called.
    pub fn noun(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Uuid => "identifier",
        }
    }

    /// Probability that a guess of this form is a given value.
    pub fn chance(self) -> f64 {
        match self {
            Self::Number => 1.0 / 9e6,
            // 2^-122.
            Self::Uuid => 0.0,
        }
    }
}

/// Draws things without end, all different, and none of them in `text` in any case.
pub fn distinct<'a>(
    rng: &'a mut ChaCha8Rng,
    text: &str,
    draw: fn(&mut ChaCha8Rng) -> String,
) -> impl Iterator<Item = String> + use<'a> {
    let text = text.to_lowercase();
    let mut drawn = BTreeSet::new();
    std::iter::repeat_with(move || {
        loop {
            let thing = draw(rng);
            if !text.contains(&thing.to_lowercase()) && drawn.insert(thing.clone()) {
                break thing;
            }
        }
    })
}

fn number(rng: &mut ChaCha8Rng) -> String {
    (1_000_000 + below(rng, 9_000_000)).to_string()
}

fn words(rng: &mut ChaCha8Rng) -> String {
    let [adjectives, animals, plants] = word_lists();
    let adjective = adjectives[index_below(rng, adjectives.len())];
    let noun = index_below(rng, animals.len() + plants.len());
    let noun = animals.iter().chain(plants).nth(noun);
    format!("{adjective}-{}", noun.unwrap_or(&""))
}

/// A random UUID: version 4, variant 1.
fn uuid(rng: &mut ChaCha8Rng) -> String {
    let (high, low) = (rng.next_u64(), rng.next_u64());
    let high = high & !0xf000 | 0x4000;
    let low = low & !(0b11 << 62) | 0b10 << 62;
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xffff,
        low >> 48,
        low & 0xffff_ffff_ffff
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::stream;

    fn check(draw: impl Fn(&str) -> Vec<String>, pattern: &str) {
        let pattern = regex::Regex::new(pattern).unwrap();
        let first = draw("").remove(0);
        let drawn = draw(&format!("x{}x", first.to_uppercase()));
        let distinct: BTreeSet<&String> = drawn.iter().collect();
        assert_eq!(distinct.len(), drawn.len());
        for thing in &drawn {
            assert!(pattern.is_match(thing), "{thing}");
            assert_ne!(*thing, first, "it stands in the text");
        }
    }

    #[test]
    fn things_are_distinct_well_formed_and_not_in_the_text() {
        let rng = || stream("kind", &[1]);
        let uuid = "^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$";
        for (kind, pattern) in [(KeyKind::Words, "^[a-z]+-[a-z]+$"), (KeyKind::Uuid, uuid)] {
            let draw = |text: &str| kind.draw_distinct(&mut rng(), text).take(2_000).collect();
            check(draw, pattern);
        }
        for (kind, pattern) in [
            (ValueKind::Number, "^[1-9][0-9]{6}$"),
            (ValueKind::Uuid, uuid),
        ] {
            let draw = |text: &str| kind.draw_distinct(&mut rng(), text).take(2_000).collect();
            check(draw, pattern);
        }
    }

    #[test]
    fn there_are_as_many_pairs_of_words_as_the_limit_needs() {
        let [adjectives, animals, plants] = word_lists();
        let pairs = adjectives.len() * (animals.len() + plants.len());
        assert_eq!(pairs, 117_327);
        assert!(pairs > KeyKind::MAX_DISTINCT);
    }
}
