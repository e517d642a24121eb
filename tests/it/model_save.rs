//! Model folders written by this program: read back equal, same bytes every time, readable by the safetensors crate.

use prulong::fault::Coded;
use prulong::model::config::WeightDtype;
use prulong::model::llama::Llama;
use prulong::model::save::SavedModel;
use safetensors::SafeTensors;
use std::path::{Path, PathBuf};
use tch::{Device, Kind};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden/llama")
        .join(name)
}

fn saved(model: &Llama, dtype: WeightDtype) -> SavedModel<'_> {
    SavedModel {
        config: model.config(),
        tensors: model.named_tensors().into_iter().collect(),
        dtype,
        companions: vec![golden("mha").join("expected.safetensors")],
    }
}

fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<(String, Vec<u8>)> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, std::fs::read(path).unwrap())
        })
        .collect();
    files.sort();
    files
}

#[test]
fn a_saved_model_reads_back_and_has_the_same_bytes_each_time() {
    let root = tempfile::tempdir().unwrap();
    for name in ["gqa-llama3", "tied", "sharded-bf16"] {
        let model = Llama::load(&golden(name), Kind::Float, Device::Cpu).unwrap();
        let dtype = model.config().dtype.unwrap();
        let (first, second) = (root.path().join(name), root.path().join("again").join(name));
        saved(&model, dtype).write(&first).unwrap();
        saved(&model, dtype).write(&second).unwrap();
        assert_eq!(files(&first), files(&second), "{name}");
        let names: Vec<String> = files(&first).into_iter().map(|(name, _)| name).collect();
        let expected = [
            "config.json",
            "expected.safetensors",
            "generation_config.json",
            "model.safetensors",
        ];
        assert_eq!(names, expected);
        let again = Llama::load(&first, Kind::Float, Device::Cpu).unwrap();
        assert_eq!(again.config(), model.config(), "{name}");
        for ((key, tensor), (_, original)) in
            again.named_tensors().iter().zip(model.named_tensors())
        {
            assert!(tensor.equal(original), "{name} {key}");
        }
        let bytes = std::fs::read(first.join("model.safetensors")).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(file.len(), model.named_tensors().len(), "{name}");
    }
}

#[test]
fn nothing_is_overwritten_and_nothing_is_left_behind() {
    let root = tempfile::tempdir().unwrap();
    let model = Llama::load(&golden("mha"), Kind::Float, Device::Cpu).unwrap();
    let present = root.path().join("present");
    std::fs::create_dir(&present).unwrap();
    let error = saved(&model, WeightDtype::F32).write(&present).unwrap_err();
    assert_eq!(error.code(), "model.exists");

    let mut incomplete = saved(&model, WeightDtype::F32);
    incomplete.tensors.remove("model.norm.weight");
    let error = incomplete.write(&root.path().join("new")).unwrap_err();
    assert_eq!(error.code(), "model.tensor_missing");

    let mut lacking = saved(&model, WeightDtype::F32);
    lacking.companions = vec![root.path().join("absent.json")];
    let error = lacking.write(&root.path().join("new")).unwrap_err();
    assert_eq!(error.code(), "model.missing_file");
    assert_eq!(files_or_folders(root.path()), ["present"]);
}

fn files_or_folders(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.collect()
}
