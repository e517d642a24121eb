//! Values to column bytes.

use super::array::Array;
use super::column::Encoding;
use super::dtype::Dtype;
use super::json_text;
use super::value::Value;

/// Appends the bytes of `value` to `out`.
///
/// # Errors
/// The reason as a fragment, if the value does not fit the encoding.
pub fn encode(encoding: &Encoding, value: &Value, out: &mut Vec<u8>) -> Result<(), String> {
    match (encoding, value) {
        (Encoding::Int, Value::Int(number)) => integer(Dtype::Int64, *number, out),
        (Encoding::Scalar(dtype), Value::Int(number)) => integer(*dtype, *number, out),
        (Encoding::Scalar(dtype), Value::Float(number)) => float(*dtype, *number, out),
        (Encoding::Str, Value::Str(text))
        | (Encoding::StrInt, Value::IntText(text))
        | (Encoding::StrFloat, Value::FloatText(text))
        | (Encoding::StrDecimal, Value::DecimalText(text)) => {
            out.extend_from_slice(text.as_bytes());
            Ok(())
        }
        (Encoding::Bytes, Value::Bytes(bytes)) => {
            out.extend_from_slice(bytes);
            Ok(())
        }
        (Encoding::Json, Value::Json(json)) => {
            out.extend_from_slice(json_text::to_string(json)?.as_bytes());
            Ok(())
        }
        (Encoding::FixedArray(dtype, shape), Value::Array(array)) => {
            if array.dtype() != *dtype || array.shape() != shape.as_slice() {
                return Err(mismatch(encoding, value));
            }
            out.extend_from_slice(array.bytes());
            Ok(())
        }
        (Encoding::TypedArray(dtype), Value::Array(array)) if array.dtype() == *dtype => {
            shaped(array, out)
        }
        (Encoding::AnyArray, Value::Array(array)) => {
            out.push(array.dtype().code());
            shaped(array, out)
        }
        _ => Err(mismatch(encoding, value)),
    }
}

fn mismatch(encoding: &Encoding, value: &Value) -> String {
    let found = match value {
        Value::Array(array) => format!("{} array {:?}", array.dtype().name(), array.shape()),
        other => format!("{other:?}").chars().take(40).collect(),
    };
    format!("`{}` cannot hold {found}", encoding.name())
}

fn integer(dtype: Dtype, number: i128, out: &mut Vec<u8>) -> Result<(), String> {
    let misfit = |_| format!("{number} does not fit {}", dtype.name());
    match dtype {
        Dtype::Uint8 => out.extend(u8::try_from(number).map_err(misfit)?.to_le_bytes()),
        Dtype::Int8 => out.extend(i8::try_from(number).map_err(misfit)?.to_le_bytes()),
        Dtype::Uint16 => out.extend(u16::try_from(number).map_err(misfit)?.to_le_bytes()),
        Dtype::Int16 => out.extend(i16::try_from(number).map_err(misfit)?.to_le_bytes()),
        Dtype::Uint32 => out.extend(u32::try_from(number).map_err(misfit)?.to_le_bytes()),
        Dtype::Int32 => out.extend(i32::try_from(number).map_err(misfit)?.to_le_bytes()),
        Dtype::Uint64 => out.extend(u64::try_from(number).map_err(misfit)?.to_le_bytes()),
        Dtype::Int64 => out.extend(i64::try_from(number).map_err(misfit)?.to_le_bytes()),
        Dtype::Float16 | Dtype::Float32 | Dtype::Float64 => {
            return Err(format!("{} holds floats, not {number}", dtype.name()));
        }
    }
    Ok(())
}

fn float(dtype: Dtype, number: f64, out: &mut Vec<u8>) -> Result<(), String> {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "rounding to the column's own precision is what storing means"
    )]
    match dtype {
        Dtype::Float16 => out.extend(half::f16::from_f64(number).to_le_bytes()),
        Dtype::Float32 => out.extend((number as f32).to_le_bytes()),
        Dtype::Float64 => out.extend(number.to_le_bytes()),
        _ => return Err(format!("{} holds integers, not {number}", dtype.name())),
    }
    Ok(())
}

/// Shape header with the narrowest dimensions that hold the largest, then the values.
fn shaped(array: &Array, out: &mut Vec<u8>) -> Result<(), String> {
    let num_dims = u8::try_from(array.shape().len())
        .ok()
        .filter(|&dims| (1..=8).contains(&dims))
        .ok_or("an array needs one to eight dimensions")?;
    if array.num_items() == 0 {
        return Err("an array without items, which Python's reader refuses".to_owned());
    }
    let largest = array.shape().iter().copied().max().unwrap_or(0);
    let log_width = match largest {
        0..=0xff => 0_u8,
        0x100..=0xffff => 1,
        0x1_0000..=0xffff_ffff => 2,
        _ => 3,
    };
    out.push((num_dims << 2) | log_width);
    for dim in array.shape() {
        out.extend(dim.to_le_bytes().into_iter().take(1_usize << log_width));
    }
    out.extend_from_slice(array.bytes());
    Ok(())
}
