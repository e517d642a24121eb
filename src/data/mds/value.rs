//! One decoded column value, and how it is printed as JSON.

use super::array::Array;
use serde_json::{Value as Json, json};

/// A column's value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `int` and the fixed-size integers.
    Int(i128),
    /// `float16`, `float32`, `float64`, widened to f64 without loss.
    Float(f64),
    /// `str`.
    Str(String),
    /// `bytes`.
    Bytes(Vec<u8>),
    /// `json`.
    Json(Json),
    /// `str_int`: decimal digits, which may exceed 64 bits.
    IntText(String),
    /// `str_float`: decimal text.
    FloatText(String),
    /// `str_decimal`: decimal text of any precision.
    DecimalText(String),
    /// `ndarray` in its three forms.
    Array(Array),
}

impl Value {
    /// The value as JSON: arrays as nested lists, bytes as hex, numbers that no JSON reader keeps exactly as text.
    pub fn to_json(&self) -> Json {
        match self {
            Self::Int(value) => integer(*value),
            Self::Float(value) => float(*value),
            Self::Str(text) | Self::DecimalText(text) => json!(text),
            Self::Bytes(bytes) => json!(hex(bytes)),
            Self::Json(value) => value.clone(),
            Self::IntText(text) => text.parse().map_or_else(|_| json!(text), integer),
            Self::FloatText(text) => text.parse().map_or_else(|_| json!(text), float),
            Self::Array(array) => nested(array),
        }
    }
}

/// Lower-case hexadecimal digits of `bytes`.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

fn integer(value: i128) -> Json {
    match (i64::try_from(value), u64::try_from(value)) {
        (Ok(value), _) => json!(value),
        (_, Ok(value)) => json!(value),
        _ => json!(value.to_string()),
    }
}

fn float(value: f64) -> Json {
    if value.is_finite() {
        json!(value)
    } else {
        json!(value.to_string())
    }
}

fn nested(array: &Array) -> Json {
    let mut items: Vec<Json> = match (array.integers(), array.floats()) {
        (Some(values), _) => values.into_iter().map(integer).collect(),
        (_, Some(values)) => values.into_iter().map(float).collect(),
        _ => Vec::new(),
    };
    for &dim in array.shape().iter().skip(1).rev() {
        let width = usize::try_from(dim).unwrap_or(usize::MAX).max(1);
        items = items
            .chunks(width)
            .map(|chunk| Json::Array(chunk.to_vec()))
            .collect();
    }
    match array.shape() {
        [] => items.into_iter().next().unwrap_or(Json::Null),
        _ => Json::Array(items),
    }
}
