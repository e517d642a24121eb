//! `[optimizer]` of a training file: steps, tokens per step, AdamW and its groups.
//!
//! Defaults are the published runs' values, weight decay on PruLong's gates and multipliers included: it bounds both near 10, and
//! a run without it trains another model. Where methods differ, the file is completed with the values of its own.

use crate::config::check;
use crate::config::error::{Bad, Problem};
use crate::mask::gate_method::GateMethod;
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
    /// The way up and down; absent = the reference's code: `cosine`, with DuoAttention `trapezoid`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lr_shape: Option<LrShape>,
    /// Adam's decay rates; absent = the reference's: 0.9 and 0.95, with DuoAttention 0.9 and 0.999.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub betas: Option<[f64; 2]>,
    /// Adam's guard against division by 0.
    #[serde(default = "eps")]
    pub eps: f64,
    /// Largest norm of all gradients together; absent = the reference's: 1, with DuoAttention none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip_norm: Option<f64>,
    /// Peak rate of the gates' parameters; only with trained gates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate_lr: Option<f64>,
    /// Peak rate of lambda_1 and lambda_2; only with trained gates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lambda_lr: Option<f64>,
    /// Decoupled decay of the gates' parameters; absent = the reference's: 0.1, with DuoAttention 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate_weight_decay: Option<f64>,
    /// Decoupled decay of the multipliers; absent = 0.1, the reference's value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lambda_weight_decay: Option<f64>,
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

/// Rates of the gates.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GateRates {
    /// Peak rate of the gates' parameters.
    pub lr: f64,
    /// Their decoupled decay.
    pub weight_decay: f64,
    /// Of the multipliers; absent = the method has none.
    pub lambdas: Option<LambdaRates>,
}

/// Rates of the multipliers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LambdaRates {
    /// Peak rate.
    pub lr: f64,
    /// Decoupled decay.
    pub weight_decay: f64,
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
    /// Largest norm of all gradients together; absent = they are not clipped.
    pub clip_norm: Option<f64>,
    /// Rates of gates and multipliers; absent = they are frozen.
    pub gates: Option<GateRates>,
    /// Rates of the weights; absent = they are frozen.
    pub weights: Option<WeightRates>,
}

fn eps() -> f64 {
    1e-8
}

fn tenth() -> f64 {
    0.1
}

impl OptimizerFile {
    /// Fills in what `method`'s published runs use.
    pub(super) fn complete(&mut self, method: GateMethod) {
        let (lr_shape, betas, gate_weight_decay) = match method {
            GateMethod::PruLong => (LrShape::Cosine, [0.9, 0.95], tenth()),
            GateMethod::DuoAttention => (LrShape::Trapezoid, [0.9, 0.999], 0.0),
        };
        self.lr_shape.get_or_insert(lr_shape);
        self.betas.get_or_insert(betas);
        self.gate_weight_decay.get_or_insert(gate_weight_decay);
        if method == GateMethod::PruLong {
            self.clip_norm.get_or_insert(1.0);
            self.lambda_weight_decay.get_or_insert(tenth());
        }
    }

    pub(super) fn check(
        &self,
        method: GateMethod,
        train_gates: bool,
    ) -> Result<OptimizerSettings, Bad> {
        check::count("optimizer.steps", self.steps)?;
        check::count("optimizer.tokens_per_step", self.tokens_per_step)?;
        let betas = check::needed("optimizer.betas", self.betas, "by AdamW")?;
        check::betas("optimizer.betas", betas)?;
        check::positive("optimizer.eps", self.eps)?;
        if let Some(clip_norm) = self.clip_norm {
            check::positive("optimizer.clip_norm", clip_norm)?;
        }
        self.check_trained(method, train_gates)?;
        Ok(OptimizerSettings {
            steps: self.steps,
            tokens_per_step: self.tokens_per_step,
            lr: self.lr()?,
            betas,
            eps: self.eps,
            clip_norm: self.clip_norm,
            gates: self.gate_rates(method, train_gates)?,
            weights: self.weight_rates()?,
        })
    }

    /// Something must train, and only what the method can.
    fn check_trained(&self, method: GateMethod, train_gates: bool) -> Result<(), Bad> {
        if self.train_weights && method == GateMethod::DuoAttention {
            let reason = "= true does not go with `method = \"duo-attention\"`: its teacher and its student share frozen weights";
            return Err(check::conflict("optimizer.train_weights", reason));
        }
        if !train_gates && !self.train_weights {
            let reason = "= false leaves nothing to train, because `gates.train` is false too";
            return Err(check::conflict("optimizer.train_weights", reason));
        }
        Ok(())
    }

    fn lr(&self) -> Result<LrSchedule, Bad> {
        check::share("optimizer.warmup_ratio", self.warmup_ratio)?;
        check::share("optimizer.min_lr_ratio", self.min_lr_ratio)?;
        let schedule = LrSchedule {
            num_steps: self.steps,
            warmup_ratio: self.warmup_ratio,
            min_ratio: self.min_lr_ratio,
            shape: check::needed("optimizer.lr_shape", self.lr_shape, "by the schedule")?,
        };
        schedule
            .checked()
            .map_err(|why| Bad::new("optimizer.lr_shape", Problem::Schedule { why }))
    }

    fn gate_rates(&self, method: GateMethod, trained: bool) -> Result<Option<GateRates>, Bad> {
        if !trained {
            let when = "while `gates.train` is false";
            check::unused("optimizer.gate_lr", self.gate_lr.as_ref(), when)?;
            check::unused("optimizer.lambda_lr", self.lambda_lr.as_ref(), when)?;
            return Ok(None);
        }
        let when = "while `gates.train` is true";
        let lr = check::needed("optimizer.gate_lr", self.gate_lr, when)?;
        check::positive("optimizer.gate_lr", lr)?;
        let key = "optimizer.gate_weight_decay";
        let weight_decay = check::needed(key, self.gate_weight_decay, when)?;
        check::not_negative(key, weight_decay)?;
        let lambdas = match method {
            GateMethod::PruLong => Some(self.lambda_rates(when)?),
            GateMethod::DuoAttention => {
                let when = "with `method = \"duo-attention\"`";
                check::unused("optimizer.lambda_lr", self.lambda_lr.as_ref(), when)?;
                let key = "optimizer.lambda_weight_decay";
                check::unused(key, self.lambda_weight_decay.as_ref(), when)?;
                None
            }
        };
        Ok(Some(GateRates {
            lr,
            weight_decay,
            lambdas,
        }))
    }

    fn lambda_rates(&self, when: &str) -> Result<LambdaRates, Bad> {
        let lr = check::needed("optimizer.lambda_lr", self.lambda_lr, when)?;
        check::positive("optimizer.lambda_lr", lr)?;
        let key = "optimizer.lambda_weight_decay";
        let weight_decay = check::needed(key, self.lambda_weight_decay, when)?;
        check::not_negative(key, weight_decay)?;
        Ok(LambdaRates { lr, weight_decay })
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
