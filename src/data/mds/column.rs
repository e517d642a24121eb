//! Columns of a shard: names, encodings, and the sizes that encodings fix.

use super::array;
use super::dtype::Dtype;

/// How one column's values are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Encoding {
    /// `int`: i64.
    Int,
    /// `uint8` ... `float64`.
    Scalar(Dtype),
    /// `str`: UTF-8.
    Str,
    /// `bytes`.
    Bytes,
    /// `json`: UTF-8 JSON text.
    Json,
    /// `str_int`: decimal text.
    StrInt,
    /// `str_float`: decimal text.
    StrFloat,
    /// `str_decimal`: decimal text.
    StrDecimal,
    /// `ndarray:DTYPE:d0,d1,...`: values only.
    FixedArray(Dtype, Vec<u64>),
    /// `ndarray:DTYPE`: shape header, values.
    TypedArray(Dtype),
    /// `ndarray`: dtype byte, shape header, values.
    AnyArray,
}

impl Encoding {
    /// Parses an encoding's name.
    ///
    /// # Errors
    /// If the encoding is refused (pickle), holds images, or is unknown: the reason, as a fragment.
    pub fn parse(name: &str) -> Result<Self, String> {
        if let Some(dtype) = Dtype::from_name(name) {
            return Ok(Self::Scalar(dtype));
        }
        if let Some(rest) = name.strip_prefix("ndarray:") {
            return parse_array(rest).ok_or_else(|| format!("malformed array encoding `{name}`"));
        }
        match name {
            "int" => Ok(Self::Int),
            "str" => Ok(Self::Str),
            "bytes" => Ok(Self::Bytes),
            "json" => Ok(Self::Json),
            "str_int" => Ok(Self::StrInt),
            "str_float" => Ok(Self::StrFloat),
            "str_decimal" => Ok(Self::StrDecimal),
            "ndarray" => Ok(Self::AnyArray),
            "pkl" => Err("encoding `pkl` can run code when it is read and is refused".to_owned()),
            _ if is_image(name) => Err(format!("encoding `{name}` holds images, not text")),
            _ => Err(format!("unknown encoding `{name}`")),
        }
    }

    /// The encoding's name; [`Encoding::parse`] reads it back.
    pub fn name(&self) -> String {
        match self {
            Self::Int => "int".to_owned(),
            Self::Scalar(dtype) => dtype.name().to_owned(),
            Self::Str => "str".to_owned(),
            Self::Bytes => "bytes".to_owned(),
            Self::Json => "json".to_owned(),
            Self::StrInt => "str_int".to_owned(),
            Self::StrFloat => "str_float".to_owned(),
            Self::StrDecimal => "str_decimal".to_owned(),
            Self::FixedArray(dtype, shape) => {
                let dims: Vec<String> = shape.iter().map(u64::to_string).collect();
                format!("ndarray:{}:{}", dtype.name(), dims.join(","))
            }
            Self::TypedArray(dtype) => format!("ndarray:{}", dtype.name()),
            Self::AnyArray => "ndarray".to_owned(),
        }
    }

    /// Bytes of every value, for encodings that fix it.
    pub fn fixed_bytes(&self) -> Option<u64> {
        match self {
            Self::Int => Some(8),
            Self::Scalar(dtype) => u64::try_from(dtype.num_bytes()).ok(),
            Self::FixedArray(dtype, shape) => array::num_bytes(*dtype, shape),
            _ => None,
        }
    }
}

/// A named column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// How its values are stored.
    pub encoding: Encoding,
}

fn parse_array(rest: &str) -> Option<Encoding> {
    let Some((dtype, dims)) = rest.split_once(':') else {
        return Dtype::from_name(rest).map(Encoding::TypedArray);
    };
    let dtype = Dtype::from_name(dtype)?;
    let shape: Vec<u64> = dims
        .split(',')
        .map(|dim| dim.parse().ok())
        .collect::<Option<_>>()?;
    array::num_bytes(dtype, &shape)?;
    Some(Encoding::FixedArray(dtype, shape))
}

fn is_image(name: &str) -> bool {
    let inner = name
        .strip_prefix("list[")
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(name);
    matches!(
        inner,
        "pil" | "jpeg" | "png" | "jpeg_array" | "jpegarray" | "jpeg_list" | "png_list"
    )
}
