//! Fresh weights for pretraining.
//!
//! # Decisions
//! Embeddings have unit variance and are untied; output projections (o, down, head) start at zero. Tried on the tiny model:
//! with tied embeddings of standard deviation 0.02 the copying circuit stays bound to the tokens it was learnt on.

use super::config::ModelConfig;
use super::tensor_names;
use crate::random;
use std::collections::BTreeMap;
use tch::{Device, Kind, Tensor};

/// Scale of a fresh model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Init {
    /// Standard deviation of embeddings.
    pub embedding_std: f64,
    /// Whether o, down and head start at zero; otherwise they are drawn like the other matrices.
    pub outputs: Outputs,
    /// Seed of every draw.
    pub seed: u64,
}

/// How output projections start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outputs {
    /// At zero.
    Zero,
    /// Uniform like every other matrix.
    Drawn,
}

/// Weights of a new model by checkpoint name, f32.
///
/// Matrices are uniform with standard deviation `0.5 / sqrt(columns)`; norms are 1.
///
/// # Shapes
/// Each tensor has the shape of its checkpoint name; matrices are `[out, in]`.
#[expect(clippy::cast_precision_loss, reason = "widths are far below 2^52")]
pub fn fresh_tensors(config: &ModelConfig, init: Init, device: Device) -> BTreeMap<String, Tensor> {
    let expected = tensor_names::expected(config);
    let draw = |(index, (name, shape)): (usize, (String, Vec<usize>))| {
        let is_output = ["o_proj", "down_proj", "lm_head"]
            .iter()
            .any(|part| name.contains(part));
        let columns = shape.last().copied().unwrap_or(1) as f64;
        let std = if name.contains("embed_tokens") {
            init.embedding_std
        } else {
            0.5 / columns.sqrt()
        };
        let tensor = match shape.len() {
            1 => ones(&shape),
            _ if is_output && init.outputs == Outputs::Zero => ones(&shape) * 0.0,
            _ => uniform(&shape, std, &[init.seed, index as u64]),
        };
        (name, tensor.to_device(device))
    };
    expected.into_iter().enumerate().map(draw).collect()
}

fn signed(shape: &[usize]) -> Vec<i64> {
    shape
        .iter()
        .filter_map(|len| i64::try_from(*len).ok())
        .collect()
}

fn ones(shape: &[usize]) -> Tensor {
    Tensor::ones(signed(shape), (Kind::Float, Device::Cpu))
}

/// Uniform values with standard deviation `std`.
#[expect(
    clippy::cast_possible_truncation,
    reason = "drawn in f64, stored in f32"
)]
fn uniform(shape: &[usize], std: f64, at: &[u64]) -> Tensor {
    let mut rng = random::stream("weight init", at);
    let half_width = std * 3.0_f64.sqrt();
    let count: usize = shape.iter().product();
    let values: Vec<f32> = (0..count)
        .map(|_| ((2.0 * random::uniform(&mut rng) - 1.0) * half_width) as f32)
        .collect();
    Tensor::from_slice(&values).view(signed(shape).as_slice())
}
