//! Saves a checkpoint, and waits for a full disk instead of losing the run.

use super::signal::Interrupt;
use crate::checkpoint::error::CheckpointError;
use crate::checkpoint::identity::Identity;
use crate::checkpoint::store::{CheckpointStore, Retry, Shortage};
use std::path::PathBuf;
use std::time::{Duration, Instant};

const FIRST_WAIT: Duration = Duration::from_secs(5);
const LONGEST_WAIT: Duration = Duration::from_mins(1);
/// How soon a signal ends a wait.
const SLICE: Duration = Duration::from_millis(100);

/// How a save behaves while the disk is full.
pub struct Saver<'a> {
    /// Longest time one save waits for space.
    pub patience: Duration,
    /// Ends a wait early.
    pub interrupt: &'a Interrupt,
    /// Is told about every wait.
    pub note: &'a mut dyn FnMut(&str),
}

impl Saver<'_> {
    /// Publishes the checkpoint of `step`; while there is no space, waits with growing pauses.
    ///
    /// # Errors
    /// As [`CheckpointStore::publish`], once the patience is over or a signal asks to stop.
    pub fn save(
        &mut self,
        store: &CheckpointStore,
        step: u64,
        identity: &Identity,
        files: &[(&str, &[u8])],
    ) -> Result<PathBuf, CheckpointError> {
        let mut waits = Waits::new(self.patience);
        store.publish_or_wait(step, identity, files, &mut |shortage| {
            let Some(wait) = waits.next().filter(|_| !self.interrupt.requested()) else {
                return Retry::GiveUp;
            };
            (self.note)(&explain(store, step, shortage, wait));
            self.pause(wait);
            Retry::Again
        })
    }

    fn pause(&self, wait: Duration) {
        let start = Instant::now();
        while start.elapsed() < wait && !self.interrupt.requested() {
            std::thread::sleep(SLICE.min(wait));
        }
    }
}

fn explain(store: &CheckpointStore, step: u64, shortage: Shortage, wait: Duration) -> String {
    format!(
        "no space for the checkpoint of step {step} in `{}`: free {} bytes; trying again in {} s",
        store.dir().display(),
        shortage.needed_bytes,
        wait.as_secs()
    )
}

/// Pauses that double up to a longest one, and together take no longer than a limit.
struct Waits {
    left: Duration,
    next: Duration,
}

impl Waits {
    fn new(limit: Duration) -> Self {
        Self {
            left: limit,
            next: FIRST_WAIT,
        }
    }
}

impl Iterator for Waits {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let wait = self.next.min(self.left);
        self.left -= wait;
        self.next = (2 * self.next).min(LONGEST_WAIT);
        (!wait.is_zero()).then_some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_end_at_the_limit() {
        let seconds: Vec<u64> = Waits::new(Duration::from_secs(150))
            .map(|wait| wait.as_secs())
            .collect();
        assert_eq!(seconds, [5, 10, 20, 40, 60, 15]);
        assert_eq!(Waits::new(Duration::ZERO).count(), 0);
    }

    #[test]
    fn a_save_that_succeeds_says_nothing() {
        let run = tempfile::tempdir().unwrap();
        let store = CheckpointStore::open(run.path().join("ckpt")).unwrap();
        let identity = Identity::new(&serde_json::json!({}), "model", "data");
        let mut saver = Saver {
            patience: Duration::ZERO,
            interrupt: &Interrupt::detached(),
            note: &mut |text| panic!("nothing to say, but: {text}"),
        };
        saver.save(&store, 1, &identity, &[("a", b"x")]).unwrap();
        assert_eq!(store.steps().unwrap(), [1]);
    }
}
