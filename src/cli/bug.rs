//! Panics are our bugs: what the process says about one, and its exit code 101.
//!
//! The hook only remembers the panic. A caught panic (a step that ran out of device memory) therefore prints nothing; the
//! report appears only if the panic reaches [`guard`].

use crate::cli::output;
use std::panic::{AssertUnwindSafe, PanicHookInfo};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};

/// The exit code of a bug.
const BUG: u8 = 101;

static LAST_PANIC: Mutex<Option<String>> = Mutex::new(None);

fn remember(info: &PanicHookInfo<'_>) {
    let backtrace = std::backtrace::Backtrace::capture();
    let mut last = LAST_PANIC.lock().unwrap_or_else(PoisonError::into_inner);
    *last = Some(format!("{info}\n{backtrace}"));
}

/// Runs `body`; if it panics, says what to report and ends with 101.
pub(super) fn guard(body: impl FnOnce() -> ExitCode) -> ExitCode {
    std::panic::set_hook(Box::new(remember));
    std::panic::catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|_| {
        let last = LAST_PANIC.lock().unwrap_or_else(PoisonError::into_inner);
        output::note(report(last.as_deref().unwrap_or("unknown panic")));
        ExitCode::from(BUG)
    })
}

fn report(panic: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    let panic = panic.replace('\n', "\n  ");
    format!(
        "error[bug]: prulong {version} on {os} {arch} reached a state it should not\n  {panic}\n\n\
         hint: please report these lines with the command line, the config file and the output of `prulong doctor`; \
         `RUST_BACKTRACE=1` adds a backtrace"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_names_version_place_and_what_to_send() {
        let text = report("panicked at src/span.rs:1:1:\nbroken");
        assert!(text.contains(env!("CARGO_PKG_VERSION")));
        assert!(text.contains("src/span.rs:1:1:\n  broken"));
        assert!(text.contains("prulong doctor"));
    }
}
