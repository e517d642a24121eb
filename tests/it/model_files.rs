//! Broken model folders: each fault is refused under its own code, before anything is computed.

use prulong::fault::{Coded, Kind};
use prulong::model::config::ModelConfig;
use prulong::model::error::ModelError;
use prulong::model::weights::{Weights, load_all};
use prulong::model::{st_header, tensor_names};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

type Shapes = BTreeMap<String, Vec<usize>>;
type Case = (&'static str, Vec<u8>, &'static str);
/// Name, what is changed in an intact folder, expected code.
type Changed<T> = (&'static str, fn(&mut T), &'static str);

/// A model of a few hundred numbers.
fn config() -> ModelConfig {
    ModelConfig::parse(&config_json().to_string()).unwrap()
}

fn config_json() -> Value {
    json!({
        "model_type": "llama", "hidden_size": 4, "intermediate_size": 6, "vocab_size": 5,
        "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1,
        "rms_norm_eps": 1e-5, "max_position_embeddings": 16
    })
}

/// Bytes of a safetensors file with any header and data.
fn file(header: &str, data: &[u8]) -> Vec<u8> {
    let len = header.len() as u64;
    [&len.to_le_bytes(), header.as_bytes(), data].concat()
}

/// A header and its data for tensors of f32 zeros.
fn tensors(shapes: &BTreeMap<String, Vec<usize>>) -> Vec<u8> {
    typed_tensors(shapes, |_| ("F32", 4))
}

/// A header and its data for tensors of zeros; `dtype` gives each tensor's dtype and its width in bytes.
fn typed_tensors(
    shapes: &BTreeMap<String, Vec<usize>>,
    dtype: impl Fn(&str) -> (&'static str, usize),
) -> Vec<u8> {
    let mut header = serde_json::Map::new();
    let mut begin = 0;
    for (name, shape) in shapes {
        let (dtype, width) = dtype(name);
        let end = begin + width * shape.iter().product::<usize>();
        let entry = json!({"dtype": dtype, "shape": shape, "data_offsets": [begin, end]});
        header.insert(name.clone(), entry);
        begin = end;
    }
    file(&Value::Object(header).to_string(), &vec![0; begin])
}

fn folder_with(bytes: &[u8]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("model.safetensors"), bytes).unwrap();
    dir
}

/// Opening must fail with `code` as an input error that names a path.
fn check(case: &str, dir: &Path, config: &ModelConfig, code: &str) -> ModelError {
    let Err(error) = Weights::open(dir, config) else {
        panic!("{case}: accepted");
    };
    assert_eq!(error.code(), code, "{case}: {error:?}");
    assert_eq!(error.kind(), Kind::Input, "{case}");
    assert!(
        error.to_string().contains(dir.to_str().unwrap()),
        "{case}: {error}"
    );
    error
}

#[test]
fn the_intact_folder_opens() {
    let config = config();
    let dir = folder_with(&tensors(&tensor_names::expected(&config)));
    let all = load_all(dir.path(), &config, tch::Kind::Double, tch::Device::Cpu).unwrap();
    assert_eq!(all.len(), 12);
    assert_eq!(all["model.layers.0.self_attn.k_proj.weight"].size(), [2, 4]);
}

#[test]
fn each_broken_safetensors_file_has_its_code() {
    let config = config();
    let cases = [
        foreign_files(),
        broken_headers(),
        broken_entries(),
        broken_ranges(),
    ];
    for (case, bytes, code) in cases.concat() {
        let dir = folder_with(&bytes);
        check(case, dir.path(), &config, code);
    }
    for len in 0..8 {
        let dir = folder_with(&vec![0; len]);
        check("short file", dir.path(), &config, "st.too_short");
    }
}

fn foreign_files() -> Vec<Case> {
    let claim = |len: u64| [&len.to_le_bytes()[..], &[b' '; 64]].concat();
    let mut huge = vec![b' '; (16 << 20) + 16];
    huge[..8].copy_from_slice(&((16_u64 << 20) + 8).to_le_bytes());
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n";
    let page = b"\n<!DOCTYPE html><html><body>Sign in</body></html>";
    vec![
        ("longer than the file", claim(65), "st.header_len"),
        ("2^63", claim(1 << 63), "st.header_len"),
        ("all ones", claim(u64::MAX), "st.header_len"),
        ("above our cap", huge, "st.too_many"),
        ("pointer", pointer.to_vec(), "st.lfs_pointer"),
        ("page", page.to_vec(), "st.looks_like_html"),
    ]
}

fn broken_headers() -> Vec<Case> {
    let many: Vec<String> = (0..=100_000)
        .map(|index| format!(r#""t{index}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}"#))
        .collect();
    let many = format!("{{{}}}", many.join(","));
    let deep = format!("{{\"a\":{}", "[".repeat(5000));
    let binary = [&2_u64.to_le_bytes()[..], b"{\xff"].concat();
    let text = |header: &str| file(header, &[]);
    vec![
        ("too many tensors", text(&many), "st.too_many"),
        ("not UTF-8", binary, "st.header_text"),
        ("not JSON", text("{\"a\":"), "st.header_text"),
        ("leading space", text(" {}"), "st.header_text"),
        ("a list", text("[]"), "st.header_text"),
        ("deep nesting", text(&deep), "st.header_text"),
        (
            "metadata of a number",
            text(r#"{"__metadata__":{"a":1}}"#),
            "st.metadata",
        ),
        (
            "metadata list",
            text(r#"{"__metadata__":[]}"#),
            "st.metadata",
        ),
    ]
}

/// A file with one tensor, described by `entry`, and 8 bytes of data.
fn one(entry: &str) -> Vec<u8> {
    file(&format!(r#"{{"a":{entry}}}"#), &[0; 8])
}

fn broken_entries() -> Vec<Case> {
    let dtype = |dtype| {
        one(&format!(
            r#"{{"dtype":"{dtype}","shape":[2],"data_offsets":[0,8]}}"#
        ))
    };
    let shape = |shape| {
        one(&format!(
            r#"{{"dtype":"F32","shape":{shape},"data_offsets":[0,8]}}"#
        ))
    };
    let field_twice = r#"{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}"#;
    let entry = r#"{"dtype":"F32","shape":[1],"data_offsets":[0,4]}"#;
    let tensor_twice = file(&format!(r#"{{"a":{entry},"a":{entry}}}"#), &[0; 4]);
    vec![
        (
            "missing field",
            one(r#"{"dtype":"F32","shape":[2]}"#),
            "st.header_text",
        ),
        ("field twice", one(field_twice), "st.header_text"),
        ("tensor twice", tensor_twice, "st.duplicate_key"),
        ("fp8", dtype("F8_E4M3"), "st.dtype"),
        ("fp4", dtype("F4"), "st.dtype"),
        ("int4", dtype("I4"), "st.dtype"),
        ("int64", dtype("I64"), "st.dtype"),
        ("overflow", shape("[4294967296,4294967296]"), "st.shape"),
        (
            "beyond libtorch",
            shape("[9223372036854775807]"),
            "st.shape",
        ),
        ("negative size", shape("[-2]"), "st.shape"),
        ("float size", shape("[2.0]"), "st.shape"),
        ("nine dimensions", shape("[1,1,1,1,1,1,1,1,2]"), "st.shape"),
    ]
}

fn broken_ranges() -> Vec<Case> {
    let range = |range: &str| {
        one(&format!(
            r#"{{"dtype":"F32","shape":[2],"data_offsets":{range}}}"#
        ))
    };
    let two = |first, second| {
        let entry = |name, range| {
            format!(r#""{name}":{{"dtype":"F32","shape":[1],"data_offsets":[{range}]}}"#)
        };
        let header = format!("{{{},{}}}", entry("a", first), entry("b", second));
        file(&header, &[0; 8])
    };
    let header = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
    let wrapping = range("[18446744073709551608,18446744073709551615]");
    vec![
        ("reversed", range("[8,0]"), "st.offsets"),
        ("other length", range("[0,4]"), "st.offsets"),
        ("one offset", range("[0]"), "st.offsets"),
        ("negative offset", range("[-8,0]"), "st.offsets"),
        ("wrapping offset", wrapping, "st.offsets"),
        ("overlap", two("0,4", "0,4"), "st.offsets"),
        ("hole", two("0,4", "8,12"), "st.offsets"),
        ("hole at the start", two("4,8", "8,12"), "st.offsets"),
        ("truncated", file(header, &[0; 7]), "st.truncated"),
        ("trailing", file(header, &[0; 9]), "st.trailing_bytes"),
    ]
}

#[test]
fn what_is_not_a_file_is_refused_without_waiting() {
    let config = config();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    fs::create_dir(&path).unwrap();
    check("folder", dir.path(), &config, "st.not_a_file");
    fs::remove_dir(&path).unwrap();
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    check("pipe", dir.path(), &config, "st.not_a_file");
}

#[test]
fn a_file_that_shrinks_after_opening_is_an_error_and_no_crash() {
    let config = config();
    let bytes = tensors(&tensor_names::expected(&config));
    let dir = folder_with(&bytes);
    let weights = Weights::open(dir.path(), &config).unwrap();
    let path = dir.path().join("model.safetensors");
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(bytes.len() as u64 - 1).unwrap();
    let error = weights.tensor("model.norm.weight", &[4]).unwrap_err();
    assert_eq!((error.code(), error.kind()), ("st.changed", Kind::Input));
}

#[test]
fn tensors_that_do_not_fit_the_configuration_have_their_codes() {
    let q_proj = "model.layers.0.self_attn.q_proj.weight";
    let gate = "model.layers.0.mlp.gate_proj.weight";
    let cases: [Changed<Shapes>; 8] = [
        (
            "absent",
            |all| drop(all.remove("model.norm.weight")),
            "model.tensor_missing",
        ),
        (
            "one more layer",
            |all| drop(all.insert("model.layers.1.mlp.up_proj.weight".into(), vec![6, 4])),
            "model.tensor_extra",
        ),
        (
            "bias",
            |all| drop(all.insert("model.layers.0.self_attn.q_proj.bias".into(), vec![4])),
            "model.bias",
        ),
        (
            "transposed",
            |all| drop(all.insert("model.layers.0.mlp.gate_proj.weight".into(), vec![4, 6])),
            "model.tensor_shape",
        ),
        (
            "scalar",
            |all| drop(all.insert("model.layers.0.self_attn.q_proj.weight".into(), vec![])),
            "model.tensor_shape",
        ),
        (
            "vector",
            |all| drop(all.insert("model.layers.0.self_attn.q_proj.weight".into(), vec![16])),
            "model.tensor_shape",
        ),
        (
            "vocabulary",
            |all| drop(all.insert("model.embed_tokens.weight".into(), vec![6, 4])),
            "model.vocab",
        ),
        (
            "no head",
            |all| drop(all.remove("lm_head.weight")),
            "model.tie",
        ),
    ];
    let config = config();
    for (case, change, code) in cases {
        let mut shapes = tensor_names::expected(&config);
        assert!(shapes.contains_key(q_proj) && shapes.contains_key(gate));
        change(&mut shapes);
        let dir = folder_with(&tensors(&shapes));
        let error = check(case, dir.path(), &config, code);
        let says_transposed = error.hint().is_some_and(|hint| hint.contains("transposed"));
        assert_eq!(says_transposed, case == "transposed", "{case}");
    }
    let mut shapes = tensor_names::expected(&config);
    shapes.insert(
        "model.layers.0.self_attn.rotary_emb.inv_freq".into(),
        vec![1],
    );
    let dir = folder_with(&tensors(&shapes));
    assert!(
        Weights::open(dir.path(), &config).is_ok(),
        "old rotary buffers are ignored"
    );
}

#[test]
fn a_tied_model_may_repeat_its_embeddings_but_not_contradict_them() {
    let untied = config();
    let tied = ModelConfig {
        tie_word_embeddings: true,
        ..config()
    };
    let mut bytes = tensors(&tensor_names::expected(&untied));
    let dir = folder_with(&bytes);
    let tensors = load_all(dir.path(), &tied, tch::Kind::Float, tch::Device::Cpu).unwrap();
    assert!(!tensors.contains_key("lm_head.weight"));
    // `lm_head.weight` is the first tensor by name.
    let header_len = usize::try_from(u64::from_le_bytes(bytes[..8].try_into().unwrap())).unwrap();
    bytes[8 + header_len] = 1;
    let dir = folder_with(&bytes);
    check("different head", dir.path(), &tied, "model.tie");
}

#[test]
fn mixed_dtypes_pickles_and_empty_folders_are_refused() {
    let config = config();
    let dtype = |name: &str| match name {
        "model.norm.weight" => ("BF16", 2),
        _ => ("F32", 4),
    };
    let dir = folder_with(&typed_tensors(&tensor_names::expected(&config), dtype));
    check("two dtypes", dir.path(), &config, "model.dtype");

    let dir = tempfile::tempdir().unwrap();
    check("empty", dir.path(), &config, "model.missing_file");
    fs::write(dir.path().join("pytorch_model.bin"), b"PK").unwrap();
    check("pickle", dir.path(), &config, "model.pickle_refused");
}

/// Two shards and their index, with one thing changed by the caller.
struct Shards {
    dir: TempDir,
    index: Value,
}

const SHARDS: [&str; 2] = [
    "model-00001-of-00002.safetensors",
    "model-00002-of-00002.safetensors",
];

impl Shards {
    fn new(config: &ModelConfig) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut parts = [BTreeMap::new(), BTreeMap::new()];
        let mut weight_map = serde_json::Map::new();
        let mut total = 0;
        for (number, (name, shape)) in tensor_names::expected(config).into_iter().enumerate() {
            total += 4 * shape.iter().product::<usize>();
            weight_map.insert(name.clone(), json!(SHARDS[number % 2]));
            parts[number % 2].insert(name, shape);
        }
        for (shard, part) in SHARDS.iter().zip(&parts) {
            fs::write(dir.path().join(shard), tensors(part)).unwrap();
        }
        let index = json!({"metadata": {"total_size": total}, "weight_map": weight_map});
        Self { dir, index }
    }

    fn map(&mut self) -> &mut serde_json::Map<String, Value> {
        self.index["weight_map"].as_object_mut().unwrap()
    }

    /// Lists `name` in `shard`, or nowhere for null.
    fn list(&mut self, name: &str, shard: Value) {
        if shard.is_null() {
            self.map().shift_remove(name);
        } else {
            self.map().insert(name.to_owned(), shard);
        }
    }

    fn remove_second(&mut self) {
        fs::remove_file(self.dir.path().join(SHARDS[1])).unwrap();
    }

    fn shout_second(&mut self) {
        let dir = self.dir.path();
        fs::rename(dir.join(SHARDS[1]), dir.join(SHARDS[1].to_uppercase())).unwrap();
    }

    fn write(&self) {
        self.write_text(&self.index.to_string());
    }

    fn write_text(&self, text: &str) {
        fs::write(self.dir.path().join("model.safetensors.index.json"), text).unwrap();
    }
}

#[test]
fn names_that_could_leave_the_folder_are_refused() {
    let config = config();
    for name in ["../x", "/x", "a\\x", "a/x", "a\0", "..", ".", "", "C:x"] {
        let mut shards = Shards::new(&config);
        shards.list("a", json!(name));
        shards.write();
        check(name, shards.dir.path(), &config, "index.unsafe_name");
    }
}

#[test]
fn shards_that_differ_from_their_index_are_refused() {
    let config = config();
    let intact = Shards::new(&config);
    intact.write();
    assert!(Weights::open(intact.dir.path(), &config).is_ok());
    let head = "lm_head.weight";
    let cases: [Changed<Shards>; 9] = [
        ("shard gone", Shards::remove_second, "index.missing_shard"),
        ("other case", Shards::shout_second, "index.case"),
        (
            "invented tensor",
            |s| s.list("a", json!(SHARDS[0])),
            "index.not_in_shard",
        ),
        (
            "moved tensor",
            |s| s.list("lm_head.weight", json!(SHARDS[1])),
            "index.duplicate_tensor",
        ),
        (
            "unlisted tensor",
            |s| s.list("lm_head.weight", Value::Null),
            "index.unlisted",
        ),
        (
            "total",
            |s| s.index["metadata"]["total_size"] = json!(1),
            "index.size",
        ),
        (
            "gap",
            |s| s.map().retain(|_, shard| shard == SHARDS[1]),
            "index.gap",
        ),
        (
            "no map",
            |s| s.index["weight_map"] = Value::Null,
            "index.not_json",
        ),
        ("numbers", |s| s.list("a", json!(1)), "index.not_json"),
    ];
    assert_eq!(Shards::new(&config).map()[head], SHARDS[0]);
    for (case, change, code) in cases {
        let mut shards = Shards::new(&config);
        change(&mut shards);
        shards.write();
        check(case, shards.dir.path(), &config, code);
    }
    let twice = format!(r#"{{"weight_map": {{"a": "{0}", "a": "{0}"}}}}"#, SHARDS[0]);
    for (case, text, code) in [
        ("listed twice", twice.as_str(), "index.duplicate_tensor"),
        ("text", "not json", "index.not_json"),
    ] {
        intact.write_text(text);
        check(case, intact.dir.path(), &config, code);
    }
}

/// Every truncation and every flipped bit of a small file: an error with a code, or a header whose ranges lie in the file.
#[test]
fn no_damage_to_a_header_can_panic_or_lead_outside_the_file() {
    let header = r#"{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},"b":{"dtype":"BF16","shape":[],"data_offsets":[8,10]}}"#;
    let intact = file(header, &[7; 10]);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.safetensors");
    let mut num_accepted = 0;
    let mut attempt = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        match st_header::open(&path) {
            Ok((_, tensors)) => {
                num_accepted += 1;
                let inside = |end: u64| end <= bytes.len() as u64;
                assert!(tensors.values().all(|entry| inside(entry.bytes.end)));
            }
            Err(error) => assert!(error.code().starts_with("st."), "{error:?}"),
        }
    };
    for len in 0..intact.len() {
        attempt(&intact[..len]);
    }
    for bit in 0..8 * intact.len() {
        let mut damaged = intact.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        attempt(&damaged);
    }
    assert!(
        num_accepted >= 80,
        "flips in names and data are harmless: {num_accepted}"
    );
}

/// Every truncation and flipped bit of a configuration: parsed or refused, never a panic.
#[test]
fn no_damage_to_a_configuration_can_panic() {
    let mut document = config_json();
    document["rope_scaling"] = json!({"rope_type": "linear", "factor": 2.0});
    let text = document.to_string();
    let mut num_refused = 0;
    for len in 0..text.len() {
        num_refused += u32::from(ModelConfig::parse(&text[..len]).is_err());
    }
    assert_eq!(num_refused as usize, text.len());
    for bit in 0..8 * text.len() {
        let mut damaged = text.clone().into_bytes();
        damaged[bit / 8] ^= 1 << (bit % 8);
        if let Ok(damaged) = std::str::from_utf8(&damaged)
            && let Err(error) = ModelConfig::parse(damaged)
        {
            assert!(error.code().starts_with("model."), "{error:?}");
        }
    }
}
