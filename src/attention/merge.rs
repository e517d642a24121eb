//! Joining attention over disjoint key sets through their normalisers.
//!
//! `lse = logaddexp(lse_A, lse_B)`, `O = exp(lse_A - lse) O_A + exp(lse_B - lse) O_B`; associative, and an empty set
//! (`lse = -inf`) contributes nothing.

use super::{Attended, wide};
use tch::Tensor;

/// Attention over the union of two disjoint key sets, for the same queries.
///
/// # Shapes
/// Both as [`Attended`] with equal shapes.
///
/// # Precision
/// Computed in f32 (f64 for f64 inputs), stored in the dtype of `a.out`.
pub fn merge(a: &Attended, b: &Attended) -> Attended {
    let lse = a.lse.logaddexp(&b.lse);
    let weighted = |part: &Attended| {
        // A row that sees nothing in either part has lse = -inf: its weights are 0, not exp(-inf + inf).
        let weight = (&part.lse - &lse)
            .exp()
            .nan_to_num(0.0, None::<f64>, None::<f64>);
        part.out.to_kind(wide(part.out.kind())) * per_row(&weight)
    };
    Attended {
        out: (weighted(a) + weighted(b)).to_kind(a.out.kind()),
        lse,
    }
}

/// `[B, H, T] -> [B, T, H, 1]`.
fn per_row(x: &Tensor) -> Tensor {
    x.transpose(1, 2).unsqueeze(-1)
}
