//! `prulong export-mask`.

use crate::cli::coded_text::{CodedText, coded};
use crate::cli::export_report::{Exported, Report};
use crate::cli::export_source::{ExportError, Source};
use crate::cli::export_target::{Cut, TargetArgs};
use crate::cli::output;
use crate::cli::publish::{self, Overwrite, Product};
use crate::fault::AnyFault;
use crate::mask::export::{ExportFile, files, folder_name};
use crate::mask::sidecar::read::one_class;
use crate::mask::{duo, duo_gates};
use std::path::PathBuf;

/// Turn a run's gates into head masks: sidecar, files that other engines read, and a card.
///
/// Takes the newest good checkpoint and every target that the run was trained for unless told otherwise; several targets give
/// several masks. A sidecar is cut again along its stored order. Prints what to run in each engine that can use the mask, and
/// what its streaming heads see there. The same input gives the same bytes, so repeating an export does nothing; other content
/// is never overwritten without `--force`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Run directory, or a `head_mask.safetensors` to cut again.
    #[arg(value_name = "RUN|MASK")]
    source: PathBuf,

    #[command(flatten)]
    targets: TargetArgs,

    /// Step whose checkpoint to take; default: the newest good one.
    #[arg(long, value_name = "N")]
    step: Option<u64>,

    /// Folder to write, or for several masks the folder of theirs; default: `RUN/masks/KEPT-of-ALL`.
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

/// A mask with the place and the bytes of its files.
struct Planned {
    cut: Cut,
    folder: PathBuf,
    files: Vec<ExportFile>,
}

/// Cuts the masks, writes their files and prints what they are.
///
/// # Errors
/// If the source is no run or mask, a target impossible, or other files are in the way.
pub fn run(args: Args) -> Result<(), AnyFault> {
    let report = export(&args)?;
    if args.json {
        output::json(&report)?;
        return Ok(());
    }
    let warnings = report.masks.iter().flat_map(|mask| &mask.warnings);
    warnings.for_each(CodedText::note);
    report.print()
}

fn export(args: &Args) -> Result<Report, AnyFault> {
    let source = Source::read(&args.source, args.step)?;
    let cuts = args.targets.cut(&source)?;
    let plans = args.plan(&source, cuts)?;
    let overwrite = Overwrite::if_asked(args.force);
    // All of them or none: nothing is written while one is in the way.
    for plan in &plans {
        publish::check(&plan.folder, &plan.files, overwrite, Product::Mask)?;
    }
    if !args.dry_run {
        for plan in &plans {
            publish::write(&plan.folder, &plan.files)?;
        }
    }
    let exported = |plan| reported(plan, &source.warnings, !args.dry_run);
    Ok(Report::new(plans.into_iter().map(exported).collect()))
}

impl Args {
    /// Where each mask goes: one folder for the only mask, one below it for each of several. A mask that was asked for twice is
    /// written once.
    fn plan(&self, source: &Source, cuts: Vec<Cut>) -> Result<Vec<Planned>, ExportError> {
        let is_only = cuts.len() == 1;
        let parent = match &self.output {
            Some(folder) => folder.clone(),
            None => source.folder()?,
        };
        let mut plans: Vec<Planned> = Vec::new();
        for cut in cuts {
            if let Some(twin) = plans
                .iter_mut()
                .find(|plan| plan.cut.sidecar.mask == cut.sidecar.mask)
            {
                twin.cut.warnings.push(same_twice(&twin.cut, &cut));
                continue;
            }
            let name = folder_name(&cut.sidecar);
            let folder = match &self.output {
                Some(folder) if is_only => folder.clone(),
                _ => parent.join(&name),
            };
            // As many heads, but others: gates of several targets have several orders.
            let is_taken = plans.iter().any(|plan| plan.folder == folder);
            let folder = match &cut.sidecar.training {
                Some(training) if is_taken => {
                    parent.join(format!("{name}-step-{}", training.num_steps))
                }
                _ => folder,
            };
            let files = files(&cut.sidecar);
            plans.push(Planned { cut, folder, files });
        }
        Ok(plans)
    }
}

fn same_twice(first: &Cut, second: &Cut) -> CodedText {
    let word = |cut: &Cut| match cut.sidecar.target_sparsity {
        Some(sparsity) => format!("sparsity {sparsity}"),
        None => format!("{} retrieval heads", cut.sidecar.mask.num_retrieval()),
    };
    CodedText {
        code: "mask.same_count",
        text: format!(
            "{} and {} are the same heads: written once, as the first",
            word(first),
            word(second)
        ),
    }
}

fn reported(plan: Planned, of_source: &[CodedText], written: bool) -> Exported {
    let Planned { cut, folder, files } = plan;
    let mut of_mask = duo::warnings(&cut.sidecar.mask);
    of_mask.extend(one_class(&cut.sidecar.mask));
    of_mask.extend(duo_gates::ties(&cut.sidecar));
    let warnings = of_source.iter().cloned().chain(cut.warnings);
    let warnings = warnings.chain(coded(&of_mask));
    let names = files.into_iter().map(|file| file.name).collect();
    Exported::new(&cut.sidecar, (folder, names), written, warnings.collect())
}

#[cfg(test)]
mod tests;
