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

/// Checks a mask file, and whether it fits a model.
///
/// # Errors
/// The first check of the file that fails (exit 2), or that it does not fit the model (exit 1).
pub(super) fn verify(args: &VerifyArgs) -> Result<(), AnyFault> {
    let (path, checked) = load(&args.file)?;
    let Checked {
        sidecar,
        mut warnings,
    } = checked;
    if args.strict {
        strict(&warnings, &path)?;
    }
    if let Some(model) = &args.model {
        let found = compare(&sidecar, model, &path)?;
        if args.strict {
            strict(&found, &path).map_err(|source| NoFit::new(model, source))?;
        }
        warnings.extend(found);
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
        check_model(sidecar, &model, file).map_err(|source| NoFit::new(dir, source))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mask::arch::ArchFacts;
    use crate::mask::provenance::Provenance;
    use crate::mask::sidecar::cut::{Target, TrainedGates, trained};
    use crate::mask::sidecar::write;
    use tempfile::TempDir;

    const CONFIG: &str = r#"{"model_type":"llama","architectures":["LlamaForCausalLM"],"num_hidden_layers":2,
        "num_attention_heads":4,"num_key_value_heads":2,"hidden_size":32,"intermediate_size":64,"vocab_size":50,
        "max_position_embeddings":128,"rope_theta":10000.0,"rms_norm_eps":1e-5,"hidden_act":"silu",
        "tie_word_embeddings":false}"#;

    /// A folder with a model's `config.json` and a mask that keeps `num_retrieval` of its 4 heads.
    fn folder(num_retrieval: usize) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.json"), CONFIG).unwrap();
        let arch: ArchFacts = arch_facts(&ModelConfig::load(folder.path()).unwrap());
        let published = crate::mask::provenance::tests::published();
        let provenance = Provenance { arch, ..published };
        let gates = TrainedGates {
            log_alpha: &[1.0, 2.0, 3.0, 4.0],
            num_steps: 1,
        };
        let target = Target::NumRetrieval(num_retrieval);
        let sidecar = trained(gates, &provenance, target).unwrap();
        let path = folder.path().join("head_mask.safetensors");
        std::fs::write(path, write::to_bytes(&sidecar)).unwrap();
        folder
    }

    fn verified(folder: &TempDir, config: &str, strict: bool) -> Result<(), AnyFault> {
        std::fs::write(folder.path().join("config.json"), config).unwrap();
        verify(&VerifyArgs {
            file: folder.path().to_owned(),
            model: Some(folder.path().to_owned()),
            strict,
            json: false,
        })
    }

    #[test]
    fn a_mask_fits_its_own_model_and_no_other_answers_with_one() {
        let folder = folder(1);
        verified(&folder, CONFIG, true).unwrap();
        let wider = CONFIG.replace("\"vocab_size\":50", "\"vocab_size\":51");
        let fault = verified(&folder, &wider, false).unwrap_err();
        assert_eq!(
            (fault.code(), fault.kind()),
            ("mask.base_arch", Kind::Answer)
        );
        let longer = CONFIG.replace("10000.0", "500000.0");
        verified(&folder, &longer, false).unwrap();
        let fault = verified(&folder, &longer, true).unwrap_err();
        assert_eq!(
            (fault.code(), fault.kind()),
            ("mask.base_config", Kind::Answer)
        );
    }

    #[test]
    fn an_odd_mask_is_a_bad_file_only_when_asked() {
        let folder = folder(0);
        verified(&folder, CONFIG, false).unwrap();
        let fault = verified(&folder, CONFIG, true).unwrap_err();
        assert_eq!(
            (fault.code(), fault.kind()),
            ("mask.all_streaming", Kind::Input)
        );
    }
}
