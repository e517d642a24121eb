//! Moving numbers between tensors and host memory.

use tch::{Device, Kind, Tensor};

/// All values of a tensor in row-major order, as f32.
///
/// # Shapes
/// Any.
pub fn to_f32(tensor: &Tensor) -> Vec<f32> {
    let flat = tensor
        .detach()
        .to_device(Device::Cpu)
        .to_kind(Kind::Float)
        .contiguous();
    Vec::<f32>::try_from(flat.flatten(0, -1)).unwrap_or_default()
}

/// A tensor of `shape` from row-major f32 values.
///
/// # Shapes
/// `values` has the product of `shape` elements.
pub fn from_f32(values: &[f32], shape: &[usize], device: Device) -> Tensor {
    let shape: Vec<i64> = shape
        .iter()
        .filter_map(|len| i64::try_from(*len).ok())
        .collect();
    Tensor::from_slice(values)
        .view(shape.as_slice())
        .to_device(device)
}

/// The shape of a tensor as counts.
///
/// # Shapes
/// Any.
pub fn shape_of(tensor: &Tensor) -> Vec<usize> {
    tensor
        .size()
        .iter()
        .filter_map(|len| usize::try_from(*len).ok())
        .collect()
}

/// Sum of squares of all values, in f64.
///
/// # Shapes
/// Any.
pub fn square_sum(tensor: &Tensor) -> f64 {
    tensor.square().sum(Kind::Double).double_value(&[])
}
