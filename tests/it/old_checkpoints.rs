//! Checkpoints of every released format version still load.

use prulong::checkpoint::state::{NamedTensor, StateDtype, decode, encode};
use prulong::checkpoint::store::CheckpointStore;
use std::path::{Path, PathBuf};

fn golden(version: u32) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/checkpoint-v{version}/step-3"))
}

fn identity() -> prulong::checkpoint::identity::Identity {
    let config =
        serde_json::json!({"seed": 1, "optimizer": {"betas": [0.9, 0.95], "gate_lr": 0.1}});
    prulong::checkpoint::identity::Identity::new(&config, "model-fingerprint", "data-fingerprint")
}

fn tensors() -> [NamedTensor<'static>; 3] {
    [
        NamedTensor::f32("log_alpha", &[2, 2], &[4.0, -0.5, 0.0, 1.5]),
        NamedTensor::f64("lambdas.value", &[2], &[0.25, -0.125]),
        NamedTensor::borrowed("flags", StateDtype::U8, &[3], &[0, 1, 2]),
    ]
}

#[test]
fn version_1_loads_and_is_still_written_byte_for_byte() {
    let loaded = CheckpointStore::load_path(&golden(1)).unwrap();
    assert_eq!((loaded.step, &loaded.identity), (3, &identity()));
    let decoded = decode(loaded.file("state.safetensors").unwrap()).unwrap();
    assert!(
        tensors()
            .iter()
            .all(|tensor| decoded[&tensor.name] == *tensor)
    );

    let place = tempfile::tempdir().unwrap();
    let store = CheckpointStore::open(place.path()).unwrap();
    let state = encode(&tensors()).unwrap();
    let files: [(&str, &[u8]); 2] = [
        ("state.safetensors", &state),
        ("cursor.json", b"{\"position\":3}\n"),
    ];
    let path = store.publish(3, &identity(), &files).unwrap();
    for entry in std::fs::read_dir(golden(1)).unwrap() {
        let name = entry.unwrap().file_name();
        let written = std::fs::read(path.join(&name)).unwrap();
        assert!(
            written == std::fs::read(golden(1).join(&name)).unwrap(),
            "{}",
            name.display()
        );
    }
}
