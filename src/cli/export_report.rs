//! What `prulong export-mask` says about the masks it makes.

use crate::cli::coded_text::CodedText;
use crate::cli::mask_show::grid;
use crate::cli::output::Output;
use crate::fault::AnyFault;
use crate::mask::engines::{Advice, SUPPORT, advice, made_for};
use crate::mask::rounding::{SurvivalInterval, exact_sparsity, survives};
use crate::mask::sidecar::content::Sidecar;
use std::path::PathBuf;

/// What an export did, for a person or a program.
#[derive(Debug, serde::Serialize)]
pub(super) struct Report {
    pub(super) schema: &'static str,
    /// One for every mask, in the order of the targets.
    pub(super) masks: Vec<Exported>,
}

/// One mask of an export.
#[derive(Debug, serde::Serialize)]
pub(super) struct Exported {
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
    /// What the gates or the scores of the mask belong to.
    pub(super) made_for: String,
    /// What to run in each engine, and what a streaming head sees there.
    pub(super) engines: Vec<Advice>,
    pub(super) warnings: Vec<CodedText>,
    /// The mask as a terminal shows it.
    #[serde(skip)]
    grid: Vec<String>,
}

impl Report {
    pub(super) fn new(masks: Vec<Exported>) -> Self {
        Self {
            schema: "prulong.export-mask/2",
            masks,
        }
    }

    /// Prints it for a person: every mask, then what to do with it in other engines.
    ///
    /// # Errors
    /// If standard output refuses bytes.
    pub(super) fn print(&self) -> Result<(), AnyFault> {
        let mut out = Output::stdout();
        for (index, mask) in self.masks.iter().enumerate() {
            if index > 0 {
                out.line("")?;
            }
            for line in mask.lines() {
                out.line(line)?;
            }
        }
        out.line("")?;
        // Masks of one source differ in the heads they keep, not in what the others see.
        if let Some(mask) = self.masks.first() {
            out.line("what streaming heads see there:")?;
            for advice in &mask.engines {
                out.line(format!("  {}: {}", advice.engine, advice.sees))?;
            }
        }
        out.line(SUPPORT)?;
        out.finish()?;
        Ok(())
    }
}

impl Exported {
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
            made_for: made_for(sidecar),
            engines: advice(sidecar, &folder.display().to_string()),
            folder,
            files,
            warnings,
            grid: grid(mask),
        }
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = vec![self.heading()];
        lines.extend(self.grid.iter().cloned());
        lines.extend(self.fractions());
        let verb = if self.written { "wrote" } else { "would write" };
        let paths = self.files.iter().map(|file| self.folder.join(file));
        lines.extend(paths.map(|path| format!("{verb} {}", path.display())));
        lines.push(self.made_for.clone());
        let runs = self.engines.iter();
        lines.extend(runs.map(|advice| format!("{}: {}", advice.engine, advice.run)));
        lines
    }

    fn heading(&self) -> String {
        let step = self
            .step
            .map_or_else(String::new, |step| format!(", gates of step {step}"));
        let target = self.target_sparsity;
        format!(
            "{} retrieval heads of {}, {} streaming: sparsity {} ({}{}){step}",
            self.num_retrieval,
            self.num_heads,
            self.num_streaming,
            self.sparsity,
            self.rounding,
            target.map_or_else(String::new, |target| format!(" of {target}")),
        )
    }

    /// The fraction to pass to loaders that cut again.
    fn fractions(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(interval) = &self.survival_interval {
            lines.push(format!(
                "DuoAttention's loaders keep exactly these heads at a sparsity above {:.5} and up to {:.5}: pass {}",
                interval.above, interval.up_to, self.sparsity
            ));
        }
        if let (Some(false), Some(target)) = (self.survives_target, self.target_sparsity) {
            lines.push(format!(
                "at the nominal {target} they would change heads at random: pass {}, or export with `--duo-compatible`",
                self.sparsity
            ));
        }
        lines
    }
}
