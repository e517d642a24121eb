//! Work shared out to the threads that libtorch computes with.

use crate::torch::threads;
use rayon::prelude::*;
use std::sync::{Mutex, PoisonError};

/// Numbers of scores from which another thread is worth waking.
const MIN_SHARED_SCORES: usize = 1 << 18;

/// How many threads a problem of so many scores is worth.
pub(super) fn num_threads(num_scores: usize) -> usize {
    if num_scores < MIN_SHARED_SCORES {
        1
    } else {
        threads::threads()
    }
}

/// Does `work` on all items: every thread takes the next one as it has done with the last, in the order of `items`.
///
/// `scratch` makes what a thread works in. An item that waits for an earlier one waits for something that is being worked on,
/// as long as `work` shares out no work itself.
pub(super) fn each<T: Send, S>(
    num_threads: usize,
    items: Vec<T>,
    scratch: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, T) + Sync,
) {
    if num_threads <= 1 || items.len() <= 1 {
        let mut scratch = scratch();
        for item in items {
            work(&mut scratch, item);
        }
        return;
    }
    let num_threads = num_threads.min(items.len());
    let items = Mutex::new(items.into_iter());
    let next = || {
        let mut items = items.lock().unwrap_or_else(PoisonError::into_inner);
        items.next()
    };
    (0..num_threads).into_par_iter().for_each(|_| {
        let mut scratch = scratch();
        while let Some(item) = next() {
            work(&mut scratch, item);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_done_once_whatever_the_threads() {
        for threads in [1, 2, 5, 40] {
            let mut squares = [0; 23];
            let items: Vec<(usize, &mut usize)> = squares.iter_mut().enumerate().collect();
            each(threads, items, || (), |(), (x, square)| *square += x * x);
            assert!(
                squares
                    .iter()
                    .enumerate()
                    .all(|(x, square)| *square == x * x)
            );
        }
    }
}
