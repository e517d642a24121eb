//! Launches `kernels/cross_entropy.cu`: losses of rows of logits, which become their own gradients.
#![expect(unsafe_code, reason = "starts kernels")]

use super::error::CudaError;
use super::operand::{Address, Operation};
use super::runner::{Grid, Kernels, Parameters};
use super::source::Family;
use tch::{Kind, Tensor};

#[derive(Clone, Copy)]
#[repr(C)]
struct CrossEntropy {
    logits: Address,
    targets: Address,
    weights: Address,
    losses: Address,
    rows: i64,
    vocab_size: i32,
    scale: f32,
    wants_grad: i32,
}
const _: () = assert!(size_of::<CrossEntropy>() == 56);

// SAFETY: the struct of this name in `kernels/cross_entropy.cu`.
unsafe impl Parameters for CrossEntropy {}

/// What rows of logits must predict.
#[derive(Debug, Clone, Copy)]
pub struct Predicted<'a> {
    /// `[n]`, i64.
    pub tokens: &'a Tensor,
    /// `[n]`, f32: how often each row's gradient counts; once, if absent.
    pub weights: Option<&'a Tensor>,
}

/// Cross-entropy of every row, in nats.
///
/// # Shapes
/// `logits` `[n, V]`, contiguous; returns `[n]`, f32.
///
/// # Precision
/// Computed in f32. A token outside of the vocabulary gives NaN.
///
/// # Errors
/// [`CudaError::Operand`] for tensors that do not fit; as `Runner::launch`.
pub fn losses(kernels: &Kernels, logits: &Tensor, tokens: &Tensor) -> Result<Tensor, CudaError> {
    let predicted = Predicted {
        tokens,
        weights: None,
    };
    launch(kernels, logits, predicted, None)
}

/// [`losses`], unweighted; `logits` is replaced by `scale * weight *` the gradient of each row's loss.
///
/// # Shapes
/// `logits` `[n, V]`, contiguous; returns `[n]`, f32.
///
/// # Precision
/// Computed in f32, the gradient rounded once to the dtype of `logits`: f32 or bf16.
///
/// # Errors
/// As [`losses`].
pub fn losses_and_grad(
    kernels: &Kernels,
    logits: &mut Tensor,
    predicted: Predicted,
    scale: f64,
) -> Result<Tensor, CudaError> {
    launch(kernels, logits, predicted, Some(scale))
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a factor, in the kernel's precision"
)]
fn launch(
    kernels: &Kernels,
    logits: &Tensor,
    predicted: Predicted,
    scale: Option<f64>,
) -> Result<Tensor, CudaError> {
    let operation = Operation::new("the cross-entropy kernel", kernels);
    let element = operation.element("logits", logits)?;
    let [rows, vocab_size] = operation.dims("logits", logits)?;
    let losses = Tensor::empty([rows], (Kind::Float, logits.device()));
    let parameters = CrossEntropy {
        logits: operation.address("logits", logits, element.kind(), &[rows, vocab_size])?,
        targets: operation.address("tokens", predicted.tokens, Kind::Int64, &[rows])?,
        weights: operation.optional("weights", predicted.weights, Kind::Float, &[rows])?,
        losses: operation.address("losses", &losses, Kind::Float, &[rows])?,
        rows,
        vocab_size: operation.int("the vocabulary", vocab_size)?,
        scale: scale.unwrap_or_default() as f32,
        wants_grad: i32::from(scale.is_some()),
    };
    let entry = element.pick("cross_entropy_f32", "cross_entropy_bf16");
    let grid = Grid::line(kernels.blocks(rows));
    // SAFETY: the operands have the shapes that the kernel's header states, and live until it has been queued; logits are
    // written only where the caller holds them mutably.
    unsafe { kernels.launch(Family::CrossEntropy, entry, grid, &parameters) }?;
    Ok(losses)
}
