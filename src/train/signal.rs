//! Requests to stop: signals set a flag, and the training loop looks at it at every micro-batch.
//!
//! The first SIGTERM, SIGINT, SIGUSR1 or SIGUSR2 asks for a checkpoint and exit code 75. A second SIGINT ends the process at
//! once with 130, from inside the signal handler, whatever the program is doing.

use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::flag;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Exit code of a second SIGINT.
const INTERRUPTED_HARD: i32 = 130;

/// The flag; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Interrupt {
    /// Number of the last signal; 0 means none.
    signal: Arc<AtomicUsize>,
}

impl Interrupt {
    /// A flag that no signal sets; only [`request`](Self::request) does.
    pub fn detached() -> Self {
        Self::default()
    }

    /// Installs the handlers for the rest of the process's life.
    ///
    /// # Errors
    /// The operating system's.
    pub fn install() -> io::Result<Self> {
        let interrupt = Self::default();
        let seen_once = Arc::new(AtomicBool::new(false));
        // In this order: the first SIGINT finds the condition unset and sets it, the second finds it set.
        flag::register_conditional_shutdown(SIGINT, INTERRUPTED_HARD, Arc::clone(&seen_once))?;
        flag::register(SIGINT, seen_once)?;
        for signal in [SIGTERM, SIGINT, SIGUSR1, SIGUSR2] {
            let number = usize::try_from(signal).unwrap_or_default();
            flag::register_usize(signal, Arc::clone(&interrupt.signal), number)?;
        }
        Ok(interrupt)
    }

    /// Whether the run should save and stop.
    pub fn requested(&self) -> bool {
        self.signal.load(Ordering::Relaxed) != 0
    }

    /// Asks for it as SIGTERM would.
    pub fn request(&self) {
        let number = usize::try_from(SIGTERM).unwrap_or_default();
        self.signal.store(number, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_seen_by_every_clone() {
        let interrupt = Interrupt::detached();
        let clone = interrupt.clone();
        assert!(!clone.requested());
        interrupt.request();
        assert!(clone.requested());
    }

    #[test]
    fn a_signal_sets_the_flag_and_leaves_the_process_alive() {
        let interrupt = Interrupt::install().unwrap();
        let pid = rustix::process::getpid();
        rustix::process::kill_process(pid, rustix::process::Signal::USR1).unwrap();
        while !interrupt.requested() {
            std::thread::yield_now();
        }
    }
}
