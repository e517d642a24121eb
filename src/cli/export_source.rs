//! What `prulong export-mask` cuts masks from: the gates of a run, or the stored order of a mask.

use crate::checkpoint::state::{self, NamedTensor};
use crate::checkpoint::store::{self, CheckpointStore, Loaded};
use crate::cli::coded_text::CodedText;
use crate::fault::{AnyFault, Coded, Kind};
use crate::mask::gate_method::GateMethod;
use crate::mask::provenance::{Provenance, ProvenanceError};
use crate::mask::sidecar::content::Sidecar;
use crate::mask::sidecar::cut::{CutError, Target, TrainedGates, distilled, recut, trained};
use crate::mask::sidecar::read;
use crate::schedule::course::Plateau;
use crate::train::plateaus::READABLE;
use crate::train::run_dir::{EXPORT_NAME, MASKS_NAME};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// The file of a checkpoint that holds the gates.
pub(super) const STATE_NAME: &str = "state.safetensors";

/// The tensor that holds them.
fn gates_name(method: GateMethod) -> &'static str {
    match method {
        GateMethod::PruLong => "log_alpha",
        GateMethod::DuoAttention => "gate",
    }
}

/// Something that masks are cut from.
pub(super) struct Source {
    kind: SourceKind,
    /// What its reader noticed.
    pub(super) warnings: Vec<CodedText>,
}

enum SourceKind {
    Run {
        dir: PathBuf,
        provenance: Box<Provenance>,
        /// Those of targets that the run had left, unless a step was asked for.
        left: Vec<Gates>,
        /// Those of the checkpoint.
        last: Gates,
    },
    Mask(Box<Sidecar>),
}

/// Parameters of the gates at a step, and what they were being trained for; nothing if their method has no target.
struct Gates {
    values: Vec<f32>,
    step: u64,
    target: Option<f64>,
}

/// Why nothing was exported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum ExportError {
    /// A file could not be read.
    #[error("cannot read `{path}`")]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// Neither a run directory nor a mask.
    #[error("`{path}` is not the directory of a training run: it has no `{EXPORT_NAME}`")]
    NotARun {
        /// The path given.
        path: PathBuf,
    },
    /// A run whose facts are unusable.
    #[error("cannot use `{path}`")]
    Provenance {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: ProvenanceError,
    },
    /// Stopped before its first save.
    #[error("run `{path}` has no checkpoint yet")]
    NoCheckpoint {
        /// The run.
        path: PathBuf,
    },
    /// A run of weights only.
    #[error("run `{path}` trained no gates: the checkpoint of step {step} has no `{name}`")]
    NoGates {
        /// The run.
        path: PathBuf,
        /// Step of the checkpoint.
        step: u64,
        /// The tensor that should hold them.
        name: &'static str,
    },
    /// A checkpoint whose gates of plateaus are not those of the run.
    #[error(
        "the checkpoint of step {step} holds no gates of {num_plateaus} earlier targets in its `{READABLE}`"
    )]
    Plateaus {
        /// Step of the checkpoint.
        step: u64,
        /// Targets that the run had left.
        num_plateaus: usize,
    },
    /// A run without a sparsity of its own.
    #[error("a run of DuoAttention has no target: how many heads to keep is yours to say")]
    NoTarget,
    /// A mask has no place of its own.
    #[error("a mask that is cut again needs a folder to go to")]
    NoOutput,
    /// An evaluation of other masks.
    #[error("`{run}` tried other masks of {num_retrieval} retrieval heads than this order gives")]
    OtherMask {
        /// The run folder.
        run: PathBuf,
        /// Heads of the smallest mask that kept the score.
        num_retrieval: usize,
    },
    /// A step of a mask.
    #[error("`{path}` is a mask and has no steps to choose from")]
    StepOfMask {
        /// The mask.
        path: PathBuf,
    },
}

impl Coded for ExportError {
    fn code(&self) -> &'static str {
        match self {
            Self::Read { .. } => "mask.unreadable",
            Self::NotARun { .. } => "run.foreign",
            Self::Provenance { source, .. } => source.code(),
            Self::NoCheckpoint { .. } => "run.no_checkpoint",
            Self::NoGates { .. } | Self::Plateaus { .. } => "run.no_gates",
            Self::OtherMask { .. } => "mask.other_order",
            Self::NoTarget => "mask.target",
            Self::NoOutput | Self::StepOfMask { .. } => "mask.usage",
        }
    }
    fn kind(&self) -> Kind {
        match self {
            Self::Read { source, .. } if source.kind() != io::ErrorKind::NotFound => Kind::Storage,
            _ => Kind::Input,
        }
    }
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Read { .. } => return None,
            Self::Provenance { source, .. } => return source.hint(),
            Self::NotARun { .. } => {
                "pass what `prulong train --run-dir` wrote, or a `head_mask.safetensors`".to_owned()
            }
            Self::NoCheckpoint { .. } => "let it run until its first save".to_owned(),
            Self::NoGates { .. } => "train with the gates unfrozen".to_owned(),
            Self::Plateaus { .. } => "name a checkpoint with `--step`".to_owned(),
            Self::OtherMask { .. } => {
                "evaluate masks that were exported from this run or file".to_owned()
            }
            Self::NoTarget => "add `--sparsity SHARE` or `--num-retrieval N`".to_owned(),
            Self::NoOutput => "add `-o DIR`".to_owned(),
            Self::StepOfMask { .. } => "leave out `--step`, or pass the run".to_owned(),
        })
    }
}

impl Source {
    /// Reads the gates of a run's `step`, the newest good checkpoint's unless named, or a mask file.
    ///
    /// # Errors
    /// [`ExportError`], and what is wrong with checkpoint or mask.
    pub(super) fn read(path: &Path, step: Option<u64>) -> Result<Self, AnyFault> {
        if path.is_dir() {
            return Self::of_run(path, step);
        }
        if step.is_some() {
            let path = path.to_owned();
            return Err(ExportError::StepOfMask { path }.into());
        }
        let file = std::fs::File::open(path).map_err(|source| ExportError::Read {
            path: path.to_owned(),
            source,
        })?;
        let sidecar = read::read(file, path)?.sidecar;
        Ok(Self {
            kind: SourceKind::Mask(Box::new(sidecar)),
            warnings: Vec::new(),
        })
    }

    fn of_run(run: &Path, asked: Option<u64>) -> Result<Self, AnyFault> {
        let provenance = provenance(run)?;
        let loaded = checkpoint(run, asked)?;
        let step = loaded.step;
        let tensors = state::decode(loaded.file(STATE_NAME)?)?;
        let name = gates_name(provenance.method);
        let gates = tensors.get(name);
        let gates = gates.ok_or_else(|| ExportError::NoGates {
            path: run.to_owned(),
            step,
            name,
        })?;
        let values = gates.to_f32()?;
        let left = match asked {
            Some(_) => Vec::new(),
            None => plateaus(&provenance, &tensors, (step, values.len()))?,
        };
        let target = under_way(&provenance, step);
        let last = Gates {
            values,
            step,
            target,
        };
        let damaged = loaded.warnings.iter().map(|warning| CodedText {
            code: warning.code,
            text: warning.to_string(),
        });
        Ok(Self {
            warnings: damaged.collect(),
            kind: SourceKind::Run {
                dir: run.to_owned(),
                provenance: Box::new(provenance),
                left,
                last,
            },
        })
    }

    /// The mask of `target`, from the gates that were trained for it where there are such, else the last ones.
    ///
    /// # Errors
    /// An impossible target, or gates that cannot be ordered.
    pub(super) fn cut(&self, target: Target) -> Result<Sidecar, CutError> {
        match &self.kind {
            SourceKind::Mask(sidecar) => recut(sidecar, target),
            SourceKind::Run {
                provenance,
                left,
                last,
                ..
            } => {
                let there = left.iter().find(|gates| is_for(gates, target));
                of_gates(there.unwrap_or(last), provenance, target)
            }
        }
    }

    /// The masks of so many heads, one of each order that there is, the last gates' first.
    ///
    /// # Errors
    /// As [`Source::cut`].
    pub(super) fn cut_each(&self, num_retrieval: usize) -> Result<Vec<Sidecar>, CutError> {
        let target = Target::NumRetrieval(num_retrieval);
        match &self.kind {
            SourceKind::Mask(sidecar) => Ok(vec![recut(sidecar, target)?]),
            SourceKind::Run {
                provenance,
                left,
                last,
                ..
            } => {
                let all = std::iter::once(last).chain(left.iter().rev());
                all.map(|gates| of_gates(gates, provenance, target))
                    .collect()
            }
        }
    }

    /// The sparsities of masks made without a target: every one that a run's gates were trained for.
    ///
    /// # Errors
    /// [`ExportError::NoTarget`] for a run that has none.
    pub(super) fn sparsities(&self) -> Result<Vec<f64>, ExportError> {
        match &self.kind {
            SourceKind::Run { left, last, .. } => {
                let all = left.iter().chain([last]);
                let targets = all.map(|gates| gates.target.ok_or(ExportError::NoTarget));
                let mut targets = targets.collect::<Result<Vec<f64>, _>>()?;
                // At the very end of a plateau the checkpoint's gates are the plateau's.
                targets.dedup_by_key(|target| target.to_bits());
                Ok(targets)
            }
            SourceKind::Mask(sidecar) => Ok(vec![sidecar.mask.sparsity()]),
        }
    }

    /// The mask that it is, if it is one.
    pub(super) fn mask(&self) -> Option<&Sidecar> {
        match &self.kind {
            SourceKind::Mask(sidecar) => Some(sidecar),
            SourceKind::Run { .. } => None,
        }
    }

    /// Where its masks go unless the user says where.
    ///
    /// # Errors
    /// [`ExportError::NoOutput`] for a mask.
    pub(super) fn folder(&self) -> Result<PathBuf, ExportError> {
        match &self.kind {
            SourceKind::Run { dir, .. } => Ok(dir.join(MASKS_NAME)),
            SourceKind::Mask(_) => Err(ExportError::NoOutput),
        }
    }
}

/// Whether gates were trained for a target.
fn is_for(gates: &Gates, target: Target) -> bool {
    let own = gates.target.map(f64::to_bits);
    matches!(target, Target::Sparsity { sparsity, .. } if own == Some(sparsity.to_bits()))
}

/// What gates are trained for at a step: the target that the run has not left before it.
fn under_way(provenance: &Provenance, step: u64) -> Option<f64> {
    let mut plateaus = provenance.plateaus.iter();
    let next = plateaus.find(|plateau| plateau.step >= step);
    next.map(|plateau| plateau.sparsity)
        .or(provenance.target_sparsity)
}

fn of_gates(gates: &Gates, run: &Provenance, target: Target) -> Result<Sidecar, CutError> {
    let provenance = &Provenance {
        target_sparsity: gates.target,
        ..run.clone()
    };
    match provenance.method {
        GateMethod::PruLong => {
            let gates = TrainedGates {
                log_alpha: &gates.values,
                num_steps: gates.step,
            };
            trained(gates, provenance, target)
        }
        GateMethod::DuoAttention => distilled(&gates.values, gates.step, provenance, target),
    }
}

/// The gates of every target that the run had left after `step` steps.
fn plateaus(
    provenance: &Provenance,
    tensors: &BTreeMap<String, NamedTensor<'_>>,
    (step, num_gates): (u64, usize),
) -> Result<Vec<Gates>, AnyFault> {
    let left = provenance
        .plateaus
        .iter()
        .filter(|plateau| plateau.step <= step);
    let left: Vec<&Plateau> = left.collect();
    if left.is_empty() {
        return Ok(Vec::new());
    }
    let values = tensors.get(READABLE).map(NamedTensor::to_f32).transpose()?;
    let values = values.filter(|values| values.len() == left.len() * num_gates);
    let values = values.ok_or(ExportError::Plateaus {
        step,
        num_plateaus: left.len(),
    })?;
    let gates = values.chunks(num_gates.max(1)).map(<[f32]>::to_vec);
    let of_plateau = |(plateau, values): (&Plateau, Vec<f32>)| Gates {
        values,
        step: plateau.step,
        target: Some(plateau.sparsity),
    };
    Ok(left.into_iter().zip(gates).map(of_plateau).collect())
}

/// What a run says of itself.
pub(super) fn provenance(run: &Path) -> Result<Provenance, ExportError> {
    let path = run.join(EXPORT_NAME);
    match std::fs::read(&path) {
        Ok(bytes) => {
            Provenance::parse(&bytes).map_err(|source| ExportError::Provenance { path, source })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(ExportError::NotARun {
            path: run.to_owned(),
        }),
        Err(source) => Err(ExportError::Read { path, source }),
    }
}

fn checkpoint(run: &Path, step: Option<u64>) -> Result<Loaded, AnyFault> {
    let store = CheckpointStore::read_only(run.join(store::DIR_NAME));
    let loaded = match step {
        Some(step) => Some(store.load(step)?),
        None => store.latest()?,
    };
    Ok(loaded.ok_or_else(|| ExportError::NoCheckpoint {
        path: run.to_owned(),
    })?)
}
