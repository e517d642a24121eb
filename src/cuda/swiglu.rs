//! Launches `kernels/swiglu.cu`: the feed-forward's activation, forward and backward.
#![expect(unsafe_code, reason = "starts kernels")]

use super::error::CudaError;
use super::operand::{Address, Element, Operation};
use super::runner::{Grid, Kernels, Parameters, THREADS};
use super::source::Family;
use tch::Tensor;

#[derive(Clone, Copy)]
#[repr(C)]
struct SwigluForward {
    gate: Address,
    up: Address,
    y: Address,
    count: i64,
}
const _: () = assert!(size_of::<SwigluForward>() == 32);

// SAFETY: the struct of this name in `kernels/swiglu.cu`.
unsafe impl Parameters for SwigluForward {}

#[derive(Clone, Copy)]
#[repr(C)]
struct SwigluBackward {
    dy: Address,
    gate: Address,
    up: Address,
    dgate: Address,
    dup: Address,
    y: Address,
    count: i64,
}
const _: () = assert!(size_of::<SwigluBackward>() == 56);

// SAFETY: the struct of this name in `kernels/swiglu.cu`.
unsafe impl Parameters for SwigluBackward {}

/// `silu(gate) * up`.
///
/// # Shapes
/// Any, both alike and contiguous; returns the same.
///
/// # Precision
/// Computed in f32, `silu(gate)` rounded to the dtype in between: f32 or bf16.
///
/// # Errors
/// [`CudaError::Operand`] for tensors that do not fit; as `Runner::launch`.
pub fn forward(kernels: &Kernels, gate: &Tensor, up: &Tensor) -> Result<Tensor, CudaError> {
    let operation = Operation::new("the SwiGLU kernel", kernels);
    let (element, size) = (operation.element("gate", gate)?, gate.size());
    let y = gate.empty_like();
    let parameters = SwigluForward {
        gate: operation.address("gate", gate, element.kind(), &size)?,
        up: operation.address("up", up, element.kind(), &size)?,
        y: operation.address("y", &y, element.kind(), &size)?,
        count: size.iter().product(),
    };
    let entry = element.pick("swiglu_forward_f32", "swiglu_forward_bf16");
    let grid = grid(kernels, element, parameters.count);
    // SAFETY: the operands are of one shape and dtype, and live until the kernel has been queued.
    unsafe { kernels.launch(Family::Swiglu, entry, grid, &parameters) }?;
    Ok(y)
}

/// What a backward pass shall give besides the gradients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Product {
    /// `silu(gate) * up` again, for the gradient of the weight that it was multiplied with.
    Wanted,
    /// Nothing.
    Unwanted,
}

/// Gradients of [`forward`].
#[derive(Debug)]
pub struct SwigluGrads {
    /// By `gate`.
    pub dgate: Tensor,
    /// By `up`.
    pub dup: Tensor,
    /// The result again, if wanted.
    pub product: Option<Tensor>,
}

/// Gradients of [`forward`] for `dy`.
///
/// # Shapes
/// Any, all alike and contiguous; returns the same.
///
/// # Precision
/// Computed in f32; `silu(gate)` and `dy * up` are rounded to the dtype in between.
///
/// # Errors
/// As [`forward`].
pub fn backward(
    kernels: &Kernels,
    dy: &Tensor,
    gate: &Tensor,
    up: &Tensor,
    product: Product,
) -> Result<SwigluGrads, CudaError> {
    let operation = Operation::new("the SwiGLU backward kernel", kernels);
    let (element, size) = (operation.element("gate", gate)?, gate.size());
    let kind = element.kind();
    let grads = SwigluGrads {
        dgate: gate.empty_like(),
        dup: gate.empty_like(),
        product: (product == Product::Wanted).then(|| gate.empty_like()),
    };
    let parameters = SwigluBackward {
        dy: operation.address("dy", dy, kind, &size)?,
        gate: operation.address("gate", gate, kind, &size)?,
        up: operation.address("up", up, kind, &size)?,
        dgate: operation.address("dgate", &grads.dgate, kind, &size)?,
        dup: operation.address("dup", &grads.dup, kind, &size)?,
        y: operation.optional("product", grads.product.as_ref(), kind, &size)?,
        count: size.iter().product(),
    };
    let entry = element.pick("swiglu_backward_f32", "swiglu_backward_bf16");
    let grid = grid(kernels, element, parameters.count);
    // SAFETY: the operands are of one shape and dtype, and live until the kernel has been queued.
    unsafe { kernels.launch(Family::Swiglu, entry, grid, &parameters) }?;
    Ok(grads)
}

/// A thread for every 16 bytes, if the numbers are whole packs; otherwise threads take several.
fn grid(kernels: &Kernels, element: Element, count: i64) -> Grid {
    let per_block = i64::from(THREADS)
        * match element {
            Element::F32 => 4,
            Element::Bf16 => 8,
        };
    Grid::line(kernels.blocks(count.saturating_add(per_block - 1) / per_block))
}
