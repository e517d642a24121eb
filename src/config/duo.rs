//! `[duo]`: what is DuoAttention's own in a training file.

use crate::config::check;
use crate::config::error::Bad;

/// Where the open end of a student's gate comes from.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum FullBranch {
    /// The teacher's attention output: what the reference's code mixes.
    Teacher,
    /// Full attention over the student's own queries and keys: how the paper's formula reads.
    Student,
}

/// `[duo]`; every default is the reference's value.
#[derive(
    Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(deny_unknown_fields)]
pub struct DuoSettings {
    /// Every gate at the first step, in [0, 1]. 1: all heads are retrieval heads.
    #[serde(default = "one")]
    pub init: f64,
    /// Weight of the mean gate in the loss. 0.05: pushes gates down that distillation does not hold.
    #[serde(default = "twentieth")]
    pub penalty: f64,
    /// What an open gate lets through. Teacher: what the published patterns were trained with.
    #[serde(default = "teacher")]
    pub full_branch: FullBranch,
}

fn one() -> f64 {
    1.0
}

fn twentieth() -> f64 {
    0.05
}

fn teacher() -> FullBranch {
    FullBranch::Teacher
}

impl Default for DuoSettings {
    fn default() -> Self {
        Self {
            init: one(),
            penalty: twentieth(),
            full_branch: teacher(),
        }
    }
}

impl DuoSettings {
    pub(super) fn check(&self) -> Result<(), Bad> {
        check::share("duo.init", self.init)?;
        check::not_negative("duo.penalty", self.penalty)
    }
}
