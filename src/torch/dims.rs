//! Naming the dimensions of a tensor by destructuring.

use tch::Tensor;

/// The shape of a tensor of rank `N`.
///
/// # Shapes
/// Any of rank `N`.
///
/// # Panics
/// If the rank differs: shapes are checked where a module is entered.
#[expect(
    clippy::panic,
    reason = "a wrong rank behind a checked entry is our bug"
)]
pub fn dims<const N: usize>(x: &Tensor) -> [i64; N] {
    let size = x.size();
    let dims = <[i64; N]>::try_from(size.as_slice());
    dims.unwrap_or_else(|_| panic!("a tensor of rank {N} has shape {size:?}"))
}
