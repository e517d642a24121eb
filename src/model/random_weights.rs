//! Weights for measurements: pseudo-random, made on the device that uses them, in its dtype.
//!
//! # Decisions
//! Every other random number is drawn on the host ([`crate::random`]). Eight billion weights would take minutes and twice their
//! size in host memory there, and their values decide nothing but that no product degenerates. So a weight is a hash of its
//! place: two rounds of multiply and xor-shift in 31 bits, no generator, the same on every device.

use super::config::ModelConfig;
use super::tensor_names;
use crate::real::real;
use std::collections::BTreeMap;
use tch::{Device, Kind, Tensor};

/// Values made at one time: their integers take eight bytes each.
const PIECE_LEN: i64 = 1 << 24;
/// 31 bits, so that products of two numbers stay below 2^63.
const MASK: i64 = (1 << 31) - 1;
/// Odd multipliers below 2^31.
const MULTIPLIERS: [i64; 2] = [0x2c1b_3c6d, 0x297a_2d39];

/// Weights of `config` by checkpoint name: matrices uniform with standard deviation `0.5 / sqrt(columns)`, embeddings with 1,
/// norms 1.
///
/// # Shapes
/// Each tensor has the shape of its checkpoint name; matrices are `[out, in]`.
pub fn hashed_tensors(
    config: &ModelConfig,
    kind: Kind,
    device: Device,
) -> BTreeMap<String, Tensor> {
    let make = |(index, (name, shape)): (i64, (String, Vec<usize>))| {
        let tensor = if let [rows, columns] = shape.as_slice() {
            let std = if name == tensor_names::EMBEDDING {
                1.0
            } else {
                0.5 / real(*columns).sqrt()
            };
            hashed(
                &[signed(*rows), signed(*columns)],
                std,
                index,
                (kind, device),
            )
        } else {
            let sizes: Vec<i64> = shape.iter().map(|len| signed(*len)).collect();
            Tensor::ones(sizes, (kind, device))
        };
        (name, tensor)
    };
    (0..)
        .zip(tensor_names::expected(config))
        .map(make)
        .collect()
}

/// Uniform values with standard deviation `std`; another `salt`, other values.
///
/// # Shapes
/// Returns `[rows, columns]`.
fn hashed(
    [rows, columns]: &[i64; 2],
    std: f64,
    salt: i64,
    (kind, device): (Kind, Device),
) -> Tensor {
    let count = rows * columns;
    let values = Tensor::empty([count], (kind, device));
    let half_width = std * 3.0_f64.sqrt();
    let piece_len = usize::try_from(PIECE_LEN).unwrap_or(usize::MAX);
    #[expect(clippy::cast_precision_loss, reason = "31 bits")]
    let scale = 2.0 / (MASK as f64);
    for start in (0..count).step_by(piece_len) {
        let len = PIECE_LEN.min(count - start);
        let mut hash = Tensor::arange_start(start, start + len, (Kind::Int64, device));
        hash = (hash + salt * 0x3504_f333).bitwise_and(MASK);
        for multiplier in MULTIPLIERS {
            hash = hash.bitwise_xor_tensor(&hash.bitwise_right_shift_tensor_scalar(15));
            hash = (hash * multiplier).bitwise_and(MASK);
        }
        hash = hash.bitwise_xor_tensor(&hash.bitwise_right_shift_tensor_scalar(15));
        let unit = hash.to_kind(Kind::Float) * scale - 1.0;
        let mut piece = values.narrow(0, start, len);
        piece.copy_(&(unit * half_width));
    }
    values.view([*rows, *columns])
}

fn signed(len: usize) -> i64 {
    i64::try_from(len).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_spread_evenly_and_differ_by_salt() {
        let make = |salt| hashed(&[300, 500], 0.5, salt, (Kind::Float, Device::Cpu));
        let (first, second) = (make(0), make(1));
        for values in [&first, &second] {
            let (mean, std) = (values.mean(Kind::Float), values.std(true));
            // Four standard errors of 150,000 uniform values.
            assert!(mean.double_value(&[]).abs() < 4.0 * 0.5 / 387.0);
            assert!((std.double_value(&[]) - 0.5).abs() < 0.003);
            let largest = values.abs().max().double_value(&[]);
            assert!(
                largest <= 0.5 * 3.0_f64.sqrt() + 1e-6 && largest > 0.86,
                "{largest}"
            );
        }
        // Neighbours, rows and tensors are not copies of each other.
        let correlation = |a: &Tensor, b: &Tensor| {
            let product = (a * b).mean(Kind::Float).double_value(&[]);
            (product / 0.25).abs()
        };
        assert!(correlation(&first, &second) < 0.02);
        assert!(correlation(&first.narrow(0, 0, 299), &first.narrow(0, 1, 299)) < 0.02);
        assert!(correlation(&first.narrow(1, 0, 499), &first.narrow(1, 1, 499)) < 0.02);
        assert!(first.equal(&make(0)));
    }

    #[test]
    fn pieces_join_without_a_seam() {
        let whole = hashed(&[1, PIECE_LEN + 5], 1.0, 3, (Kind::Float, Device::Cpu));
        let short = hashed(&[1, PIECE_LEN], 1.0, 3, (Kind::Float, Device::Cpu));
        assert!(whole.narrow(1, 0, PIECE_LEN).equal(&short));
        assert!(whole.narrow(1, PIECE_LEN, 5).std(true).double_value(&[]) > 0.1);
    }
}
