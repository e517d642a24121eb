//! The batch file: tokens, the documents among them, and one gate per kv head; checked against the model once.

use super::tensor_file::{TensorFile, TensorFileError};
use prulong::fault::{AnyFault, Coded, Kind};
use prulong::model::config::ModelConfig;
use std::ops::Range;
use std::path::{Path, PathBuf};

const LAYOUT: &str =
    "a batch holds `tokens` i64 [T], `spans` i64 [n, 2] and `z` f32 [layers, kv_heads]";

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

/// Nothing is to be predicted.
#[derive(Debug, thiserror::Error)]
#[error("`{path}` has no target: no span holds two tokens")]
pub(crate) struct NoTargets {
    path: PathBuf,
}

impl Coded for NoTargets {
    fn code(&self) -> &'static str {
        "batch.no_targets"
    }

    fn kind(&self) -> Kind {
        Kind::Input
    }

    fn hint(&self) -> Option<String> {
        Some("give at least one span of two tokens".to_owned())
    }
}

impl Batch {
    /// Reads and checks the file at `path`.
    ///
    /// # Errors
    /// Any [`TensorFileError`], and [`NoTargets`].
    pub(crate) fn load(path: &Path, config: &ModelConfig) -> Result<Self, AnyFault> {
        let file = TensorFile::read(path, LAYOUT)?;
        let tokens = file.integers("tokens", "[T]", |shape| matches!(shape, [_]))?;
        let pairs = file.integers("spans", "[n, 2]", |shape| matches!(shape, [_, 2]))?;
        let spans = spans(&file, &pairs, tokens.len())?;
        let z = file.gates("z", [config.shape.num_layers, config.shape.num_kv_heads])?;
        // Only tokens inside a span are looked at.
        let meaning = "use ids of this model's tokenizer; what no span covers may hold anything";
        let items = spans.iter().cloned().flatten();
        file.check_ids(&tokens, items, (config.vocab_size, meaning))?;
        let batch = Self::cut(&tokens, &spans, z);
        if batch.labels.iter().all(|label| *label < 0) {
            let path = path.to_path_buf();
            return Err(NoTargets { path }.into());
        }
        Ok(batch)
    }

    /// Number of predicted tokens.
    pub(crate) fn num_targets(&self) -> usize {
        self.labels.iter().filter(|label| **label >= 0).count()
    }

    fn cut(tokens: &[i64], spans: &[Range<usize>], z: Vec<Vec<f64>>) -> Self {
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

/// Spans in ascending order that do not overlap and lie inside the tokens.
fn spans(
    file: &TensorFile,
    pairs: &[i64],
    num_tokens: usize,
) -> Result<Vec<Range<usize>>, TensorFileError> {
    let (pairs, _) = pairs.as_chunks::<2>();
    let mut end_before = 0;
    let mut spans = Vec::with_capacity(pairs.len());
    for (item, [start, end]) in pairs.iter().enumerate() {
        let wrong = |reason: String| {
            let meaning = "spans are (start, end) in ascending order, end exclusive";
            file.value(("spans", item), reason, meaning)
        };
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
