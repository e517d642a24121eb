//! `prulong mask convert`.

use crate::cli::coded_text::{coded, note_all};
use crate::cli::foreign_file::writable;
use crate::cli::mask_out::{self, WriteArgs};
use crate::cli::mask_show;
use crate::cli::mask_verify::on_model;
use crate::cli::output::{self, Output};
use crate::fault::{AnyFault, Coded, Kind};
use crate::mask::duo;
use crate::mask::foreign::registry::{self, Format, Place};
use crate::mask::provenance::folder_name;
use crate::mask::sidecar::content::Sidecar;
use crate::mask::sidecar::rebase::rebase;
use std::path::PathBuf;

/// Arguments of `prulong mask convert`.
#[derive(clap::Args, Debug)]
pub(super) struct ConvertArgs {
    /// A `head_mask.safetensors`, or the folder that holds one.
    #[arg(value_name = "IN")]
    input: PathBuf,

    /// What to write: a file, or a folder where the format is one.
    #[arg(value_name = "OUT")]
    output: PathBuf,

    /// Format to write. Metadata that this version does not know stays in a sidecar.
    #[arg(long, value_name = "FMT", value_parser = writable(), default_value = registry::SIDECAR)]
    to: &'static Format,

    /// Bind the mask to this model, which may differ from its own in the size of the vocabulary and in nothing else.
    ///
    /// For a model whose vocabulary was enlarged by added tokens. The old binding is recorded as `prulong.rebased_from`. Weights
    /// are compared, too, if the mask stores their digest.
    #[arg(long, value_name = "MODEL_DIR")]
    rebase: Option<PathBuf>,

    /// Name of the new model to store; default: the folder's name.
    #[arg(long, value_name = "NAME", requires = "rebase")]
    base_model: Option<String>,

    #[command(flatten)]
    write: WriteArgs,

    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// A mask that a format cannot hold.
#[derive(Debug, thiserror::Error)]
#[error("format `{format}` needs two heads at least, to put one before the other")]
struct NoOrder {
    format: &'static str,
}

impl Coded for NoOrder {
    fn code(&self) -> &'static str {
        "mask.usage"
    }
    fn kind(&self) -> Kind {
        Kind::Input
    }
    fn hint(&self) -> Option<String> {
        Some("write `duo` instead".to_owned())
    }
}

/// Writes a mask in another format, or for a model of another vocabulary.
///
/// # Errors
/// What is wrong with the mask, that it does not fit the model, or that other files are in the way.
pub(super) fn run(args: &ConvertArgs) -> Result<(), AnyFault> {
    let (path, checked) = mask_show::load(&args.input)?;
    let mut sidecar = checked.sidecar;
    let mut warnings = checked.warnings;
    if let Some(dir) = &args.rebase {
        let name = args.base_model.clone();
        let name = name.unwrap_or_else(|| folder_name(dir));
        sidecar = on_model(&sidecar, dir, |model| rebase(&sidecar, model, &name, &path))??;
    }
    if args.to.name != registry::SIDECAR {
        warnings.extend(
            duo::warnings(&sidecar.mask)
                .into_iter()
                .filter(|_| is_table(args.to)),
        );
    }
    let format = args.to.name;
    let files = (args.to.write)(&sidecar).ok_or(NoOrder { format })?;
    let paths = mask_out::write(files, &args.output, args.to.place, &args.write)?;
    let written = !args.write.dry_run;
    if args.json {
        output::json(&serde_json::json!({
            "schema": "prulong.mask-convert/1",
            "to": format,
            "meaning": args.to.meaning,
            "sparsity": sidecar.mask.sparsity(),
            "files": paths,
            "written": written,
            "rebased_from": sidecar.base.rebased_from,
            "warnings": coded(&warnings),
        }))?;
        return Ok(());
    }
    note_all(&warnings);
    let mut out = Output::stdout();
    let verb = if written { "wrote" } else { "would write" };
    for path in paths {
        out.line(format!("{verb} {}", path.display()))?;
    }
    for line in notes(args.to, &sidecar) {
        out.line(line)?;
    }
    out.finish()?;
    Ok(())
}

/// Formats that NumPy-based loaders read.
fn is_table(format: &Format) -> bool {
    format.place != Place::File || format.name == "prulong-tsv"
}

fn notes(format: &Format, sidecar: &Sidecar) -> Vec<String> {
    let mut lines = vec![format!("{}: {}", format.name, format.meaning)];
    if is_table(format) {
        lines.push(format!(
            "its loaders cut again: pass them the exact sparsity {}",
            sidecar.mask.sparsity()
        ));
    }
    if let Some(old) = &sidecar.base.rebased_from {
        lines.push(format!("bound to {}, before to {old}", sidecar.base.model));
    }
    lines
}
