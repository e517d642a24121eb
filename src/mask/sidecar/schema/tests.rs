//! The schema is the shipped file, names the reader's keys, accepts what is written and refuses what the reader refuses.

use super::*;
use crate::mask::canonical;
use crate::mask::sidecar::container::Container;
use crate::mask::sidecar::keys;
use crate::mask::sidecar::read::parse;
use crate::mask::tensor_file::{self, Tensor};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::Path;

const GOLDEN: &[u8] = include_bytes!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/golden/mask/head_mask_v1.safetensors"
));
const SHIPPED: &str = include_str!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/data/head_mask.schema.json"
));

/// As much of JSON schema as this one uses: the first thing that is wrong.
fn violation(schema: &Value, metadata: &BTreeMap<String, String>) -> Option<String> {
    let names = |list: &Value| -> Vec<String> {
        let list = list.as_array().unwrap().iter();
        list.map(|name| name.as_str().unwrap().to_owned()).collect()
    };
    let mut required = names(&schema["required"]);
    for (trigger, more) in schema["dependentRequired"].as_object().unwrap() {
        if metadata.contains_key(trigger) {
            required.extend(names(more));
        }
    }
    if holds(&schema["if"], metadata) {
        required.extend(names(&schema["then"]["required"]));
    }
    let absent = required.into_iter().find(|key| !metadata.contains_key(key));
    absent.map(|key| format!("{key} is missing")).or_else(|| {
        let values = metadata.iter();
        let bad = values.map(|(key, value)| (key, value, &schema["properties"][key]));
        let mut bad = bad.filter(|(_, value, rule)| !accepts(rule, value));
        bad.next()
            .map(|(key, value, _)| format!("{key} is {value}"))
    })
}

/// Whether all keys of `condition` are there with the values it names, and what it excludes is not.
fn holds(condition: &Value, metadata: &BTreeMap<String, String>) -> bool {
    let required = condition["required"].as_array().unwrap().iter();
    let mut required = required.map(|name| name.as_str().unwrap());
    let values = condition.get("properties").and_then(Value::as_object);
    let mut values = values.into_iter().flatten();
    required.all(|key| metadata.contains_key(key))
        && values.all(|(key, rule)| metadata.get(key).is_none_or(|value| accepts(rule, value)))
        && condition
            .get("not")
            .is_none_or(|excluded| !holds(excluded, metadata))
}

fn accepts(rule: &Value, value: &str) -> bool {
    let Value::Object(rule) = rule else {
        return true;
    };
    rule.iter().all(|(word, arg)| match word.as_str() {
        "type" => *arg == "string",
        "description" => true,
        "const" => *arg == value,
        "enum" => arg.as_array().unwrap().contains(&json!(value)),
        "minLength" => value.len() >= usize::try_from(arg.as_u64().unwrap()).unwrap(),
        "pattern" => regex::Regex::new(arg.as_str().unwrap())
            .unwrap()
            .is_match(value),
        other => panic!("the schema uses `{other}`"),
    })
}

fn schema() -> Value {
    serde_json::from_str(&text()).unwrap()
}

/// The golden file's metadata with every optional key.
fn full() -> BTreeMap<String, String> {
    let mut metadata = Container::parse(GOLDEN).unwrap().metadata;
    let digest = "ab".repeat(32);
    for (key, value) in [
        (keys::STREAMING_RULE, "duo-chunk"),
        (keys::CHUNK_LEN, "32768"),
        (keys::TRAIN_METHOD, "prulong"),
        (keys::BASE_REVISION, "0e9e39f2"),
        (keys::BASE_WEIGHTS_SHA256, &digest),
        (keys::REBASED_FROM, &digest),
        ("prulong.later", "kept"),
    ] {
        metadata.insert(key.to_owned(), value.to_owned());
    }
    metadata
}

/// The golden tensors under other metadata.
fn file(metadata: &BTreeMap<String, String>) -> Vec<u8> {
    let container = Container::parse(GOLDEN).unwrap();
    let named = [
        ("gate_score", "F32"),
        ("log_alpha", "F32"),
        ("retrieval_rank", "I32"),
        ("retrieval_mask", "U8"),
    ];
    let tensors = named.map(|(name, dtype)| Tensor {
        name,
        dtype,
        bytes: container.tensors.tensor(name).unwrap().data().to_vec(),
    });
    tensor_file::to_bytes(metadata, [3, 4], &tensors)
}

fn is_read(metadata: &BTreeMap<String, String>) -> bool {
    parse(&file(metadata), Path::new("x")).is_ok()
}

#[test]
fn the_shipped_file_is_the_schema() {
    assert_eq!(SHIPPED, text());
}

#[test]
fn the_schema_names_the_readers_keys_and_no_others() {
    let schema = schema();
    let described: Map<String, Value> = schema["properties"].as_object().unwrap().clone();
    let mut described: Vec<&str> = described.keys().map(String::as_str).collect();
    let mut known = keys::KNOWN.to_vec();
    described.sort_unstable();
    known.sort_unstable();
    assert_eq!(described, known);
}

#[test]
fn what_is_written_is_accepted() {
    let golden = Container::parse(GOLDEN).unwrap().metadata;
    assert_eq!(file(&golden), GOLDEN);
    for metadata in [golden, full()] {
        assert_eq!(violation(&schema(), &metadata), None);
        assert!(is_read(&metadata));
    }
}

#[test]
fn a_key_is_required_by_both_or_by_neither() {
    for key in full().keys() {
        let mut metadata = full();
        metadata.remove(key);
        let accepted = violation(&schema(), &metadata).is_none();
        // Readers of masks do not need the key that loaders of checkpoints look for.
        let is_read = is_read(&metadata) && key != keys::FORMAT;
        // Without `train_steps` there was no training.
        assert_eq!(accepted, is_read, "{key}");
    }
}

#[test]
fn a_method_without_a_target_says_none() {
    let mut metadata = full();
    metadata.insert(keys::TRAIN_METHOD.to_owned(), "duo-attention".to_owned());
    metadata.remove(keys::TRAIN_TARGET_SPARSITY);
    assert_eq!(violation(&schema(), &metadata), None);
    assert!(is_read(&metadata));
    for method in [Some("prulong"), None] {
        metadata.remove(keys::TRAIN_METHOD);
        metadata.extend(method.map(|name| (keys::TRAIN_METHOD.to_owned(), name.to_owned())));
        let missing = format!("{} is missing", keys::TRAIN_TARGET_SPARSITY);
        assert_eq!(violation(&schema(), &metadata), Some(missing));
        assert!(!is_read(&metadata));
    }
}

#[test]
fn what_the_reader_refuses_by_its_form_the_schema_refuses_too() {
    for (key, value) in [
        (keys::KIND, "checkpoint"),
        (keys::FORMAT_VERSION, "2"),
        (keys::HEAD_AXIS, "query"),
        (keys::HEAD_ORDER, "permuted"),
        (keys::MASK_VALUES, "0=retrieval,1=streaming"),
        (keys::NUM_LAYERS, "0"),
        (keys::NUM_LAYERS, "+3"),
        (keys::NUM_KV_HEADS, "04"),
        (keys::NUM_RETRIEVAL, "4.0"),
        (keys::SPARSITY, "66%"),
        (keys::SPARSITY, "1.5"),
        (keys::ROUNDING, "ceil"),
        (keys::RANK_SOURCE, "luck"),
        (keys::SOURCE, ""),
        (keys::SINK_LEN, "-1"),
        (keys::WINDOW_LEN, "0"),
        (keys::BLOCK_LEN, "0"),
        (keys::WINDOW_INCLUDES_QUERY, "false"),
        (keys::STREAMING_RULE, "windowed"),
        (keys::CHUNK_LEN, "many"),
        (keys::TRAIN_METHOD, "luck"),
        (keys::TRAIN_SEED, "forty-two"),
        (keys::WEIGHTS_MODIFIED, "no"),
        (keys::BASE_MODEL, ""),
        (keys::BASE_ARCH_SHA256, "00"),
        (keys::BASE_CONFIG, "[]"),
    ] {
        let mut metadata = full();
        metadata.insert(key.to_owned(), value.to_owned());
        let refused = violation(&schema(), &metadata);
        assert_eq!(refused, Some(format!("{key} is {value}")));
        assert!(!is_read(&metadata), "{key} = {value}");
    }
}

#[test]
fn every_share_that_is_written_is_one() {
    let rule = &schema()["properties"][keys::SPARSITY];
    for value in [
        0.0,
        1.0,
        0.703_125,
        2.0 / 3.0,
        1e-5,
        5.960_464_477_539_063e-8,
        0.1,
    ] {
        assert!(accepts(rule, &keys::float_text(value)), "{value}");
    }
    assert!(canonical::to_string(rule).contains("pattern"));
}
