//! A model to be asked: what it is, its masks and its methods. Its weights are loaded when its turn comes.

use super::compute::Compute;
use crate::data::tokenizer::Tokenizer;
use crate::eval::mask_file::{self, MaskUnderTest};
use crate::eval::method::{self, Method};
use crate::eval::names::names;
use crate::eval::request::Request;
use crate::eval::results::{MaskIdentity, ModelIdentity, StreamingIdentity};
use crate::fault::AnyFault;
use crate::model::config::ModelConfig;
use crate::model::fingerprint::arch_facts;
use crate::model::llama::Llama;
use crate::model::weights::Weights;
use crate::shape::AttentionShape;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A model to be asked.
pub(super) struct Subject {
    dir: PathBuf,
    /// What results say about it.
    pub(super) identity: ModelIdentity,
    /// Layout of its attention.
    pub(super) shape: AttentionShape,
    /// Its tokenizer.
    pub(super) tokenizer: Arc<Tokenizer>,
    masks: Vec<MaskUnderTest>,
    /// Whether it was trained with native sparse attention.
    is_gated: bool,
    /// How streaming heads stream.
    pub(super) streaming: Option<StreamingIdentity>,
    /// Full attention first.
    pub(super) methods: Vec<Method>,
}

impl Subject {
    /// Prepares every model of `request`, and finds what does not fit.
    pub(super) fn all(request: &Request) -> Result<Vec<Self>, AnyFault> {
        let paths: Vec<PathBuf> = request
            .file
            .models
            .iter()
            .map(|model| model.path.clone())
            .collect();
        let names = names(&paths, 1);
        let numbered = names.into_iter().enumerate();
        numbered
            .map(|(index, name)| Self::prepare(request, index, name))
            .collect()
    }

    fn prepare(request: &Request, index: usize, name: String) -> Result<Self, AnyFault> {
        let model = &request.file.models[index];
        let config = ModelConfig::load(&model.path)?;
        let weights = Weights::open_gated(&model.path, &config)?;
        let weights_sha256 = weights.base_sha256(&config)?;
        let masks = request.masks(model, &config, &weights_sha256)?;
        let plan = request.method_plan(&masks)?;
        let methods = plan.methods(&config.shape)?;
        for method in &methods {
            let mut chunk_lens = request.file.chunk_lens.iter();
            chunk_lens.try_for_each(|chunk_len| method.check(*chunk_len))?;
            method.check_model(weights.is_gated())?;
        }
        for plan in request.plans() {
            plan.check(config.max_position_embeddings)?;
        }
        let tokenizer = Tokenizer::from_file(&model.path)?;
        tokenizer.check_embedding_rows(config.vocab_size)?;
        Ok(Self {
            dir: model.path.clone(),
            identity: ModelIdentity {
                name,
                arch_sha256: arch_facts(&config).fingerprint(),
                weights_sha256,
                tokenizer_blake3: tokenizer.fingerprint().to_owned(),
                shape: config.shape,
            },
            shape: config.shape,
            tokenizer: Arc::new(tokenizer),
            masks,
            is_gated: weights.is_gated(),
            streaming: plan.streaming.map(StreamingIdentity::from),
            methods,
        })
    }

    /// Its folder.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Loads the weights.
    pub(super) fn load(&self, machine: &Compute) -> Result<Llama, AnyFault> {
        machine.check(&self.shape)?;
        Ok(Llama::load_for_inference(
            &self.dir,
            machine.dtype.kind(),
            machine.device,
        )?)
    }

    /// What results say about its masks.
    pub(super) fn masks(&self) -> Vec<MaskIdentity> {
        let masks = self.masks.iter();
        masks.map(|mask| mask.identity.clone()).collect()
    }

    /// What the reader of its results should know.
    pub(super) fn warnings(&self, request: &Request) -> Vec<String> {
        let mut warnings = mask_file::warnings(&self.masks);
        if self.is_gated {
            warnings.push(format!(
                "`{}` was trained with native sparse attention: to it, every method but `nsa` is another attention",
                self.identity.name
            ));
        }
        for chunk_len in &request.file.chunk_lens {
            let lengths = &request.file.lengths;
            warnings.extend(method::warnings(&self.methods, lengths, *chunk_len));
        }
        warnings
    }

    /// Everything about it that decides answers.
    pub(super) fn facts(&self) -> Value {
        let masks = self.masks.iter();
        let masks: serde_json::Map<String, Value> = masks
            .enumerate()
            .map(|(index, mask)| (index.to_string(), json!(mask.identity.blake3)))
            .collect();
        json!({
            "arch_sha256": self.identity.arch_sha256,
            "weights_sha256": self.identity.weights_sha256,
            "tokenizer_blake3": self.identity.tokenizer_blake3,
            "streaming": self.streaming,
            "masks_blake3": masks,
        })
    }
}
