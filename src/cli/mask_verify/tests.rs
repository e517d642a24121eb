//! A mask against its own model, other models, and the files beside it.

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
        companions: false,
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
