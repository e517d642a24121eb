//! Reading masks of other programs from disk: which files a format has, and what is asked of the user.

use crate::cli::rounding_rule;
use crate::fault::{AnyFault, Coded, Kind};
use crate::mask::error::MaskError;
use crate::mask::foreign::content::{Foreign, Input, NamedBytes, Reading};
use crate::mask::foreign::fold::Fold;
use crate::mask::foreign::problem::ForeignProblem;
use crate::mask::foreign::registry::{self, Format, Place};
use crate::mask::foreign::table::MAX_TABLE_BYTES;
use crate::mask::rounding::Rounding;
use crate::mask::sidecar::cut::Target;
use crate::model::config::ModelConfig;
use crate::model::fingerprint::arch_facts;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// How a foreign file is to be read.
#[derive(clap::Args, Debug)]
pub(super) struct ForeignArgs {
    /// Format of the file. A folder with `full_attention_heads.tsv` or `adapter_weights.tsv` tells it by itself.
    #[arg(long, value_name = "FMT", value_parser = readable())]
    pub(super) from: Option<&'static Format>,

    /// How query heads that share a kv head become one; formats that count query heads only. Scores take the largest anyway.
    #[arg(long, value_name = "HOW", requires = "from")]
    pub(super) fold: Option<FoldRule>,
}

/// How many heads to keep.
#[derive(clap::Args, Debug)]
pub(super) struct CutArgs {
    /// Share of kv heads that stream, in [0, 1]. Scores need it, or a number.
    #[arg(long, value_name = "SHARE", conflicts_with = "num_retrieval")]
    pub(super) sparsity: Option<f64>,

    /// Number of retrieval heads to keep.
    #[arg(long, value_name = "N")]
    pub(super) num_retrieval: Option<usize>,

    /// How the sparsity becomes a number of heads.
    #[arg(
        long,
        value_name = "RULE",
        value_parser = rounding_rule::of_orders(),
        default_value = Rounding::default().name(),
        conflicts_with = "num_retrieval"
    )]
    pub(super) rounding: Rounding,
}

/// What makes one value of a group.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FoldRule {
    /// Retrieval if any of its query heads is: for decisions.
    Any,
    /// The score of its best query head: for scores.
    Max,
}

impl CutArgs {
    /// What was asked for, if anything was.
    pub(super) fn target(&self) -> Option<Target> {
        let share = |sparsity| Target::Sparsity {
            sparsity,
            rounding: self.rounding,
        };
        let count = self.num_retrieval.map(Target::NumRetrieval);
        count.or_else(|| self.sparsity.map(share))
    }
}

/// Formats that something is read from.
fn readable() -> impl TypedValueParser<Value = &'static Format> {
    parser(|format| format.read.is_some())
}

/// Every format.
pub(super) fn writable() -> impl TypedValueParser<Value = &'static Format> {
    parser(|_| true)
}

fn parser(is_one: fn(&Format) -> bool) -> impl TypedValueParser<Value = &'static Format> {
    let formats = registry::all().iter().filter(move |format| is_one(format));
    let values = formats.map(|format| PossibleValue::new(format.name).help(format.meaning));
    let find = |name: String| registry::find(&name).ok_or("no format of that name");
    PossibleValuesParser::new(values).try_map(find)
}

/// Why there was nothing to read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ForeignFileError {
    /// The operating system refused.
    #[error("cannot read `{path}`")]
    Read {
        /// The file.
        path: PathBuf,
        /// Its answer.
        source: io::Error,
    },
    /// A folder where a format has one file, or without the format's files.
    #[error("folder `{folder}` holds no `{expected}`")]
    NoTable {
        /// The folder.
        folder: PathBuf,
        /// What should be in it.
        expected: &'static str,
    },
    /// A folder where a format has one file.
    #[error("`{folder}` is a folder, and a mask in format `{format}` is one file")]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// The format.
        format: &'static str,
    },
}

impl ForeignFileError {
    /// Whether there is no such file.
    pub(super) fn is_missing(&self) -> bool {
        matches!(self, Self::Read { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

impl Coded for ForeignFileError {
    fn code(&self) -> &'static str {
        "mask.unreadable"
    }
    fn kind(&self) -> Kind {
        match self {
            Self::Read { source, .. } if source.kind() != io::ErrorKind::NotFound => Kind::Storage,
            _ => Kind::Input,
        }
    }
    fn hint(&self) -> Option<String> {
        match self {
            Self::Read { .. } => None,
            Self::NoTable { .. } => Some("pass the folder that holds it, or the file".to_owned()),
            Self::Folder { .. } => Some("pass the file in it".to_owned()),
        }
    }
}

/// Reads a mask or scores, for the model in `model` if one is given.
///
/// # Errors
/// That nothing says the format, what is wrong with the files, or with the model's `config.json`.
pub(super) fn load(
    path: &Path,
    args: &ForeignArgs,
    model: Option<&Path>,
) -> Result<(&'static Format, Foreign), AnyFault> {
    let format = format_of(path, args)?;
    let config = model.map(ModelConfig::load).transpose()?;
    let reading = Reading {
        shape: config.map(|config| arch_facts(&config).shape()),
        fold: args.fold.map(|fold| match fold {
            FoldRule::Any => Fold::Any,
            FoldRule::Max => Fold::Max,
        }),
    };
    let input = input(path, format)?;
    let read = format
        .read
        .ok_or_else(|| MaskError::new(path, ForeignProblem::FormatUnstated))?;
    Ok((format, read(&input, &reading)?))
}

fn format_of(path: &Path, args: &ForeignArgs) -> Result<&'static Format, MaskError> {
    let by_folder = || registry::of_folder(|name| path.join(name).is_file());
    let format = args.from.or_else(by_folder);
    format.ok_or_else(|| MaskError::new(path, ForeignProblem::FormatUnstated))
}

/// The files of a mask at `path`: the file itself, or the format's files in a folder.
fn input(path: &Path, format: &Format) -> Result<Input, ForeignFileError> {
    let (main, config) = match format.place {
        Place::File if path.is_dir() => {
            let folder = path.to_owned();
            let format = format.name;
            return Err(ForeignFileError::Folder { folder, format });
        }
        Place::File => (path.to_owned(), None),
        Place::Folder { tables, config } if path.is_dir() => {
            let table = tables.iter().find(|name| path.join(name).is_file());
            let table = table.ok_or_else(|| ForeignFileError::NoTable {
                folder: path.to_owned(),
                expected: tables.first().copied().unwrap_or_default(),
            })?;
            (path.join(table), config.map(|name| path.join(name)))
        }
        Place::Folder { config, .. } => {
            let beside = |name| path.with_file_name(name);
            (path.to_owned(), config.map(beside))
        }
    };
    let config = config.filter(|config| config.is_file());
    Ok(Input {
        main: read(main)?,
        config: config.map(read).transpose()?,
    })
}

/// Reads a file, but no more of it than shows that it is too large.
pub(super) fn read(path: PathBuf) -> Result<NamedBytes, ForeignFileError> {
    let mut bytes = Vec::new();
    let limit = MAX_TABLE_BYTES as u64 + 1;
    let whole = File::open(&path).and_then(|file| file.take(limit).read_to_end(&mut bytes));
    match whole {
        Ok(_) => Ok(NamedBytes { path, bytes }),
        Err(source) => Err(ForeignFileError::Read { path, source }),
    }
}
