//! `prulong mask show`.

use crate::cli::coded_text::note_all;
use crate::cli::export_source::ExportError;
use crate::cli::foreign_file::{CutArgs, ForeignArgs};
use crate::cli::mask_show_foreign;
use crate::cli::new_file::write_new;
use crate::cli::output::{self, Output};
use crate::fault::AnyFault;
use crate::mask::arch::hex;
use crate::mask::export::SIDECAR_NAME;
use crate::mask::gate_method::GateMethod;
use crate::mask::head_mask::HeadMask;
use crate::mask::heatmap_svg::{self, Picture};
use crate::mask::rounding::SurvivalInterval;
use crate::mask::sidecar::content::Sidecar;
use crate::mask::sidecar::cut::recut;
use crate::mask::sidecar::read::{self, Checked};
use crate::mask::sidecar::write;
use crate::metrics::heatmap::Heatmap;
use crate::span::Span;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::path::{Path, PathBuf};

/// A retrieval head in the grid.
pub(super) const RETRIEVAL_CELL: &str = "█";
/// A streaming head in the grid.
pub(super) const STREAMING_CELL: &str = "·";

/// Arguments of `prulong mask show`.
#[derive(clap::Args, Debug)]
pub(super) struct ShowArgs {
    /// A `head_mask.safetensors`, or the folder that holds one; with `--from`, a mask of another program.
    pub(super) file: PathBuf,

    #[command(flatten)]
    pub(super) foreign: ForeignArgs,

    /// Model that the other program's mask is for, to check its shape and to find the kv heads of query heads.
    #[arg(long, value_name = "DIR", requires = "from")]
    pub(super) model: Option<PathBuf>,

    #[command(flatten)]
    pub(super) cut: CutArgs,

    /// Print one JSON object: the metadata, the mask and the ranks, row by row.
    #[arg(long)]
    pub(super) json: bool,

    /// Draw the heads and their gates as a picture, too.
    #[arg(long, value_name = "FILE", conflicts_with = "from")]
    svg: Option<PathBuf>,

    /// Draw the heads alone as pixels, too: one square per kv head, layer 0 on top, bright for retrieval.
    #[arg(long, value_name = "FILE", conflicts_with = "from")]
    png: Option<PathBuf>,
}

/// Reads a mask file, or the one in a folder.
///
/// # Errors
/// If there is none, or it is unsound.
pub(super) fn load(path: &Path) -> Result<(PathBuf, Checked), AnyFault> {
    let (path, file) = open(path)?;
    let checked = read::read(file, &path)?;
    Ok((path, checked))
}

/// Opens a mask file, or the one in a folder.
///
/// # Errors
/// If there is none.
pub(super) fn open(path: &Path) -> Result<(PathBuf, File), ExportError> {
    let path = if path.is_dir() {
        path.join(SIDECAR_NAME)
    } else {
        path.to_owned()
    };
    let file = File::open(&path).map_err(|source| ExportError::Read {
        path: path.clone(),
        source,
    })?;
    Ok((path, file))
}

/// Prints a mask.
///
/// # Errors
/// As [`load`], and if the picture cannot be written.
pub(super) fn show(args: &ShowArgs) -> Result<(), AnyFault> {
    if args.foreign.from.is_some() {
        return mask_show_foreign::show(args);
    }
    let (path, Checked { sidecar, warnings }) = load(&args.file)?;
    note_all(&warnings);
    let sidecar = match args.cut.target() {
        Some(target) => recut(&sidecar, target)?,
        None => sidecar,
    };
    if let Some(svg) = &args.svg {
        draw(&sidecar, svg)?;
    }
    if let Some(png) = &args.png {
        write_new(png, &pixels(&sidecar.mask)?)?;
    }
    if args.json {
        output::json(&object(&sidecar))?;
        return Ok(());
    }
    let mut out = Output::stdout();
    for line in grid(&sidecar.mask).into_iter().chain(facts(&sidecar)) {
        out.line(line)?;
    }
    out.line(format!("sha256     {}", digest(&sidecar)))?;
    out.line(format!("file       {}", path.display()))?;
    out.finish()?;
    Ok(())
}

fn draw(sidecar: &Sidecar, svg: &Path) -> Result<(), AnyFault> {
    let picture = Picture {
        mask: &sidecar.mask,
        log_alpha: sidecar.log_alpha.as_deref(),
        model: &sidecar.base.model,
        span: sidecar.span,
    };
    Ok(write_new(svg, heatmap_svg::draw(&picture).as_bytes())?)
}

/// A PNG file of a mask.
fn pixels(mask: &HeadMask) -> Result<Vec<u8>, AnyFault> {
    let values: Vec<f32> = mask
        .flags()
        .iter()
        .map(|keeps| f32::from(u8::from(*keeps)))
        .collect();
    let heatmap = Heatmap::new(mask.num_layers(), mask.num_kv_heads(), &values)?;
    Ok(heatmap.picture()?.png)
}

fn object(sidecar: &Sidecar) -> serde_json::Value {
    let width = sidecar.mask.num_kv_heads();
    let flags: Vec<u8> = sidecar
        .mask
        .flags()
        .iter()
        .map(|flag| u8::from(*flag))
        .collect();
    serde_json::json!({
        "schema": "prulong.mask/1",
        "metadata": write::metadata(sidecar),
        "retrieval_mask": flags.chunks(width).collect::<Vec<_>>(),
        "retrieval_rank": sidecar.ranks.ranks().chunks(width).collect::<Vec<_>>(),
        "sha256": digest(sidecar),
    })
}

/// The digest of the file as this program writes it.
fn digest(sidecar: &Sidecar) -> String {
    hex(&Sha256::digest(write::to_bytes(sidecar)))
}

/// One line per layer, one cell per kv head.
pub(super) fn grid(mask: &HeadMask) -> Vec<String> {
    let mut lines = vec![legend(mask)];
    for layer in 0..mask.num_layers() {
        let flags = mask.layer(layer);
        let cells: Vec<&str> = flags
            .iter()
            .map(|flag| {
                if *flag {
                    RETRIEVAL_CELL
                } else {
                    STREAMING_CELL
                }
            })
            .collect();
        let kept = flags.iter().filter(|flag| **flag).count();
        lines.push(format!("layer {layer:>3}  {}  {kept}", cells.join(" ")));
    }
    lines
}

fn legend(mask: &HeadMask) -> String {
    format!(
        "{RETRIEVAL_CELL} retrieval {} of {}   {STREAMING_CELL} streaming {}",
        mask.num_retrieval(),
        mask.flags().len(),
        mask.num_streaming()
    )
}

fn facts(sidecar: &Sidecar) -> Vec<String> {
    let mask = &sidecar.mask;
    let mut lines = vec![streaming_layers(mask)];
    let target = sidecar
        .target_sparsity
        .map_or_else(String::new, |target| format!(" of {target}"));
    lines.push(format!(
        "sparsity   {} ({}{target}, ordered by {})",
        mask.sparsity(),
        sidecar.rounding.name(),
        sidecar.rank_source.name()
    ));
    lines.extend(loaders(mask));
    lines.push(format!("deploy     {}", span_text(&sidecar.span)));
    if let Some(training) = &sidecar.training {
        let method = match training.method {
            GateMethod::PruLong => "",
            GateMethod::DuoAttention => "by DuoAttention, ",
        };
        lines.push(format!(
            "trained    {method}{}, {} steps of rows of {} tokens, seed {}",
            span_text(&training.span),
            training.num_steps,
            training.seq_len,
            training.seed
        ));
    }
    let base = &sidecar.base;
    let weights = if base.weights_modified {
        ", with weights of its own"
    } else {
        ""
    };
    lines.push(format!("base       {}{weights}", base.model));
    lines
}

/// Layers without a retrieval head.
pub(super) fn streaming_layers(mask: &HeadMask) -> String {
    let is_streaming = |layer: &usize| !mask.layer(*layer).contains(&true);
    let streaming: Vec<String> = (0..mask.num_layers())
        .filter(is_streaming)
        .map(|layer| layer.to_string())
        .collect();
    let streaming = if streaming.is_empty() {
        "none".to_owned()
    } else {
        streaming.join(" ")
    };
    format!("layers     fully streaming: {streaming}")
}

/// Where noise-and-quantile loaders keep the mask.
pub(super) fn loaders(mask: &HeadMask) -> Option<String> {
    let interval = SurvivalInterval::of(mask.num_streaming(), mask.flags().len())?;
    Some(format!(
        "loaders    DuoAttention's keep it at a sparsity above {:.5} and up to {:.5}",
        interval.above, interval.up_to
    ))
}

/// Sink, window and block.
pub(super) fn span_text(span: &Span) -> String {
    let (sink, window, block) = (span.sink_len(), span.window_len(), span.block_len());
    format!("sink {sink}, window {window}, block {block}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mask::sidecar::cut::{Target, TrainedGates, trained};

    fn sample() -> Sidecar {
        let mut provenance = crate::mask::provenance::tests::published();
        provenance.arch.num_hidden_layers = 2;
        let gates: Vec<f32> = (0..16_u8).map(f32::from).collect();
        let gates = TrainedGates {
            log_alpha: &gates,
            num_steps: 9,
        };
        trained(gates, &provenance, Target::NumRetrieval(3)).unwrap()
    }

    #[test]
    fn the_grid_has_a_line_per_layer_and_names_streaming_layers() {
        let lines = grid(&sample().mask);
        assert_eq!(lines[0], "█ retrieval 3 of 16   · streaming 13");
        assert_eq!(lines[1], "layer   0  · · · · · · · ·  0");
        assert_eq!(lines[2], "layer   1  · · · · · █ █ █  3");
        let facts = facts(&sample()).join("\n");
        for part in [
            "fully streaming: 0\n",
            "0.8125 (count, ordered by log_alpha)",
            "deploy     sink 128, window 1024, block 1",
            "trained    sink 128, window 1024, block 128, 9 steps",
        ] {
            assert!(facts.contains(part), "{part}: {facts}");
        }
    }

    #[test]
    fn the_picture_is_written_once_and_the_object_holds_rows() {
        let folder = tempfile::tempdir().unwrap();
        let svg = folder.path().join("mask.svg");
        draw(&sample(), &svg).unwrap();
        draw(&sample(), &svg).unwrap();
        assert!(std::fs::read_to_string(&svg).unwrap().starts_with("<svg"));
        std::fs::write(&svg, "mine").unwrap();
        assert_eq!(draw(&sample(), &svg).unwrap_err().code(), "data.exists");
        let object = object(&sample());
        assert_eq!(object["retrieval_mask"][1][7], 1);
        assert_eq!(object["retrieval_rank"][1][7], 0);
        assert_eq!(object["metadata"]["prulong.num_retrieval"], "3");
    }
}
