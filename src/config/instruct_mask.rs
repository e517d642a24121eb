//! `data.instruct_mask`: whether the `mask` column of rows says which tokens are trained on.

/// `false`, `true` or `"where-present"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum InstructMask {
    /// Every token trains.
    #[default]
    Ignored,
    /// Tokens whose mask is not 0 train; rows without the column are an error.
    Needed,
    /// As needed, but rows of a stream without the column train whole: for mixtures with natural text.
    WherePresent,
}

/// How the third value is written.
const WHERE_PRESENT: &str = "where-present";

impl serde::Serialize for InstructMask {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Ignored => serializer.serialize_bool(false),
            Self::Needed => serializer.serialize_bool(true),
            Self::WherePresent => serializer.serialize_str(WHERE_PRESENT),
        }
    }
}

impl<'de> serde::Deserialize<'de> for InstructMask {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(InstructMaskVisitor)
    }
}

struct InstructMaskVisitor;

impl serde::de::Visitor<'_> for InstructMaskVisitor {
    type Value = InstructMask;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("`false`, `true` or `\"where-present\"`")
    }

    fn visit_bool<E: serde::de::Error>(self, needs: bool) -> Result<InstructMask, E> {
        Ok(if needs {
            InstructMask::Needed
        } else {
            InstructMask::Ignored
        })
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<InstructMask, E> {
        if text == WHERE_PRESENT {
            return Ok(InstructMask::WherePresent);
        }
        Err(E::invalid_value(serde::de::Unexpected::Str(text), &self))
    }
}

impl schemars::JsonSchema for InstructMask {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "InstructMask".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "anyOf": [{ "type": "boolean" }, { "const": WHERE_PRESENT }] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_read_as_it_is_written_and_others_are_refused() {
        for (mask, text) in [
            (InstructMask::Ignored, "false"),
            (InstructMask::Needed, "true"),
            (InstructMask::WherePresent, "\"where-present\""),
        ] {
            assert_eq!(serde_json::to_string(&mask).unwrap(), text);
            assert_eq!(serde_json::from_str::<InstructMask>(text).unwrap(), mask);
        }
        let error = serde_json::from_str::<InstructMask>("\"always\"").unwrap_err();
        assert!(error.to_string().contains("where-present"), "{error}");
    }
}
