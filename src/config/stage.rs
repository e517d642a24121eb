//! `[[stage]]` of a pretraining file: one step of the curriculum.

use crate::config::check;
use crate::config::error::{Bad, Problem};
use crate::config::generator::GeneratorSettings;
use crate::real::real;

/// One stage: rows of one length, a mixture, and learning rates that move on a straight line.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StageSettings {
    /// Name in logs.
    pub name: String,
    /// Optimizer steps.
    pub steps: u64,
    /// Tokens of a sequence.
    pub seq_len: usize,
    /// Sequences of one optimizer step.
    pub batch_len: usize,
    /// Muon's rate at the stage's first step, after its warm-up.
    pub muon_lr: f64,
    /// Muon's rate at the stage's last step.
    pub muon_lr_end: f64,
    /// Adam's rate at the first step, which falls as Muon's does; absent = `optimizer.adam_lr`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adam_lr: Option<f64>,
    /// Steps over which both rates rise from 0. 0: only a cold start needs them.
    #[serde(default)]
    pub warmup_steps: u64,
    /// What the rows are made of.
    pub mix: Vec<GeneratorSettings>,
}

/// A stage, checked; every rate is known.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    /// Name in logs.
    pub name: String,
    /// Optimizer steps.
    pub steps: u64,
    /// Tokens of a sequence.
    pub seq_len: usize,
    /// Sequences of one optimizer step.
    pub batch_len: usize,
    /// Muon's rate at the first step, after the warm-up.
    pub muon_lr: f64,
    /// Muon's rate at the last step.
    pub muon_lr_end: f64,
    /// Adam's rate at the first step, after the warm-up.
    pub adam_lr: f64,
    /// Steps over which both rates rise from 0.
    pub warmup_steps: u64,
    /// What the rows are made of.
    pub mix: Vec<GeneratorSettings>,
}

impl Stage {
    /// Share of the first step's rate, rising in the warm-up and then moving on a straight line to the last step's.
    ///
    /// `step` counts finished steps of this stage. The first update already moves: `(step + 1) / warmup_steps` while warming up.
    pub fn rate_multiplier(&self, step: u64) -> f64 {
        if step < self.warmup_steps {
            return real(step + 1) / real(self.warmup_steps);
        }
        let span = (self.steps - self.warmup_steps).saturating_sub(1).max(1);
        let progress = (real(step - self.warmup_steps) / real(span)).min(1.0);
        1.0 + (self.muon_lr_end / self.muon_lr - 1.0) * progress
    }
}

impl StageSettings {
    pub(super) fn check(&self, index: usize, adam_lr: f64, longest: usize) -> Result<Stage, Bad> {
        let key = |name: &str| format!("stage.{index}.{name}");
        check::count(&key("steps"), self.steps)?;
        check::len(&key("batch_len"), self.batch_len)?;
        self.check_len(&key("seq_len"), longest)?;
        check::positive(&key("muon_lr"), self.muon_lr)?;
        check::not_negative(&key("muon_lr_end"), self.muon_lr_end)?;
        let adam_lr = self.adam_lr.unwrap_or(adam_lr);
        check::positive(&key("adam_lr"), adam_lr)?;
        let what = "the value of `steps`";
        check::at_most(&key("warmup_steps"), self.warmup_steps, self.steps, what)?;
        if self.mix.is_empty() {
            return Err(check::conflict(&key("mix"), "names no kind of document"));
        }
        for (at, generator) in self.mix.iter().enumerate() {
            generator.check(&key(&format!("mix.{at}")))?;
        }
        Ok(self.with(adam_lr))
    }

    fn check_len(&self, key: &str, longest: usize) -> Result<(), Bad> {
        if (2..=longest).contains(&self.seq_len) {
            return Ok(());
        }
        let value = self.seq_len.to_string();
        let expected = format!("from 2 to `model.max_position_embeddings`, {longest}");
        Err(Bad::new(key, Problem::Range { value, expected }))
    }

    fn with(&self, adam_lr: f64) -> Stage {
        Stage {
            name: self.name.clone(),
            steps: self.steps,
            seq_len: self.seq_len,
            batch_len: self.batch_len,
            muon_lr: self.muon_lr,
            muon_lr_end: self.muon_lr_end,
            adam_lr,
            warmup_steps: self.warmup_steps,
            mix: self.mix.clone(),
        }
    }
}
