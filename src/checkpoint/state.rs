//! Named tensors as the bytes of one safetensors file, in a fixed order.

use super::error::CheckpointError;
use safetensors::{Dtype, SafeTensors, View};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Element types a state may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StateDtype {
    /// 32-bit float.
    F32,
    /// 64-bit float.
    F64,
    /// bfloat16.
    BF16,
    /// IEEE half.
    F16,
    /// Signed 64-bit integer.
    I64,
    /// Byte.
    U8,
}

impl StateDtype {
    /// Bytes of one element.
    pub fn size_bytes(self) -> usize {
        match self {
            Self::F64 | Self::I64 => 8,
            Self::F32 => 4,
            Self::BF16 | Self::F16 => 2,
            Self::U8 => 1,
        }
    }

    fn stored(self) -> Dtype {
        match self {
            Self::F32 => Dtype::F32,
            Self::F64 => Dtype::F64,
            Self::BF16 => Dtype::BF16,
            Self::F16 => Dtype::F16,
            Self::I64 => Dtype::I64,
            Self::U8 => Dtype::U8,
        }
    }

    fn from_stored(dtype: Dtype) -> Option<Self> {
        Some(match dtype {
            Dtype::F32 => Self::F32,
            Dtype::F64 => Self::F64,
            Dtype::BF16 => Self::BF16,
            Dtype::F16 => Self::F16,
            Dtype::I64 => Self::I64,
            Dtype::U8 => Self::U8,
            _ => return None,
        })
    }
}

/// A tensor with a name; row-major, little-endian. Bytes may be borrowed so that weights are copied once, into the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedTensor<'a> {
    /// Unique name.
    pub name: String,
    /// Element type.
    pub dtype: StateDtype,
    /// Extents, outermost first; empty for a scalar.
    pub shape: Vec<usize>,
    /// Elements, `size_bytes` times the product of `shape`.
    pub bytes: Cow<'a, [u8]>,
}

impl<'a> NamedTensor<'a> {
    /// Wraps f32 values without copying them.
    pub fn f32(name: impl Into<String>, shape: &[usize], values: &'a [f32]) -> Self {
        Self::borrowed(name, StateDtype::F32, shape, bytemuck::cast_slice(values))
    }

    /// Wraps f64 values without copying them.
    pub fn f64(name: impl Into<String>, shape: &[usize], values: &'a [f64]) -> Self {
        Self::borrowed(name, StateDtype::F64, shape, bytemuck::cast_slice(values))
    }

    /// Wraps elements that lie in memory as bytes.
    pub fn borrowed(
        name: impl Into<String>,
        dtype: StateDtype,
        shape: &[usize],
        bytes: &'a [u8],
    ) -> Self {
        Self {
            name: name.into(),
            dtype,
            shape: shape.to_vec(),
            bytes: Cow::Borrowed(bytes),
        }
    }

    /// The elements as f32.
    ///
    /// # Errors
    /// [`CheckpointError::Content`] if the tensor is not F32.
    pub fn to_f32(&self) -> Result<Vec<f32>, CheckpointError> {
        self.require(StateDtype::F32)?;
        Ok(self
            .bytes
            .as_chunks()
            .0
            .iter()
            .map(|bytes| f32::from_le_bytes(*bytes))
            .collect())
    }

    /// The elements as f64.
    ///
    /// # Errors
    /// [`CheckpointError::Content`] if the tensor is not F64.
    pub fn to_f64(&self) -> Result<Vec<f64>, CheckpointError> {
        self.require(StateDtype::F64)?;
        Ok(self
            .bytes
            .as_chunks()
            .0
            .iter()
            .map(|bytes| f64::from_le_bytes(*bytes))
            .collect())
    }

    fn require(&self, dtype: StateDtype) -> Result<(), CheckpointError> {
        if self.dtype == dtype {
            return Ok(());
        }
        Err(content(format!(
            "tensor `{}` is {:?}, expected {dtype:?}",
            self.name, self.dtype
        )))
    }
}

impl View for &NamedTensor<'_> {
    fn dtype(&self) -> Dtype {
        self.dtype.stored()
    }
    fn shape(&self) -> &[usize] {
        &self.shape
    }
    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }
    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

/// The bytes of a safetensors file with these tensors. Equal tensors give equal bytes, whatever their order.
///
/// # Errors
/// [`CheckpointError::Content`] if two tensors share a name or a tensor's bytes do not fit its shape.
pub fn encode(tensors: &[NamedTensor<'_>]) -> Result<Vec<u8>, CheckpointError> {
    let mut by_name = BTreeMap::new();
    for tensor in tensors {
        let expected = tensor
            .shape
            .iter()
            .try_fold(tensor.dtype.size_bytes(), |bytes, len| {
                bytes.checked_mul(*len)
            });
        if expected != Some(tensor.bytes.len()) {
            let NamedTensor {
                name, shape, bytes, ..
            } = tensor;
            return Err(content(format!(
                "tensor `{name}` of shape {shape:?} has {} bytes",
                bytes.len()
            )));
        }
        if by_name.insert(tensor.name.as_str(), tensor).is_some() {
            return Err(content(format!("two tensors are named `{}`", tensor.name)));
        }
    }
    safetensors::serialize(by_name, None).map_err(|error| content(error.to_string()))
}

/// The tensors of a safetensors file, by name; their bytes are borrowed from `bytes`.
///
/// # Errors
/// [`CheckpointError::Content`] if the bytes are not a safetensors file or hold another element type.
pub fn decode(bytes: &[u8]) -> Result<BTreeMap<String, NamedTensor<'_>>, CheckpointError> {
    let file = SafeTensors::deserialize(bytes).map_err(|error| content(error.to_string()))?;
    let mut tensors = BTreeMap::new();
    for (name, view) in file.iter() {
        let stored = view.dtype();
        let dtype = StateDtype::from_stored(stored)
            .ok_or_else(|| content(format!("tensor `{name}` has the unsupported type {stored}")))?;
        tensors.insert(
            name.to_owned(),
            NamedTensor::borrowed(name, dtype, view.shape(), view.data()),
        );
    }
    Ok(tensors)
}

fn content(reason: String) -> CheckpointError {
    CheckpointError::Content {
        name: "state.safetensors".to_owned(),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_come_back_bit_for_bit_and_order_does_not_matter() {
        let gates = [0.1_f32, -0.0, f32::MIN_POSITIVE, 5.0, 6.0, 7.0];
        let total = [1e300_f64];
        let tensors = [
            NamedTensor::f32("gates", &[2, 3], &gates),
            NamedTensor::f64("total", &[], &total),
            NamedTensor::borrowed("flags", StateDtype::U8, &[3], &[1, 2, 3]),
            NamedTensor::borrowed("empty", StateDtype::BF16, &[0, 4], &[]),
        ];
        let bytes = encode(&tensors).unwrap();
        let mut reversed = tensors.clone();
        reversed.reverse();
        assert_eq!(bytes, encode(&reversed).unwrap());

        let decoded = decode(&bytes).unwrap();
        for tensor in &tensors {
            assert_eq!(&decoded[&tensor.name], tensor);
        }
        let bits = |values: &[f32]| {
            values
                .iter()
                .map(|value| value.to_bits())
                .collect::<Vec<_>>()
        };
        assert_eq!(bits(&decoded["gates"].to_f32().unwrap()), bits(&gates));
        assert!(decoded["gates"].to_f64().is_err());
    }

    #[test]
    fn impossible_tensors_are_refused() {
        let one = [1.0_f32];
        let twice = [
            NamedTensor::f32("a", &[1], &one),
            NamedTensor::f32("a", &[1], &one),
        ];
        assert!(
            encode(&twice)
                .unwrap_err()
                .to_string()
                .contains("two tensors")
        );
        let short = [NamedTensor::f32("a", &[2], &one)];
        assert!(encode(&short).unwrap_err().to_string().contains("4 bytes"));
        let huge = [NamedTensor::f32("a", &[usize::MAX, 2], &one)];
        assert!(encode(&huge).is_err());
        assert!(decode(b"not a tensor file").is_err());
    }
}
