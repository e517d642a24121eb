//! What `prulong export-mask` says about the masks it makes.

use crate::cli::mask_show::grid;
use crate::cli::output::Output;
use crate::fault::AnyFault;
use crate::mask::rounding::{SurvivalInterval, exact_sparsity, survives};
use crate::mask::sidecar::content::Sidecar;
use std::path::PathBuf;

/// What an export did, for a person or a program.
#[derive(Debug, serde::Serialize)]
pub(super) struct Report {
    pub(super) schema: &'static str,
    pub(super) num_retrieval: usize,
    pub(super) num_streaming: usize,
    pub(super) num_heads: usize,
    /// The exact share of streaming heads.
    pub(super) sparsity: f64,
    pub(super) target_sparsity: Option<f64>,
    pub(super) rounding: &'static str,
    /// Optimizer steps the gates have seen.
    pub(super) step: Option<u64>,
    /// Nominal sparsities at which noise-and-quantile loaders keep the mask.
    pub(super) survival_interval: Option<SurvivalInterval>,
    /// Whether the target is one of them.
    pub(super) survives_target: Option<bool>,
    pub(super) written: bool,
    pub(super) folder: PathBuf,
    pub(super) files: Vec<String>,
    pub(super) warnings: Vec<CodedText>,
    /// The mask as a terminal shows it.
    #[serde(skip)]
    grid: Vec<String>,
}

/// A warning under its code.
#[derive(Debug, serde::Serialize)]
pub(super) struct CodedText {
    pub(super) code: &'static str,
    pub(super) text: String,
}

impl Report {
    /// Describes an export into `folder`; `written` is false if it was only planned.
    pub(super) fn new(
        sidecar: &Sidecar,
        (folder, files): (PathBuf, Vec<String>),
        written: bool,
        warnings: Vec<CodedText>,
    ) -> Self {
        let mask = &sidecar.mask;
        let num_heads = mask.flags().len();
        let survives_at = |target| survives(mask.num_streaming(), num_heads, target);
        Self {
            schema: "prulong.export-mask/1",
            num_retrieval: mask.num_retrieval(),
            num_streaming: mask.num_streaming(),
            num_heads,
            sparsity: exact_sparsity(mask.num_streaming(), num_heads),
            target_sparsity: sidecar.target_sparsity,
            rounding: sidecar.rounding.name(),
            step: sidecar.training.as_ref().map(|training| training.num_steps),
            survival_interval: SurvivalInterval::of(mask.num_streaming(), num_heads),
            survives_target: sidecar.target_sparsity.map(survives_at),
            written,
            folder,
            files,
            warnings,
            grid: grid(mask),
        }
    }

    /// Prints it for a person.
    ///
    /// # Errors
    /// If standard output refuses bytes.
    pub(super) fn print(&self) -> Result<(), AnyFault> {
        let mut out = Output::stdout();
        let source = self
            .step
            .map_or_else(String::new, |step| format!(", gates of step {step}"));
        out.line(format!(
            "{} retrieval heads of {}, {} streaming: sparsity {} ({}{}){source}",
            self.num_retrieval,
            self.num_heads,
            self.num_streaming,
            self.sparsity,
            self.rounding,
            self.target_sparsity
                .map_or_else(String::new, |target| format!(" of {target}")),
        ))?;
        for line in &self.grid {
            out.line(line)?;
        }
        if let Some(interval) = &self.survival_interval {
            out.line(format!(
            "DuoAttention's loaders keep exactly these heads at a sparsity above {:.5} and up to {:.5}: pass {}",
            interval.above, interval.up_to, self.sparsity
        ))?;
        }
        if let (Some(false), Some(target)) = (self.survives_target, self.target_sparsity) {
            out.line(format!(
            "at the nominal {target} they would change heads at random: pass {}, or export with `--duo-compatible`",
            self.sparsity
        ))?;
        }
        let verb = if self.written { "wrote" } else { "would write" };
        for file in &self.files {
            out.line(format!("{verb} {}", self.folder.join(file).display()))?;
        }
        out.finish()?;
        Ok(())
    }
}
