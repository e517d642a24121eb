//! `prulong export-mask`.

use crate::checkpoint::state;
use crate::checkpoint::store::{self, CheckpointStore, Loaded};
use crate::cli::export_report::{CodedText, Report};
use crate::cli::output;
use crate::cli::publish::{self, Overwrite, Product};
use crate::fault::{AnyFault, Coded, Kind};
use crate::mask::duo;
use crate::mask::error::MaskWarning;
use crate::mask::export::{files, folder_name};
use crate::mask::provenance::{Provenance, ProvenanceError};
use crate::mask::rounding::Rounding;
use crate::mask::sidecar::content::Sidecar;
use crate::mask::sidecar::cut::{Target, TrainedGates, recut, trained};
use crate::mask::sidecar::read;
use crate::train::run_dir::{EXPORT_NAME, MASKS_NAME};
use std::io;
use std::path::{Path, PathBuf};

/// The file of a checkpoint that holds the gates.
const STATE_NAME: &str = "state.safetensors";
/// The tensor that holds them.
const GATES_NAME: &str = "log_alpha";

/// Turn a run's gates into a head mask: the sidecar file, and the directory that DuoAttention's family of tools reads.
///
/// Takes the newest good checkpoint and the run's final sparsity unless told otherwise. A sidecar is cut again along its stored
/// order. The same input gives the same bytes, so repeating an export does nothing; other content is never overwritten without
/// `--force`.
#[derive(clap::Args, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an independent flag of the command line"
)]
pub struct Args {
    /// Run directory, or a `head_mask.safetensors` to cut again.
    #[arg(value_name = "RUN|MASK")]
    source: PathBuf,

    /// Share of kv heads that stream, in [0, 1].
    #[arg(long, value_name = "SHARE", conflicts_with = "num_retrieval")]
    sparsity: Option<f64>,

    /// Number of retrieval heads to keep.
    #[arg(long, value_name = "N")]
    num_retrieval: Option<usize>,

    /// How the sparsity becomes a number of heads.
    #[arg(
        long,
        value_name = "RULE",
        default_value = "floor-retrieval",
        conflicts_with = "num_retrieval"
    )]
    rounding: RoundingRule,

    /// Keep the number of heads that DuoAttention's loaders keep at the same sparsity (`--rounding duo-stable`).
    #[arg(long, conflicts_with_all = ["num_retrieval", "rounding"])]
    duo_compatible: bool,

    /// Step whose checkpoint to take; default: the newest good one.
    #[arg(long, value_name = "N")]
    step: Option<u64>,

    /// Folder to write; default: `RUN/masks/KEPT-of-ALL`.
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,

    /// Replace files of other content.
    #[arg(long)]
    force: bool,

    /// Say what would be written, and write nothing.
    #[arg(long)]
    dry_run: bool,

    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Rules that turn a sparsity into a count.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum RoundingRule {
    /// Keeps int(n (1 - s)) heads: `PruLong`'s count.
    FloorRetrieval,
    /// The same count in `PruLong`'s own order of heads, for parity.
    Reference,
    /// Streams ceil((n - 1) s) heads: what DuoAttention's loaders do.
    DuoStable,
    /// Streams n s heads, rounded half to even: what kvpress does.
    Nearest,
}

/// Why nothing was exported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
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
    #[error("run `{path}` trained no gates: the checkpoint of step {step} has no `{GATES_NAME}`")]
    NoGates {
        /// The run.
        path: PathBuf,
        /// Step of the checkpoint.
        step: u64,
    },
    /// A mask has no place of its own.
    #[error("a mask that is cut again needs a folder to go to")]
    NoOutput,
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
            Self::NoGates { .. } => "run.no_gates",
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
            Self::NoOutput => "add `-o DIR`".to_owned(),
            Self::StepOfMask { .. } => "leave out `--step`, or pass the run".to_owned(),
        })
    }
}

/// Cuts the mask, writes its files and prints what they are.
///
/// # Errors
/// If the source is no run or mask, the target impossible, or other files are in the way.
pub fn run(args: Args) -> Result<(), AnyFault> {
    let report = export(&args)?;
    if args.json {
        output::json(&report)?;
        return Ok(());
    }
    for warning in &report.warnings {
        output::note(format!("warning[{}]: {}", warning.code, warning.text));
    }
    report.print()
}

fn export(args: &Args) -> Result<Report, AnyFault> {
    let (sidecar, mut warnings) = if args.source.is_dir() {
        from_run(args)?
    } else {
        from_mask(args)?
    };
    let folder = match &args.output {
        Some(folder) => folder.clone(),
        None if args.source.is_dir() => args.source.join(MASKS_NAME).join(folder_name(&sidecar)),
        None => return Err(ExportError::NoOutput.into()),
    };
    warnings.extend(
        one_class(&sidecar)
            .into_iter()
            .chain(duo::warnings(&sidecar.mask))
            .map(coded),
    );
    let files = files(&sidecar);
    let overwrite = if args.force {
        Overwrite::Yes
    } else {
        Overwrite::No
    };
    publish::check(&folder, &files, overwrite, Product::Mask)?;
    if !args.dry_run {
        publish::write(&folder, &files)?;
    }
    let names = files.into_iter().map(|file| file.name).collect();
    Ok(Report::new(
        &sidecar,
        (folder, names),
        !args.dry_run,
        warnings,
    ))
}

fn from_run(args: &Args) -> Result<(Sidecar, Vec<CodedText>), AnyFault> {
    let run = &args.source;
    let path = run.join(EXPORT_NAME);
    let provenance = match std::fs::read(&path) {
        Ok(bytes) => {
            Provenance::parse(&bytes).map_err(|source| ExportError::Provenance { path, source })?
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(ExportError::NotARun { path: run.clone() }.into());
        }
        Err(source) => return Err(ExportError::Read { path, source }.into()),
    };
    let loaded = checkpoint(run, args.step)?;
    let tensors = state::decode(loaded.file(STATE_NAME)?)?;
    let gates = tensors
        .get(GATES_NAME)
        .ok_or_else(|| ExportError::NoGates {
            path: run.clone(),
            step: loaded.step,
        })?;
    let gates = gates.to_f32()?;
    let gates = TrainedGates {
        log_alpha: &gates,
        num_steps: loaded.step,
    };
    let sidecar = trained(gates, &provenance, args.target(provenance.target_sparsity))?;
    let damaged = loaded.warnings.iter().map(|warning| CodedText {
        code: warning.code,
        text: warning.to_string(),
    });
    Ok((sidecar, damaged.collect()))
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

fn from_mask(args: &Args) -> Result<(Sidecar, Vec<CodedText>), AnyFault> {
    let path = &args.source;
    if args.step.is_some() {
        return Err(ExportError::StepOfMask { path: path.clone() }.into());
    }
    let file = std::fs::File::open(path).map_err(|source| ExportError::Read {
        path: path.clone(),
        source,
    })?;
    let sidecar = read::read(file, path)?.sidecar;
    if args.sparsity.is_none() && args.num_retrieval.is_none() {
        return Ok((sidecar, Vec::new()));
    }
    let target = args.target(sidecar.mask.sparsity());
    Ok((recut(&sidecar, target)?, Vec::new()))
}

impl Args {
    /// What was asked for; `default` is the sparsity where nothing was.
    fn target(&self, default: f64) -> Target {
        if let Some(count) = self.num_retrieval {
            return Target::NumRetrieval(count);
        }
        let rule = if self.duo_compatible {
            RoundingRule::DuoStable
        } else {
            self.rounding
        };
        Target::Sparsity {
            sparsity: self.sparsity.unwrap_or(default),
            rounding: match rule {
                RoundingRule::FloorRetrieval => Rounding::FloorRetrieval,
                RoundingRule::Reference => Rounding::Reference,
                RoundingRule::DuoStable => Rounding::DuoStable,
                RoundingRule::Nearest => Rounding::Nearest,
            },
        }
    }
}

fn one_class(sidecar: &Sidecar) -> Option<MaskWarning> {
    let num_heads = sidecar.mask.flags().len();
    match sidecar.mask.num_streaming() {
        0 => Some(MaskWarning::AllRetrieval { num_heads }),
        all if all == num_heads => Some(MaskWarning::AllStreaming { num_heads }),
        _ => None,
    }
}

fn coded(warning: MaskWarning) -> CodedText {
    CodedText {
        code: warning.code(),
        text: warning.to_string(),
    }
}

#[cfg(test)]
mod tests;
