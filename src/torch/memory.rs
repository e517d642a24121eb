//! Exhausted memory, which libtorch reports by throwing, as an error.
//!
//! # Decisions
//! Inner arithmetic uses tch's panicking methods; one guard stands around each sequence. The text is libtorch's own and
//! the only sign there is; a text it does not know goes on as the panic it was.

use crate::fault::AnyFault;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// What libtorch's allocators say, in lower case: CUDA's and the CPU's.
const EXHAUSTED: [&str; 3] = [
    "out of memory",
    "can't allocate memory",
    "not enough memory",
];

/// Runs `body`; running out of memory inside becomes the error that `exhausted` makes of libtorch's line about it.
///
/// What `body` changed outside of itself is to be dropped then.
///
/// # Errors
/// That, and the errors of `body`.
pub fn guard<T, E: Into<AnyFault>>(
    exhausted: impl FnOnce(String) -> E,
    body: impl FnOnce() -> Result<T, AnyFault>,
) -> Result<T, AnyFault> {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(result) => result,
        Err(panic) => match line_of(&*panic) {
            Some(line) => Err(exhausted(line).into()),
            None => resume_unwind(panic),
        },
    }
}

/// The line that says that memory ran out, if the panic is about that.
fn line_of(panic: &(dyn Any + Send)) -> Option<String> {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())?;
    let says = |line: &&str| {
        let line = line.to_lowercase();
        EXHAUSTED.iter().any(|words| line.contains(words))
    };
    text.lines().find(says).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("no room: {0}")]
    struct NoRoom(String);

    impl crate::fault::Coded for NoRoom {
        fn code(&self) -> &'static str {
            "test.no_room"
        }
        fn kind(&self) -> crate::fault::Kind {
            crate::fault::Kind::Environment
        }
    }

    #[test]
    fn a_tensor_too_large_for_the_machine_is_an_error() {
        let error = guard(NoRoom, || {
            let kind = (tch::Kind::Float, tch::Device::Cpu);
            Ok(tch::Tensor::zeros([1 << 50], kind))
        });
        let text = error.unwrap_err().to_string();
        assert!(
            text.starts_with("no room: ") && !text.contains('\n'),
            "{text}"
        );
    }

    #[test]
    fn other_panics_go_on() {
        let panic =
            catch_unwind(|| guard(NoRoom, || -> Result<(), AnyFault> { panic!("a defect") }));
        assert_eq!(panic.unwrap_err().downcast_ref::<&str>(), Some(&"a defect"));
    }
}
