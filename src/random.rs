//! Random numbers as functions of a purpose and its coordinates, never of what was drawn before.
//!
//! Every draw in the project comes from a ChaCha8 stream keyed by blake3 of a purpose word and integers such as
//! (seed, step, micro-batch, layer). Saving, logging or evaluating therefore cannot shift later draws, and no generator
//! state is ever saved.
//!
//! **Invariant:** libtorch's generator and the operating system's entropy are never used.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Opens the stream for `purpose` at integer coordinates `at`.
pub fn stream(purpose: &str, at: &[u64]) -> ChaCha8Rng {
    let mut hasher = blake3::Hasher::new_derive_key("prulong random stream v1");
    hasher.update(&(purpose.len() as u64).to_le_bytes());
    hasher.update(purpose.as_bytes());
    for coordinate in at {
        hasher.update(&coordinate.to_le_bytes());
    }
    ChaCha8Rng::from_seed(*hasher.finalize().as_bytes())
}

/// Draws a uniform f64 in [0, 1) with 53 random bits; fixed here so that library updates cannot change it.
#[expect(clippy::cast_precision_loss, reason = "53 bits fit an f64 exactly")]
pub fn uniform(rng: &mut ChaCha8Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
}

/// Draws an integer in `0..bound` without modulo bias (Lemire's multiply-and-reject).
///
/// # Panics
/// If `bound` is zero: an empty range has no element.
pub fn below(rng: &mut ChaCha8Rng, bound: u64) -> u64 {
    assert!(bound > 0, "cannot draw from an empty range");
    let threshold = bound.wrapping_neg() % bound;
    loop {
        let wide = u128::from(rng.next_u64()) * u128::from(bound);
        if (wide & u128::from(u64::MAX)) >= u128::from(threshold) {
            return u64::try_from(wide >> 64).unwrap_or(u64::MAX);
        }
    }
}

/// Draws an index in `0..bound`.
///
/// # Panics
/// If `bound` is zero.
pub fn index_below(rng: &mut ChaCha8Rng, bound: usize) -> usize {
    usize::try_from(below(rng, bound as u64)).unwrap_or_else(|_| unreachable!("below a usize"))
}

/// Shuffles `items` by Fisher and Yates.
pub fn shuffle<T>(rng: &mut ChaCha8Rng, items: &mut [T]) {
    for last in (1..items.len()).rev() {
        items.swap(last, index_below(rng, last + 1));
    }
}

/// The permutation of `0..n` for `purpose` at `at`: data.md's `Perm`.
pub fn permutation(purpose: &str, at: &[u64], n: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    shuffle(&mut stream(purpose, at), &mut order);
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_depend_on_every_coordinate_and_nothing_else() {
        let draw = |purpose: &str, at: &[u64]| stream(purpose, at).next_u64();
        assert_eq!(draw("a", &[1, 2]), draw("a", &[1, 2]));
        assert_ne!(draw("a", &[1, 2]), draw("a", &[2, 1]));
        assert_ne!(draw("a", &[1, 2]), draw("b", &[1, 2]));
        assert_ne!(draw("a", &[1]), draw("a", &[1, 0]));
    }

    #[test]
    fn below_covers_its_range_evenly() {
        let mut rng = stream("below", &[0]);
        let mut counts = [0_u32; 5];
        for _ in 0..5000 {
            counts[usize::try_from(below(&mut rng, 5)).unwrap()] += 1;
        }
        assert!(
            counts.iter().all(|count| (900..1100).contains(count)),
            "{counts:?}"
        );
    }

    #[test]
    fn a_permutation_holds_every_index_once() {
        let mut order = permutation("order", &[3], 100);
        assert_ne!(order, (0..100).collect::<Vec<_>>());
        order.sort_unstable();
        assert_eq!(order, (0..100).collect::<Vec<_>>());
    }
}
