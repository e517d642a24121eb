//! Numeric arrays as MDS stores them: dtype, shape and little-endian values in C order.

use super::dtype::Dtype;

/// An array whose byte count matches its shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Array {
    dtype: Dtype,
    shape: Vec<u64>,
    bytes: Vec<u8>,
}

/// Product of `shape` times the item size, or nothing if it overflows.
pub fn num_bytes(dtype: Dtype, shape: &[u64]) -> Option<u64> {
    let item = u64::try_from(dtype.num_bytes()).ok()?;
    shape
        .iter()
        .try_fold(item, |total, &dim| total.checked_mul(dim))
}

impl Array {
    /// An array over `bytes`, or nothing if their number is not what dtype and shape make.
    pub fn new(dtype: Dtype, shape: Vec<u64>, bytes: Vec<u8>) -> Option<Self> {
        let expected = num_bytes(dtype, &shape)?;
        (u64::try_from(bytes.len()).ok()? == expected).then_some(Self {
            dtype,
            shape,
            bytes,
        })
    }

    /// A `uint32` array of `values` with the given shape, or nothing if the shape counts other values.
    pub fn from_u32(values: &[u32], shape: Vec<u64>) -> Option<Self> {
        let bytes = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        Self::new(Dtype::Uint32, shape, bytes)
    }

    /// Item type.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// Dimensions, outermost first.
    pub fn shape(&self) -> &[u64] {
        &self.shape
    }

    /// Little-endian values in C order.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Number of items.
    pub fn num_items(&self) -> usize {
        self.bytes.chunks_exact(self.dtype.num_bytes()).len()
    }

    /// The values as integers, or nothing if items are floats.
    pub fn integers(&self) -> Option<Vec<i128>> {
        self.dtype
            .is_integer()
            .then(|| self.items(|bytes| integer(self.dtype, bytes)))
    }

    /// The values as f64 (exact for every float dtype), or nothing if items are integers.
    pub fn floats(&self) -> Option<Vec<f64>> {
        (!self.dtype.is_integer()).then(|| self.items(|bytes| float(self.dtype, bytes)))
    }

    fn items<T>(&self, item: impl Fn(&[u8]) -> T) -> Vec<T> {
        self.bytes
            .chunks_exact(self.dtype.num_bytes())
            .map(item)
            .collect()
    }
}

/// Zero- or sign-extends one little-endian integer of `dtype`.
pub fn integer(dtype: Dtype, bytes: &[u8]) -> i128 {
    let raw = widen(bytes);
    #[expect(
        clippy::cast_possible_wrap,
        clippy::cast_possible_truncation,
        reason = "two's complement: `raw` holds exactly the item's bits"
    )]
    match dtype {
        Dtype::Int8 => i128::from(raw as u8 as i8),
        Dtype::Int16 => i128::from(raw as u16 as i16),
        Dtype::Int32 => i128::from(raw as u32 as i32),
        Dtype::Int64 => i128::from(raw as i64),
        _ => i128::from(raw),
    }
}

/// One little-endian float of `dtype`, widened.
pub fn float(dtype: Dtype, bytes: &[u8]) -> f64 {
    let raw = widen(bytes);
    #[expect(
        clippy::cast_possible_truncation,
        reason = "`raw` holds exactly the item's bits"
    )]
    match dtype {
        Dtype::Float16 => half::f16::from_bits(raw as u16).to_f64(),
        Dtype::Float32 => f64::from(f32::from_bits(raw as u32)),
        _ => f64::from_bits(raw),
    }
}

/// Up to eight little-endian bytes as one integer.
fn widen(bytes: &[u8]) -> u64 {
    let mut full = [0_u8; 8];
    for (to, from) in full.iter_mut().zip(bytes) {
        *to = *from;
    }
    u64::from_le_bytes(full)
}
