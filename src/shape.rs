//! The numbers that say how a Llama's attention is laid out: layers, heads, kv heads, head_dim.
//!
//! **Invariant:** pure arithmetic; no tensors, files or clocks.

use crate::fault::{Coded, Kind};

/// Attention layout of a decoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttentionShape {
    /// Decoder blocks.
    pub num_layers: usize,
    /// Query heads per layer.
    pub num_heads: usize,
    /// Key/value heads per layer; divides `num_heads`.
    pub num_kv_heads: usize,
    /// Width of one head.
    pub head_dim: usize,
}

/// Why an [`AttentionShape`] was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShapeError {
    /// A count is zero.
    #[error("attention shape has {field} = 0")]
    Zero {
        /// The offending field.
        field: &'static str,
    },
    /// Query heads do not split evenly over kv heads.
    #[error("{num_heads} heads cannot be shared evenly by {num_kv_heads} kv heads")]
    Group {
        /// Query heads per layer.
        num_heads: usize,
        /// Key/value heads per layer.
        num_kv_heads: usize,
    },
}

impl Coded for ShapeError {
    fn code(&self) -> &'static str {
        "model.heads"
    }
    fn kind(&self) -> Kind {
        Kind::Input
    }
}

impl AttentionShape {
    /// Checks the counts.
    ///
    /// # Errors
    /// [`ShapeError::Zero`] for a zero count, [`ShapeError::Group`] if kv heads do not divide heads.
    pub fn checked(self) -> Result<Self, ShapeError> {
        let fields = [
            ("num_layers", self.num_layers),
            ("num_heads", self.num_heads),
            ("num_kv_heads", self.num_kv_heads),
            ("head_dim", self.head_dim),
        ];
        if let Some(&(field, _)) = fields.iter().find(|(_, count)| *count == 0) {
            return Err(ShapeError::Zero { field });
        }
        if !self.num_heads.is_multiple_of(self.num_kv_heads) {
            let Self {
                num_heads,
                num_kv_heads,
                ..
            } = self;
            return Err(ShapeError::Group {
                num_heads,
                num_kv_heads,
            });
        }
        Ok(self)
    }

    /// Query heads served by one kv head.
    pub fn group_size(&self) -> usize {
        self.num_heads / self.num_kv_heads
    }

    /// Gates of the whole model: one per layer and kv head.
    pub fn num_gates(&self) -> usize {
        self.num_layers * self.num_kv_heads
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uneven_groups_and_zero_counts_are_refused() {
        let shape = AttentionShape {
            num_layers: 2,
            num_heads: 8,
            num_kv_heads: 4,
            head_dim: 32,
        };
        assert_eq!(shape.checked().unwrap().group_size(), 2);
        assert_eq!(shape.num_gates(), 8);
        assert!(
            AttentionShape {
                num_kv_heads: 3,
                ..shape
            }
            .checked()
            .is_err()
        );
        assert!(
            AttentionShape {
                num_layers: 0,
                ..shape
            }
            .checked()
            .is_err()
        );
    }
}
