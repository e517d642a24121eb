//! `prulong mask verify`.

use crate::cli::coded_text::coded;
use crate::cli::mask_companions::{self, Compared};
use crate::cli::mask_show;
use crate::cli::output::{self, Output};
use crate::fault::{AnyFault, Coded, Kind};
use crate::mask::error::{MaskError, MaskWarning};
use crate::mask::provenance::folder_name;
use crate::mask::sidecar::check::{Check, Line, Outcome};
use crate::mask::sidecar::content::Sidecar;
use crate::mask::sidecar::fit::{Model, check_model, strict};
use crate::mask::sidecar::read::{self, Checked};
use crate::model::config::ModelConfig;
use crate::model::fingerprint::arch_facts;
use crate::model::weights::Weights;
use serde_json::json;
use std::path::{Path, PathBuf};

/// Arguments of `prulong mask verify`.
#[derive(clap::Args, Debug)]
pub(super) struct VerifyArgs {
    /// A `head_mask.safetensors`, or the folder that holds one.
    file: PathBuf,

    /// Model to compare with; its `config.json` is enough unless the mask stores a digest of the weights.
    model: Option<PathBuf>,

    /// Treat warnings as errors.
    #[arg(long)]
    strict: bool,

    /// Read the files for other engines that lie beside the mask, and compare what they say.
    #[arg(long)]
    companions: bool,

    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// The file is sound and belongs to something else: an answer, not a mistake of its user.
#[derive(Debug, thiserror::Error)]
#[error("the mask does not fit {model}")]
struct NoFit {
    model: String,
    source: MaskError,
}

impl NoFit {
    fn new(model: &Path, source: MaskError) -> Self {
        let model = model.display().to_string();
        Self { model, source }
    }
}

impl Coded for NoFit {
    fn code(&self) -> &'static str {
        self.source.code()
    }
    fn kind(&self) -> Kind {
        Kind::Answer
    }
    fn hint(&self) -> Option<String> {
        self.source.hint()
    }
}

/// What was found so far.
#[derive(Default)]
struct Findings {
    lines: Vec<Line>,
    warnings: Vec<MaskWarning>,
    companions: Option<Compared>,
    /// The sentence at the end, for a file that passed.
    verdict: String,
    fits: Option<bool>,
    /// The first thing that is wrong.
    failure: Option<AnyFault>,
}

impl Findings {
    fn fail(&mut self, fault: impl Into<AnyFault>) {
        self.failure.get_or_insert(fault.into());
    }
}

/// Checks a mask file, whether it fits a model, and whether the files beside it say the same.
///
/// # Errors
/// The first check of the file that fails (exit 2), or that it does not fit the model or the files beside it (exit 1).
pub(super) fn verify(args: &VerifyArgs) -> Result<(), AnyFault> {
    let (path, file) = mask_show::open(&args.file)?;
    let (reached, checked) = read::read_reporting(file, &path);
    let mut findings = Findings::default();
    match checked {
        Ok(checked) => {
            let Checked { sidecar, warnings } = checked;
            findings.lines.extend(own_lines(&sidecar));
            if args.strict
                && let Err(error) = strict(&warnings, &path)
            {
                findings.fail(error);
            }
            compare(args, &sidecar, &path, &mut findings)?;
            let classes = warnings
                .iter()
                .map(|warning| Check::Classes.warning(warning));
            let both = || Check::Classes.line(Outcome::Ok, Check::Classes.found(&sidecar));
            let classes: Vec<Line> = classes.collect();
            let none = classes.is_empty();
            findings.lines.extend(classes);
            findings.lines.extend(none.then(both));
            findings.warnings.splice(0..0, warnings);
            let used = Check::Use.line(Outcome::Skipped, "nothing uses the mask here");
            findings.lines.push(used);
            if args.companions {
                let compared = mask_companions::compare(&sidecar, &path)?;
                if let Some(differ) = compared.differ(&path) {
                    findings.fail(differ);
                }
                findings.companions = Some(compared);
            }
            findings.verdict = verdict(args, &sidecar);
        }
        Err(error) => {
            findings.lines.extend(until(reached, &error));
            findings.fail(error);
        }
    }
    if args.strict {
        let warnings = findings.lines.iter_mut();
        let warnings = warnings.filter(|line| line.outcome == Outcome::Warning);
        warnings.for_each(|line| line.outcome = Outcome::Error);
    }
    report(args, findings)
}

/// The checks that need nothing but the file, all passed.
fn own_lines(sidecar: &Sidecar) -> Vec<Line> {
    let own = Check::all().take_while(|check| *check < Check::BaseArch);
    own.map(|check| check.line(Outcome::Ok, check.found(sidecar)))
        .collect()
}

/// The checks of a file that failed at `reached`.
fn until(reached: Check, error: &MaskError) -> Vec<Line> {
    let line = |check: Check| match check.cmp(&reached) {
        std::cmp::Ordering::Less => check.line(Outcome::Ok, ""),
        std::cmp::Ordering::Equal => check.error(error),
        std::cmp::Ordering::Greater => check.line(Outcome::Skipped, "not reached"),
    };
    Check::all().map(line).collect()
}

/// Checks 9 to 12.
fn compare(
    args: &VerifyArgs,
    sidecar: &Sidecar,
    file: &Path,
    findings: &mut Findings,
) -> Result<(), AnyFault> {
    let checks = [
        Check::BaseArch,
        Check::BaseConfig,
        Check::BaseWeights,
        Check::BaseName,
    ];
    let Some(dir) = &args.model else {
        let skipped = checks.map(|check| check.line(Outcome::Skipped, "no model given"));
        findings.lines.extend(skipped);
        return Ok(());
    };
    let fit = on_model(sidecar, dir, |model| check_model(sidecar, model, file))?;
    let (warnings, error) = match fit {
        Ok(warnings) => (warnings, None),
        Err(error) => (Vec::new(), Some(error)),
    };
    let failed = error.as_ref().map(|error| Check::of_model(&error.problem));
    for check in checks {
        let line = match (&error, failed) {
            (Some(error), Some(failed)) if check == failed => check.error(error),
            (_, Some(failed)) if check > failed => check.line(Outcome::Skipped, "not reached"),
            _ => found(check, sidecar, dir, &warnings),
        };
        findings.lines.push(line);
    }
    findings.fits = Some(error.is_none());
    if let Some(source) = error {
        findings.fail(NoFit::new(dir, source));
    } else if args.strict
        && let Err(source) = strict(&warnings, file)
    {
        findings.fail(NoFit::new(dir, source));
    }
    findings.warnings.extend(warnings);
    Ok(())
}

/// What a check of the model found that did not fail.
fn found(check: Check, sidecar: &Sidecar, dir: &Path, warnings: &[MaskWarning]) -> Line {
    let mut own = warnings
        .iter()
        .filter(|warning| Check::of_warning(warning) == check);
    if let Some(warning) = own.next() {
        return check.warning(warning);
    }
    let base = &sidecar.base;
    match check {
        Check::BaseWeights if base.weights_sha256.is_none() => {
            check.line(Outcome::Skipped, "the mask stores no digest")
        }
        Check::BaseName if base.model != folder_name(dir) => {
            let name = folder_name(dir);
            check.line(Outcome::Note, format!("`{}`, here `{name}`", base.model))
        }
        _ => check.line(Outcome::Ok, "the model's"),
    }
}

/// Applies `check` to the model in `dir`: first without its weights, then, if the mask stores their digest, with it.
///
/// # Errors
/// As `check`, or if the model cannot be read.
pub(super) fn on_model<T>(
    sidecar: &Sidecar,
    dir: &Path,
    check: impl Fn(&Model<'_>) -> Result<T, MaskError>,
) -> Result<Result<T, MaskError>, AnyFault> {
    let config = ModelConfig::load(dir)?;
    let arch = arch_facts(&config);
    let model = |weights_sha256| Model {
        arch: &arch,
        revision: None,
        weights_sha256,
    };
    // Shapes first: reading the weights of another architecture would only fail in a less telling way.
    let answer = check(&model(None));
    if answer.is_err() || sidecar.base.weights_sha256.is_none() {
        return Ok(answer);
    }
    let digest = Weights::open(dir, &config)?.base_sha256(&config)?;
    Ok(check(&model(Some(&digest))))
}

fn verdict(args: &VerifyArgs, sidecar: &Sidecar) -> String {
    let mask = &sidecar.mask;
    let fits = args.model.as_ref().map_or_else(String::new, |model| {
        format!(", and fits {}", model.display())
    });
    format!(
        "sound: {} layers x {} kv heads, {} retrieval, {} streaming{fits}",
        mask.num_layers(),
        mask.num_kv_heads(),
        mask.num_retrieval(),
        mask.num_streaming()
    )
}

fn report(args: &VerifyArgs, findings: Findings) -> Result<(), AnyFault> {
    if args.json {
        output::json(&json!({
            "schema": "prulong.mask-verify/1",
            "sound": !findings.verdict.is_empty(),
            "fits": findings.fits,
            "checks": findings.lines,
            "companions": findings.companions,
            "warnings": coded(&findings.warnings),
        }))?;
    } else {
        print(&findings)?;
    }
    findings.failure.map_or(Ok(()), Err)
}

fn print(findings: &Findings) -> Result<(), AnyFault> {
    let mut out = Output::stdout();
    for line in &findings.lines {
        out.line(text(line))?;
    }
    if let Some(compared) = &findings.companions {
        for line in compared.lines() {
            out.line(line)?;
        }
    }
    if findings.failure.is_none() {
        out.line(&findings.verdict)?;
    }
    out.finish()?;
    Ok(())
}

fn text(line: &Line) -> String {
    let outcome = match line.outcome {
        Outcome::Ok => "ok",
        Outcome::Note => "note",
        Outcome::Warning => "WARNING",
        Outcome::Error => "ERROR",
        Outcome::Skipped => "-",
    };
    let code = line.code.map_or(String::new(), |code| format!("[{code}] "));
    let text = format!(
        "{:>2} {outcome:<8}{:<20} {code}{}",
        line.number, line.title, line.text
    );
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests;
