//! `prulong mask show`.

use crate::cli::export_mask::ExportError;
use crate::cli::new_file::write_new;
use crate::cli::output::{self, Output};
use crate::fault::AnyFault;
use crate::mask::arch::hex;
use crate::mask::export::SIDECAR_NAME;
use crate::mask::head_mask::HeadMask;
use crate::mask::heatmap_svg::{self, Picture};
use crate::mask::rounding::SurvivalInterval;
use crate::mask::sidecar::content::Sidecar;
use crate::mask::sidecar::read::{self, Checked};
use crate::mask::sidecar::write;
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
    /// A `head_mask.safetensors`, or the folder that holds one.
    file: PathBuf,

    /// Print one JSON object: the metadata, the mask and the ranks, row by row.
    #[arg(long)]
    json: bool,

    /// Draw the heads and their gates as a picture, too.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

/// Reads a mask file, or the one in a folder.
///
/// # Errors
/// If there is none, or it is unsound.
pub(super) fn load(path: &Path) -> Result<(PathBuf, Checked), AnyFault> {
    let path = if path.is_dir() {
        path.join(SIDECAR_NAME)
    } else {
        path.to_owned()
    };
    let file = File::open(&path).map_err(|source| ExportError::Read {
        path: path.clone(),
        source,
    })?;
    let checked = read::read(file, &path)?;
    Ok((path, checked))
}

/// Prints a mask.
///
/// # Errors
/// As [`load`], and if the picture cannot be written.
pub(super) fn show(args: &ShowArgs) -> Result<(), AnyFault> {
    let (path, Checked { sidecar, warnings }) = load(&args.file)?;
    for warning in warnings {
        output::note(format!("warning[{}]: {warning}", warning.code()));
    }
    if let Some(svg) = &args.svg {
        draw(&sidecar, svg)?;
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
    let is_streaming = |layer: &usize| !mask.layer(*layer).contains(&true);
    let streaming: Vec<String> = (0..mask.num_layers())
        .filter(is_streaming)
        .map(|layer| layer.to_string())
        .collect();
    let mut lines = vec![format!(
        "layers     fully streaming: {}",
        if streaming.is_empty() {
            "none".to_owned()
        } else {
            streaming.join(" ")
        }
    )];
    let target = sidecar
        .target_sparsity
        .map_or_else(String::new, |target| format!(" of {target}"));
    lines.push(format!(
        "sparsity   {} ({}{target}, ordered by {})",
        mask.sparsity(),
        sidecar.rounding.name(),
        sidecar.rank_source.name()
    ));
    if let Some(interval) = SurvivalInterval::of(mask.num_streaming(), mask.flags().len()) {
        lines.push(format!(
            "loaders    DuoAttention's keep it at a sparsity above {:.5} and up to {:.5}",
            interval.above, interval.up_to
        ));
    }
    lines.push(format!("deploy     {}", span_text(&sidecar.span)));
    if let Some(training) = &sidecar.training {
        lines.push(format!(
            "trained    {}, {} steps of rows of {} tokens, seed {}",
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
