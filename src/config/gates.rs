//! `[gates]`: whether gates train, and where they start.

use crate::config::check;
use crate::config::error::Bad;
use std::path::PathBuf;

/// Where log_alpha comes from at step 0.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum GateInit {
    /// Normal numbers around an open gate; the multipliers start at 0.
    Reset {
        /// Mean of log_alpha. 4: the reference's value, about 2.4 % sampled sparsity.
        #[serde(default = "four")]
        mean: f64,
        /// Standard deviation of log_alpha. 0.01: the reference's value, only enough to break ties.
        #[serde(default = "hundredth")]
        std: f64,
    },
    /// A mask file of any readable format, values x in [0, 1] becoming (2 x - 1) * 10.
    Mask {
        /// The file or folder.
        path: PathBuf,
        /// Round to this share of streaming heads first; absent = take the values as they are.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sparsity: Option<f64>,
    },
    /// Whole layers in turn: retrieval, then streaming.
    Stripes {
        /// Retrieval layers per period.
        num_retrieval_layers: usize,
        /// Streaming layers per period.
        num_streaming_layers: usize,
        /// Whether a period begins with its retrieval layers. True: the first layers look furthest.
        #[serde(default = "yes")]
        start_with_retrieval: bool,
    },
    /// log_alpha and multipliers of another run's checkpoint.
    Checkpoint {
        /// The checkpoint's folder.
        path: PathBuf,
    },
}

fn four() -> f64 {
    4.0
}

fn hundredth() -> f64 {
    0.01
}

fn yes() -> bool {
    true
}

/// The gates of a run.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GateSettings {
    /// Whether log_alpha and the multipliers are trained; no default, because it decides what a run is.
    pub train: bool,
    /// Where they start. Reset: the method's own start; frozen gates need another source.
    #[serde(default = "reset")]
    pub init: GateInit,
}

fn reset() -> GateInit {
    let (mean, std) = (four(), hundredth());
    GateInit::Reset { mean, std }
}

impl GateSettings {
    pub(super) fn check(&self) -> Result<(), Bad> {
        match &self.init {
            GateInit::Reset { .. } if !self.train => {
                let reason = "= false needs a source of gates: set `gates.init` to a mask, stripes or a checkpoint";
                Err(check::conflict("gates.train", reason))
            }
            GateInit::Reset { std, .. } => check::not_negative("gates.init.std", *std),
            GateInit::Mask { sparsity, .. } => {
                sparsity.map_or(Ok(()), |value| check::share("gates.init.sparsity", value))
            }
            GateInit::Stripes {
                num_retrieval_layers,
                num_streaming_layers,
                ..
            } => {
                check::len("gates.init.num_retrieval_layers", *num_retrieval_layers)?;
                check::len("gates.init.num_streaming_layers", *num_streaming_layers)
            }
            GateInit::Checkpoint { .. } => Ok(()),
        }
    }

    pub(super) fn paths(&mut self) -> Vec<(String, &mut PathBuf)> {
        match &mut self.init {
            GateInit::Mask { path, .. } | GateInit::Checkpoint { path } => {
                vec![("gates.init.path".to_owned(), path)]
            }
            GateInit::Reset { .. } | GateInit::Stripes { .. } => Vec::new(),
        }
    }
}
