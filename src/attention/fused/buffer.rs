//! Numbers that begin at a cache line: a register as wide as a line is then never loaded from two.

use std::ops::{Deref, DerefMut};

/// Bytes of a cache line.
const LINE: usize = 64;

/// f32 numbers that begin at a cache line.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    numbers: Vec<f32>,
    start: usize,
    len: usize,
}

impl Buffer {
    /// `len` zeros.
    pub(super) fn zeros(len: usize) -> Self {
        let spare = LINE / size_of::<f32>();
        let numbers = vec![0.0_f32; len + spare];
        let start = numbers.as_ptr().align_offset(LINE).min(spare);
        Self {
            numbers,
            start,
            len,
        }
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.numbers[self.start..self.start + self.len]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.numbers[self.start..self.start + self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_begins_at_a_line_and_is_zero() {
        for len in [0, 1, 17, 4096] {
            let buffer = Buffer::zeros(len);
            assert_eq!(buffer.len(), len);
            assert_eq!(buffer.as_ptr().addr() % LINE, 0);
            assert!(buffer.iter().all(|x| *x == 0.0));
        }
    }
}
