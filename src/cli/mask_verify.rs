//! `prulong mask verify`.

use crate::cli::mask_show::load;
use crate::cli::output;
use crate::fault::{AnyFault, Coded, Kind};
use crate::mask::error::{MaskError, MaskWarning};
use crate::mask::sidecar::content::Sidecar;
use crate::mask::sidecar::fit::{Model, check_model, strict};
use crate::mask::sidecar::read::Checked;
use crate::model::config::ModelConfig;
use crate::model::fingerprint::arch_facts;
use crate::model::weights::Weights;
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

/// Checks a mask file, and whether it fits a model.
///
/// # Errors
/// The first check of the file that fails (exit 2), or that it does not fit the model (exit 1).
pub(super) fn verify(args: &VerifyArgs) -> Result<(), AnyFault> {
    let (
        path,
        Checked {
            sidecar,
            mut warnings,
        },
    ) = load(&args.file)?;
    if let Some(model) = &args.model {
        warnings.extend(compare(&sidecar, model, &path)?);
    }
    if args.strict {
        strict(&warnings, &path)?;
    }
    report(args, &sidecar, &warnings)
}

fn compare(sidecar: &Sidecar, dir: &Path, file: &Path) -> Result<Vec<MaskWarning>, AnyFault> {
    let config = ModelConfig::load(dir)?;
    let arch = arch_facts(&config);
    let fit = |weights_sha256: Option<&str>| {
        let model = Model {
            arch: &arch,
            revision: None,
            weights_sha256,
        };
        check_model(sidecar, &model, file).map_err(|source| NoFit {
            model: dir.display().to_string(),
            source,
        })
    };
    // Shapes first: reading the weights of another architecture would only fail in a less telling way.
    let warnings = fit(None)?;
    if sidecar.base.weights_sha256.is_none() {
        return Ok(warnings);
    }
    let digest = Weights::open(dir, &config)?.base_sha256(&config)?;
    Ok(fit(Some(&digest))?)
}

fn report(args: &VerifyArgs, sidecar: &Sidecar, warnings: &[MaskWarning]) -> Result<(), AnyFault> {
    if args.json {
        let warnings: Vec<_> = warnings
            .iter()
            .map(|warning| serde_json::json!({"code": warning.code(), "text": warning.to_string()}))
            .collect();
        output::json(&serde_json::json!({
            "schema": "prulong.mask-verify/1",
            "sound": true,
            "fits": args.model.as_ref().map(|_| true),
            "warnings": warnings,
        }))?;
        return Ok(());
    }
    for warning in warnings {
        output::note(format!("warning[{}]: {warning}", warning.code()));
    }
    let mask = &sidecar.mask;
    let fits = args.model.as_ref().map_or_else(String::new, |model| {
        format!(", and fits {}", model.display())
    });
    output::line(format!(
        "sound: {} layers x {} kv heads, {} retrieval, {} streaming{fits}",
        mask.num_layers(),
        mask.num_kv_heads(),
        mask.num_retrieval(),
        mask.num_streaming()
    ))?;
    Ok(())
}
