//! Launches `kernels/rms_norm.cu`: RMSNorm forward and backward, with the residual sum beside it.
#![expect(unsafe_code, reason = "starts kernels")]

use super::error::CudaError;
use super::operand::{Address, Element, Operation};
use super::runner::{Grid, Kernels, Parameters, THREADS};
use super::source::Family;
use tch::{Kind, Tensor};

/// Rows whose shares of a weight gradient are summed up by one thread; the count is part of the rounding.
const STRIP_LEN: i64 = 128;

#[derive(Clone, Copy)]
#[repr(C)]
struct RmsNormForward {
    x: Address,
    update: Address,
    weight: Address,
    sum: Address,
    y: Address,
    rows: i64,
    width: i32,
    eps: f32,
}
const _: () = assert!(size_of::<RmsNormForward>() == 56);

// SAFETY: the struct of this name in `kernels/rms_norm.cu`.
unsafe impl Parameters for RmsNormForward {}

#[derive(Clone, Copy)]
#[repr(C)]
struct RmsNormBackward {
    dy: Address,
    x: Address,
    weight: Address,
    residual: Address,
    dx: Address,
    inverse_rms: Address,
    rows: i64,
    width: i32,
    eps: f32,
}
const _: () = assert!(size_of::<RmsNormBackward>() == 64);

// SAFETY: the struct of this name in `kernels/rms_norm.cu`.
unsafe impl Parameters for RmsNormBackward {}

#[derive(Clone, Copy)]
#[repr(C)]
struct RmsNormWeightParts {
    dy: Address,
    x: Address,
    inverse_rms: Address,
    parts: Address,
    rows: i64,
    strip_len: i64,
    width: i32,
}
const _: () = assert!(size_of::<RmsNormWeightParts>() == 56);

// SAFETY: the struct of this name in `kernels/rms_norm.cu`.
unsafe impl Parameters for RmsNormWeightParts {}

#[derive(Clone, Copy)]
#[repr(C)]
struct RmsNormWeightSum {
    parts: Address,
    dweight: Address,
    num_strips: i32,
    width: i32,
}
const _: () = assert!(size_of::<RmsNormWeightSum>() == 24);

// SAFETY: the struct of this name in `kernels/rms_norm.cu`.
unsafe impl Parameters for RmsNormWeightSum {}

/// Rows, and what normalises them.
#[derive(Debug, Clone, Copy)]
pub struct Norm<'a> {
    /// `[.., C]`, contiguous.
    pub x: &'a Tensor,
    /// `[C]`.
    pub weight: &'a Tensor,
    /// Added to the mean square.
    pub eps: f64,
}

/// Shape and dtype of a norm's rows.
#[derive(Clone, Copy)]
struct Rows {
    element: Element,
    count: i64,
    width: i64,
}

impl Rows {
    fn of(operation: Operation, x: &Tensor) -> Result<Self, CudaError> {
        let element = operation.element("x", x)?;
        let size = x.size();
        let Some((width, leading)) = size.split_last() else {
            return Err(operation.refuse("x", "[.., C]", "a scalar".to_owned()));
        };
        Ok(Self {
            element,
            count: leading.iter().product(),
            width: *width,
        })
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "an epsilon, in the kernel's precision"
)]
fn eps(norm: Norm) -> f32 {
    norm.eps as f32
}

/// Normalises the rows of `x` and scales them by the weight.
///
/// # Shapes
/// As [`Norm`]; returns the shape of `x`.
///
/// # Precision
/// Computed in f32; the normalised row is rounded to the dtype before it is scaled.
///
/// # Errors
/// [`CudaError::Operand`] for tensors that do not fit; as `Runner::launch`.
pub fn forward(kernels: &Kernels, norm: Norm) -> Result<Tensor, CudaError> {
    launch_forward(kernels, norm, None).map(|(_, y)| y)
}

/// `x + update`, and its norm.
///
/// # Shapes
/// As [`Norm`], `update` as `x`; returns the sum and its norm, as `x`.
///
/// # Precision
/// The sum is rounded to the dtype and then normalised as by [`forward`].
///
/// # Errors
/// As [`forward`].
pub fn forward_after(
    kernels: &Kernels,
    norm: Norm,
    update: &Tensor,
) -> Result<(Tensor, Tensor), CudaError> {
    launch_forward(kernels, norm, Some(update))
}

fn launch_forward(
    kernels: &Kernels,
    norm: Norm,
    update: Option<&Tensor>,
) -> Result<(Tensor, Tensor), CudaError> {
    let operation = Operation::new("the RMSNorm kernel", kernels);
    let rows = Rows::of(operation, norm.x)?;
    let (kind, size) = (rows.element.kind(), norm.x.size());
    let y = norm.x.empty_like();
    let sum = update.map(Tensor::empty_like);
    let parameters = RmsNormForward {
        x: operation.address("x", norm.x, kind, &size)?,
        update: operation.optional("update", update, kind, &size)?,
        weight: operation.address("weight", norm.weight, kind, &[rows.width])?,
        sum: operation.optional("sum", sum.as_ref(), kind, &size)?,
        y: operation.address("y", &y, kind, &size)?,
        rows: rows.count,
        width: operation.int("the width", rows.width)?,
        eps: eps(norm),
    };
    let entry = rows
        .element
        .pick("rms_norm_forward_f32", "rms_norm_forward_bf16");
    let grid = Grid::line(kernels.blocks(rows.count));
    // SAFETY: the operands have the shapes that the kernel's header states, and live until it has been queued.
    unsafe { kernels.launch(Family::RmsNorm, entry, grid, &parameters) }?;
    Ok((sum.unwrap_or_else(|| norm.x.shallow_clone()), y))
}

/// Whether a backward pass gives the weight's gradient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeightGrad {
    /// It does.
    Wanted,
    /// It does not.
    Unwanted,
}

/// Gradients of [`forward`] for `dy`, that of `x` with `residual` added.
///
/// # Shapes
/// As [`Norm`]; `dy`, `residual` as `x`. Returns the gradient by `x`, and by the weight, `[C]`, f32, if wanted.
///
/// # Precision
/// Computed in f32, rounded once to the dtype. The weight's gradient is summed in f64, over 128 rows, then over those sums.
///
/// # Errors
/// As [`forward`].
pub fn backward(
    kernels: &Kernels,
    norm: Norm,
    dy: &Tensor,
    residual: Option<&Tensor>,
    weight_grad: WeightGrad,
) -> Result<(Tensor, Option<Tensor>), CudaError> {
    let operation = Operation::new("the RMSNorm backward kernel", kernels);
    let rows = Rows::of(operation, norm.x)?;
    let (kind, size) = (rows.element.kind(), norm.x.size());
    let dx = norm.x.empty_like();
    let inverse_rms = (weight_grad == WeightGrad::Wanted)
        .then(|| Tensor::empty([rows.count], (Kind::Float, norm.x.device())));
    let parameters = RmsNormBackward {
        dy: operation.address("dy", dy, kind, &size)?,
        x: operation.address("x", norm.x, kind, &size)?,
        weight: operation.address("weight", norm.weight, kind, &[rows.width])?,
        residual: operation.optional("residual", residual, kind, &size)?,
        dx: operation.address("dx", &dx, kind, &size)?,
        inverse_rms: operation.optional(
            "inverse_rms",
            inverse_rms.as_ref(),
            Kind::Float,
            &[rows.count],
        )?,
        rows: rows.count,
        width: operation.int("the width", rows.width)?,
        eps: eps(norm),
    };
    let entry = rows
        .element
        .pick("rms_norm_backward_f32", "rms_norm_backward_bf16");
    let grid = Grid::line(kernels.blocks(rows.count));
    // SAFETY: the operands have the shapes that the kernel's header states, and live until it has been queued.
    unsafe { kernels.launch(Family::RmsNorm, entry, grid, &parameters) }?;
    let dweight = inverse_rms.map(|inverse_rms| launch_weight(kernels, norm, dy, &inverse_rms));
    Ok((dx, dweight.transpose()?))
}

/// The weight's gradient, of operands that [`backward`] has checked.
fn launch_weight(
    kernels: &Kernels,
    norm: Norm,
    dy: &Tensor,
    inverse_rms: &Tensor,
) -> Result<Tensor, CudaError> {
    let operation = Operation::new("the RMSNorm weight kernel", kernels);
    let rows = Rows::of(operation, norm.x)?;
    let (kind, size) = (rows.element.kind(), norm.x.size());
    let num_strips = rows.count.saturating_add(STRIP_LEN - 1) / STRIP_LEN;
    let empty = |shape: &[i64], kind| Tensor::empty(shape, (kind, norm.x.device()));
    let parts = empty(&[num_strips, rows.width], Kind::Double);
    let dweight = empty(&[rows.width], Kind::Float);
    let width = operation.int("the width", rows.width)?;
    let parameters = RmsNormWeightParts {
        dy: operation.address("dy", dy, kind, &size)?,
        x: operation.address("x", norm.x, kind, &size)?,
        inverse_rms: operation.address("inverse_rms", inverse_rms, Kind::Float, &[rows.count])?,
        parts: operation.address("parts", &parts, Kind::Double, &[num_strips, rows.width])?,
        rows: rows.count,
        strip_len: STRIP_LEN,
        width,
    };
    let entry = rows
        .element
        .pick("rms_norm_weight_parts_f32", "rms_norm_weight_parts_bf16");
    let columns = Grid::line(width.unsigned_abs().div_ceil(THREADS));
    let strips = operation.grid_side("rows", num_strips)?;
    let grid = Grid {
        y: strips,
        ..columns
    };
    // SAFETY: the operands have the shapes that the kernel's header states, and live until it has been queued.
    unsafe { kernels.launch(Family::RmsNorm, entry, grid, &parameters) }?;
    let parameters = RmsNormWeightSum {
        parts: parameters.parts,
        dweight: operation.address("dweight", &dweight, Kind::Float, &[rows.width])?,
        num_strips: operation.int("strips", num_strips)?,
        width,
    };
    // SAFETY: `parts` is what the kernel before has written; both live until this one has been queued.
    unsafe { kernels.launch(Family::RmsNorm, "rms_norm_weight_sum", columns, &parameters) }?;
    Ok(dweight)
}
