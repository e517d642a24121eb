//! The feed-forward's activation, `silu(gate) * up`, forward and backward.

use crate::cuda::{active, swiglu};
use tch::Tensor;

/// `silu(gate) * up`.
///
/// # Shapes
/// Both alike; returns the same.
///
/// # Precision
/// `silu(gate)` is rounded to the dtype before the product.
pub fn forward(gate: &Tensor, up: &Tensor) -> Tensor {
    match active::kernels(gate) {
        Some(kernels) => active::done(swiglu::forward(kernels, gate, up)),
        None => gate.silu() * up,
    }
}

/// What [`backward`] gives.
#[derive(Debug)]
pub struct Grads {
    /// By `gate`.
    pub dgate: Tensor,
    /// By `up`.
    pub dup: Tensor,
    /// The forward's result again, if wanted.
    pub product: Option<Tensor>,
}

/// Whether [`backward`] gives the forward's result again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Product {
    /// It does: a weight's gradient needs it.
    Wanted,
    /// It does not.
    Unwanted,
}

/// Gradients of [`forward`] for `dy`.
///
/// # Shapes
/// All alike; returns the same.
///
/// # Precision
/// As [`forward`]; `dy * up` is rounded to the dtype too.
pub fn backward(dy: &Tensor, gate: &Tensor, up: &Tensor, product: Product) -> Grads {
    if let Some(kernels) = active::kernels(gate) {
        let product = match product {
            Product::Wanted => swiglu::Product::Wanted,
            Product::Unwanted => swiglu::Product::Unwanted,
        };
        let grads = active::done(swiglu::backward(kernels, dy, gate, up, product));
        return Grads {
            dgate: grads.dgate,
            dup: grads.dup,
            product: grads.product,
        };
    }
    let silu = gate.silu();
    Grads {
        dgate: gate.silu_backward(&(dy * up)),
        dup: dy * &silu,
        product: (product == Product::Wanted).then(|| silu * up),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attention::testing::{Naive, normal};
    use crate::cuda::testing::{on_every_device, using};
    use tch::Kind;

    /// Whole packs, one number more and less, one number.
    const SHAPES: [[i64; 2]; 4] = [[7, 64], [3, 67], [1, 1], [2, 2047]];

    #[test]
    fn the_kernel_is_as_good_as_libtorchs_operators() {
        on_every_device(|kernels, device| {
            for (shape, kind) in SHAPES
                .iter()
                .flat_map(|shape| [Kind::Float, Kind::BFloat16].map(|kind| (shape, kind)))
            {
                let exact = [1, 2, 3].map(|seed| normal(seed, shape) * 4.0);
                let of = |[dy, gate, up]: &[Tensor; 3]| {
                    let grads = backward(dy, gate, up, Product::Wanted);
                    let product = grads.product.unwrap();
                    [forward(gate, up), grads.dgate, grads.dup, product]
                };
                let naive = Naive::new(&exact, kind, device, of);
                let found = using(kernels, || of(&naive.inputs));
                for ((index, found), what) in
                    (0..).zip(&found).zip(["y", "dgate", "dup", "product"])
                {
                    naive.assert_no_worse(index, found, &format!("{what} {shape:?} {kind:?}"));
                }
                let unwanted = using(kernels, || {
                    let [dy, gate, up] = &naive.inputs;
                    backward(dy, gate, up, Product::Unwanted)
                });
                assert!(unwanted.product.is_none());
                assert!(unwanted.dgate.equal(&found[1]) && unwanted.dup.equal(&found[2]));
            }
        });
    }
}
