//! What libtorch's attention kernels demand of their operands, checked before a call: libtorch prints its own refusals to
//! stderr and returns only a code.

use crate::torch::cuda_symbols::Home;
use crate::torch::error::TorchError;
use std::fmt::Debug;
use tch::{Kind, Tensor};

/// Queries, keys and values of one problem, `[B, T, H, D]` and twice `[B, S, K, D]`.
#[derive(Debug, Clone, Copy)]
pub struct Operands<'a> {
    /// `[B, T, H, D]`.
    pub q: &'a Tensor,
    /// `[B, S, K, D]`, `K` divides `H`.
    pub k: &'a Tensor,
    /// `[B, S, K, D]`.
    pub v: &'a Tensor,
}

/// What a forward call left for the backward call.
#[derive(Debug, Clone, Copy)]
pub struct Saved<'a> {
    /// `[B, T, H, D]`, the dtype of the queries.
    pub out: &'a Tensor,
    /// `[B, H, T]`, f32, natural log.
    pub lse: &'a Tensor,
}

/// Which keys a query sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// Every key.
    All,
    /// Keys `0 ..= i + S - T` for query `i`.
    Causal,
    /// The most recent of [`Self::Causal`]'s, this many tokens including the query's own.
    Window(i64),
}

/// Lengths of one problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lengths {
    pub(super) b: i64,
    pub(super) t: i64,
    pub(super) h: i64,
    pub(super) d: i64,
    pub(super) s: i64,
    pub(super) kv: i64,
}

/// A kernel's own conditions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Demands {
    /// Its name in messages.
    pub(super) operation: &'static str,
    /// Where it runs.
    pub(super) home: Home,
    /// Widest head.
    pub(super) max_head_dim: i64,
}

/// Heads are read in pieces of this many numbers.
const HEAD_DIM_STEP: i64 = 8;

impl Lengths {
    /// Shape of the output and of the queries.
    pub(super) fn out(&self) -> [i64; 4] {
        [self.b, self.t, self.h, self.d]
    }

    /// Shape of the lse.
    pub(super) fn lse(&self) -> [i64; 3] {
        [self.b, self.h, self.t]
    }

    /// Shape of keys and values.
    pub(super) fn keys(&self) -> [i64; 4] {
        [self.b, self.s, self.kv, self.d]
    }

    /// Bytes of an output in half precision.
    pub(super) fn out_bytes(&self) -> i64 {
        2 * self.out().iter().product::<i64>()
    }

    /// Bytes of keys in half precision, one for every query head.
    pub(super) fn expanded_key_bytes(&self) -> i64 {
        2 * self.b * self.s * self.h * self.d
    }
}

impl Demands {
    fn wrong(
        &self,
        tensor: &'static str,
        expected: impl Into<String>,
        found: String,
    ) -> TorchError {
        TorchError::Operand {
            operation: self.operation,
            tensor,
            expected: expected.into(),
            found,
        }
    }

    fn shape(
        &self,
        name: &'static str,
        tensor: &Tensor,
        expected: &[i64],
    ) -> Result<(), TorchError> {
        if tensor.size() == expected {
            return Ok(());
        }
        let found = format!("of shape {:?}", tensor.size());
        Err(self.wrong(name, format!("of shape {expected:?}"), found))
    }

    /// Lengths of a problem that the kernel takes.
    pub(super) fn check(&self, operands: Operands, sight: Sight) -> Result<Lengths, TorchError> {
        let Operands { q, k, v } = operands;
        for (name, tensor) in [("q", q), ("k", k), ("v", v)] {
            self.check_storage(name, tensor, q.kind())?;
        }
        let lengths = self.check_shapes(operands)?;
        let Lengths { t, s, d, .. } = lengths;
        if d % HEAD_DIM_STEP != 0 || d > self.max_head_dim {
            let expected = format!(
                "of a head_dim that is a multiple of {HEAD_DIM_STEP} and at most {}",
                self.max_head_dim
            );
            return Err(self.wrong("q", expected, format!("of head_dim {d}")));
        }
        if sight != Sight::All && s < t {
            let expected = format!("of at least the {t} queries");
            return Err(self.wrong("k", expected, format!("of {s} tokens")));
        }
        match sight {
            Sight::Window(window) if window < 1 => {
                let found = format!("{window} tokens long");
                Err(self.wrong("window", "at least 1 token long", found))
            }
            _ => Ok(lengths),
        }
    }

    /// A forward call's results, and the gradient of its output, as the backward call wants them.
    pub(super) fn check_saved(
        &self,
        dout: &Tensor,
        saved: Saved,
        kind: Kind,
        lengths: &Lengths,
    ) -> Result<(), TorchError> {
        for (name, tensor) in [("dout", dout), ("out", saved.out)] {
            self.check_storage(name, tensor, kind)?;
            self.shape(name, tensor, &lengths.out())?;
        }
        self.shape("lse", saved.lse, &lengths.lse())?;
        let expected = if kind == Kind::Double {
            kind
        } else {
            Kind::Float
        };
        let lse = saved.lse;
        if lse.kind() != expected || !lse.is_contiguous() || !self.home.has(lse.device()) {
            let expected = format!("contiguous {expected:?} where q is");
            let found = format!(
                "{:?} of strides {:?} on {:?}",
                lse.kind(),
                lse.stride(),
                lse.device()
            );
            return Err(self.wrong("lse", expected, found));
        }
        Ok(())
    }

    /// Results that have another shape than the kernel's docs say would be read as something else.
    pub(super) fn check_result(&self, tensor: &Tensor, shape: &[i64]) -> Result<(), TorchError> {
        if tensor.size() == shape {
            return Ok(());
        }
        let reason = format!(
            "a result is of shape {:?}, expected {shape:?}",
            tensor.size()
        );
        Err(TorchError::Operator {
            operation: self.operation,
            reason,
        })
    }

    fn check_shapes(&self, operands: Operands) -> Result<Lengths, TorchError> {
        let Operands { q, k, v } = operands;
        let four = |name, tensor: &Tensor| {
            let size = tensor.size();
            <[i64; 4]>::try_from(size.as_slice())
                .map_err(|_| self.wrong(name, "of four dimensions", format!("of shape {size:?}")))
        };
        let ([b, t, h, d], [_, s, kv, _]) = (four("q", q)?, four("k", k)?);
        self.shape("k", k, &[b, s, kv, d])?;
        self.shape("v", v, &[b, s, kv, d])?;
        for (name, tensor) in [("q", q), ("k", k)] {
            if tensor.numel() == 0 {
                let found = format!("of shape {:?}", tensor.size());
                return Err(self.wrong(name, "of at least one number", found));
            }
        }
        if h % kv != 0 {
            let found = format!("of {kv} kv heads");
            return Err(self.wrong("k", format!("of a divisor of the {h} heads"), found));
        }
        Ok(Lengths { b, t, h, d, s, kv })
    }

    fn check_storage(
        &self,
        name: &'static str,
        tensor: &Tensor,
        kind: Kind,
    ) -> Result<(), TorchError> {
        let told = |value: &dyn Debug| format!("{value:?}");
        if !self.home.has(tensor.device()) {
            let found = format!("on {:?}", tensor.device());
            return Err(self.wrong(name, "on a CUDA device", found));
        }
        if !self.home.takes(tensor.kind()) {
            return Err(self.wrong(name, "bf16 or f16", told(&tensor.kind())));
        }
        if tensor.kind() != kind {
            let expected = format!("{kind:?} as `q`");
            return Err(self.wrong(name, expected, told(&tensor.kind())));
        }
        if tensor.stride().last().is_some_and(|stride| *stride != 1) {
            let found = format!("of strides {:?}", tensor.stride());
            return Err(self.wrong(name, "of whole rows (last stride 1)", found));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    fn zeros(shape: &[i64]) -> Tensor {
        Tensor::zeros(shape, (Kind::BFloat16, Device::Cpu))
    }

    fn demands(home: Home) -> Demands {
        Demands {
            operation: "a kernel",
            home,
            max_head_dim: 128,
        }
    }

    fn message([q, k, v]: [&Tensor; 3], sight: Sight) -> String {
        let checked = demands(Home::StandIn).check(Operands { q, k, v }, sight);
        checked.map_or_else(|error| error.to_string(), |_| "fits".to_owned())
    }

    #[test]
    fn what_fits_is_measured() {
        let (q, k) = (zeros(&[2, 3, 8, 64]), zeros(&[2, 5, 2, 64]));
        let operands = Operands {
            q: &q,
            k: &k,
            v: &k,
        };
        let lengths = demands(Home::StandIn)
            .check(operands, Sight::Causal)
            .unwrap();
        assert_eq!(lengths.out(), [2, 3, 8, 64]);
        assert_eq!(lengths.keys(), [2, 5, 2, 64]);
        assert_eq!(lengths.lse(), [2, 8, 3]);
        assert_eq!(lengths.out_bytes(), 2 * 2 * 3 * 8 * 64);
        assert_eq!(lengths.expanded_key_bytes(), 2 * 2 * 5 * 8 * 64);
    }

    #[test]
    fn each_operand_that_does_not_fit_is_named_with_what_would() {
        let (q, k) = (zeros(&[2, 3, 8, 64]), zeros(&[2, 5, 2, 64]));
        let cases = [
            (
                [&zeros(&[3, 8, 64]), &k, &k],
                "`q` is of shape [3, 8, 64], expected of four dimensions",
            ),
            (
                [&q, &zeros(&[1, 5, 2, 64]), &k],
                "`k` is of shape [1, 5, 2, 64], expected of shape [2, 5, 2, 64]",
            ),
            (
                [&q, &k, &zeros(&[2, 4, 2, 64])],
                "`v` is of shape [2, 4, 2, 64], expected of shape [2, 5, 2, 64]",
            ),
            (
                [&q, &zeros(&[2, 5, 3, 64]), &zeros(&[2, 5, 3, 64])],
                "`k` is of 3 kv heads, expected of a divisor of the 8 heads",
            ),
            (
                [
                    &zeros(&[2, 3, 8, 60]),
                    &zeros(&[2, 5, 2, 60]),
                    &zeros(&[2, 5, 2, 60]),
                ],
                "`q` is of head_dim 60, expected of a head_dim that is a multiple of 8 and at most 128",
            ),
            (
                [
                    &zeros(&[2, 3, 8, 136]),
                    &zeros(&[2, 5, 2, 136]),
                    &zeros(&[2, 5, 2, 136]),
                ],
                "`q` is of head_dim 136, expected of a head_dim that is a multiple of 8 and at most 128",
            ),
            (
                [&q, &zeros(&[2, 0, 2, 64]), &zeros(&[2, 0, 2, 64])],
                "`k` is of shape [2, 0, 2, 64], expected of at least one number",
            ),
            (
                [&q, &zeros(&[2, 2, 2, 64]), &zeros(&[2, 2, 2, 64])],
                "`k` is of 2 tokens, expected of at least the 3 queries",
            ),
            (
                [&q.to_kind(Kind::Float), &k, &k],
                "`q` is Float, expected bf16 or f16",
            ),
            (
                [&q, &k.to_kind(Kind::Half), &k],
                "`k` is Half, expected BFloat16 as `q`",
            ),
            (
                [&zeros(&[2, 3, 64, 8]).transpose(2, 3), &k, &k],
                "`q` is of strides [1536, 512, 1, 8], expected of whole rows (last stride 1)",
            ),
        ];
        for (operands, expected) in cases {
            let expected = format!("cannot compute a kernel: {expected}");
            assert_eq!(message(operands, Sight::Causal), expected);
        }
        assert!(message([&q, &k, &k], Sight::Window(0)).contains("`window` is 0 tokens long"));
        let short = zeros(&[2, 2, 2, 64]);
        assert_eq!(message([&q, &short, &short], Sight::All), "fits");
    }

    #[test]
    fn a_tensor_on_the_wrong_device_is_named() {
        let (q, k) = (zeros(&[2, 3, 8, 64]), zeros(&[2, 5, 2, 64]));
        let operands = Operands {
            q: &q,
            k: &k,
            v: &k,
        };
        let error = demands(Home::Cuda).check(operands, Sight::All).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot compute a kernel: `q` is on Cpu, expected on a CUDA device"
        );
    }

    #[test]
    fn what_a_forward_call_left_must_fit_its_operands() {
        let (q, k) = (zeros(&[2, 3, 8, 64]), zeros(&[2, 5, 2, 64]));
        let operands = Operands {
            q: &q,
            k: &k,
            v: &k,
        };
        let demands = demands(Home::StandIn);
        let lengths = demands.check(operands, Sight::All).unwrap();
        let lse = Tensor::zeros([2, 8, 3], (Kind::Float, Device::Cpu));
        let checked = |dout: &Tensor, out: &Tensor, lse: &Tensor| {
            let saved = Saved { out, lse };
            let checked = demands.check_saved(dout, saved, Kind::BFloat16, &lengths);
            checked.map_or_else(|error| error.to_string(), |()| "fits".to_owned())
        };
        assert_eq!(checked(&q, &q, &lse), "fits");
        assert!(checked(&k, &q, &lse).contains("`dout` is of shape [2, 5, 2, 64]"));
        assert!(checked(&q, &q.to_kind(Kind::Half), &lse).contains("`out` is Half"));
        assert!(checked(&q, &q, &lse.unsqueeze(-1)).contains("`lse` is of shape [2, 8, 3, 1]"));
        assert!(checked(&q, &q, &lse.to_kind(Kind::Double)).contains("`lse` is Double"));
        let strided = Tensor::zeros([2, 3, 8], (Kind::Float, Device::Cpu)).transpose(1, 2);
        assert!(checked(&q, &q, &strided).contains("strides [24, 1, 8]"));
    }

    #[test]
    fn a_result_of_another_shape_is_libtorchs_failure() {
        let error = demands(Home::Cuda)
            .check_result(&zeros(&[2, 3]), &[3, 2])
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "libtorch failed in a kernel: a result is of shape [2, 3], expected [3, 2]"
        );
    }
}
