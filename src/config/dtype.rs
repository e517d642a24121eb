//! Which dtype a run asks for, and the dtypes there are.

/// A dtype of weights and activations.
///
/// Gates, multipliers, optimizer state and every sum over tokens are f32 or wider whatever is chosen here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// 32-bit float.
    F32,
    /// Brain float: 8 bits of exponent, 7 of mantissa.
    Bf16,
    /// 64-bit float: oracles.
    F64,
}

/// A dtype, or the rule that finds one.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Default,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum DtypeRequest {
    /// bf16 on a GPU, and on a CPU whose products of it a short probe finds clearly faster; else f32. Logged and stored.
    #[default]
    Auto,
    /// 32-bit float.
    F32,
    /// Brain float.
    Bf16,
    /// 64-bit float.
    F64,
}

impl Dtype {
    /// The stable word for configurations, logs and results.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F64 => "f64",
        }
    }

    /// Bytes per element.
    pub fn size_bytes(self) -> usize {
        match self {
            Self::Bf16 => 2,
            Self::F32 => 4,
            Self::F64 => 8,
        }
    }
}

impl DtypeRequest {
    /// The dtype, if one is named.
    pub fn named(self) -> Option<Dtype> {
        match self {
            Self::Auto => None,
            Self::F32 => Some(Dtype::F32),
            Self::Bf16 => Some(Dtype::Bf16),
            Self::F64 => Some(Dtype::F64),
        }
    }
}

impl From<Dtype> for DtypeRequest {
    fn from(dtype: Dtype) -> Self {
        match dtype {
            Dtype::F32 => Self::F32,
            Dtype::Bf16 => Self::Bf16,
            Dtype::F64 => Self::F64,
        }
    }
}

impl std::fmt::Display for Dtype {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dtype_and_the_request_for_it_are_the_same_word() {
        for dtype in [Dtype::F32, Dtype::Bf16, Dtype::F64] {
            let request = DtypeRequest::from(dtype);
            assert_eq!(request.named(), Some(dtype));
            for word in [serde_json::to_value(dtype), serde_json::to_value(request)] {
                assert_eq!(word.unwrap(), dtype.to_string());
            }
        }
        assert_eq!(DtypeRequest::Auto.named(), None);
    }
}
