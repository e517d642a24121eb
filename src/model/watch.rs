//! Looks at attention's gradients where a kernel is known to have computed some that are not finite.

use crate::attention::InputGrads;
use std::fmt;
use tch::{Kind, Tensor};

/// Whether a pass looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Watch {
    /// No: looking waits for the device, once per layer.
    #[default]
    Off,
    /// Yes.
    On,
}

/// A gradient of attention that is not finite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadGrad {
    /// Counted from 0.
    pub layer: usize,
    /// `dq`, `dk` or `dv`.
    pub tensor: &'static str,
    /// Its shape, `[T, H, D]`.
    pub shape: Vec<i64>,
}

impl fmt::Display for BadGrad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            layer,
            tensor,
            shape,
        } = self;
        write!(f, "{tensor} of layer {layer}, shape {shape:?}")
    }
}

impl Watch {
    /// Name and shape of the first gradient that is not finite.
    pub(super) fn look(self, grads: &InputGrads) -> Option<(&'static str, Vec<i64>)> {
        if self == Self::Off {
            return None;
        }
        let all = [("dq", &grads.dq), ("dk", &grads.dk), ("dv", &grads.dv)];
        let bad = all.into_iter().find(|(_, grad)| !is_finite(grad));
        bad.map(|(tensor, grad)| (tensor, grad.size()))
    }
}

/// A sum is finite only if every term is; f64 has room for all of lower precision.
fn is_finite(grad: &Tensor) -> bool {
    grad.sum(Kind::Double).double_value(&[]).is_finite()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_gradient_that_is_not_finite_is_named() {
        let finite = || Tensor::ones([5, 2, 4], (Kind::BFloat16, tch::Device::Cpu));
        let mut grads = InputGrads {
            dq: finite(),
            dk: finite(),
            dv: finite(),
        };
        assert_eq!(Watch::On.look(&grads), None);
        for value in [f64::NAN, f64::INFINITY] {
            let dv = finite();
            let _ = dv.get(4).get(1).get(2).fill_(value);
            grads.dv = dv;
            assert_eq!(Watch::On.look(&grads), Some(("dv", vec![5, 2, 4])));
            assert_eq!(Watch::Off.look(&grads), None);
        }
        // Neither largest values of their dtype nor opposite infinities deceive the sum.
        grads.dv = finite() * 3e38;
        assert_eq!(Watch::On.look(&grads), None);
        let dk = finite();
        let _ = dk.get(0).fill_(f64::INFINITY);
        let _ = dk.get(1).fill_(f64::NEG_INFINITY);
        grads.dk = dk;
        assert_eq!(Watch::On.look(&grads).unwrap().0, "dk");
    }
}
