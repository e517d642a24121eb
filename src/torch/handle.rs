//! Handles that cross libtorch's C ABI: arguments are borrowed, results are adopted at once.
//!
//! **Invariant:** every handle that a call returned becomes a tensor before anything else happens, also those nobody needs
//! and those of a call that failed: a handle that is only dropped leaks its tensor.
#![expect(unsafe_code, reason = "adopts handles that libtorch hands out")]

use crate::torch::error::{TorchError, Words};
use std::ffi::c_int;
use std::ptr;
use tch::{Device, Kind, Tensor};
use torch_sys::C_tensor;

/// A tensor as an argument: borrowed for the call.
pub(super) type Handle = *const C_tensor;
/// Where a call writes a result.
pub(super) type Place = *mut *mut C_tensor;

/// Room for the handles that one call returns.
pub(super) struct Returned<const N: usize> {
    slots: [*mut C_tensor; N],
}

impl<const N: usize> Returned<N> {
    pub(super) fn new() -> Self {
        Self {
            slots: [ptr::null_mut(); N],
        }
    }

    /// Where the call writes its results, in their order.
    pub(super) fn places(&mut self) -> [Place; N] {
        let first = self.slots.as_mut_ptr();
        std::array::from_fn(|index| first.wrapping_add(index))
    }

    /// Takes over what was written; an error unless the call succeeded and wrote everything.
    pub(super) fn adopt(self, call: &Call, code: c_int) -> Result<[Tensor; N], TorchError> {
        let written = self.slots.into_iter().filter(|slot| !slot.is_null());
        let adopted: Vec<Tensor> = written
            // SAFETY: only a call writes into the slots, and it writes new handles that nobody else knows.
            .map(|slot| unsafe { Tensor::from_ptr(slot) })
            .collect();
        match adopted.try_into() {
            Ok(tensors) if code == 0 => Ok(tensors),
            _ => Err(call.failed()),
        }
    }
}

/// The address of an optional argument; null if it is absent.
pub(super) fn optional<T>(argument: Option<&T>) -> *const T {
    argument.map_or(ptr::null(), ptr::from_ref)
}

/// What is called, and how much memory it takes besides its operands.
pub(super) struct Call {
    /// Its name in messages.
    pub(super) operation: &'static str,
    /// Where it runs.
    pub(super) device: Device,
    /// Bytes it allocates.
    pub(super) bytes: i64,
}

impl Call {
    /// Why the call failed although its operands had passed our checks.
    ///
    /// The C ABI returns no text, but memory is the usual reason and can be asked for once more, where the refusal comes
    /// with libtorch's words.
    pub(super) fn failed(&self) -> TorchError {
        let probe = Tensor::f_empty([self.bytes], (Kind::Uint8, self.device));
        let reason = match probe {
            Err(error) => Words::from(error).to_string(),
            Ok(_) => "its text stands above".to_owned(),
        };
        TorchError::Operator {
            operation: self.operation,
            reason,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: Call = Call {
        operation: "a test",
        device: Device::Cpu,
        bytes: 8,
    };

    /// Hands a tensor over as libtorch does.
    fn given(mut tensor: Tensor) -> *mut C_tensor {
        let handle = tensor.as_mut_ptr();
        std::mem::forget(tensor);
        handle
    }

    fn write(place: Place, value: i64) {
        // SAFETY: `places` points into a live `Returned`.
        unsafe { place.write(given(Tensor::from(value))) };
    }

    #[test]
    fn results_come_in_the_order_of_their_places() {
        let mut returned = Returned::<2>::new();
        let [first, second] = returned.places();
        write(second, 2);
        write(first, 1);
        let [first, second] = returned.adopt(&CALL, 0).unwrap();
        assert_eq!((first.int64_value(&[]), second.int64_value(&[])), (1, 2));
    }

    #[test]
    fn a_code_and_a_missing_result_are_failures() {
        let mut returned = Returned::<2>::new();
        let [first, _] = returned.places();
        write(first, 1);
        let error = returned.adopt(&CALL, 0).unwrap_err();
        assert_eq!(
            error.to_string(),
            "libtorch failed in a test: its text stands above"
        );
        let mut returned = Returned::<1>::new();
        let [first] = returned.places();
        write(first, 1);
        assert!(returned.adopt(&CALL, 1).is_err());
    }

    #[test]
    fn a_call_that_needs_more_memory_than_there_is_says_so() {
        let call = Call {
            bytes: 1 << 50,
            ..CALL
        };
        let text = call.failed().to_string();
        assert!(text.contains("can't allocate memory"), "{text}");
    }

    #[test]
    fn an_absent_argument_is_null() {
        assert!(optional::<i64>(None).is_null());
        let value = 7_i64;
        // SAFETY: points to `value`.
        assert_eq!(unsafe { *optional(Some(&value)) }, 7);
    }
}
