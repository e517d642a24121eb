//! Rotary frequencies and angles of real models against transformers, far out at position 60,000.

use prulong::model::config::ModelConfig;
use prulong::model::rope::{RopeTable, inverse_frequencies};
use serde_json::{Value, json};
use tch::{Device, Tensor};

/// transformers rounds the frequency and the product with the position to f32; at 60,000 rad each costs 0.0036.
const ANGLE_TOLERANCE: f64 = 0.008;
/// Eight roundings to f32: power, reciprocal, wavelength, two quotients, a difference, a product, a sum.
const FREQUENCY_TOLERANCE: f64 = 4.8e-7;

fn golden() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/rope.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn numbers(list: &Value) -> Vec<f64> {
    let items = list.as_array().unwrap().iter();
    items.map(|item| item.as_f64().unwrap()).collect()
}

fn config(head_dim: u64, rope_parameters: &Value) -> ModelConfig {
    let document = json!({
        "model_type": "llama", "hidden_size": head_dim, "intermediate_size": 8, "vocab_size": 8,
        "num_hidden_layers": 1, "num_attention_heads": 1, "rms_norm_eps": 1e-5,
        "max_position_embeddings": 131_072, "rope_parameters": rope_parameters
    });
    ModelConfig::parse(&document.to_string()).unwrap()
}

fn max_difference(ours: &Tensor, theirs: &[f64]) -> f64 {
    let ours = ours.get(0).to_kind(tch::Kind::Double);
    (ours - Tensor::from_slice(theirs))
        .abs()
        .max()
        .double_value(&[])
}

#[test]
fn frequencies_and_angles_match_transformers() {
    let golden = golden();
    let position = golden["position"].as_i64().unwrap();
    let ropes = golden["ropes"].as_object().unwrap();
    assert_eq!(ropes.len(), 4);
    for (name, rope) in ropes {
        let config = config(rope["head_dim"].as_u64().unwrap(), &rope["rope_parameters"]);
        let ours = inverse_frequencies(&config.rope, config.shape.head_dim);
        let theirs = numbers(&rope["inv_freq"]);
        assert_eq!(ours.len(), theirs.len(), "{name}");
        for (pair, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
            let error = (ours - theirs).abs() / theirs;
            assert!(
                error < FREQUENCY_TOLERANCE,
                "{name} pair {pair}: {ours} against {theirs}"
            );
        }
        let table = RopeTable::new(&config.rope, config.shape.head_dim);
        let (cos, sin) = table.cos_sin(&[position], Device::Cpu);
        for (what, ours, theirs) in [("cos", cos, &rope["cos"]), ("sin", sin, &rope["sin"])] {
            let error = max_difference(&ours, &numbers(theirs));
            assert!(error < ANGLE_TOLERANCE, "{name} {what}: {error}");
        }
    }
}
