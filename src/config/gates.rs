//! `[gates]`: whether gates train, and where they start.

use crate::config::check;
use crate::config::error::Bad;
use crate::mask::gate_method::GateMethod;
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
    /// The order of a mask file's heads, as evenly spaced values of log_alpha: a warm start from `prulong score-heads`.
    Scores {
        /// The mask file.
        path: PathBuf,
        /// Middle of the values. 2: open, but near enough to close within a short run.
        #[serde(default = "two")]
        mean: f64,
        /// Distance of the first and the last head's value from the middle. 2: half of the heads begin nearly open.
        #[serde(default = "two")]
        spread: f64,
    },
    /// log_alpha and multipliers of another run's checkpoint.
    Checkpoint {
        /// The checkpoint's folder.
        path: PathBuf,
    },
}

/// How the gate noise of neighbouring micro-batches hangs together.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Default,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum GateNoise {
    /// Not at all.
    #[default]
    Independent,
    /// Two by two, the second mirroring the first.
    Antithetic {},
    /// So many by so many, each gate drawing once from each of as many equal parts of [0, 1).
    Stratified {
        /// Parts. 8: a step's micro-batches in the published runs.
        #[serde(default = "eight")]
        num_strata: u64,
    },
}

fn eight() -> u64 {
    8
}

fn four() -> f64 {
    4.0
}

fn two() -> f64 {
    2.0
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
    /// Whether gates, and what else the method trains for them, are trained; no default, because it decides what a run is.
    pub train: bool,
    /// Where log_alpha starts; absent = reset, PruLong's own start. Frozen gates need another source; DuoAttention's gates start
    /// at `duo.init`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<GateInit>,
    /// How the noise of neighbouring micro-batches hangs together. Independent: the reference's.
    #[serde(default)]
    pub noise: GateNoise,
}

fn reset() -> GateInit {
    let (mean, std) = (four(), hundredth());
    GateInit::Reset { mean, std }
}

impl GateSettings {
    pub(super) fn complete(&mut self, method: GateMethod) {
        if method == GateMethod::PruLong {
            self.init.get_or_insert_with(reset);
        }
    }

    /// Checks what DuoAttention has no use for.
    pub(super) fn check_duo(&self) -> Result<(), Bad> {
        let with = "with `method = \"duo-attention\"`";
        if !self.train {
            let reason = format!("= false trains nothing {with}");
            return Err(check::conflict("gates.train", &reason));
        }
        check::unused("gates.init", self.init.as_ref(), with)?;
        let noise = (self.noise != GateNoise::default()).then_some(&self.noise);
        check::unused("gates.noise", noise, with)
    }

    /// Where PruLong's gates start, checked.
    pub(super) fn check(&self) -> Result<GateInit, Bad> {
        let init = check::needed("gates.init", self.init.as_ref(), "by the gates")?;
        self.check_init(init)?;
        self.check_noise()?;
        Ok(init.clone())
    }

    fn check_init(&self, init: &GateInit) -> Result<(), Bad> {
        match init {
            GateInit::Reset { .. } if !self.train => {
                let reason = "= false needs a source of gates: set `gates.init` to a mask, stripes or a checkpoint";
                Err(check::conflict("gates.train", reason))
            }
            GateInit::Scores { .. } if !self.train => {
                let reason =
                    "= false needs gates that are decided: use `kind = \"mask\"` for this file";
                Err(check::conflict("gates.train", reason))
            }
            GateInit::Reset { std, .. } => check::not_negative("gates.init.std", *std),
            GateInit::Mask { sparsity, .. } => {
                sparsity.map_or(Ok(()), |value| check::share("gates.init.sparsity", value))
            }
            GateInit::Scores { spread, .. } => check::not_negative("gates.init.spread", *spread),
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

    fn check_noise(&self) -> Result<(), Bad> {
        match self.noise {
            GateNoise::Independent => Ok(()),
            _ if !self.train => {
                let reason =
                    "has no meaning while `gates.train` is false: frozen gates draw nothing";
                Err(check::conflict("gates.noise", reason))
            }
            GateNoise::Antithetic {} => Ok(()),
            GateNoise::Stratified { num_strata } => {
                check::count("gates.noise.num_strata", num_strata)?;
                check::at_most("gates.noise.num_strata", num_strata, 1024, "what helps")
            }
        }
    }

    pub(super) fn paths(&mut self) -> Vec<(String, &mut PathBuf)> {
        match &mut self.init {
            Some(
                GateInit::Mask { path, .. }
                | GateInit::Scores { path, .. }
                | GateInit::Checkpoint { path },
            ) => {
                vec![("gates.init.path".to_owned(), path)]
            }
            Some(GateInit::Reset { .. } | GateInit::Stripes { .. }) | None => Vec::new(),
        }
    }
}
