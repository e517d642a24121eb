//! How many heads `prulong export-mask` is asked to keep: sparsities, counts, and what an evaluation found enough.

use crate::cli::coded_text::{CodedText, coded};
use crate::cli::export_source::{ExportError, Source};
use crate::cli::rounding_rule;
use crate::eval::critical::smallest::Smallest;
use crate::eval::saved_run;
use crate::fault::AnyFault;
use crate::mask::head_mask::HeadMask;
use crate::mask::rounding::Rounding;
use crate::mask::sidecar::content::Sidecar;
use crate::mask::sidecar::cut::Target;
use crate::mask::sidecar::fit::check_use;
use crate::span::Span;
use std::path::{Path, PathBuf};

/// What to keep.
#[derive(clap::Args, Debug)]
pub(super) struct TargetArgs {
    /// Share of kv heads that stream, in [0, 1]; several give several masks, as do the next two. A target that a run rested at
    /// (`sparsity.plateaus`) is cut from its gates of then, unless a step is named; every other size from the last ones.
    #[arg(long, value_name = "SHARE")]
    sparsity: Vec<f64>,

    /// Number of retrieval heads to keep.
    #[arg(long, value_name = "N")]
    num_retrieval: Vec<usize>,

    /// Run folder of an evaluation of masks of this order: keep as many heads as the smallest of them that keeps the score
    /// in every task, length and chunk length. The mask then says with which rule and chunk it was evaluated.
    #[arg(long, value_name = "EVAL_RUN")]
    critical: Vec<PathBuf>,

    /// Share of full attention's score that `--critical` asks for.
    #[arg(long, value_name = "SHARE", default_value_t = crate::eval::critical::study::KEEP, requires = "critical",
        value_parser = crate::cli::amounts::parse_share)]
    keep: f64,

    /// How a sparsity becomes a number of heads.
    #[arg(long, value_name = "RULE", value_parser = rounding_rule::every(), default_value = Rounding::default().name())]
    rounding: Rounding,

    /// Keep the number of heads that DuoAttention's loaders keep at the same sparsity (`--rounding duo-stable`).
    #[arg(long, conflicts_with = "rounding")]
    duo_compatible: bool,
}

/// A mask that was asked for, and what to know about it.
pub(super) struct Cut {
    pub(super) sidecar: Sidecar,
    pub(super) warnings: Vec<CodedText>,
}

impl TargetArgs {
    /// One mask per target, in the order of the flags; one at each of the source's own where none is named.
    ///
    /// # Errors
    /// An impossible target, or an evaluation that names none.
    pub(super) fn cut(&self, source: &Source) -> Result<Vec<Cut>, AnyFault> {
        let mut cuts = Vec::new();
        for sparsity in &self.sparsity {
            cuts.push(plain(source.cut(self.share(*sparsity))?));
        }
        for count in &self.num_retrieval {
            cuts.push(plain(source.cut(Target::NumRetrieval(*count))?));
        }
        for run in &self.critical {
            cuts.push(self.critical(source, run)?);
        }
        if cuts.is_empty() {
            // A mask without a target stays the decision that it is, unless another rule is asked for.
            if let Some(mask) = source.mask().filter(|_| self.rule() == Rounding::default()) {
                return Ok(vec![plain(mask.clone())]);
            }
            for sparsity in source.sparsities()? {
                cuts.push(plain(source.cut(self.share(sparsity))?));
            }
        }
        Ok(cuts)
    }

    fn share(&self, sparsity: f64) -> Target {
        Target::Sparsity {
            sparsity,
            rounding: self.rule(),
        }
    }

    fn rule(&self) -> Rounding {
        if self.duo_compatible {
            return Rounding::DuoStable;
        }
        self.rounding
    }

    /// The mask that the evaluation in `run` found enough, with the rule and chunk it was evaluated with.
    fn critical(&self, source: &Source, run: &Path) -> Result<Cut, AnyFault> {
        let found = Smallest::of(&saved_run::read(run)?, self.keep)?;
        // Of a run through several targets, each has an order of its own.
        let cuts = source.cut_each(found.num_retrieval)?.into_iter();
        let mut known = cuts.filter(|sidecar| found.masks.contains(&rows(&sidecar.mask)));
        let mut sidecar = known.next().ok_or_else(|| ExportError::OtherMask {
            run: run.to_owned(),
            num_retrieval: found.num_retrieval,
        })?;
        let mut warnings = Vec::new();
        if let Some(streaming) = found.streaming {
            let used = Span::new(streaming.sink_len, streaming.window_len, 1)?;
            let differences = check_use(&sidecar, &used, None);
            // What was measured with another span says nothing about this one.
            if differences.is_empty() {
                sidecar.streaming_rule = Some(streaming.rule);
                sidecar.chunk_len = found.chunk_len;
            }
            warnings.extend(coded(&differences));
        }
        if found.num_without_room > 0 {
            warnings.push(CodedText {
                code: "critical.no_room",
                text: format!(
                    "{} of {} plots of `{}` say nothing: full attention scores too little there",
                    found.num_without_room,
                    found.num_without_room + found.num_plots,
                    run.display()
                ),
            });
        }
        Ok(Cut { sidecar, warnings })
    }
}

fn plain(sidecar: Sidecar) -> Cut {
    Cut {
        sidecar,
        warnings: Vec::new(),
    }
}

/// A mask as results hold it: one text per layer, 1 = retrieval.
fn rows(mask: &HeadMask) -> Vec<String> {
    let row = |layer: usize| {
        let flags = mask.layer(layer).iter();
        flags.map(|keeps| if *keeps { '1' } else { '0' }).collect()
    };
    (0..mask.num_layers()).map(row).collect()
}
