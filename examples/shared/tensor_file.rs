//! The safetensors files that examples read and write: tensors by name, each checked for dtype, shape and values.

use prulong::fault::{Coded, Kind};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use std::path::{Path, PathBuf};

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum TensorFileError {
    /// The file could not be read.
    #[error("cannot read `{path}`")]
    Io {
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// The file is no safetensors file.
    #[error("`{path}` cannot be used as a safetensors file")]
    Format {
        /// The file.
        path: PathBuf,
        /// What its reader says.
        source: safetensors::SafeTensorError,
    },
    /// A tensor is missing, or has another dtype or shape.
    #[error("`{path}`: tensor `{tensor}` is {found}, expected {expected}")]
    Tensor {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: &'static str,
        /// What it should be.
        expected: String,
        /// What it is.
        found: String,
        /// What the file should hold.
        layout: &'static str,
    },
    /// A value of a tensor is out of range.
    #[error("`{path}`: `{tensor}`, item {item}: {reason}")]
    Value {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: &'static str,
        /// Which row or element, from 0.
        item: usize,
        /// What is wrong with it.
        reason: String,
        /// What the values mean.
        meaning: &'static str,
    },
}

impl Coded for TensorFileError {
    fn code(&self) -> &'static str {
        match self {
            Self::Io { .. } => "tensor_file.read",
            Self::Format { .. } => "tensor_file.format",
            Self::Tensor { .. } => "tensor_file.tensor",
            Self::Value { .. } => "tensor_file.value",
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Io { source, .. } if source.kind() != std::io::ErrorKind::NotFound => {
                Kind::Storage
            }
            _ => Kind::Input,
        }
    }

    fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Io { .. } => return None,
            Self::Format { .. } => "write it with a safetensors library",
            Self::Tensor { layout, .. } => layout,
            Self::Value { meaning, .. } => meaning,
        };
        Some(text.to_owned())
    }
}

/// A file's bytes and where they came from.
pub(crate) struct TensorFile {
    path: PathBuf,
    bytes: Vec<u8>,
    layout: &'static str,
}

impl TensorFile {
    /// Reads the file at `path`; `layout` says what it should hold.
    ///
    /// # Errors
    /// [`TensorFileError::Io`].
    pub(crate) fn read(path: &Path, layout: &'static str) -> Result<Self, TensorFileError> {
        let bytes = std::fs::read(path).map_err(|source| TensorFileError::Io {
            path: path.to_path_buf(),
            source,
        })?;
        Ok(Self {
            path: path.to_path_buf(),
            bytes,
            layout,
        })
    }

    /// A tensor of 8-byte integers.
    ///
    /// # Errors
    /// [`TensorFileError::Format`] and [`TensorFileError::Tensor`].
    pub(crate) fn integers(
        &self,
        tensor: &'static str,
        expected_shape: &str,
        fits: impl Fn(&[usize]) -> bool,
    ) -> Result<Vec<i64>, TensorFileError> {
        let elements = self.elements((tensor, Dtype::I64), expected_shape, fits)?;
        Ok(elements.into_iter().map(i64::from_le_bytes).collect())
    }

    /// One number in [0, 1] per layer and kv head, in 4-byte floats.
    ///
    /// # Errors
    /// [`TensorFileError::Format`], [`TensorFileError::Tensor`] and [`TensorFileError::Value`].
    pub(crate) fn gates(
        &self,
        tensor: &'static str,
        [num_layers, num_kv_heads]: [usize; 2],
    ) -> Result<Vec<Vec<f64>>, TensorFileError> {
        let shape = [num_layers, num_kv_heads];
        let expected = format!("{shape:?}");
        let elements = self.elements((tensor, Dtype::F32), &expected, |found| found == shape)?;
        let values = elements.into_iter().map(f32::from_le_bytes);
        let values: Vec<f64> = values.map(f64::from).collect();
        if let Some(item) = values.iter().position(|z| !(0.0..=1.0).contains(z)) {
            let reason = format!("{} is not in [0, 1]", values[item]);
            return Err(self.value(
                (tensor, item),
                reason,
                "a gate is 1 for a retrieval head, 0 for a streaming head, or between",
            ));
        }
        let layers = values.chunks(num_kv_heads.max(1));
        Ok(layers.map(<[f64]>::to_vec).collect())
    }

    /// Checks that the elements `items` of the tensor `tokens` are ids of a vocabulary; `meaning` says which ids are.
    ///
    /// # Errors
    /// [`TensorFileError::Value`] for the first that is not.
    pub(crate) fn check_ids(
        &self,
        tokens: &[i64],
        items: impl Iterator<Item = usize>,
        (vocab_size, meaning): (usize, &'static str),
    ) -> Result<(), TensorFileError> {
        for item in items {
            let id = tokens.get(item).copied().unwrap_or_default();
            if usize::try_from(id).map_or(true, |id| id >= vocab_size) {
                let reason = format!("{id} is no token of a vocabulary of {vocab_size}");
                return Err(self.value(("tokens", item), reason, meaning));
            }
        }
        Ok(())
    }

    /// Says that one value cannot be used, and what values there mean.
    pub(crate) fn value(
        &self,
        (tensor, item): (&'static str, usize),
        reason: String,
        meaning: &'static str,
    ) -> TensorFileError {
        TensorFileError::Value {
            path: self.path.clone(),
            tensor,
            item,
            reason,
            meaning,
        }
    }

    /// The elements of a tensor, `N` bytes each, after a check of dtype and shape.
    fn elements<const N: usize>(
        &self,
        (tensor, dtype): (&'static str, Dtype),
        expected_shape: &str,
        fits: impl Fn(&[usize]) -> bool,
    ) -> Result<Vec<[u8; N]>, TensorFileError> {
        let tensors =
            SafeTensors::deserialize(&self.bytes).map_err(|source| TensorFileError::Format {
                path: self.path.clone(),
                source,
            })?;
        let wrong = |found: String| TensorFileError::Tensor {
            path: self.path.clone(),
            tensor,
            expected: format!("{dtype:?} {expected_shape}"),
            found,
            layout: self.layout,
        };
        let view = tensors.tensor(tensor);
        let view = view.map_err(|_| wrong("missing".to_owned()))?;
        if view.dtype() != dtype || !fits(view.shape()) {
            return Err(wrong(format!("{:?} {:?}", view.dtype(), view.shape())));
        }
        let (elements, _) = view.data().as_chunks::<N>();
        Ok(elements.to_vec())
    }
}

/// A tensor to write.
pub(crate) struct Values {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

/// A number that a file can hold.
pub(crate) trait Element: bytemuck::NoUninit {
    /// Its dtype.
    const DTYPE: Dtype;
}

impl Element for f32 {
    const DTYPE: Dtype = Dtype::F32;
}

impl Element for f64 {
    const DTYPE: Dtype = Dtype::F64;
}

impl Element for i64 {
    const DTYPE: Dtype = Dtype::I64;
}

impl Values {
    /// A tensor of `shape` from values in row-major order.
    pub(crate) fn new<E: Element>(shape: Vec<usize>, values: &[E]) -> Self {
        Self {
            dtype: E::DTYPE,
            shape,
            bytes: bytemuck::cast_slice(values).to_vec(),
        }
    }
}

/// A result that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write `{path}`")]
pub(crate) struct OutError {
    path: PathBuf,
    source: safetensors::SafeTensorError,
}

impl Coded for OutError {
    fn code(&self) -> &'static str {
        "tensor_file.write"
    }

    fn kind(&self) -> Kind {
        Kind::Storage
    }
}

/// Writes tensors by name.
///
/// # Errors
/// [`OutError`].
pub(crate) fn write(path: &Path, values: &[(String, Values)]) -> Result<(), OutError> {
    let views = values.iter().map(|(name, values)| {
        let view = TensorView::new(values.dtype, values.shape.clone(), &values.bytes)?;
        Ok((name.as_str(), view))
    });
    let written = views
        .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()
        .and_then(|views| safetensors::serialize_to_file(views, None, path));
    written.map_err(|source| OutError {
        path: path.to_path_buf(),
        source,
    })
}
