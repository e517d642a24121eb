//! The one method that a mask file and a method's word name together.

use super::error::EvalError;
use super::mask_file::{self, MaskUnderTest, Overrides};
use super::method::Method;
use super::method_plan::MethodPlan;
use super::method_spec::MethodSpec;
use super::results::MaskIdentity;
use super::streaming::streaming;
use crate::config::eval::StreamingSettings;
use crate::fault::AnyFault;
use crate::model::config::ModelConfig;
use crate::model::fingerprint::arch_facts;
use crate::model::weights::Weights;
use std::path::{Path, PathBuf};

/// What was asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// A mask file, or the folder that holds it.
    pub mask: Option<PathBuf>,
    /// The method; without one the mask is, or full attention where there is none.
    pub method: Option<MethodSpec>,
    /// How streaming heads stream, where that is not as the mask's file says.
    pub streaming: StreamingSettings,
}

/// A method and the mask it came from.
#[derive(Debug)]
pub struct OneMethod {
    /// The method.
    pub method: Method,
    /// The mask's file, where one was named.
    pub mask: Option<MaskIdentity>,
    /// What the user should know about the mask.
    pub warnings: Vec<String>,
}

impl Asked {
    /// The method for the model in `folder`, checked for chunks of `chunk_len` tokens.
    ///
    /// # Errors
    /// [`EvalError::Method`] for a mask beside a method that uses none; else as for an evaluation: what is wrong with the mask,
    /// with the method's settings, or with the span.
    pub fn resolve(
        &self,
        folder: &Path,
        config: &ModelConfig,
        chunk_len: usize,
    ) -> Result<OneMethod, AnyFault> {
        let spec = self.spec()?;
        let weights = Weights::open_gated(folder, config)?;
        let masks = self.masks(&weights, config)?;
        let any_streaming = spec == MethodSpec::Mask || spec.streams();
        let plan = MethodPlan {
            masks: masks.iter().map(|mask| mask.mask.clone()).collect(),
            mask_names: masks
                .iter()
                .map(|mask| mask.identity.name.clone())
                .collect(),
            streaming: streaming(&self.streaming, &masks, any_streaming)?,
            ..MethodPlan::default()
        };
        let method = plan.only(spec, &config.shape)?;
        method.check(chunk_len)?;
        method.check_model(weights.is_gated())?;
        Ok(OneMethod {
            method,
            warnings: mask_file::warnings(&masks),
            mask: masks.into_iter().next().map(|mask| mask.identity),
        })
    }

    fn spec(&self) -> Result<MethodSpec, EvalError> {
        let spec = match (self.method, &self.mask) {
            (Some(spec), _) => spec,
            (None, Some(_)) => MethodSpec::Mask,
            (None, None) => MethodSpec::Full,
        };
        if self.mask.is_some() && spec != MethodSpec::Mask && !spec.streams() {
            return Err(EvalError::Method {
                text: spec.to_string(),
                reason: "it uses no mask, and one was named".into(),
            });
        }
        Ok(spec)
    }

    fn masks(
        &self,
        weights: &Weights,
        config: &ModelConfig,
    ) -> Result<Vec<MaskUnderTest>, AnyFault> {
        let Some(path) = &self.mask else {
            return Ok(Vec::new());
        };
        let weights_sha256 = weights.base_sha256(config)?;
        let overrides = Overrides::from(&self.streaming);
        let paths = std::slice::from_ref(path);
        mask_file::load(paths, &arch_facts(config), &weights_sha256, overrides)
    }
}
