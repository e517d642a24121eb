//! `random.Random` of `CPython`: the Mersenne Twister and the draws made from it.
//!
//! Followed: seeding by an integer, `getrandbits`, `randrange`, `random`, `choices`, `sample` and `shuffle` of Python 3.

use rand_mt::Mt;
use std::collections::BTreeSet;

/// Bits of one draw of the Mersenne Twister.
const WORD_BITS: u32 = 32;

/// Up to how many entries `sample` copies them all, before it considers how many are wanted.
const SMALL_POOL: usize = 21;

/// A generator in the state that `CPython`'s would have.
#[derive(Debug, Clone)]
pub struct Python {
    twister: Mt,
}

impl Python {
    /// The generator of `random.Random(seed)`, or of the module after `random.seed(seed)`.
    pub fn new(seed: u64) -> Self {
        let words = [low_word(seed), low_word(seed >> WORD_BITS)];
        let used = if words[1] == 0 { 1 } else { 2 };
        Self {
            twister: Mt::new_with_key(words.into_iter().take(used)),
        }
    }

    /// An integer of `count` random bits, at most 128: `getrandbits`.
    pub fn bits(&mut self, count: u32) -> u128 {
        let mut value = 0;
        let mut filled = 0;
        while filled < count {
            let wanted = (count - filled).min(WORD_BITS);
            let word = self.twister.next_u32() >> (WORD_BITS - wanted);
            value |= u128::from(word) << filled;
            filled += wanted;
        }
        value
    }

    /// An index in `0..bound`: `randrange(bound)`.
    ///
    /// # Panics
    /// If `bound` is zero: an empty range has no element.
    pub fn below(&mut self, bound: usize) -> usize {
        assert!(bound > 0, "cannot draw from an empty range");
        let count = usize::BITS - bound.leading_zeros();
        loop {
            let drawn = usize::try_from(self.bits(count)).unwrap_or(usize::MAX);
            if drawn < bound {
                return drawn;
            }
        }
    }

    /// An integer in `low..=high`: `randint(low, high)`.
    ///
    /// # Panics
    /// If `high < low`.
    pub fn between(&mut self, low: usize, high: usize) -> usize {
        assert!(low <= high, "cannot draw from an empty range");
        low + self.below(high - low + 1)
    }

    /// A number in [0, 1) with 53 random bits: `random()`.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit an f64 exactly")]
    pub fn unit(&mut self) -> f64 {
        let high = u64::from(self.twister.next_u32() >> 5);
        let low = u64::from(self.twister.next_u32() >> 6);
        ((high << 26) + low) as f64 / (1_u64 << 53) as f64
    }

    /// `count` indices of `0..len`, each drawn from all of them: `choices(range(len), k=count)`.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "CPython multiplies floats here; the product is in 0..len"
    )]
    pub fn choices(&mut self, len: usize, count: usize) -> Vec<usize> {
        let draw = |_| (self.unit() * len as f64) as usize;
        (0..count).map(draw).collect()
    }

    /// `count` different indices of `0..len` in random order: `sample(range(len), count)`.
    ///
    /// # Panics
    /// If `count > len`.
    pub fn sample(&mut self, len: usize, count: usize) -> Vec<usize> {
        assert!(count <= len, "cannot sample {count} of {len}");
        if len <= pool_limit(count) {
            self.sample_from_pool(len, count)
        } else {
            self.sample_again(len, count)
        }
    }

    /// Draws from a copy of the entries; the last remaining one takes the place of the one drawn.
    fn sample_from_pool(&mut self, len: usize, count: usize) -> Vec<usize> {
        let mut pool: Vec<usize> = (0..len).collect();
        let draw = |taken| {
            let at = self.below(len - taken);
            let drawn = pool[at];
            pool[at] = pool[len - taken - 1];
            drawn
        };
        (0..count).map(draw).collect()
    }

    /// Draws until the entry is a new one.
    fn sample_again(&mut self, len: usize, count: usize) -> Vec<usize> {
        let mut seen = BTreeSet::new();
        let mut picked = Vec::with_capacity(count);
        while picked.len() < count {
            let drawn = self.below(len);
            if seen.insert(drawn) {
                picked.push(drawn);
            }
        }
        picked
    }

    /// Puts `items` in random order: `shuffle`.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

/// Up to how many entries `sample` copies them all if `count` are wanted.
fn pool_limit(count: usize) -> usize {
    if count <= 5 {
        return SMALL_POOL;
    }
    // 3 count is never a power of 4, so the logarithm that CPython rounds up is exact enough there.
    let powers = std::iter::successors(Some(1_usize), |power| power.checked_mul(4));
    let table = powers.skip_while(|power| *power < 3 * count).take(1);
    table.fold(SMALL_POOL, usize::saturating_add)
}

#[expect(clippy::cast_possible_truncation, reason = "the low half is meant")]
fn low_word(value: u64) -> u32 {
    value as u32
}
