//! The batch file: tokens, the documents among them, and one gate per kv head; checked against the model once.

use prulong::fault::{Coded, Kind};
use prulong::model::config::ModelConfig;
use safetensors::{Dtype, SafeTensors};
use std::path::{Path, PathBuf};

/// A batch that fits its model.
#[derive(Debug)]
pub(crate) struct Batch {
    /// Tokens of all documents, one after the other; what lies outside every span is gone.
    pub(crate) ids: Vec<i64>,
    /// As `ids`, with -100 at the first token of each document.
    pub(crate) labels: Vec<i64>,
    /// Tokens of each document.
    pub(crate) doc_lens: Vec<usize>,
    /// One gate in [0, 1] per layer and kv head.
    pub(crate) z: Vec<Vec<f64>>,
}

/// A batch that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum BatchError {
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
    },
    /// Nothing is to be predicted.
    #[error("`{path}` has no target: no span holds two tokens")]
    NoTargets {
        /// The file.
        path: PathBuf,
    },
}

impl Coded for BatchError {
    fn code(&self) -> &'static str {
        match self {
            Self::Io { .. } => "batch.read",
            Self::Format { .. } => "batch.format",
            Self::Tensor { .. } => "batch.tensor",
            Self::Value { .. } => "batch.value",
            Self::NoTargets { .. } => "batch.no_targets",
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
            Self::Tensor { .. } => {
                "a batch holds `tokens` i64 [T], `spans` i64 [n, 2] and `z` f32 [layers, kv_heads]"
            }
            Self::Value { tensor, .. } => match *tensor {
                "spans" => "spans are (start, end) in ascending order, end exclusive",
                "z" => "a gate is 1 for a retrieval head, 0 for a streaming head, or between",
                _ => "use ids of this model's tokenizer; what no span covers may hold anything",
            },
            Self::NoTargets { .. } => "give at least one span of two tokens",
        };
        Some(text.to_owned())
    }
}

/// A batch file's bytes and where they came from.
struct BatchFile<'a> {
    path: &'a Path,
    tensors: SafeTensors<'a>,
}

impl Batch {
    /// Reads and checks the file at `path`.
    ///
    /// # Errors
    /// Any [`BatchError`].
    pub(crate) fn load(path: &Path, config: &ModelConfig) -> Result<Self, BatchError> {
        let bytes = std::fs::read(path).map_err(|source| BatchError::Io {
            path: path.to_path_buf(),
            source,
        })?;
        let tensors = SafeTensors::deserialize(&bytes).map_err(|source| BatchError::Format {
            path: path.to_path_buf(),
            source,
        })?;
        let file = BatchFile { path, tensors };
        let tokens = file.integers("tokens", "[T]", |shape| matches!(shape, [_]))?;
        let spans = file.integers("spans", "[n, 2]", |shape| matches!(shape, [_, 2]))?;
        let spans = file.spans(&spans, tokens.len())?;
        let z = file.gates(config)?;
        file.check_ids(&tokens, &spans, config.vocab_size)?;
        let batch = Self::cut(&tokens, &spans, z);
        if batch.labels.iter().all(|label| *label < 0) {
            return Err(BatchError::NoTargets {
                path: path.to_path_buf(),
            });
        }
        Ok(batch)
    }

    /// Number of predicted tokens.
    pub(crate) fn num_targets(&self) -> usize {
        self.labels.iter().filter(|label| **label >= 0).count()
    }

    fn cut(tokens: &[i64], spans: &[std::ops::Range<usize>], z: Vec<Vec<f64>>) -> Self {
        let (mut ids, mut labels) = (Vec::new(), Vec::new());
        for document in spans.iter().filter_map(|span| tokens.get(span.clone())) {
            ids.extend_from_slice(document);
            labels.extend(document.iter().take(1).map(|_| -100));
            labels.extend(document.iter().skip(1));
        }
        let doc_lens = spans.iter().map(ExactSizeIterator::len).collect();
        Self {
            ids,
            labels,
            doc_lens,
            z,
        }
    }
}

impl BatchFile<'_> {
    /// The elements of a tensor of 8-byte integers or 4-byte floats, after a check of dtype and shape.
    fn elements<const N: usize>(
        &self,
        (tensor, dtype): (&'static str, Dtype),
        expected_shape: &str,
        fits: impl Fn(&[usize]) -> bool,
    ) -> Result<Vec<[u8; N]>, BatchError> {
        let wrong = |found: String| BatchError::Tensor {
            path: self.path.to_path_buf(),
            tensor,
            expected: format!("{dtype:?} {expected_shape}"),
            found,
        };
        let view = self
            .tensors
            .tensor(tensor)
            .map_err(|_| wrong("missing".to_owned()))?;
        if view.dtype() != dtype || !fits(view.shape()) {
            return Err(wrong(format!("{:?} {:?}", view.dtype(), view.shape())));
        }
        let (elements, _) = view.data().as_chunks::<N>();
        Ok(elements.to_vec())
    }

    fn integers(
        &self,
        tensor: &'static str,
        expected_shape: &str,
        fits: impl Fn(&[usize]) -> bool,
    ) -> Result<Vec<i64>, BatchError> {
        let elements = self.elements((tensor, Dtype::I64), expected_shape, fits)?;
        Ok(elements.into_iter().map(i64::from_le_bytes).collect())
    }

    fn value(&self, tensor: &'static str, item: usize, reason: String) -> BatchError {
        BatchError::Value {
            path: self.path.to_path_buf(),
            tensor,
            item,
            reason,
        }
    }

    /// Spans in ascending order that do not overlap and lie inside the tokens.
    fn spans(
        &self,
        pairs: &[i64],
        num_tokens: usize,
    ) -> Result<Vec<std::ops::Range<usize>>, BatchError> {
        let (pairs, _) = pairs.as_chunks::<2>();
        let mut end_before = 0;
        let mut spans = Vec::with_capacity(pairs.len());
        for (item, [start, end]) in pairs.iter().enumerate() {
            let wrong = |reason: String| self.value("spans", item, reason);
            let (Ok(from), Ok(to)) = (usize::try_from(*start), usize::try_from(*end)) else {
                return Err(wrong(format!("[{start}, {end}] has a negative end")));
            };
            if from > to || to > num_tokens {
                let reason = format!("[{start}, {end}] does not lie in the {num_tokens} tokens");
                return Err(wrong(reason));
            }
            if from < end_before {
                return Err(wrong(format!(
                    "[{start}, {end}] begins before {end_before}, where the one before it ends"
                )));
            }
            end_before = to;
            spans.push(from..to);
        }
        Ok(spans)
    }

    fn gates(&self, config: &ModelConfig) -> Result<Vec<Vec<f64>>, BatchError> {
        let shape = [config.shape.num_layers, config.shape.num_kv_heads];
        let expected = format!("{shape:?}");
        let values = self.elements(("z", Dtype::F32), &expected, |found| found == shape)?;
        let values: Vec<f64> = values
            .into_iter()
            .map(|bytes| f64::from(f32::from_le_bytes(bytes)))
            .collect();
        if let Some(item) = values.iter().position(|z| !(0.0..=1.0).contains(z)) {
            let reason = format!("{} is not in [0, 1]", values[item]);
            return Err(self.value("z", item, reason));
        }
        let layers = values.chunks(config.shape.num_kv_heads.max(1));
        Ok(layers.map(<[f64]>::to_vec).collect())
    }

    /// Only tokens inside a span are looked at.
    fn check_ids(
        &self,
        tokens: &[i64],
        spans: &[std::ops::Range<usize>],
        vocab_size: usize,
    ) -> Result<(), BatchError> {
        for item in spans.iter().cloned().flatten() {
            let id = tokens.get(item).copied().unwrap_or_default();
            if usize::try_from(id).map_or(true, |id| id >= vocab_size) {
                let reason = format!("{id} is no token of a vocabulary of {vocab_size}");
                return Err(self.value("tokens", item, reason));
            }
        }
        Ok(())
    }
}
