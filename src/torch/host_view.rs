//! Reading a CPU tensor's numbers where they lie.
#![expect(unsafe_code, reason = "borrows the memory behind a tensor")]

use half::bf16;
use tch::{Device, Kind, Tensor};

/// The numbers behind a tensor, from its first element to its last, whatever lies between.
#[derive(Debug, Clone, Copy)]
pub struct View<'a, T = f32> {
    values: &'a [T],
}

impl<'a, T> View<'a, T> {
    /// `len` numbers from `start` on.
    ///
    /// # Panics
    /// If they lie outside the tensor: a wrong stride is our bug.
    pub fn run(&self, start: usize, len: usize) -> &'a [T] {
        &self.values[start..start + len]
    }

    /// All numbers from the first element to the last.
    pub fn values(&self) -> &'a [T] {
        self.values
    }
}

/// Shows `read` the numbers of `tensors`; `None` unless all are f32, on the CPU, not empty and outside of autograd.
///
/// `read` must not write to any of them: a view is their memory, not a copy.
///
/// # Shapes
/// Any.
pub fn with_f32<const N: usize, R>(
    tensors: [&Tensor; N],
    read: impl FnOnce([View<'_>; N]) -> R,
) -> Option<R> {
    with_numbers(tensors, read)
}

/// As [`with_f32`], for bf16.
///
/// # Shapes
/// Any.
pub fn with_bf16<const N: usize, R>(
    tensors: [&Tensor; N],
    read: impl FnOnce([View<'_, bf16>; N]) -> R,
) -> Option<R> {
    with_numbers(tensors, read)
}

/// How a tensor's numbers lie in memory.
trait Number {
    /// The dtype of which this is a number.
    const KIND: Kind;
}

impl Number for f32 {
    const KIND: Kind = Kind::Float;
}

impl Number for bf16 {
    const KIND: Kind = Kind::BFloat16;
}

fn with_numbers<T: Number, const N: usize, R>(
    tensors: [&Tensor; N],
    read: impl FnOnce([View<'_, T>; N]) -> R,
) -> Option<R> {
    let readable = |tensor: &&Tensor| {
        tensor.device() == Device::Cpu
            && tensor.kind() == T::KIND
            && !tensor.requires_grad()
            && !tensor.is_sparse()
    };
    if !tensors.iter().all(readable) {
        return None;
    }
    let lens = tensors.map(span_len);
    if lens.contains(&0) {
        return None;
    }
    let views = std::array::from_fn(|index| {
        let start = tensors[index].data_ptr().cast::<T>();
        // SAFETY: a dense CPU tensor of `T`'s kind owns aligned memory from its first element to its last, `lens[index]`
        // numbers, and lives as long as the borrow; the caller's promise keeps others from writing meanwhile.
        let values = unsafe { std::slice::from_raw_parts(start, lens[index]) };
        View { values }
    });
    Some(read(views))
}

/// Numbers from the first element to the last; 0 for an empty tensor.
fn span_len(tensor: &Tensor) -> usize {
    let (size, stride) = (tensor.size(), tensor.stride());
    if size.contains(&0) {
        return 0;
    }
    let last: i64 = size
        .iter()
        .zip(&stride)
        .map(|(n, step)| (n - 1) * step)
        .sum();
    usize::try_from(last + 1).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_starts_at_the_first_element_and_ends_at_the_last() {
        let rows = Tensor::arange(24, (Kind::Float, Device::Cpu)).view([4, 6]);
        let part = rows.narrow(0, 1, 2).narrow(1, 2, 3);
        let read = with_f32([&part], |[part]| part.values().to_vec());
        assert_eq!(read, Some((8..17).map(|n: u8| f32::from(n)).collect()));
        let turned = rows.tr();
        let read = with_f32([&turned], |[turned]| turned.values().len());
        assert_eq!(read, Some(24));
    }

    #[test]
    fn what_is_no_plain_f32_is_not_shown() {
        let plain = Tensor::zeros([2, 2], (Kind::Float, Device::Cpu));
        let read = |tensor: &Tensor| with_f32([&plain, tensor], |_| ()).is_some();
        assert!(read(&plain));
        assert!(!read(&plain.to_kind(Kind::BFloat16)));
        assert!(!read(&plain.narrow(0, 0, 0)));
        assert!(!read(&plain.set_requires_grad(true)));
    }

    #[test]
    fn bf16_is_shown_as_bf16_alone() {
        let wide = Tensor::from_slice(&[1.0_f32, -2.5]);
        let stored = wide.to_kind(Kind::BFloat16);
        let read = |tensor: &Tensor| with_bf16([tensor], |[view]| view.values().to_vec());
        assert_eq!(
            read(&stored),
            Some([1.0, -2.5].map(bf16::from_f32).to_vec())
        );
        assert_eq!(read(&wide), None);
    }
}
