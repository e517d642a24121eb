//! Rotary position embeddings: frequencies, angles, and the rotation of queries and keys.
//!
//! Dimension `i` of the first half of a head pairs with dimension `i` of the second half, as in Hugging Face checkpoints
//! (not neighbouring dimensions). Pair `i` at position `p` turns by `p * inv_freq[i]`.
//!
//! # Decisions
//! Frequencies and angles are computed in f64 and rounded once, after cosine and sine. transformers computes them in f32,
//! whose angles are off by up to 0.004 rad at position 60,000; the golden test bounds the difference by that error.

use super::rope_config::{RopeConfig, RopeScaling};
use crate::cuda::active;
use crate::cuda::rope::{Direction, turn as turn_by_kernel};
use crate::torch::host_view::with_f32;
use std::f64::consts::TAU;
use tch::{Device, Kind, Tensor};

/// The frequencies of one model, ready to give angles for any positions.
#[derive(Debug, Clone, PartialEq)]
pub struct RopeTable {
    inv_freq: Vec<f64>,
}

impl RopeTable {
    /// Computes the `D/2` frequencies for heads of width `head_dim`.
    pub fn new(rope: &RopeConfig, head_dim: usize) -> Self {
        Self {
            inv_freq: inverse_frequencies(rope, head_dim),
        }
    }

    /// Cosines and sines of every pair's angle at `positions`, in any order, negative ones included.
    ///
    /// # Shapes
    /// Returns two tensors `[T, D/2]`, `T` the number of positions.
    ///
    /// # Precision
    /// Computed in f64, returned in f32.
    pub fn cos_sin(&self, positions: &[i64], device: Device) -> (Tensor, Tensor) {
        let positions_t = Tensor::from_slice(positions)
            .to_device(device)
            .to_kind(Kind::Double);
        let inv_freq_d = Tensor::from_slice(&self.inv_freq).to_device(device);
        let angles_td = positions_t.outer(&inv_freq_d);
        let cos_td = angles_td.cos().to_kind(Kind::Float);
        let sin_td = angles_td.sin().to_kind(Kind::Float);
        (cos_td, sin_td)
    }
}

/// Radians per position for each of the `head_dim / 2` pairs, after scaling.
///
/// Llama 3.1's rule, for wavelength `w = 2 pi / f` and original context `n`: `f / factor` where `w > n / low`, `f` where
/// `w < n / high`, and `(1 - s) f / factor + s f` with `s = (n / w - low) / (high - low)` in between.
pub fn inverse_frequencies(rope: &RopeConfig, head_dim: usize) -> Vec<f64> {
    let pairs = u32::try_from(head_dim / 2).unwrap_or(u32::MAX);
    let width = 2.0 * f64::from(pairs);
    let plain = (0..pairs).map(|pair| rope.theta.powf(-2.0 * f64::from(pair) / width));
    match rope.scaling {
        RopeScaling::Default => plain.collect(),
        RopeScaling::Linear { factor } => plain.map(|freq| freq / factor).collect(),
        RopeScaling::Llama3 {
            factor,
            low_freq_factor,
            high_freq_factor,
            original_max_len,
        } => plain
            .map(|freq| {
                let turns = f64::from(original_max_len) * freq / TAU;
                let smooth = (turns - low_freq_factor) / (high_freq_factor - low_freq_factor);
                let kept = smooth.clamp(0.0, 1.0);
                (1.0 - kept) * freq / factor + kept * freq
            })
            .collect(),
    }
}

/// Rotates every head of `x` by its position's angles.
///
/// # Shapes
/// `x`: `[.., T, heads, D]`. `cos_td`, `sin_td`: `[T, D/2]`. Returns the shape of `x`.
///
/// # Precision
/// Computed in f32 (f64 for f64 input), returned in the dtype of `x`.
pub fn apply(x: &Tensor, cos_td: &Tensor, sin_td: &Tensor) -> Tensor {
    if let Some(turned) = by_kernel(x, cos_td, sin_td, Direction::Forward) {
        return turned;
    }
    apply_by_operators(x, cos_td, sin_td)
}

/// [`apply`] or its gradient by a kernel, if kernels are in use.
fn by_kernel(x: &Tensor, cos_td: &Tensor, sin_td: &Tensor, direction: Direction) -> Option<Tensor> {
    let kernels = active::kernels(x)?;
    let (cos_td, sin_td) = (&cos_td.contiguous(), &sin_td.contiguous());
    let turned = turn_by_kernel(kernels, &x.contiguous(), (cos_td, sin_td), direction);
    Some(active::done(turned))
}

fn apply_by_operators(x: &Tensor, cos_td: &Tensor, sin_td: &Tensor) -> Tensor {
    if let Some(turned) = one_token(x, cos_td, sin_td) {
        return turned;
    }
    let kind = x.kind();
    let halves = x.chunk(2, -1);
    let (first, second) = (&halves[0], &halves[1]);
    let (cos, sin) = (cos_td.unsqueeze(1), sin_td.unsqueeze(1));
    let turned_first = (first * &cos - second * &sin).to_kind(kind);
    let turned_second = (second * &cos + first * &sin).to_kind(kind);
    Tensor::cat(&[turned_first, turned_second], -1)
}

/// [`apply`] for one token of f32 on the CPU, `None` for others: what decoding asks for, where a dozen operators cost far more than
/// the numbers.
fn one_token(x: &Tensor, cos_td: &Tensor, sin_td: &Tensor) -> Option<Tensor> {
    let size = x.size();
    let [leading @ .., 1, _, head_dim] = size.as_slice() else {
        return None;
    };
    let is_whole = x.is_contiguous() && cos_td.is_contiguous() && sin_td.is_contiguous();
    if leading.iter().product::<i64>() != 1 || !is_whole {
        return None;
    }
    let head_dim = usize::try_from(*head_dim).ok().filter(|len| *len > 0)?;
    let turned = with_f32([x, cos_td, sin_td], |[x, cos, sin]| {
        let mut turned = x.values().to_vec();
        for head in turned.chunks_exact_mut(head_dim) {
            turn(head, cos.values(), sin.values());
        }
        turned
    })?;
    Some(Tensor::from_slice(&turned).view(size.as_slice()))
}

/// Turns every pair of one head.
fn turn(head: &mut [f32], cos: &[f32], sin: &[f32]) {
    let (first, second) = head.split_at_mut(cos.len());
    for ((a, b), (cos, sin)) in first.iter_mut().zip(second).zip(cos.iter().zip(sin)) {
        (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
    }
}

/// Gradient of [`apply`] with respect to `x`: the rotation back.
///
/// # Shapes
/// `grad`: `[.., T, heads, D]`, the gradient of the result. `cos_td`, `sin_td`: `[T, D/2]`, as in the forward call.
/// Returns the shape of `grad`.
///
/// # Precision
/// As [`apply`].
pub fn apply_backward(grad: &Tensor, cos_td: &Tensor, sin_td: &Tensor) -> Tensor {
    by_kernel(grad, cos_td, sin_td, Direction::Backward)
        .unwrap_or_else(|| apply_by_operators(grad, cos_td, &sin_td.neg()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attention::testing::{Naive, normal};
    use crate::cuda::testing::{on_every_device, using};
    use crate::random;
    use rand::Rng;

    fn random_tensor(shape: &[i64]) -> Tensor {
        let count = usize::try_from(shape.iter().product::<i64>()).unwrap();
        let mut rng = random::stream("rope-test", &[count as u64]);
        let draw = |_| f64::from(rng.next_u32()) / f64::from(u32::MAX) - 0.5;
        let values: Vec<f64> = (0..count).map(draw).collect();
        Tensor::from_slice(&values).view(shape)
    }

    /// The definition, one pair at a time.
    fn rotated_slowly(x: &Tensor, positions: &[i64], inv_freq: &[f64]) -> Tensor {
        let out = x.copy();
        let (_, heads, _) = x.size3().unwrap();
        let half = i64::try_from(inv_freq.len()).unwrap();
        for (token, position) in (0..).zip(positions) {
            for (pair, freq) in (0..).zip(inv_freq) {
                #[expect(clippy::cast_precision_loss, reason = "test positions are small")]
                let angle = *position as f64 * freq;
                for head in 0..heads {
                    let (a, b) = (
                        x.double_value(&[token, head, pair]),
                        x.double_value(&[token, head, pair + half]),
                    );
                    let set = |dim: i64, value: f64| {
                        let _ = out.get(token).get(head).get(dim).fill_(value);
                    };
                    set(pair, a * angle.cos() - b * angle.sin());
                    set(pair + half, b * angle.cos() + a * angle.sin());
                }
            }
        }
        out
    }

    #[test]
    fn rotation_matches_its_definition_and_the_gradient_turns_back() {
        let rope = RopeConfig::unscaled(10_000.0);
        let table = RopeTable::new(&rope, 6);
        let positions = [0, 7, 3, 31];
        let (cos_td, sin_td) = table.cos_sin(&positions, Device::Cpu);
        let x = random_tensor(&[4, 3, 6]);
        let expected = rotated_slowly(&x, &positions, &inverse_frequencies(&rope, 6));
        let rotated = apply(&x, &cos_td, &sin_td);
        let error = (&rotated - expected).abs().max().double_value(&[]);
        assert!(error < 1e-6, "{error}");
        let back = apply_backward(&rotated, &cos_td, &sin_td);
        let error = (back - x).abs().max().double_value(&[]);
        assert!(error < 1e-6, "{error}");
    }

    #[test]
    fn leading_dimensions_and_the_dtype_are_kept() {
        let table = RopeTable::new(&RopeConfig::unscaled(10_000.0), 8);
        let (cos_td, sin_td) = table.cos_sin(&[4, 5], Device::Cpu);
        let x = random_tensor(&[3, 2, 1, 8]);
        let half = apply(&x.to_kind(Kind::BFloat16), &cos_td, &sin_td);
        assert_eq!((half.size(), half.kind()), (x.size(), Kind::BFloat16));
        let single = apply(&x.get(1), &cos_td, &sin_td);
        let batched = apply(&x, &cos_td, &sin_td).get(1);
        assert!(single.equal(&batched));
    }

    #[test]
    fn one_token_turns_as_one_of_many_does() {
        let table = RopeTable::new(&RopeConfig::unscaled(10_000.0), 8);
        let (cos_td, sin_td) = table.cos_sin(&[5, 900], Device::Cpu);
        let x = random_tensor(&[2, 3, 8]).to_kind(Kind::Float);
        let together = apply(&x, &cos_td, &sin_td);
        for token in 0..2 {
            let row = |rows: &Tensor| rows.narrow(0, token, 1);
            let alone = one_token(&row(&x), &row(&cos_td), &row(&sin_td)).unwrap();
            // The same products and sums of the same numbers.
            assert!(alone.equal(&row(&together)));
        }
        assert!(one_token(&x, &cos_td, &sin_td).is_none());
    }

    #[test]
    fn the_kernel_is_as_good_as_libtorchs_operators() {
        on_every_device(|kernels, device| {
            // Whole packs and not; batches; more tokens than thread blocks.
            for shape in [[1, 1, 1, 2], [1, 5, 3, 16], [2, 4, 3, 32], [1, 7, 40, 22]] {
                let [_, num_tokens, _, head_dim] = shape;
                let positions: Vec<i64> = (0..num_tokens).map(|token| token * 97).collect();
                let width = usize::try_from(head_dim).unwrap();
                let table = RopeTable::new(&RopeConfig::unscaled(10_000.0), width);
                let (cos_td, sin_td) = table.cos_sin(&positions, device);
                let of = |[x]: &[Tensor; 1]| {
                    let back = apply_backward(x, &cos_td, &sin_td);
                    [apply(x, &cos_td, &sin_td), back]
                };
                for kind in [Kind::Float, Kind::BFloat16] {
                    let naive = Naive::new(&[normal(1, &shape)], kind, device, of);
                    let found = using(kernels, || of(&naive.inputs));
                    for ((index, found), what) in (0..).zip(&found).zip(["turned", "turned back"]) {
                        naive.assert_no_worse(index, found, &format!("{what} {shape:?} {kind:?}"));
                    }
                }
            }
        });
    }

    #[test]
    fn llama3_scaling_is_continuous_between_its_regions() {
        let rope = RopeConfig {
            theta: 500_000.0,
            scaling: RopeScaling::Llama3 {
                factor: 8.0,
                low_freq_factor: 1.0,
                high_freq_factor: 4.0,
                original_max_len: 8192,
            },
        };
        let plain = inverse_frequencies(&RopeConfig::unscaled(500_000.0), 128);
        let scaled = inverse_frequencies(&rope, 128);
        let ratio = |pair: usize| plain[pair] / scaled[pair];
        assert!((ratio(0) - 1.0).abs() < 1e-12 && (ratio(63) - 8.0).abs() < 1e-9);
        let ratios: Vec<f64> = (0..64).map(ratio).collect();
        assert!(ratios.windows(2).all(|pair| pair[0] <= pair[1] + 1e-9));
        assert!(ratios.iter().any(|ratio| (1.5..7.5).contains(ratio)));
    }
}
