//! Typed access to a container's metadata and tensors, with errors that name the key.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::container::Container;
use crate::mask::error::MaskProblem;
use crate::span::StreamingRule;
use safetensors::Dtype;

/// What every step of reading returns.
pub(super) type Parsed<T> = Result<T, MaskProblem>;

/// One container, looked at by key.
pub(super) struct Lookup<'a>(pub(super) &'a Container<'a>);

impl Lookup<'_> {
    /// A tensor's bytes, after its dtype and shape; `None` if there is no such tensor.
    pub(super) fn tensor(
        &self,
        name: &'static str,
        dtype: Dtype,
        axes: [usize; 2],
    ) -> Parsed<Option<&[u8]>> {
        let Ok(view) = self.0.tensors.tensor(name) else {
            return Ok(None);
        };
        if view.dtype() != dtype {
            return Err(MaskProblem::Dtype {
                tensor: name.to_owned(),
                expected: dtype_name(dtype),
                found: view.dtype().to_string(),
            });
        }
        if view.shape() != axes {
            return Err(shape(
                format!("tensor `{name}` is {:?}", view.shape()),
                format!("the metadata says {axes:?}"),
            ));
        }
        Ok(Some(view.data()))
    }

    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.0.metadata.get(key).map(String::as_str)
    }

    pub(super) fn required(&self, key: &str) -> Parsed<&str> {
        match self.text(key) {
            Some(text) if !text.is_empty() => Ok(text),
            _ => Err(self.malformed(key, "some text")),
        }
    }

    pub(super) fn required_as<T>(
        &self,
        key: &str,
        expected: &'static str,
        convert: impl Fn(&str) -> Option<T>,
    ) -> Parsed<T> {
        let value = self.text(key).and_then(convert);
        value.ok_or_else(|| self.malformed(key, expected))
    }

    pub(super) fn named<T>(
        &self,
        key: &str,
        expected: &'static str,
        from_name: fn(&str) -> Option<T>,
    ) -> Parsed<T> {
        self.required_as(key, expected, from_name)
    }

    pub(super) fn optional<T>(
        &self,
        key: &str,
        expected: &'static str,
        convert: fn(&str) -> Option<T>,
    ) -> Parsed<Option<T>> {
        if self.text(key).is_none() {
            return Ok(None);
        }
        self.required_as(key, expected, convert).map(Some)
    }

    pub(super) fn malformed(&self, key: &str, expected: &'static str) -> MaskProblem {
        MaskProblem::Metadata {
            key: key.to_owned(),
            expected,
            found: self.text(key).map(str::to_owned),
        }
    }
}

pub(super) fn integer<T: std::str::FromStr + ToString>(text: &str) -> Option<T> {
    let value: T = text.parse().ok()?;
    // One spelling per number: no sign, no leading zeros.
    (value.to_string() == text).then_some(value)
}

pub(super) fn float(text: &str) -> Option<f64> {
    text.parse().ok().filter(|value: &f64| value.is_finite())
}

pub(super) fn rule(text: &str) -> Option<StreamingRule> {
    [
        StreamingRule::DuoChunk,
        StreamingRule::Sliding,
        StreamingRule::FrozenPrompt,
    ]
    .into_iter()
    .find(|rule| rule.name() == text)
}

pub(super) fn shape(found: String, expected: String) -> MaskProblem {
    MaskProblem::Shape { found, expected }
}

pub(super) fn missing(tensor: &str) -> MaskProblem {
    shape(
        format!("there is no tensor `{tensor}`"),
        "every mask file has one".to_owned(),
    )
}

fn dtype_name(dtype: Dtype) -> &'static str {
    match dtype {
        Dtype::U8 => "U8",
        Dtype::I32 => "I32",
        _ => "F32",
    }
}
