//! One query per head over every key, in f32 on the CPU: the attention of a decoded token.
//!
//! ```text
//! per kv head, keys in blocks:   s = scale q K^T    m = running maximum    p = exp(s - m)
//!                                out = (out exp(m' - m) + p V) / sum p     lse = m + ln(sum p)
//! ```
//!
//! A kv head's keys and values are read once, whatever the number of query heads that share them.
//!
//! # Decisions
//! libtorch's flash kernel asks MKL for products of one or two rows, which on a processor that is not Intel's end in kernels for
//! unknown ones (`mkl_blas_def_sgemm_pst`): a third of a decoded token's time at 2,000 tokens on an AMD EPYC.

use super::exponential::exponentials;
use super::{Attended, Qkv, scale};
use crate::torch::dims::dims;
use crate::torch::host_view::{View, with_f32};
use crate::torch::row_product::dot_by;
use crate::torch::threads;
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;
use tch::Tensor;

/// Keys per block: their scores stay in the nearest cache.
const BLOCK: usize = 128;
/// Numbers of keys and values from which another thread is worth waking.
const MIN_SHARED_NUMBERS: usize = 1 << 20;
/// Registers of one query's output that are summed up side by side.
const STRIP: usize = 4;

/// Output and lse; `None` unless there is one query, one batch and plain f32 on the CPU.
///
/// # Shapes
/// `q` `[1, 1, H, D]`, `k` and `v` `[1, S, K, D]`; returns [`Attended`].
///
/// # Precision
/// Sums and exponentials in f32.
pub(super) fn attend(qkv: Qkv) -> Option<Attended> {
    let [batch, num_queries, num_heads, head_dim] = dims(qkv.q);
    let [_, num_keys, num_kv_heads, _] = dims(qkv.k);
    let whole_rows = [qkv.q, qkv.k, qkv.v].iter().all(|x| x.stride()[3] == 1);
    if batch != 1 || num_queries != 1 || num_keys == 0 || !whole_rows {
        return None;
    }
    let q = qkv.q.contiguous();
    let (out, lse) = with_f32([&q, qkv.k, qkv.v], |[q, k, v]| {
        let problem = Problem {
            q,
            k: Rows::new(k, qkv.k),
            v: Rows::new(v, qkv.v),
            num_keys: usize::try_from(num_keys).unwrap_or(0),
            num_heads: usize::try_from(num_heads).unwrap_or(0),
            num_kv_heads: usize::try_from(num_kv_heads).unwrap_or(0),
            head_dim: usize::try_from(head_dim).unwrap_or(0),
        };
        problem.solve()
    })?;
    Some(Attended {
        out: Tensor::from_slice(&out).view([1, 1, num_heads, head_dim]),
        lse: Tensor::from_slice(&lse).view([1, num_heads, 1]),
    })
}

/// Rows of one kv head after another, wherever they lie.
#[derive(Clone, Copy)]
struct Rows<'a> {
    view: View<'a>,
    /// From one token's row to the next.
    row_stride: usize,
    /// From one kv head to the next.
    head_stride: usize,
}

impl<'a> Rows<'a> {
    fn new(view: View<'a>, tensor_bskd: &Tensor) -> Self {
        let stride = tensor_bskd.stride();
        let of = |axis: usize| usize::try_from(stride[axis]).unwrap_or(0);
        Self {
            view,
            row_stride: of(1),
            head_stride: of(2),
        }
    }
}

/// The numbers of one call.
struct Problem<'a> {
    q: View<'a>,
    k: Rows<'a>,
    v: Rows<'a>,
    num_keys: usize,
    num_heads: usize,
    num_kv_heads: usize,
    head_dim: usize,
}

impl Problem<'_> {
    /// Outputs `[H, D]` and lse `[H]`.
    fn solve(&self) -> (Vec<f32>, Vec<f32>) {
        let mut out = vec![0.0; self.num_heads * self.head_dim];
        let mut lse = vec![0.0; self.num_heads];
        let group = self.num_heads / self.num_kv_heads;
        let arch = Arch::new();
        let heads = |first: usize, out: &mut [f32], lse: &mut [f32]| {
            let parts = out.chunks_mut(group * self.head_dim);
            for (index, (out, lse)) in parts.zip(lse.chunks_mut(group)).enumerate() {
                arch.dispatch(KvHead::new(self, first + index, out, lse));
            }
        };
        let numbers = 2 * self.num_keys * self.num_kv_heads * self.head_dim;
        let num_parts = if numbers < MIN_SHARED_NUMBERS {
            1
        } else {
            threads::threads()
        };
        if num_parts == 1 {
            heads(0, &mut out, &mut lse);
            return (out, lse);
        }
        let per_part = self.num_kv_heads.div_ceil(num_parts);
        let parts = out.par_chunks_mut(per_part * group * self.head_dim);
        let parts = parts.zip(lse.par_chunks_mut(per_part * group));
        parts
            .enumerate()
            .for_each(|(part, (out, lse))| heads(part * per_part, out, lse));
        (out, lse)
    }
}

/// One kv head with the query heads that share it.
struct KvHead<'a> {
    q: &'a [f32],
    k: Rows<'a>,
    v: Rows<'a>,
    first: usize,
    num_keys: usize,
    head_dim: usize,
    scale: f32,
    out: &'a mut [f32],
    lse: &'a mut [f32],
}

impl<'a> KvHead<'a> {
    #[expect(clippy::cast_possible_truncation, reason = "a factor of f32 products")]
    fn new(of: &Problem<'a>, index: usize, out: &'a mut [f32], lse: &'a mut [f32]) -> Self {
        let q = of.q.run(index * out.len(), out.len());
        let head_dim = i64::try_from(of.head_dim).unwrap_or(i64::MAX);
        Self {
            q,
            k: of.k,
            v: of.v,
            first: index,
            num_keys: of.num_keys,
            head_dim: of.head_dim,
            scale: scale(head_dim) as f32,
            out,
            lse,
        }
    }

    fn row(&self, rows: Rows<'a>, token: usize) -> &'a [f32] {
        let start = self.first * rows.head_stride + token * rows.row_stride;
        rows.view.run(start, self.head_dim)
    }
}

impl WithSimd for KvHead<'_> {
    type Output = ();

    #[expect(
        clippy::inline_always,
        reason = "the processor's instructions are chosen by the caller"
    )]
    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let group = self.lse.len();
        let mut running = vec![Running::default(); group];
        let mut scores = vec![0.0_f32; group * BLOCK];
        for start in (0..self.num_keys).step_by(BLOCK) {
            let len = BLOCK.min(self.num_keys - start);
            for token in 0..len {
                let key = self.row(self.k, start + token);
                for (head, query) in self.q.chunks_exact(self.head_dim).enumerate() {
                    let score = dot_by(simd, query, key);
                    scores[head * BLOCK + token] = score * self.scale;
                }
            }
            for (head, running) in running.iter_mut().enumerate() {
                let scores = &mut scores[head * BLOCK..head * BLOCK + len];
                let factor = running.take_in(simd, scores);
                self.add_values(simd, head, factor, (start, scores));
            }
        }
        let outputs = self.out.chunks_exact_mut(self.head_dim);
        for ((running, out), lse) in running.iter().zip(outputs).zip(self.lse) {
            for number in out {
                *number /= running.sum;
            }
            *lse = running.max + running.sum.ln();
        }
    }
}

impl KvHead<'_> {
    /// `out = out factor + p V` for the block of values from `start` on.
    #[expect(clippy::inline_always, reason = "as above")]
    #[inline(always)]
    fn add_values<S: Simd>(
        &mut self,
        simd: S,
        head: usize,
        factor: f32,
        (start, weights): (usize, &[f32]),
    ) {
        let range = head * self.head_dim..(head + 1) * self.head_dim;
        let lanes = S::F32_LANES;
        let mut column = 0;
        while column + STRIP * lanes <= self.head_dim {
            self.add_strip::<S, STRIP>(simd, (range.start, column), factor, (start, weights));
            column += STRIP * lanes;
        }
        while column + lanes <= self.head_dim {
            self.add_strip::<S, 1>(simd, (range.start, column), factor, (start, weights));
            column += lanes;
        }
        for column in column..self.head_dim {
            let mut sum = self.out[range.start + column] * factor;
            for (token, weight) in weights.iter().enumerate() {
                sum += weight * self.row(self.v, start + token)[column];
            }
            self.out[range.start + column] = sum;
        }
    }

    /// [`Self::add_values`] for `N` registers of columns.
    #[expect(clippy::inline_always, reason = "as above")]
    #[inline(always)]
    fn add_strip<S: Simd, const N: usize>(
        &mut self,
        simd: S,
        (out_start, column): (usize, usize),
        factor: f32,
        (start, weights): (usize, &[f32]),
    ) {
        let len = N * S::F32_LANES;
        let mut sums = [simd.splat_f32s(0.0); N];
        for (token, weight) in weights.iter().enumerate() {
            let value = &self.row(self.v, start + token)[column..column + len];
            let weight = simd.splat_f32s(*weight);
            let (registers, _) = S::as_simd_f32s(value);
            for (sum, register) in sums.iter_mut().zip(registers) {
                *sum = simd.mul_add_e_f32s(weight, *register, *sum);
            }
        }
        let out = &mut self.out[out_start + column..out_start + column + len];
        let (registers, _) = S::as_mut_simd_f32s(out);
        let factor = simd.splat_f32s(factor);
        for (out, sum) in registers.iter_mut().zip(sums) {
            *out = simd.mul_add_e_f32s(*out, factor, sum);
        }
    }
}

/// Maximum and sum of exponentials of the scores so far.
#[derive(Debug, Clone, Copy)]
struct Running {
    max: f32,
    sum: f32,
}

impl Default for Running {
    fn default() -> Self {
        Self {
            max: f32::NEG_INFINITY,
            sum: 0.0,
        }
    }
}

impl Running {
    /// Turns scores into weights relative to the new maximum; returns the factor for what was weighted before.
    ///
    /// A score that is no number makes all of them none, as in any softmax.
    #[expect(clippy::inline_always, reason = "as above")]
    #[inline(always)]
    fn take_in<S: Simd>(&mut self, simd: S, scores: &mut [f32]) -> f32 {
        let max = scores.iter().fold(self.max, |max, score| max.max(*score));
        if !scores.iter().all(|score| score.is_finite()) {
            (self.max, self.sum) = (f32::NAN, f32::NAN);
            scores.fill(f32::NAN);
            return f32::NAN;
        }
        let factor = (self.max - max).exp();
        self.max = max;
        self.sum = self.sum * factor + exponentials(simd, scores, max);
        factor
    }
}

#[cfg(test)]
mod tests;
