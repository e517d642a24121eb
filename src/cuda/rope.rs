//! Launches `kernels/rope.cu`: the rotation of queries, keys and their gradients.
#![expect(unsafe_code, reason = "starts kernels")]

use super::error::CudaError;
use super::operand::{Address, Operation};
use super::runner::{Grid, Kernels, Parameters};
use super::source::Family;
use tch::{Kind, Tensor};

/// Which way heads turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// By the angles.
    Forward,
    /// Back: the gradient.
    Backward,
}

#[derive(Clone, Copy)]
#[repr(C)]
struct Rope {
    x: Address,
    cosine: Address,
    sine: Address,
    y: Address,
    rows: i64,
    num_tokens: i64,
    num_heads: i32,
    half: i32,
    direction: f32,
}
const _: () = assert!(size_of::<Rope>() == 64);

// SAFETY: the struct of this name in `kernels/rope.cu`.
unsafe impl Parameters for Rope {}

/// Rotates every head of `x` by its position's angles.
///
/// # Shapes
/// `x`: `[.., T, heads, D]`, contiguous. `cos_td`, `sin_td`: `[T, D/2]`, f32. Returns the shape of `x`.
///
/// # Precision
/// Computed in f32, rounded once to the dtype of `x`: f32 or bf16.
///
/// # Errors
/// [`CudaError::Operand`] for tensors that do not fit; as `Runner::launch`.
pub fn turn(
    kernels: &Kernels,
    x: &Tensor,
    (cos_td, sin_td): (&Tensor, &Tensor),
    direction: Direction,
) -> Result<Tensor, CudaError> {
    let operation = Operation::new("the rope kernel", kernels);
    let element = operation.element("x", x)?;
    let size = x.size();
    let [.., num_tokens, num_heads, head_dim] = size[..] else {
        return Err(operation.refuse("x", "[.., T, heads, D]", format!("of shape {size:?}")));
    };
    if head_dim % 2 != 0 {
        return Err(operation.refuse("x", "of even head_dim", format!("of shape {size:?}")));
    }
    let half = head_dim / 2;
    let leading: i64 = size[..size.len() - 3].iter().product();
    let y = x.empty_like();
    let parameters = Rope {
        x: operation.address("x", x, element.kind(), &size)?,
        cosine: operation.address("cos", cos_td, Kind::Float, &[num_tokens, half])?,
        sine: operation.address("sin", sin_td, Kind::Float, &[num_tokens, half])?,
        y: operation.address("y", &y, element.kind(), &size)?,
        rows: leading * num_tokens,
        num_tokens,
        num_heads: operation.int("heads", num_heads)?,
        half: operation.int("head_dim", half)?,
        direction: match direction {
            Direction::Forward => 1.0,
            Direction::Backward => -1.0,
        },
    };
    let entry = element.pick("rope_f32", "rope_bf16");
    let grid = Grid::line(kernels.blocks(parameters.rows));
    // SAFETY: the operands have the shapes that the kernel's header states, and live until it has been queued.
    unsafe { kernels.launch(Family::Rope, entry, grid, &parameters) }?;
    Ok(y)
}
