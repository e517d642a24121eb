//! What can stop a training run.

use crate::fault::{Coded, Kind};
use crate::model::watch::BadGrad;

/// Errors of the training procedure itself.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// A loss or gradient is NaN or infinite; the update was not applied.
    #[error("{what} is not finite at step {step}")]
    NotFinite {
        /// Loss, gate gradients or weight gradients.
        what: &'static str,
        /// Optimizer steps finished before.
        step: u64,
    },
    /// A kernel computed a gradient of attention that is not finite; the update was not applied.
    #[error("{grad} is not finite at step {step}: computed by attention backend `{backend}`")]
    Kernel {
        /// Layer, name and shape.
        grad: BadGrad,
        /// Optimizer steps finished before.
        step: u64,
        /// Name of the backend.
        backend: &'static str,
    },
    /// The device's memory, or the machine's, ran out during a step.
    #[error("memory ran out: {detail}")]
    OutOfMemory {
        /// libtorch's line about it.
        detail: String,
        /// What to change, in a sentence.
        way_out: &'static str,
    },
    /// A signal asked to stop; everything up to `step` is saved.
    #[error("interrupted after step {step}; a checkpoint is saved")]
    Interrupted {
        /// Optimizer steps finished.
        step: u64,
    },
    /// A checkpoint lacks something this run needs.
    #[error("checkpoint of step {step} has no usable `{name}`")]
    State {
        /// The checkpoint's step.
        step: u64,
        /// The missing or misshapen vector.
        name: String,
    },
    /// Tokens per step cannot be met by whole rows.
    #[error(
        "optimizer.tokens_per_step = {tokens_per_step} is not a multiple of the row length {row_len}"
    )]
    Batch {
        /// What the configuration asks for.
        tokens_per_step: u64,
        /// Tokens of one row.
        row_len: u64,
    },
    /// Held-out rows without a loss.
    #[error("none of the first {num_rows} rows of `{path}` has a token to predict")]
    NothingHeldOut {
        /// The folder.
        path: std::path::PathBuf,
        /// Rows that were read.
        num_rows: usize,
    },
    /// A folder of held-out rows is shorter than the validation.
    #[error("`{path}` has {rows} rows, `validation.num_rows` is {needed}")]
    HeldOut {
        /// The folder.
        path: std::path::PathBuf,
        /// Its rows.
        rows: u64,
        /// Rows that were asked for.
        needed: u64,
    },
    /// A file could not be opened.
    #[error("cannot open `{path}`")]
    Open {
        /// The file.
        path: std::path::PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// The rows were packed with another tokenizer than the model's.
    #[error("rows in `{data}` were packed with another tokenizer than `{model}` has")]
    Tokenizer {
        /// The packed data.
        data: std::path::PathBuf,
        /// The model folder.
        model: std::path::PathBuf,
    },
    /// Model and mask or data do not fit together.
    #[error("{what}: found {found}, the model needs {needed}")]
    Mismatch {
        /// Which quantity.
        what: &'static str,
        /// What was found.
        found: String,
        /// What fits.
        needed: String,
    },
}

impl Coded for TrainError {
    fn code(&self) -> &'static str {
        match self {
            Self::NotFinite { .. } => "num.not_finite",
            Self::Kernel { .. } => "num.attention_grad",
            Self::OutOfMemory { .. } => "train.out_of_memory",
            Self::Interrupted { .. } => "run.interrupted",
            Self::State { .. } => "ckpt.state",
            Self::Batch { .. } => "config.batch",
            Self::HeldOut { .. } | Self::NothingHeldOut { .. } => "config.held_out",
            Self::Open { .. } => "io.open",
            Self::Tokenizer { .. } => "tok.vocab",
            Self::Mismatch { .. } => "train.mismatch",
        }
    }
    fn kind(&self) -> Kind {
        match self {
            Self::NotFinite { .. } | Self::Kernel { .. } => Kind::Numerical,
            Self::OutOfMemory { .. } => Kind::Environment,
            Self::Interrupted { .. } => Kind::Interrupted,
            _ => Kind::Input,
        }
    }
    fn hint(&self) -> Option<String> {
        match self {
            Self::NotFinite { .. } => {
                Some("lower the learning rate; the last checkpoint is intact".to_owned())
            }
            Self::OutOfMemory { way_out, .. } => Some((*way_out).to_owned()),
            Self::Kernel { backend, .. } => {
                let other = if *backend == "flash" {
                    "reference"
                } else {
                    "flash"
                };
                Some(format!(
                    "continue from the last checkpoint, which is intact, with `--set attention.backend={other} \
                     --allow-config-change attention.backend`"
                ))
            }
            Self::Tokenizer { model, .. } => {
                let tokenizer = model.join("tokenizer.json");
                Some(format!(
                    "pack the text again with `--tokenizer {}`",
                    tokenizer.display()
                ))
            }
            Self::NothingHeldOut { .. } => {
                Some("set `validation.instruct_mask = false`, or name rows with labels".to_owned())
            }
            Self::HeldOut { rows: 0, .. } => {
                Some("hold out text with `prulong pack --held-out`".to_owned())
            }
            Self::HeldOut { rows, .. } => Some(format!(
                "set it to {rows} or fewer, or hold out more text with `prulong pack --held-out`"
            )),
            Self::Interrupted { .. } => Some("run the same command again to continue".to_owned()),
            Self::Batch {
                tokens_per_step,
                row_len,
            } if *row_len > 0 => {
                let below = (tokens_per_step / row_len).max(1) * row_len;
                Some(format!("use {below} or {}", below + row_len))
            }
            _ => None,
        }
    }
}
