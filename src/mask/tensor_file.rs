//! Safetensors bytes of small tables, the same for the same content (masks.md section 7).
//!
//! ```text
//! 8 bytes    header length, little-endian
//! header     canonical JSON, padded with spaces to a multiple of 8 bytes
//! data       the tensors in the order given, without gaps
//! ```
//!
//! # Decisions
//! The header is written here and not by the safetensors crate, which keeps metadata in a hash map: the same content would give
//! different files (huggingface/safetensors#790).

use crate::mask::canonical;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// One tensor of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// Its name.
    pub name: &'static str,
    /// Its element type as safetensors spells it.
    pub dtype: &'static str,
    /// Its elements, row-major and little-endian.
    pub bytes: Vec<u8>,
}

impl Tensor {
    /// An F32 tensor.
    pub fn f32(name: &'static str, values: &[f32]) -> Self {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes());
        Self {
            name,
            dtype: "F32",
            bytes: bytes.collect(),
        }
    }
}

/// The file of `tensors`, all of one `shape`, in their order.
pub fn to_bytes(
    metadata: &BTreeMap<String, String>,
    shape: [usize; 2],
    tensors: &[Tensor],
) -> Vec<u8> {
    let mut header = Map::new();
    header.insert("__metadata__".to_owned(), json!(metadata));
    let mut data = Vec::new();
    for tensor in tensors {
        let start = data.len();
        data.extend_from_slice(&tensor.bytes);
        let offsets = [start, data.len()];
        let info = json!({"dtype": tensor.dtype, "shape": shape, "data_offsets": offsets});
        header.insert(tensor.name.to_owned(), info);
    }
    let mut text = canonical::to_string(&Value::Object(header));
    while !text.len().is_multiple_of(8) {
        text.push(' ');
    }
    let mut file = (text.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(text.as_bytes());
    file.extend_from_slice(&data);
    file
}
