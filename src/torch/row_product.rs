//! The product of one row and a weight on the CPU, as every decoded token needs it many times over.
//!
//! # Decisions
//! MKL, which libtorch calls for f32, takes its kernel for unknown processors for this product where the processor is not
//! Intel's (`mkl_blas_def_xsgemv`). On one thread of an AMD EPYC (AVX-512, shared) it read weights that lie in the cache (768 x 256)
//! at 46 to 55 GB/s, what stands here at 72 to 76 GB/s in f32 and 41 to 48 in bf16, which is 1.2 times as many numbers. oneDNN's call
//! costs more than the product of a small model's weight. Weights that come from memory are read row by row, without a gap: 15 to
//! 19 GB/s in f32, where four rows side by side reached 15 and MKL 13. A bf16 weight is half as long to read (17 to 21 GB/s), and is
//! widened to f32 here, which is exact.

mod pairs;
mod plain;

use super::host_view::{with_bf16, with_f32};
use super::threads;
use pairs::Pairs;
use plain::Plain;
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;
use tch::Tensor;

pub use plain::{dot, dot_by};

/// Weights of which another thread is worth waking for.
const MIN_SHARED_NUMBERS: usize = 1 << 20;

/// `x w^T`; `None` for anything but one row of f32 on the CPU and a weight of f32 or bf16 whose rows are whole.
///
/// # Shapes
/// `x` `[1, in]`, `w` `[out, in]` -> `[1, out]`; `in` is even for a weight of bf16.
///
/// # Precision
/// Products are made and summed in f32, as many sums side by side as the processor has lanes.
pub fn product(x: &Tensor, w: &Tensor) -> Option<Tensor> {
    let ([1, width], [num_rows, row_len]) = (size2(x)?, size2(w)?) else {
        return None;
    };
    let is_whole = w.stride() == [row_len, 1] && (x.stride()[1] == 1 || width == 1);
    if width != row_len || !is_whole {
        return None;
    }
    let num_rows = usize::try_from(num_rows).ok()?;
    let of_f32 = |x: &[f32]| with_f32([w], |[w]| rows(&Plain::new(x), w.values(), num_rows));
    let of_bf16 = |x: &[f32]| {
        let multiply = |w: &[half::bf16]| {
            let (x, w) = (Pairs::new(x)?, pairs::pairs(w)?);
            Some(rows(&x, w, num_rows))
        };
        with_bf16([w], |[w]| multiply(w.values())).flatten()
    };
    let y = with_f32([x], |[x]| {
        let x = x.values();
        of_f32(x).or_else(|| of_bf16(x))
    })??;
    Some(Tensor::from_slice(&y).unsqueeze(0))
}

fn size2(tensor: &Tensor) -> Option<[i64; 2]> {
    tensor.size().try_into().ok()
}

/// One row, laid out for the numbers that it is multiplied with.
trait Row: Sync {
    /// What a weight is made of.
    type Stored: Sync;

    /// How many of them make a row of the weight.
    fn stored_len(&self) -> usize;

    /// The dot product with a row of the weight.
    fn dot<S: Simd>(&self, simd: S, row: &[Self::Stored]) -> f32;
}

/// The product with each of the `num_rows` rows of `w`.
fn rows<X: Row>(x: &X, w: &[X::Stored], num_rows: usize) -> Vec<f32> {
    let arch = Arch::new();
    let mut y = vec![0.0; num_rows];
    let num_parts = match size_of_val(w) / size_of::<f32>() {
        small if small < MIN_SHARED_NUMBERS => 1,
        _ => threads::threads(),
    };
    if num_parts == 1 {
        arch.dispatch(RowProduct { x, w, y: &mut y });
        return y;
    }
    let part_len = num_rows.div_ceil(num_parts);
    let weights = w.par_chunks(part_len * x.stored_len());
    let parts = y.par_chunks_mut(part_len).zip(weights);
    parts.for_each(|(y, w)| arch.dispatch(RowProduct { x, w, y }));
    y
}

/// `y[o] = x . w[o]` for consecutive rows of the weight.
struct RowProduct<'a, X: Row> {
    x: &'a X,
    w: &'a [X::Stored],
    y: &'a mut [f32],
}

impl<X: Row> WithSimd for RowProduct<'_, X> {
    type Output = ();

    #[expect(
        clippy::inline_always,
        reason = "the processor's instructions are chosen by the caller"
    )]
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let rows = self.w.chunks_exact(self.x.stored_len());
        for (y, row) in self.y.iter_mut().zip(rows) {
            *y = self.x.dot(simd, row);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::torch::dims::dims;
    use crate::torch::threads::set_threads;
    use tch::{Device, Kind};

    fn waves(rows: i64, width: i64, step: f64) -> Tensor {
        let numbers = Tensor::arange(rows * width, (Kind::Double, Device::Cpu)) * step;
        numbers.sin().view([rows, width])
    }

    /// Numbers that bf16 holds.
    fn short(numbers: &Tensor) -> Tensor {
        numbers.to_kind(Kind::BFloat16).to_kind(Kind::Double)
    }

    /// A sum of `width` products of numbers up to 1, rounded at every step, is off by less than `width` half units of its bound.
    fn assert_is_the_product(x: &Tensor, w: &Tensor) {
        assert_is_the_product_as(x, w, Kind::Float);
    }

    #[track_caller]
    fn assert_is_the_product_as(x: &Tensor, w: &Tensor, stored: Kind) {
        let (exact, [_, width]) = (x.matmul(&w.tr()), dims(x));
        let found = product(&x.to_kind(Kind::Float), &w.to_kind(stored)).unwrap();
        assert_eq!(found.size(), exact.size());
        let error = (found.to_kind(Kind::Double) - exact)
            .abs()
            .max()
            .double_value(&[]);
        #[expect(clippy::cast_precision_loss, reason = "a small width")]
        let bound = f64::from(f32::EPSILON) * width as f64;
        assert!(error <= bound, "{error} of {bound} at {:?}", w.size());
    }

    #[test]
    fn one_row_is_multiplied_whatever_the_shape() {
        for (rows, width) in [(1, 1), (3, 5), (4, 8), (9, 31), (64, 96), (130, 257)] {
            assert_is_the_product(&waves(1, width, 0.7), &waves(rows, width, 0.37));
        }
    }

    #[test]
    fn a_weight_of_bf16_is_multiplied_as_if_it_were_f32() {
        for (rows, width) in [(1, 2), (3, 6), (4, 8), (9, 34), (64, 96), (130, 258)] {
            let w = short(&waves(rows, width, 0.37));
            assert_is_the_product_as(&waves(1, width, 0.7), &w, Kind::BFloat16);
        }
        let (x, w) = (waves(1, 2048, 0.7), short(&waves(1031, 2048, 0.37)));
        for count in [1, 3] {
            set_threads(count).unwrap();
            assert_is_the_product_as(&x, &w, Kind::BFloat16);
        }
        set_threads(1).unwrap();
    }

    #[test]
    fn threads_share_the_rows_of_a_large_weight() {
        let (x, w) = (waves(1, 1024, 0.7), waves(1031, 1024, 0.37));
        for count in [1, 3] {
            set_threads(count).unwrap();
            assert_is_the_product(&x, &w);
        }
        set_threads(1).unwrap();
    }

    #[test]
    fn what_it_cannot_multiply_is_left_to_others() {
        let (x, w) = (waves(1, 6, 0.7), waves(4, 6, 0.37));
        let [x, w] = [x, w].map(|numbers| numbers.to_kind(Kind::Float));
        assert!(product(&x, &w).is_some());
        assert!(product(&Tensor::cat(&[&x, &x], 0), &w).is_none());
        assert!(product(&x.to_kind(Kind::Double), &w.to_kind(Kind::Double)).is_none());
        assert!(product(&x.narrow(1, 0, 4), &w.narrow(1, 0, 4)).is_none());
        assert!(product(&x.narrow(1, 0, 4), &w).is_none());
        let short = w.to_kind(Kind::BFloat16);
        assert!(product(&x, &short).is_some());
        assert!(product(&x.to_kind(Kind::BFloat16), &short).is_none());
        let odd = short.narrow(1, 0, 5).contiguous();
        assert!(product(&x.narrow(1, 0, 5), &odd).is_none(), "no pairs");
        let between = short.flatten(0, 1).narrow(0, 1, 18).view([3, 6]);
        assert!(
            product(&x, &between).is_none(),
            "pairs that lie across words"
        );
    }
}
