//! Sums that tiles of keys add to in ascending order, whichever thread comes first: no count of threads changes a bit.

use super::super::buffer::Buffer;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a thread sleeps before it looks whether it waits in vain.
const PATIENCE: Duration = Duration::from_millis(100);

/// Sums, zero until the first turn.
#[derive(Debug, Default)]
pub(super) struct InTurn {
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// The tile of keys that was added last.
    last: Option<usize>,
    num_waiting: usize,
    sums: Buffer,
}

/// The right to add, until [`Turn::end`].
#[derive(Debug)]
pub(super) struct Turn<'a> {
    state: MutexGuard<'a, State>,
    ended: &'a Condvar,
}

impl InTurn {
    /// Waits until the tile of keys `after` has been added, or for nothing; the sums are `len` numbers.
    ///
    /// # Panics
    /// If another thread panicked: what is waited for will not come.
    pub(super) fn turn(&self, after: Option<usize>, len: usize, workers: &Workers) -> Turn<'_> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while state.last != after {
            assert!(!workers.has_panicked(), "another thread's panic");
            state.num_waiting += 1;
            let woken = self.ended.wait_timeout(state, PATIENCE);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
            state.num_waiting -= 1;
        }
        if state.last.is_none() {
            state.sums = Buffer::zeros(len);
        }
        Turn {
            state,
            ended: &self.ended,
        }
    }

    /// The sums; none if nothing was added.
    pub(super) fn into_sums(self) -> Option<Buffer> {
        let state = self.state.into_inner();
        let State { last, sums, .. } = state.unwrap_or_else(PoisonError::into_inner);
        last.is_some().then_some(sums)
    }
}

impl Turn<'_> {
    pub(super) fn sums(&mut self) -> &mut [f32] {
        &mut self.state.sums
    }

    /// The tile of keys `tile` has been added.
    pub(super) fn end(self, tile: usize) {
        let Self { mut state, ended } = self;
        state.last = Some(tile);
        let is_awaited = state.num_waiting > 0;
        drop(state);
        if is_awaited {
            ended.notify_all();
        }
    }
}

/// Whether a thread that others may wait for is gone.
#[derive(Debug, Default)]
pub(super) struct Workers {
    has_panicked: AtomicBool,
}

impl Workers {
    fn has_panicked(&self) -> bool {
        self.has_panicked.load(Ordering::Relaxed)
    }
}

/// Notes the panic of the thread that it lives in.
#[derive(Debug)]
pub(super) struct Watch<'a>(pub(super) &'a Workers);

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.has_panicked.store(true, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_taken_in_order_whoever_asks_first() {
        let (sums, workers) = (InTurn::default(), Workers::default());
        std::thread::scope(|scope| {
            for tile in (0..20_u8).rev() {
                let (sums, workers) = (&sums, &workers);
                scope.spawn(move || {
                    let after = tile.checked_sub(1).map(usize::from);
                    let mut turn = sums.turn(after, 1, workers);
                    let sum = &mut turn.sums()[0];
                    *sum = *sum * 0.5 + f32::from(tile);
                    turn.end(usize::from(tile));
                });
            }
        });
        let expected = (0..20_u8).fold(0.0, |sum, tile| sum * 0.5 + f32::from(tile));
        let found = sums.into_sums().unwrap()[0];
        assert_eq!(found.to_bits(), expected.to_bits());
        assert!(InTurn::default().into_sums().is_none());
    }

    #[test]
    fn nobody_waits_for_a_thread_that_is_gone() {
        let (sums, workers) = (InTurn::default(), Workers::default());
        let waits = std::thread::scope(|scope| {
            let gone = scope.spawn(|| {
                let _watch = Watch(&workers);
                panic!("gone");
            });
            let waiting = scope.spawn(|| sums.turn(Some(0), 1, &workers).end(1));
            assert!(gone.join().is_err());
            waiting.join()
        });
        assert!(waits.is_err());
    }
}
