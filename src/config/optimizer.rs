//! `[optimizer]` of a training file: steps, tokens per step, AdamW and its groups.
//!
//! Defaults are the published run's values, weight decay on gates and multipliers included: it bounds both near 10, and a
//! run without it trains another model.

use crate::config::check;
use crate::config::error::{Bad, Problem};
use crate::schedule::{LrSchedule, LrShape};

/// `[optimizer]` as written.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OptimizerFile {
    /// Optimizer steps of the run.
    pub steps: u64,
    /// Tokens of one optimizer step over all devices; a multiple of the row length.
    pub tokens_per_step: u64,
    /// Share of the run over which the rates rise, in [0, 1].
    pub warmup_ratio: f64,
    /// Floor of the rates as a share of their peak, in [0, 1].
    pub min_lr_ratio: f64,
    /// The way down. Cosine: the reference's code.
    #[serde(default)]
    pub lr_shape: LrShape,
    /// Adam's decay rates.
    #[serde(default = "betas")]
    pub betas: [f64; 2],
    /// Adam's guard against division by 0.
    #[serde(default = "eps")]
    pub eps: f64,
    /// Largest norm of all gradients together.
    #[serde(default = "one")]
    pub clip_norm: f64,
    /// Peak rate of log_alpha; only with trained gates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate_lr: Option<f64>,
    /// Peak rate of lambda_1 and lambda_2; only with trained gates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lambda_lr: Option<f64>,
    /// Decoupled decay of log_alpha. 0.1: the reference's value.
    #[serde(default = "tenth")]
    pub gate_weight_decay: f64,
    /// Decoupled decay of the multipliers. 0.1: the reference's value.
    #[serde(default = "tenth")]
    pub lambda_weight_decay: f64,
    /// Whether the model's weights train too. False: the method's main mode.
    #[serde(default)]
    pub train_weights: bool,
    /// Peak rate of the weights; only with trained weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight_lr: Option<f64>,
    /// Decoupled decay of the weights, norms and biases excepted. 0.1: the reference's value.
    #[serde(default = "tenth")]
    pub weight_decay: f64,
}

/// Rates of the gates and multipliers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GateRates {
    /// Peak rate of log_alpha.
    pub lr: f64,
    /// Decoupled decay of log_alpha.
    pub weight_decay: f64,
    /// Peak rate of the multipliers.
    pub lambda_lr: f64,
    /// Decoupled decay of the multipliers.
    pub lambda_weight_decay: f64,
}

/// Rates of the model's weights.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WeightRates {
    /// Peak rate.
    pub lr: f64,
    /// Decoupled decay; norms and biases have none.
    pub weight_decay: f64,
}

/// `[optimizer]`, checked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OptimizerSettings {
    /// Optimizer steps of the run.
    pub steps: u64,
    /// Tokens of one optimizer step.
    pub tokens_per_step: u64,
    /// Multiplier of every rate.
    pub lr: LrSchedule,
    /// Adam's decay rates.
    pub betas: [f64; 2],
    /// Adam's guard against division by 0.
    pub eps: f64,
    /// Largest norm of all gradients together.
    pub clip_norm: f64,
    /// Rates of gates and multipliers; absent = they are frozen.
    pub gates: Option<GateRates>,
    /// Rates of the weights; absent = they are frozen.
    pub weights: Option<WeightRates>,
}

fn betas() -> [f64; 2] {
    [0.9, 0.95]
}

fn eps() -> f64 {
    1e-8
}

fn one() -> f64 {
    1.0
}

fn tenth() -> f64 {
    0.1
}

impl OptimizerFile {
    pub(super) fn check(&self, train_gates: bool) -> Result<OptimizerSettings, Bad> {
        check::count("optimizer.steps", self.steps)?;
        check::count("optimizer.tokens_per_step", self.tokens_per_step)?;
        check::betas("optimizer.betas", self.betas)?;
        check::positive("optimizer.eps", self.eps)?;
        check::positive("optimizer.clip_norm", self.clip_norm)?;
        if !train_gates && !self.train_weights {
            let reason = "= false leaves nothing to train, because `gates.train` is false too";
            return Err(check::conflict("optimizer.train_weights", reason));
        }
        Ok(OptimizerSettings {
            steps: self.steps,
            tokens_per_step: self.tokens_per_step,
            lr: self.lr()?,
            betas: self.betas,
            eps: self.eps,
            clip_norm: self.clip_norm,
            gates: self.gate_rates(train_gates)?,
            weights: self.weight_rates()?,
        })
    }

    fn lr(&self) -> Result<LrSchedule, Bad> {
        check::share("optimizer.warmup_ratio", self.warmup_ratio)?;
        check::share("optimizer.min_lr_ratio", self.min_lr_ratio)?;
        let schedule = LrSchedule {
            num_steps: self.steps,
            warmup_ratio: self.warmup_ratio,
            min_ratio: self.min_lr_ratio,
            shape: self.lr_shape,
        };
        schedule
            .checked()
            .map_err(|why| Bad::new("optimizer.lr_shape", Problem::Schedule { why }))
    }

    fn gate_rates(&self, trained: bool) -> Result<Option<GateRates>, Bad> {
        if !trained {
            let when = "while `gates.train` is false";
            check::unused("optimizer.gate_lr", self.gate_lr.as_ref(), when)?;
            check::unused("optimizer.lambda_lr", self.lambda_lr.as_ref(), when)?;
            return Ok(None);
        }
        let when = "while `gates.train` is true";
        let lr = check::needed("optimizer.gate_lr", self.gate_lr, when)?;
        let lambda_lr = check::needed("optimizer.lambda_lr", self.lambda_lr, when)?;
        let (weight_decay, lambda_weight_decay) =
            (self.gate_weight_decay, self.lambda_weight_decay);
        check::positive("optimizer.gate_lr", lr)?;
        check::positive("optimizer.lambda_lr", lambda_lr)?;
        check::not_negative("optimizer.gate_weight_decay", weight_decay)?;
        check::not_negative("optimizer.lambda_weight_decay", lambda_weight_decay)?;
        Ok(Some(GateRates {
            lr,
            weight_decay,
            lambda_lr,
            lambda_weight_decay,
        }))
    }

    fn weight_rates(&self) -> Result<Option<WeightRates>, Bad> {
        if !self.train_weights {
            let when = "while `optimizer.train_weights` is false";
            check::unused("optimizer.weight_lr", self.weight_lr.as_ref(), when)?;
            return Ok(None);
        }
        let when = "while `optimizer.train_weights` is true";
        let lr = check::needed("optimizer.weight_lr", self.weight_lr, when)?;
        check::positive("optimizer.weight_lr", lr)?;
        check::not_negative("optimizer.weight_decay", self.weight_decay)?;
        let weight_decay = self.weight_decay;
        Ok(Some(WeightRates { lr, weight_decay }))
    }
}
