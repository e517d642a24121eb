//! cos and sin of the tokens of one pass, and the rotation both ways.

use super::rope;
use tch::{Device, Tensor};

/// Angles of every token of a pass, `[T, D / 2]` each, f32.
#[derive(Debug)]
pub struct Rotation {
    cos: Tensor,
    sin: Tensor,
}

impl Rotation {
    /// Angles of `positions` under `table`.
    pub fn new(table: &rope::RopeTable, positions: &[i64], device: Device) -> Self {
        let (cos, sin) = table.cos_sin(positions, device);
        Self { cos, sin }
    }

    /// Rotates queries or keys.
    ///
    /// # Shapes
    /// `x` `[T, heads, D]` -> the same.
    pub fn apply(&self, x: &Tensor) -> Tensor {
        rope::apply(x, &self.cos, &self.sin)
    }

    /// Turns a gradient by rotated queries or keys into one by the unrotated ones.
    ///
    /// # Shapes
    /// `x` `[T, heads, D]` -> the same.
    pub fn undo(&self, x: &Tensor) -> Tensor {
        rope::apply_backward(x, &self.cos, &self.sin)
    }
}
