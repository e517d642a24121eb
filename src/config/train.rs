//! The file of `prulong train`: raw as written, then checked.

use crate::config::attention::{AttentionFile, AttentionSettings};
use crate::config::check;
use crate::config::data::DataSettings;
use crate::config::duo::DuoSettings;
use crate::config::error::Bad;
use crate::config::export::{Deployment, ExportFile};
use crate::config::gates::{GateInit, GateNoise, GateSettings};
use crate::config::load::ConfigFile;
use crate::config::loss::{LossSettings, MemorySettings};
use crate::config::model::ModelSettings;
use crate::config::optimizer::{OptimizerFile, OptimizerSettings};
use crate::config::run::{CheckpointSettings, RunSettings};
use crate::config::sparsity::{SparsityFile, SparsitySettings};
use crate::config::validation::ValidationSettings;
use crate::mask::gate_method::GateMethod;
use std::path::PathBuf;

/// A training file as written, defaults filled in.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrainFile {
    /// How gates are trained. PruLong: what this program is for; the other is the baseline it is compared with.
    #[serde(default)]
    pub method: GateMethod,
    /// Seed of gate noise and data order.
    pub seed: u64,
    /// The base model.
    pub model: ModelSettings,
    /// What to train on.
    pub data: DataSettings,
    /// What a streaming head sees.
    pub attention: AttentionFile,
    /// Whether gates train, and where they start.
    pub gates: GateSettings,
    /// PruLong's target; only with trained gates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sparsity: Option<SparsityFile>,
    /// What is DuoAttention's own; absent = the reference's values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duo: Option<DuoSettings>,
    /// Steps, rates, AdamW.
    pub optimizer: OptimizerFile,
    /// How the loss is averaged.
    #[serde(default)]
    pub loss: LossSettings,
    /// Memory against recomputation.
    #[serde(default)]
    pub memory: MemorySettings,
    /// Held-out rows to look at on the way; absent = none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<ValidationSettings>,
    /// Device and reporting.
    #[serde(default)]
    pub run: RunSettings,
    /// Saving.
    pub checkpoint: CheckpointSettings,
    /// The span of the exported mask; absent = the training span at block 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub export: Option<ExportFile>,
}

/// How a run trains gates, checked.
#[derive(Debug, Clone, PartialEq)]
pub enum MethodSettings {
    /// HardConcrete gates under a constraint, or gates that stay as they are.
    PruLong {
        /// Where gates start.
        init: GateInit,
        /// How the noise of neighbouring micro-batches hangs together.
        noise: GateNoise,
        /// The target; absent = frozen gates.
        sparsity: Option<SparsitySettings>,
    },
    /// Gates that distil full attention.
    DuoAttention(DuoSettings),
}

/// What a run trains, derived from `gates.train` and `optimizer.train_weights`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Gates and multipliers on frozen weights.
    MasksOnly,
    /// Everything.
    MasksAndWeights,
    /// Weights under a given mask.
    WeightsOnly,
}

/// A checked training run.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainConfig {
    /// Seed of gate noise and data order.
    pub seed: u64,
    /// The base model.
    pub model: ModelSettings,
    /// What to train on.
    pub data: DataSettings,
    /// What a streaming head sees.
    pub attention: AttentionSettings,
    /// How gates are trained.
    pub method: MethodSettings,
    /// Steps, rates, AdamW.
    pub optimizer: OptimizerSettings,
    /// How the loss is averaged.
    pub loss: LossSettings,
    /// Memory against recomputation.
    pub memory: MemorySettings,
    /// Held-out rows to look at on the way.
    pub validation: Option<ValidationSettings>,
    /// Device and reporting.
    pub run: RunSettings,
    /// Saving.
    pub checkpoint: CheckpointSettings,
    /// What the exported mask is meant for.
    pub deployment: Deployment,
}

impl MethodSettings {
    /// Which method it is.
    pub fn method(&self) -> GateMethod {
        match self {
            Self::PruLong { .. } => GateMethod::PruLong,
            Self::DuoAttention(_) => GateMethod::DuoAttention,
        }
    }
}

impl TrainConfig {
    /// What this run trains.
    pub fn mode(&self) -> Mode {
        match (self.optimizer.gates, self.optimizer.weights) {
            (Some(_), None) => Mode::MasksOnly,
            (Some(_), Some(_)) => Mode::MasksAndWeights,
            (None, _) => Mode::WeightsOnly,
        }
    }
}

impl ConfigFile for TrainFile {
    type Checked = TrainConfig;

    fn paths(&mut self) -> Vec<(String, &mut PathBuf)> {
        let mut paths = vec![("model.path".to_owned(), &mut self.model.path)];
        for (at, stream) in self.data.train.iter_mut().enumerate() {
            paths.push((format!("data.train.{at}"), &mut stream.path));
        }
        paths.extend(self.gates.paths());
        let validation = self.validation.as_mut();
        paths.extend(validation.map(|rows| ("validation.data".to_owned(), &mut rows.data)));
        paths
    }

    fn complete(&mut self) {
        self.gates.complete(self.method);
        self.optimizer.complete(self.method);
        if self.method == GateMethod::DuoAttention {
            self.duo.get_or_insert_default();
        }
    }

    fn check(&self) -> Result<TrainConfig, Bad> {
        self.data.check()?;
        self.check_gates()?;
        self.loss.check()?;
        self.memory.check()?;
        self.validation
            .as_ref()
            .map_or(Ok(()), ValidationSettings::check)?;
        self.run.check()?;
        self.checkpoint.check()?;
        let optimizer = self.optimizer.check(self.method, self.gates.train)?;
        Ok(TrainConfig {
            seed: self.seed,
            model: self.model.clone(),
            data: self.data.clone(),
            attention: self.attention.check()?,
            method: self.method_settings()?,
            optimizer,
            loss: self.loss.clone(),
            memory: self.memory.clone(),
            validation: self.validation.clone(),
            run: self.run.clone(),
            checkpoint: self.checkpoint.clone(),
            deployment: self.deployment()?,
        })
    }
}

impl TrainFile {
    /// Checks what each method refuses of the other one, before anything is made of it.
    fn check_gates(&self) -> Result<(), Bad> {
        match self.method {
            GateMethod::PruLong => {
                let when = "with `method = \"prulong\"`";
                check::unused("duo", self.duo.as_ref(), when)?;
                self.gates.check().map(|_| ())
            }
            GateMethod::DuoAttention => {
                let when = "with `method = \"duo-attention\"`";
                self.gates.check_duo()?;
                check::unused("sparsity", self.sparsity.as_ref(), when)?;
                self.loss.check_duo(when)
            }
        }
    }

    fn method_settings(&self) -> Result<MethodSettings, Bad> {
        match self.method {
            GateMethod::PruLong => Ok(MethodSettings::PruLong {
                init: self.gates.check()?,
                noise: self.gates.noise,
                sparsity: self.check_sparsity()?,
            }),
            GateMethod::DuoAttention => {
                let duo = check::needed("duo", self.duo, "by its method")?;
                duo.check()?;
                Ok(MethodSettings::DuoAttention(duo))
            }
        }
    }

    fn check_sparsity(&self) -> Result<Option<SparsitySettings>, Bad> {
        if !self.gates.train {
            let when = "while `gates.train` is false";
            check::unused("sparsity", self.sparsity.as_ref(), when)?;
            return Ok(None);
        }
        let when = "while `gates.train` is true";
        let sparsity = check::needed("sparsity", self.sparsity.as_ref(), when)?;
        if self.optimizer.train_weights && !sparsity.plateaus.is_empty() {
            let reason = "does not go with `optimizer.train_weights`: the weights of then are gone at the end, and a mask is of its weights";
            return Err(check::conflict("sparsity.plateaus", reason));
        }
        sparsity.check(self.optimizer.steps).map(Some)
    }

    fn deployment(&self) -> Result<Deployment, Bad> {
        let trained = ExportFile::matching(self.attention.sink_len, self.attention.window_len);
        self.export.as_ref().unwrap_or(&trained).check()
    }
}
