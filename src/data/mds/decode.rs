//! Column bytes to values.

use super::array::{self, Array};
use super::column::Encoding;
use super::dtype::Dtype;
use super::value::Value;

/// Arrays of more dimensions are refused: nothing writes them, and a corrupt header usually claims them.
const MAX_DIMS: u8 = 8;

/// Decodes one column's bytes.
///
/// # Errors
/// The reason as a fragment, if `bytes` are not what `encoding` promises.
pub fn decode(encoding: &Encoding, bytes: &[u8]) -> Result<Value, String> {
    match encoding {
        Encoding::Int => scalar(Dtype::Int64, bytes),
        Encoding::Scalar(dtype) => scalar(*dtype, bytes),
        Encoding::Str => Ok(Value::Str(text(bytes)?.to_owned())),
        Encoding::Bytes => Ok(Value::Bytes(bytes.to_vec())),
        Encoding::Json => serde_json::from_slice(bytes)
            .map(Value::Json)
            .map_err(|error| format!("not JSON: {error}")),
        Encoding::StrInt => decimal(bytes, is_integer).map(Value::IntText),
        Encoding::StrFloat => decimal(bytes, is_number).map(Value::FloatText),
        Encoding::StrDecimal => decimal(bytes, is_number).map(Value::DecimalText),
        Encoding::FixedArray(dtype, shape) => array_of(*dtype, shape.clone(), bytes),
        Encoding::TypedArray(dtype) => shaped(*dtype, bytes),
        Encoding::AnyArray => {
            let (code, rest) = bytes.split_first().ok_or("no dtype byte")?;
            let dtype =
                Dtype::from_code(*code).ok_or_else(|| format!("unknown dtype byte {code}"))?;
            shaped(dtype, rest)
        }
    }
}

fn scalar(dtype: Dtype, bytes: &[u8]) -> Result<Value, String> {
    if bytes.len() != dtype.num_bytes() {
        return Err(format!("{} bytes for one {}", bytes.len(), dtype.name()));
    }
    Ok(if dtype.is_integer() {
        Value::Int(array::integer(dtype, bytes))
    } else {
        Value::Float(array::float(dtype, bytes))
    })
}

fn text(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|error| format!("not UTF-8 at byte {}", error.valid_up_to()))
}

fn decimal(bytes: &[u8], accepts: fn(&str) -> bool) -> Result<String, String> {
    let text = text(bytes)?;
    if accepts(text) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "{:?} is not a number",
            text.chars().take(40).collect::<String>()
        ))
    }
}

fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_number(text: &str) -> bool {
    text.parse::<f64>().is_ok()
}

/// Reads the shape header `(ndim << 2) | width`, the dimensions, and the values.
fn shaped(dtype: Dtype, bytes: &[u8]) -> Result<Value, String> {
    let (header, rest) = bytes.split_first().ok_or("no shape header")?;
    let num_dims = header >> 2;
    if num_dims > MAX_DIMS {
        return Err(format!("an array of {num_dims} dimensions"));
    }
    let width = 1_usize << (header & 3);
    let header_len = usize::from(num_dims)
        .checked_mul(width)
        .filter(|&len| len <= rest.len())
        .ok_or("shape header longer than the value")?;
    let (dims, values) = rest.split_at(header_len);
    let dtype_of_dims = match width {
        1 => Dtype::Uint8,
        2 => Dtype::Uint16,
        4 => Dtype::Uint32,
        _ => Dtype::Uint64,
    };
    let shape = dims
        .chunks_exact(width)
        .map(|dim| u64::try_from(array::integer(dtype_of_dims, dim)).unwrap_or(u64::MAX))
        .collect();
    array_of(dtype, shape, values)
}

fn array_of(dtype: Dtype, shape: Vec<u64>, values: &[u8]) -> Result<Value, String> {
    let expected = array::num_bytes(dtype, &shape);
    if expected != u64::try_from(values.len()).ok() {
        return Err(format!(
            "{} bytes of values for a {} array of shape {shape:?}",
            values.len(),
            dtype.name()
        ));
    }
    Array::new(dtype, shape, values.to_vec())
        .map(Value::Array)
        .ok_or_else(|| "array size overflows".to_owned())
}
