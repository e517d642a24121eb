//! The prompt file: tokens, and a mask where it brings one; checked against the model once.

use super::tensor_file::{TensorFile, TensorFileError};
use prulong::mask::head_mask::HeadMask;
use prulong::model::config::ModelConfig;
use std::path::Path;

const LAYOUT: &str = "a prompt holds `tokens` i64 [T], T at least 1; for `--method mask` also `z` f32 [layers, kv_heads]";

/// A prompt that fits its model.
pub(crate) struct Prompt {
    /// Token ids, at least one.
    pub(crate) ids: Vec<i64>,
    file: TensorFile,
}

impl Prompt {
    /// Reads and checks the file at `path`.
    ///
    /// # Errors
    /// Any [`TensorFileError`].
    pub(crate) fn load(path: &Path, config: &ModelConfig) -> Result<Self, TensorFileError> {
        let file = TensorFile::read(path, LAYOUT)?;
        let ids = file.integers("tokens", "[T]", |shape| matches!(shape, [len] if *len > 0))?;
        let meaning = "use ids of this model's tokenizer";
        file.check_ids(&ids, 0..ids.len(), (config.vocab_size, meaning))?;
        Ok(Self { ids, file })
    }

    /// The mask that the file brings.
    ///
    /// # Errors
    /// [`TensorFileError`] if there is none for this model.
    pub(crate) fn mask(&self, config: &ModelConfig) -> Result<HeadMask, TensorFileError> {
        let (num_layers, num_kv_heads) = (config.shape.num_layers, config.shape.num_kv_heads);
        let z = self.file.gates("z", [num_layers, num_kv_heads])?.concat();
        let between = z.iter().position(|z| 0.0 < *z && *z < 1.0);
        let mask = HeadMask::new(
            num_layers,
            num_kv_heads,
            z.iter().map(|z| *z >= 1.0).collect(),
        );
        match (between, mask) {
            (None, Some(mask)) => Ok(mask),
            (item, _) => {
                let item = item.unwrap_or_default();
                let reason = format!("{} is neither 0 nor 1", z[item]);
                let meaning = "a mask says 1 for a retrieval head and 0 for a streaming head";
                Err(self.file.value(("z", item), reason, meaning))
            }
        }
    }
}
