//! Exhausted memory, which libtorch reports by throwing, as an error.
//!
//! # Decisions
//! Inner arithmetic uses tch's panicking methods; one guard stands around each sequence. The text is libtorch's own and
//! the only sign there is; a text it does not know goes on as the panic it was.

use super::error::InferError;
use crate::fault::AnyFault;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// What libtorch's allocators say, in lower case: CUDA's and the CPU's.
const EXHAUSTED: [&str; 3] = [
    "out of memory",
    "can't allocate memory",
    "not enough memory",
];

/// Runs `body`; running out of memory inside becomes [`InferError::OutOfMemory`].
///
/// # Errors
/// That, and the errors of `body`.
pub(super) fn guard<T>(body: impl FnOnce() -> Result<T, AnyFault>) -> Result<T, AnyFault> {
    // What `body` leaves behind is its own sequence's caches, which are dropped.
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(result) => result,
        Err(panic) => match exhausted(&*panic) {
            Some(detail) => Err(InferError::OutOfMemory { detail }.into()),
            None => resume_unwind(panic),
        },
    }
}

/// The line that says that memory ran out, if the panic is about that.
fn exhausted(panic: &(dyn Any + Send)) -> Option<String> {
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

    #[test]
    fn a_tensor_too_large_for_the_machine_is_an_error() {
        let error = guard(|| {
            Ok(tch::Tensor::zeros(
                [1 << 50],
                (tch::Kind::Float, tch::Device::Cpu),
            ))
        })
        .unwrap_err();
        assert_eq!(error.code(), "infer.out_of_memory");
        assert!(error.hint().unwrap().contains("--lengths"));
    }

    #[test]
    fn other_panics_go_on() {
        let panic = catch_unwind(|| guard(|| -> Result<(), AnyFault> { panic!("a defect") }));
        assert_eq!(panic.unwrap_err().downcast_ref::<&str>(), Some(&"a defect"));
    }
}
