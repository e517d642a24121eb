//! The model that `prulong pretrain` trains: fresh, or another model's weights.

use crate::attention::choose::{Case, check_head_dim, choose};
use crate::config::pretrain::PretrainConfig;
use crate::data::tokenizer::Tokenizer;
use crate::fault::AnyFault;
use crate::model::config::ModelConfig;
use crate::model::init::{Init, Outputs, fresh_tensors};
use crate::model::llama::Llama;
use crate::model::rope_config::RopeConfig;
use crate::model::weights::{Weights, load_all};
use crate::train::error::TrainError;
use crate::train::optimizer::host_adamw::AdamSettings;
use crate::train::optimizer::muon::MuonSettings;
use crate::train::pretrain_step::Pretrainer;
use crate::train::weight_trainer::{Rules, WeightSettings, WeightTrainer};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tch::{Device, Kind, Tensor};

/// Where a run starts, checked.
pub(super) struct Start {
    config: ModelConfig,
    from: Option<From>,
}

/// A model folder whose sizes are those asked for.
struct From {
    dir: PathBuf,
    weights_sha256: String,
}

impl Start {
    /// Checks the sizes asked for, and that the weights of `init.from` have them.
    ///
    /// # Errors
    /// Sizes that no model has; a folder that cannot be read or holds a model of other sizes.
    pub(super) fn open(config: &PretrainConfig, tokenizer: &Tokenizer) -> Result<Self, AnyFault> {
        let asked = model_config(config, tokenizer)?;
        let from = config.init.from.as_deref();
        let from = from.map(|dir| From::open(dir, &asked)).transpose()?;
        Ok(Self {
            config: asked,
            from,
        })
    }

    /// Names the weights: a checkpoint continues only a run that started from the same ones.
    pub(super) fn fingerprint(&self) -> &str {
        let from = self.from.as_ref();
        from.map_or("fresh", |from| from.weights_sha256.as_str())
    }

    fn tensors(
        &self,
        config: &PretrainConfig,
        device: Device,
    ) -> Result<BTreeMap<String, Tensor>, AnyFault> {
        if let Some(from) = &self.from {
            return Ok(load_all(&from.dir, &self.config, Kind::Float, device)?);
        }
        let init = Init {
            embedding_std: config.init.embedding_std,
            outputs: if config.init.zero_output {
                Outputs::Zero
            } else {
                Outputs::Drawn
            },
            seed: config.seed,
        };
        Ok(fresh_tensors(&self.config, init, device))
    }
}

impl From {
    fn open(dir: &Path, asked: &ModelConfig) -> Result<Self, AnyFault> {
        let found = ModelConfig::load(dir)?;
        if let Some((what, found, needed)) = difference(&found, asked) {
            return Err(TrainError::Mismatch {
                what,
                found,
                needed,
            }
            .into());
        }
        Ok(Self {
            dir: dir.to_path_buf(),
            weights_sha256: Weights::open(dir, asked)?.base_sha256(asked)?,
        })
    }
}

/// The first thing in which the model of `init.from` is another one than the file's; its longest context may be.
fn difference(found: &ModelConfig, asked: &ModelConfig) -> Option<(&'static str, String, String)> {
    let facts = |config: &ModelConfig| {
        [
            ("layers of init.from", config.shape.num_layers.to_string()),
            ("heads of init.from", config.shape.num_heads.to_string()),
            (
                "kv heads of init.from",
                config.shape.num_kv_heads.to_string(),
            ),
            ("head_dim of init.from", config.shape.head_dim.to_string()),
            ("hidden_size of init.from", config.hidden_size.to_string()),
            (
                "intermediate_size of init.from",
                config.intermediate_size.to_string(),
            ),
            ("vocabulary of init.from", config.vocab_size.to_string()),
            ("rms_norm_eps of init.from", config.rms_norm_eps.to_string()),
            ("rope of init.from", format!("{:?}", config.rope)),
            (
                "tied embeddings of init.from",
                config.tie_word_embeddings.to_string(),
            ),
        ]
    };
    let pairs = facts(found).into_iter().zip(facts(asked));
    pairs
        .map(|((what, found), (_, asked))| (what, found, asked))
        .find(|(_, found, asked)| found != asked)
}

/// The model where the run starts, with the optimizer the file asks for, and a line about its attention.
///
/// # Errors
/// Weights that cannot be read; a device without an attention kernel.
pub(super) fn pretrainer(
    config: &PretrainConfig,
    start: Start,
    Case { device, kind }: Case,
) -> Result<(Pretrainer, String), AnyFault> {
    let tensors = start.tensors(config, device)?.into_iter();
    let tensors = tensors.map(|(name, tensor)| (name, tensor.to_kind(kind)));
    let model = Llama::from_tensors(start.config, tensors.collect())?;
    let optimizer = &config.optimizer;
    let settings = WeightSettings {
        adam: AdamSettings {
            betas: optimizer.adam_betas,
            eps: optimizer.adam_eps,
        },
        muon: MuonSettings {
            momentum: optimizer.muon_momentum,
            iterations: u32::try_from(optimizer.muon_steps).unwrap_or(u32::MAX),
        },
    };
    let trainer = WeightTrainer::new(&model, Rules::MuonInLayers, settings);
    let choice = choose("auto", Case { device, kind })?;
    check_head_dim(&*choice.backend, model.config().shape.head_dim)?;
    let attention = format!("attention {} ({})", choice.backend.name(), choice.reason);
    let pretrainer = Pretrainer::new(
        model,
        trainer,
        choice.backend,
        optimizer.weight_decay,
        optimizer.clip_norm,
    );
    Ok((pretrainer, attention))
}

fn model_config(config: &PretrainConfig, tokenizer: &Tokenizer) -> Result<ModelConfig, AnyFault> {
    let model = &config.model;
    let found = ModelConfig {
        shape: model.attention_shape(),
        hidden_size: model.hidden_size,
        intermediate_size: model.intermediate_size,
        vocab_size: tokenizer.vocab_size(),
        rms_norm_eps: model.rms_norm_eps,
        rope: RopeConfig::unscaled(model.rope_theta),
        max_position_embeddings: model.max_position_embeddings,
        tie_word_embeddings: model.tie_word_embeddings,
        bos_id: Some(i64::from(tokenizer.bos())),
        eos_ids: vec![i64::from(tokenizer.eos())],
        dtype: None,
    };
    Ok(found.checked()?)
}
