//! The masks of `prulong footprint`: read without their model, and compared with what is known of it.

use crate::cli::mask_show;
use crate::cli::shape_args::Model;
use crate::eval::error::EvalError;
use crate::fault::AnyFault;
use crate::mask::arch::ArchFacts;
use crate::mask::error::MaskWarning;
use crate::mask::sidecar::fit::{self, check_model};
use crate::mask::sidecar::read::Checked;
use std::path::PathBuf;

/// Masks as read, before it is known which model they are for.
pub(super) struct Masks(Vec<(PathBuf, Checked)>);

impl Masks {
    /// Reads every mask file, or the one in that folder.
    ///
    /// # Errors
    /// What is wrong with the first that is unusable.
    pub(super) fn load(paths: &[PathBuf]) -> Result<Self, AnyFault> {
        let masks = paths.iter().map(|path| mask_show::load(path));
        masks.collect::<Result<_, _>>().map(Self)
    }

    /// Every mask with its file.
    pub(super) fn all(&self) -> &[(PathBuf, Checked)] {
        &self.0
    }

    /// The model that the first mask was made for.
    pub(super) fn arch(&self) -> Option<&ArchFacts> {
        let (_, checked) = self.0.first()?;
        Some(&checked.sidecar.base.arch)
    }

    /// Compares every mask with `model`, and says what the reader should know.
    ///
    /// # Errors
    /// If one was made for a model of another layout, or of other facts where they are known.
    pub(super) fn check(&self, model: &Model) -> Result<Vec<String>, AnyFault> {
        let mut found = Vec::new();
        for (path, Checked { sidecar, warnings }) in &self.0 {
            let mask = &sidecar.mask;
            if let Some(arch) = &model.arch {
                let of = fit::Model {
                    arch,
                    revision: None,
                    weights_sha256: None,
                };
                found.extend(check_model(sidecar, &of, path)?);
            }
            let (layers, kv_heads) = (model.shape.num_layers, model.shape.num_kv_heads);
            let (mask_layers, mask_kv_heads) = (mask.num_layers(), mask.num_kv_heads());
            if (mask_layers, mask_kv_heads) != (layers, kv_heads) {
                return Err(EvalError::Mask {
                    mask_layers,
                    mask_kv_heads,
                    layers,
                    kv_heads,
                }
                .into());
            }
            found.extend(warnings.iter().cloned());
        }
        Ok(found.iter().map(MaskWarning::to_string).collect())
    }
}
