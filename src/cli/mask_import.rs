//! `prulong mask import`.

use crate::cli::coded_text::{coded, note_all};
use crate::cli::foreign_file::{self, CutArgs, ForeignArgs};
use crate::cli::mask_out::{self, WriteArgs};
use crate::cli::mask_show::span_text;
use crate::cli::output::{self, Output};
use crate::fault::AnyFault;
use crate::mask::error::MaskWarning;
use crate::mask::foreign::import::{Request, import};
use crate::mask::foreign::registry::{Format, Place};
use crate::mask::provenance::folder_name;
use crate::mask::sidecar::content::{Base, Sidecar};
use crate::mask::sidecar::read::one_class;
use crate::mask::sidecar::write;
use crate::model::config::ModelConfig;
use crate::model::fingerprint::arch_facts;
use crate::model::weights::Weights;
use std::path::{Path, PathBuf};

/// Arguments of `prulong mask import`.
#[derive(clap::Args, Debug)]
pub(super) struct ImportArgs {
    /// The file or folder of the other program.
    #[arg(value_name = "IN")]
    input: PathBuf,

    /// The mask file to write, or a folder for it.
    #[arg(value_name = "OUT")]
    output: PathBuf,

    #[command(flatten)]
    foreign: ForeignArgs,

    /// Model the mask is for; its `config.json` is enough.
    #[arg(long, value_name = "DIR")]
    model: PathBuf,

    /// Name of the model to store; default: the folder's name.
    #[arg(long, value_name = "NAME")]
    base_model: Option<String>,

    /// Commit of the model on the hub, to store.
    #[arg(long, value_name = "COMMIT")]
    base_revision: Option<String>,

    /// Store a digest of the model's weights too, so that other weights of this shape are noticed.
    #[arg(long)]
    weights: bool,

    /// Sink to deploy with, in tokens; default: what the file states.
    #[arg(long, value_name = "TOKENS")]
    sink_len: Option<usize>,

    /// Window to deploy with, in tokens, the query's own included; default: what the file states.
    #[arg(long, value_name = "TOKENS")]
    window_len: Option<usize>,

    /// Granularity of the streaming pattern, in tokens.
    #[arg(long, value_name = "TOKENS", default_value_t = 1)]
    block_len: usize,

    #[command(flatten)]
    cut: CutArgs,

    #[command(flatten)]
    write: WriteArgs,

    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Makes a mask file of a foreign one.
///
/// # Errors
/// What is wrong with the file, what must be said besides, or that other files are in the way.
pub(super) fn run(args: &ImportArgs) -> Result<(), AnyFault> {
    let (format, foreign) = foreign_file::load(&args.input, &args.foreign, Some(&args.model))?;
    let request = Request {
        target: args.cut.target(),
        sink_len: args.sink_len,
        window_len: args.window_len,
        block_len: args.block_len,
        base: base(args)?,
        source: format.source,
    };
    let (sidecar, mut warnings) = import(foreign, request)?;
    warnings.extend(one_class(&sidecar.mask));
    let files = write::files(&sidecar).unwrap_or_default();
    let paths = mask_out::write(files, &args.output, Place::File, &args.write)?;
    for path in &paths {
        report(args, format, (&sidecar, path), &warnings)?;
    }
    Ok(())
}

fn base(args: &ImportArgs) -> Result<Base, AnyFault> {
    let config = ModelConfig::load(&args.model)?;
    let weights_sha256 = if args.weights {
        Some(Weights::open(&args.model, &config)?.base_sha256(&config)?)
    } else {
        None
    };
    let folder = || folder_name(&args.model);
    Ok(Base {
        model: args.base_model.clone().unwrap_or_else(folder),
        revision: args.base_revision.clone(),
        arch: arch_facts(&config),
        weights_sha256,
        weights_modified: false,
        rebased_from: None,
    })
}

fn report(
    args: &ImportArgs,
    format: &Format,
    (sidecar, path): (&Sidecar, &Path),
    warnings: &[MaskWarning],
) -> Result<(), AnyFault> {
    let written = !args.write.dry_run;
    if args.json {
        output::json(&serde_json::json!({
            "schema": "prulong.mask-import/1",
            "from": format.name,
            "meaning": format.meaning,
            "file": path,
            "written": written,
            "metadata": write::metadata(sidecar),
            "warnings": coded(warnings),
        }))?;
        return Ok(());
    }
    note_all(warnings);
    let mut out = Output::stdout();
    out.line(format!(
        "{} ({}): {}",
        args.input.display(),
        format.name,
        format.meaning
    ))?;
    out.line(format!(
        "{} retrieval heads of {}, {} streaming: sparsity {} ({}, ordered by {})",
        sidecar.mask.num_retrieval(),
        sidecar.mask.flags().len(),
        sidecar.mask.num_streaming(),
        sidecar.mask.sparsity(),
        sidecar.rounding.name(),
        sidecar.rank_source.name(),
    ))?;
    out.line(format!(
        "{}, for {}",
        span_text(&sidecar.span),
        sidecar.base.model
    ))?;
    let verb = if written { "wrote" } else { "would write" };
    out.line(format!("{verb} {}", path.display()))?;
    out.finish()?;
    Ok(())
}
