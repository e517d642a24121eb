//! The file of `prulong pretrain`: raw as written, then checked.

use crate::config::check;
use crate::config::corpus::CorpusSettings;
use crate::config::dtype::DtypeRequest;
use crate::config::error::{Bad, Problem};
use crate::config::load::ConfigFile;
use crate::config::run::{CheckpointSettings, RunSettings};
use crate::config::stage::{Stage, StageSettings};
use crate::shape::AttentionShape;
use std::path::PathBuf;

/// A pretraining file as written, defaults filled in.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PretrainFile {
    /// Seed of weights, documents and order.
    pub seed: u64,
    /// A `tokenizer.json`; its vocabulary is the model's.
    pub tokenizer: PathBuf,
    /// The model to make.
    pub model: NewModelSettings,
    /// Where its weights start.
    #[serde(default)]
    pub init: InitSettings,
    /// Natural text; only if a stage uses any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub corpus: Option<CorpusSettings>,
    /// Muon for matrices, Adam for the rest.
    pub optimizer: PretrainOptimizerSettings,
    /// The curriculum.
    pub stage: Vec<StageSettings>,
    /// Device and reporting.
    #[serde(default)]
    pub run: RunSettings,
    /// Saving.
    pub checkpoint: CheckpointSettings,
}

/// Sizes of a new Llama.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewModelSettings {
    /// Decoder blocks.
    pub num_layers: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Query heads per layer.
    pub num_heads: usize,
    /// Key/value heads per layer; divides `num_heads`.
    pub num_kv_heads: usize,
    /// Width of one head; even, because `RoPE` turns pairs.
    pub head_dim: usize,
    /// Width of the MLP.
    pub intermediate_size: usize,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// Longest sequence the model is meant for, in tokens.
    pub max_position_embeddings: usize,
    /// Guard of the norms. 1e-5: Llama 3's value.
    #[serde(default = "norm_eps")]
    pub rms_norm_eps: f64,
    /// Whether the output matrix is the embedding. False: tied, induction stayed with the tokens it was learnt on.
    #[serde(default)]
    pub tie_word_embeddings: bool,
    /// Dtype of weights and activations, as `model.dtype` of a training run.
    #[serde(default)]
    pub dtype: DtypeRequest,
}

/// Where weights start.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InitSettings {
    /// A model folder whose weights the run starts from, with fresh optimizer state; its sizes must be those of `[model]`, its
    /// context may be shorter. Absent: drawn from `seed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<PathBuf>,
    /// Standard deviation of the embedding. 1: with 0.02 retrieval did not appear within minutes.
    #[serde(default = "one")]
    pub embedding_std: f64,
    /// Whether the last matrix of attention and MLP starts at 0, so that every block starts as the identity. True: same trial.
    #[serde(default = "yes")]
    pub zero_output: bool,
}

/// Muon for matrices, Adam for embeddings, output and norms.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PretrainOptimizerSettings {
    /// Muon's Nesterov momentum. 0.95: the value it was published with.
    #[serde(default = "momentum")]
    pub muon_momentum: f64,
    /// Newton-Schulz steps of Muon. 5: the value it was published with.
    #[serde(default = "five")]
    pub muon_steps: u64,
    /// Adam's decay rates.
    #[serde(default = "betas")]
    pub adam_betas: [f64; 2],
    /// Adam's guard against division by 0.
    #[serde(default = "adam_eps")]
    pub adam_eps: f64,
    /// Adam's rate at the start of a stage that names none.
    pub adam_lr: f64,
    /// Decoupled decay of the matrices. 0: runs of minutes see no token twice.
    #[serde(default)]
    pub weight_decay: f64,
    /// Largest norm of all gradients together; absent = no clipping, which Muon does not need.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip_norm: Option<f64>,
}

/// A checked pretraining run.
#[derive(Debug, Clone, PartialEq)]
pub struct PretrainConfig {
    /// Seed of weights, documents and order.
    pub seed: u64,
    /// A `tokenizer.json`; its vocabulary is the model's.
    pub tokenizer: PathBuf,
    /// The model to make.
    pub model: NewModelSettings,
    /// Where its weights start.
    pub init: InitSettings,
    /// Natural text; absent = no stage uses any.
    pub corpus: Option<CorpusSettings>,
    /// Muon for matrices, Adam for the rest.
    pub optimizer: PretrainOptimizerSettings,
    /// The curriculum, never empty.
    pub stages: Vec<Stage>,
    /// Device and reporting.
    pub run: RunSettings,
    /// Saving.
    pub checkpoint: CheckpointSettings,
}

impl PretrainConfig {
    /// Optimizer steps of all stages.
    pub fn num_steps(&self) -> u64 {
        self.stages.iter().map(|stage| stage.steps).sum()
    }
}

fn norm_eps() -> f64 {
    1e-5
}

fn one() -> f64 {
    1.0
}

fn yes() -> bool {
    true
}

fn momentum() -> f64 {
    0.95
}

fn five() -> u64 {
    5
}

fn betas() -> [f64; 2] {
    [0.9, 0.95]
}

fn adam_eps() -> f64 {
    1e-8
}

impl Default for InitSettings {
    fn default() -> Self {
        let (embedding_std, zero_output) = (one(), yes());
        Self {
            from: None,
            embedding_std,
            zero_output,
        }
    }
}

impl ConfigFile for PretrainFile {
    type Checked = PretrainConfig;

    fn paths(&mut self) -> Vec<(String, &mut PathBuf)> {
        let mut paths = vec![("tokenizer".to_owned(), &mut self.tokenizer)];
        if let Some(from) = &mut self.init.from {
            paths.push(("init.from".to_owned(), from));
        }
        if let Some(corpus) = &mut self.corpus {
            paths.extend(corpus.paths());
        }
        paths
    }

    fn check(&self) -> Result<PretrainConfig, Bad> {
        self.model.check()?;
        self.init.check()?;
        self.optimizer.check()?;
        self.run.check()?;
        self.checkpoint.check()?;
        self.check_corpus()?;
        Ok(PretrainConfig {
            seed: self.seed,
            tokenizer: self.tokenizer.clone(),
            model: self.model.clone(),
            init: self.init.clone(),
            corpus: self.corpus.clone(),
            optimizer: self.optimizer.clone(),
            stages: self.check_stages()?,
            run: self.run.clone(),
            checkpoint: self.checkpoint.clone(),
        })
    }
}

impl PretrainFile {
    fn check_corpus(&self) -> Result<(), Bad> {
        let mut mixes = self.stage.iter().flat_map(|stage| &stage.mix);
        if !mixes.any(super::generator::GeneratorSettings::needs_corpus) {
            return check::unused(
                "corpus",
                self.corpus.as_ref(),
                "while no stage uses natural text",
            );
        }
        check::needed(
            "corpus",
            self.corpus.as_ref(),
            "because a stage uses natural text",
        )?
        .check()
    }

    fn check_stages(&self) -> Result<Vec<Stage>, Bad> {
        if self.stage.is_empty() {
            return Err(check::conflict(
                "stage",
                "is empty: a run needs at least one `[[stage]]`",
            ));
        }
        let (adam_lr, longest) = (self.optimizer.adam_lr, self.model.max_position_embeddings);
        let stages = self.stage.iter().enumerate();
        stages
            .map(|(index, stage)| stage.check(index, adam_lr, longest))
            .collect()
    }
}

impl InitSettings {
    fn check(&self) -> Result<(), Bad> {
        check::positive("init.embedding_std", self.embedding_std)?;
        let fresh = Self {
            from: None,
            ..self.clone()
        };
        if self.from.is_some() && fresh != Self::default() {
            return Err(check::conflict(
                "init.from",
                "brings its own weights, so `embedding_std` and `zero_output` would do nothing",
            ));
        }
        Ok(())
    }
}

impl NewModelSettings {
    /// How attention is laid out.
    pub fn attention_shape(&self) -> AttentionShape {
        AttentionShape {
            num_layers: self.num_layers,
            num_heads: self.num_heads,
            num_kv_heads: self.num_kv_heads,
            head_dim: self.head_dim,
        }
    }

    fn check(&self) -> Result<(), Bad> {
        for (key, value) in [
            ("model.num_layers", self.num_layers),
            ("model.num_heads", self.num_heads),
            ("model.num_kv_heads", self.num_kv_heads),
            ("model.head_dim", self.head_dim),
            ("model.hidden_size", self.hidden_size),
            ("model.intermediate_size", self.intermediate_size),
            (
                "model.max_position_embeddings",
                self.max_position_embeddings,
            ),
        ] {
            check::len(key, value)?;
        }
        check::positive("model.rope_theta", self.rope_theta)?;
        check::positive("model.rms_norm_eps", self.rms_norm_eps)?;
        if !self.head_dim.is_multiple_of(2) {
            return Err(check::conflict(
                "model.head_dim",
                "is odd, and rotary positions turn pairs",
            ));
        }
        self.attention_shape().checked().map_err(|why| {
            let problem = Problem::Shape { why };
            Bad::new("model.num_kv_heads", problem)
        })?;
        Ok(())
    }
}

impl PretrainOptimizerSettings {
    fn check(&self) -> Result<(), Bad> {
        check::share_below_one("optimizer.muon_momentum", self.muon_momentum)?;
        check::count("optimizer.muon_steps", self.muon_steps)?;
        check::betas("optimizer.adam_betas", self.adam_betas)?;
        check::positive("optimizer.adam_eps", self.adam_eps)?;
        check::positive("optimizer.adam_lr", self.adam_lr)?;
        check::not_negative("optimizer.weight_decay", self.weight_decay)?;
        self.clip_norm
            .map_or(Ok(()), |norm| check::positive("optimizer.clip_norm", norm))
    }
}
