//! Bytes, round trips, and every refusal of masks.md section 8.

use super::content::{RankSource, Sidecar};
use super::cut::{CutError, Target, TrainedGates, recut, trained};
use super::fit::{Model, check_model, check_use, strict};
use super::read::{Checked, parse, read};
use super::{keys, write};
use crate::fault::Coded;
use crate::mask::arch::ArchFacts;
use crate::mask::canonical;
use crate::mask::error::{MaskError, MaskWarning};
use crate::mask::provenance::Provenance;
use crate::mask::rounding::Rounding;
use crate::span::{Span, StreamingRule};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// Written by this program once and never again: what version 1 means.
const GOLDEN: &[u8] = include_bytes!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/golden/mask/head_mask_v1.safetensors"
));

const LOG_ALPHA: [f32; 12] = [
    4.0, -4.0, 0.5, 0.5, -1.25, 2.0, -0.0, 0.0, 3.5, -3.5, 1.0, -10.0,
];

fn provenance() -> Provenance {
    let mut provenance = crate::mask::provenance::tests::published();
    provenance.arch = ArchFacts {
        num_hidden_layers: 3,
        num_attention_heads: 8,
        num_key_value_heads: 4,
        ..provenance.arch
    };
    provenance
}

fn sparsity(sparsity: f64, rounding: Rounding) -> Target {
    Target::Sparsity { sparsity, rounding }
}

fn sample() -> Sidecar {
    let gates = TrainedGates {
        log_alpha: &LOG_ALPHA,
        num_steps: 1000,
    };
    let mut sidecar = trained(
        gates,
        &provenance(),
        sparsity(0.6, Rounding::FloorRetrieval),
    )
    .unwrap();
    // The golden file does not follow the program's version.
    sidecar.program_version = "0.1.0".to_owned();
    sidecar
}

fn parsed(bytes: &[u8]) -> Result<Checked, MaskError> {
    parse(bytes, Path::new("head_mask.safetensors"))
}

/// A file taken apart, to be put together wrongly.
#[derive(Clone)]
struct Parts {
    metadata: Map<String, Value>,
    tensors: BTreeMap<&'static str, (Value, Value, Vec<u8>)>,
}

impl Parts {
    fn of(sidecar: &Sidecar) -> Self {
        let pairs = write::metadata(sidecar).into_iter();
        let shape = json!([3, 4]);
        let floats = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let ranks = sidecar.ranks.ranks().iter();
        let rank_bytes = ranks.flat_map(|rank| i32::try_from(*rank).unwrap().to_le_bytes());
        let flags = sidecar.mask.flags().iter().map(|flag| u8::from(*flag));
        Self {
            metadata: pairs.map(|(key, value)| (key, json!(value))).collect(),
            tensors: BTreeMap::from([
                (
                    "retrieval_mask",
                    (json!("U8"), shape.clone(), flags.collect()),
                ),
                (
                    "retrieval_rank",
                    (json!("I32"), shape.clone(), rank_bytes.collect()),
                ),
                ("log_alpha", (json!("F32"), shape, floats(&LOG_ALPHA))),
            ]),
        }
    }

    fn header(&self) -> (Map<String, Value>, Vec<u8>) {
        let mut header = Map::new();
        header.insert("__metadata__".to_owned(), json!(self.metadata));
        let mut data = Vec::new();
        for (name, (dtype, shape, bytes)) in &self.tensors {
            let start = data.len();
            data.extend_from_slice(bytes);
            let info = json!({"dtype": dtype, "shape": shape, "data_offsets": [start, data.len()]});
            header.insert((*name).to_owned(), info);
        }
        (header, data)
    }

    fn bytes(&self) -> Vec<u8> {
        let (header, data) = self.header();
        file(&canonical::to_string(&Value::Object(header)), &data)
    }

    fn set(&mut self, key: &str, value: &str) {
        assert!(self.metadata.contains_key(key), "no key {key}");
        self.metadata.insert(key.to_owned(), json!(value));
    }

    fn data(&mut self, tensor: &str) -> &mut Vec<u8> {
        &mut self.tensors.get_mut(tensor).unwrap().2
    }
}

fn file(header: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(data);
    bytes
}

fn check_refused(bytes: &[u8], code: &str) {
    let error = parsed(bytes).unwrap_err();
    assert_eq!(error.code(), code, "{error}");
    let text = error.to_string();
    assert!(text.starts_with("head_mask.safetensors: "), "{text}");
    assert!(!text.ends_with('.'), "{text}");
}

fn check_edit(code: &str, edit: impl Fn(&mut Parts)) {
    let mut parts = Parts::of(&sample());
    assert!(parsed(&parts.bytes()).is_ok());
    edit(&mut parts);
    check_refused(&parts.bytes(), code);
}

#[test]
fn bytes_equal_the_golden_file() {
    assert_eq!(write::to_bytes(&sample()), GOLDEN);
}

#[test]
fn the_golden_file_reads_back_whole() {
    let Checked { sidecar, warnings } = parsed(GOLDEN).unwrap();
    assert_eq!(sidecar, sample());
    assert!(warnings.is_empty());
    assert_eq!(write::to_bytes(&sidecar), GOLDEN);
    let again = read(GOLDEN, Path::new("x")).unwrap();
    assert_eq!(again.sidecar, sidecar);
}

#[test]
fn counts_and_order_are_the_golden_ones() {
    let sidecar = sample();
    assert_eq!(sidecar.mask.num_retrieval(), 4);
    let kept: Vec<_> = sidecar.mask.flags().iter().map(|f| u8::from(*f)).collect();
    assert_eq!(kept, [1, 0, 0, 0, 0, 1, 0, 0, 1, 0, 1, 0]);
    assert_eq!(
        sidecar.ranks.ranks(),
        [0, 10, 4, 5, 8, 2, 6, 7, 1, 9, 3, 11]
    );
    assert_eq!(sidecar.rank_source, RankSource::LogAlpha);
    let text = write::metadata(&sidecar);
    assert_eq!(text[keys::SPARSITY], "0.6666666666666666");
    assert_eq!(text[keys::NUM_STREAMING], "8");
    assert_eq!(text[keys::TARGET_SPARSITY], "0.6");
    let absent = [keys::STREAMING_RULE, keys::BASE_REVISION];
    assert!(absent.iter().all(|key| !text.contains_key(*key)));
}

#[test]
fn a_full_sidecar_survives_writing_and_reading() {
    let mut sidecar = sample();
    sidecar.streaming_rule = Some(StreamingRule::DuoChunk);
    sidecar.chunk_len = Some(32_768);
    sidecar.base.revision = Some("0e9e39f2".to_owned());
    sidecar.base.weights_sha256 = Some("ab".repeat(32));
    sidecar.other = BTreeMap::from([("prulong.later".to_owned(), "é\n\"x\"".to_owned())]);
    let bytes = write::to_bytes(&sidecar);
    assert_eq!(parsed(&bytes).unwrap().sidecar, sidecar);
    sidecar.training = None;
    sidecar.log_alpha = None;
    sidecar.gate_score = None;
    sidecar.rank_source = RankSource::Mask;
    sidecar.source = "duo-tsv".to_owned();
    let bytes = write::to_bytes(&sidecar);
    assert_eq!(parsed(&bytes).unwrap().sidecar, sidecar);
}

#[test]
fn tensors_are_aligned_and_the_header_is_padded() {
    let bytes = write::to_bytes(&sample());
    let header_len = u64::from_le_bytes(bytes[..8].try_into().unwrap());
    assert_eq!(header_len % 8, 0);
    let header = std::str::from_utf8(&bytes[8..8 + usize::try_from(header_len).unwrap()]).unwrap();
    assert!(header.starts_with("{\"__metadata__\":{\"base_model_arch_sha256\":"));
    assert!(header.contains(
        "\"retrieval_mask\":{\"data_offsets\":[144,156],\"dtype\":\"U8\",\"shape\":[3,4]}"
    ));
}

#[test]
fn foreign_structure_is_named() {
    let good = Parts::of(&sample()).bytes();
    check_refused(&good[..7], "st.too_short");
    check_refused(&[], "st.too_short");
    check_refused(&good[..good.len() - 1], "st.truncated");
    check_refused(&[&good[..], b"x"].concat(), "st.trailing_bytes");
    check_refused(&good[..40], "st.header_len");
    check_refused(&[0xff; 64], "st.header_len");
    check_refused(
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
        "st.lfs_pointer",
    );
    check_refused(b"\n<!DOCTYPE html><html>", "st.looks_like_html");
    check_refused(b"<html><body>", "st.looks_like_html");
    check_refused(
        &vec![0; super::container::MAX_FILE_BYTES + 1],
        "st.too_many",
    );
    check_refused(&file(&" ".repeat((1 << 20) + 1), &[]), "st.too_many");
    for header in [
        " {}",
        "[]",
        "{",
        "{\"a\":1}",
        "{\"a\":{\"dtype\":\"U8\"}} x",
    ] {
        check_refused(&file(header, &[]), "st.header_text");
    }
    let mut not_text = file("{}", &[]);
    not_text[9] = 0xff;
    check_refused(&not_text, "st.header_text");
}

#[test]
fn headers_that_contradict_themselves_are_named() {
    let tensor = |dtype: &str, shape: &str, offsets: &str| {
        format!("{{\"a\":{{\"dtype\":{dtype},\"shape\":{shape},\"data_offsets\":{offsets}}}}}")
    };
    let good = tensor("\"U8\"", "[2]", "[0,2]");
    check_refused(&file(&good, &[0, 0]), "mask.kind");
    for (header, code) in [
        (tensor("\"F9\"", "[2]", "[0,2]"), "st.dtype"),
        (tensor("7", "[2]", "[0,2]"), "st.dtype"),
        (tensor("\"U8\"", "[-2]", "[0,2]"), "st.shape"),
        (tensor("\"U8\"", "[2.0]", "[0,2]"), "st.shape"),
        (tensor("\"U8\"", "[18446744073709551615,3]", "[0,2]"), "st.shape"),
        (tensor("\"U8\"", "[2]", "[2,0]"), "st.offsets"),
        (tensor("\"U8\"", "[2]", "[0]"), "st.offsets"),
        (tensor("\"U8\"", "[1]", "[1,2]"), "st.offsets"),
        (tensor("\"U8\"", "[3]", "[0,2]"), "st.offsets"),
        ("{\"__metadata__\":{\"a\":1},\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}".to_owned(), "st.metadata"),
    ] {
        check_refused(&file(&header, &[0, 0]), code);
    }
    let inner = &good[1..good.len() - 1];
    check_refused(
        &file(&format!("{{{inner},{inner}}}"), &[0, 0]),
        "st.duplicate_key",
    );
    let twice = "{\"__metadata__\":{\"k\":\"1\",\"k\":\"2\"}}";
    check_refused(&file(twice, &[]), "st.duplicate_key");
}

#[test]
fn words_that_fix_the_meaning_are_required() {
    for (code, key, value) in [
        ("mask.kind", keys::KIND, "checkpoint"),
        ("mask.version", keys::FORMAT_VERSION, "2"),
        ("mask.version", keys::FORMAT_VERSION, "01"),
        ("mask.head_axis", keys::HEAD_AXIS, "query"),
        ("mask.head_axis", keys::HEAD_ORDER, "permuted"),
        (
            "mask.polarity_unstated",
            keys::MASK_VALUES,
            "0=retrieval,1=streaming",
        ),
    ] {
        check_edit(code, |parts| parts.set(key, value));
        check_edit(code, |parts| {
            parts.metadata.remove(key);
        });
    }
}

#[test]
fn the_mask_tensor_is_checked() {
    check_edit("mask.shape", |parts| {
        parts.tensors.remove("retrieval_mask");
    });
    for dtype in ["I8", "BOOL"] {
        check_edit("mask.dtype", |parts| {
            parts.tensors.get_mut("retrieval_mask").unwrap().0 = json!(dtype);
        });
    }
    check_edit("mask.shape", |parts| {
        parts.tensors.get_mut("retrieval_mask").unwrap().1 = json!([4, 3]);
    });
    check_edit("mask.shape", |parts| {
        parts.tensors.get_mut("retrieval_mask").unwrap().1 = json!([12]);
    });
    check_edit("mask.values", |parts| parts.data("retrieval_mask")[5] = 2);
    check_edit("mask.shape", |parts| parts.set(keys::NUM_LAYERS, "5000"));
    check_edit("mask.shape", |parts| parts.set(keys::NUM_KV_HEADS, "0"));
    check_edit("mask.metadata", |parts| parts.set(keys::NUM_LAYERS, "+3"));
}

#[test]
fn counts_must_be_the_tensors() {
    check_edit("mask.counts", |parts| parts.set(keys::NUM_RETRIEVAL, "5"));
    check_edit("mask.counts", |parts| parts.set(keys::NUM_STREAMING, "9"));
    check_edit("mask.counts", |parts| parts.set(keys::SPARSITY, "0.6667"));
    check_edit("mask.counts", |parts| {
        parts.metadata.remove(keys::NUM_RETRIEVAL);
    });
    check_edit("mask.counts", |parts| {
        parts.data("retrieval_mask").swap(0, 1);
        parts.data("retrieval_mask")[1] = 0;
    });
}

#[test]
fn ranks_must_be_a_permutation_that_gives_the_mask_and_follows_the_gates() {
    check_edit("mask.rank", |parts| parts.data("retrieval_rank")[0] = 1);
    check_edit("mask.rank", |parts| parts.data("retrieval_rank")[3] = 0x80);
    check_edit("mask.shape", |parts| {
        parts.tensors.remove("retrieval_rank");
    });
    check_edit("mask.dtype", |parts| {
        parts.tensors.get_mut("retrieval_rank").unwrap().0 = json!("F32");
    });
    // The mask keeps other heads than the four first ranks.
    check_edit("mask.rank", |parts| parts.data("retrieval_mask").swap(0, 1));
    // A permutation that gives the mask, but not in the order of the gates.
    let swap_first_two = |parts: &mut Parts| {
        parts.data("retrieval_rank")[0] = 1;
        parts.data("retrieval_rank")[8 * 4] = 0;
    };
    check_edit("mask.rank", swap_first_two);
    check_edit("mask.rank", |parts| {
        parts.tensors.remove("log_alpha");
    });
    let mut parts = Parts::of(&sample());
    swap_first_two(&mut parts);
    parts.set(keys::RANK_SOURCE, "score");
    assert!(parsed(&parts.bytes()).is_ok());
}

#[test]
fn gates_must_be_finite() {
    for value in [f32::NAN, f32::INFINITY] {
        check_edit("mask.nonfinite", |parts| {
            parts.data("log_alpha")[20..24].copy_from_slice(&value.to_le_bytes());
        });
    }
    let mut parts = Parts::of(&sample());
    parts.data("log_alpha")[20..24].copy_from_slice(&f32::NAN.to_le_bytes());
    let error = parsed(&parts.bytes()).unwrap_err();
    assert!(error.to_string().contains("layer 1, kv head 1"), "{error}");
}

#[test]
fn the_span_must_be_usable() {
    check_edit("mask.span", |parts| parts.set(keys::WINDOW_LEN, "0"));
    check_edit("mask.span", |parts| parts.set(keys::BLOCK_LEN, "0"));
    check_edit("mask.span", |parts| parts.set(keys::SINK_LEN, "-1"));
    check_edit("mask.span", |parts| parts.set(keys::BLOCK_LEN, "100"));
    check_edit("mask.span", |parts| {
        parts.set(keys::WINDOW_INCLUDES_QUERY, "false");
    });
    check_edit("mask.span", |parts| parts.set(keys::TRAIN_WINDOW_LEN, "0"));
}

#[test]
fn every_other_key_is_checked() {
    for (key, value) in [
        (keys::ROUNDING, "ceil"),
        (keys::RANK_SOURCE, "luck"),
        (keys::SOURCE, ""),
        (keys::PROGRAM_VERSION, ""),
        (keys::TARGET_SPARSITY, "nan"),
        (keys::WEIGHTS_MODIFIED, "no"),
        (keys::BASE_MODEL, ""),
        (keys::BASE_CONFIG, "{}"),
        (keys::TRAIN_SEED, "forty-two"),
        (keys::NUM_HEADS, "8.0"),
    ] {
        check_edit("mask.metadata", |parts| parts.set(key, value));
    }
    check_edit("mask.base_arch", |parts| {
        parts.set(keys::BASE_ARCH_SHA256, "00");
    });
    check_edit("mask.base_arch", |parts| parts.set(keys::NUM_HEADS, "4"));
}

#[test]
fn another_architecture_is_an_error_and_other_positions_a_warning() {
    let sidecar = sample();
    let file = Path::new("m.safetensors");
    let model = |arch| Model {
        arch,
        revision: None,
        weights_sha256: None,
    };
    let same = provenance().arch;
    assert_eq!(check_model(&sidecar, &model(&same), file).unwrap(), []);
    let mut wider = same.clone();
    wider.vocab_size += 3;
    let error = check_model(&sidecar, &model(&wider), file).unwrap_err();
    assert_eq!(error.code(), "mask.base_arch");
    assert!(
        error
            .to_string()
            .contains("vocab_size 128256 against 128259")
    );
    let mut longer = same.clone();
    longer.rope_parameters.factor = Some(32.0);
    longer.max_position_embeddings = 1 << 20;
    let warnings = check_model(&sidecar, &model(&longer), file).unwrap();
    let [warning @ MaskWarning::BaseConfig { differences }] = &warnings[..] else {
        panic!("{warnings:?}");
    };
    assert_eq!(differences.len(), 2);
    assert_eq!(warning.code(), "mask.base_config");
    assert_eq!(
        strict(&warnings, file).unwrap_err().code(),
        "mask.base_config"
    );
    assert!(strict(&[], file).is_ok());
}

#[test]
fn other_weights_are_a_warning_unless_they_were_trained_with_the_gates() {
    let arch = provenance().arch;
    let file = Path::new("m.safetensors");
    let model = Model {
        arch: &arch,
        revision: Some("b"),
        weights_sha256: Some("bb"),
    };
    let mut sidecar = sample();
    assert_eq!(check_model(&sidecar, &model, file).unwrap(), []);
    sidecar.base.revision = Some("a".to_owned());
    sidecar.base.weights_sha256 = Some("aa".to_owned());
    let warnings = check_model(&sidecar, &model, file).unwrap();
    let codes: Vec<_> = warnings.iter().map(MaskWarning::code).collect();
    assert_eq!(codes, ["mask.base_weights"; 2]);
    sidecar.base.weights_modified = true;
    let error = check_model(&sidecar, &model, file).unwrap_err();
    assert_eq!(error.code(), "mask.base_weights");
}

#[test]
fn masks_of_one_class_and_other_spans_warn() {
    for (num_retrieval, code) in [(0, "mask.all_streaming"), (12, "mask.all_retrieval")] {
        let sidecar = recut(&sample(), Target::NumRetrieval(num_retrieval)).unwrap();
        let warnings = parsed(&write::to_bytes(&sidecar)).unwrap().warnings;
        let codes: Vec<_> = warnings.iter().map(MaskWarning::code).collect();
        assert_eq!(codes, [code]);
    }
    let mut sidecar = sample();
    let stored = sidecar.span;
    assert_eq!(
        check_use(&sidecar, &stored, Some(StreamingRule::Sliding)),
        []
    );
    sidecar.streaming_rule = Some(StreamingRule::DuoChunk);
    let other = Span::new(64, 256, 1).unwrap();
    let warnings = check_use(&sidecar, &other, Some(StreamingRule::Sliding));
    assert_eq!(warnings.len(), 3);
    assert!(warnings.iter().all(|w| w.code() == "mask.span_mismatch"));
}

#[test]
fn cuts_of_one_order_are_nested_and_keep_their_provenance() {
    let sidecar = sample();
    let recut_at = |n| recut(&sidecar, Target::NumRetrieval(n)).unwrap();
    for n in 0..=12 {
        let cut = recut_at(n);
        assert_eq!(cut.mask.num_retrieval(), n);
        assert_eq!(cut.rounding, Rounding::Count);
        assert_eq!((cut.target_sparsity, &cut.base), (None, &sidecar.base));
        assert!(parsed(&write::to_bytes(&cut)).is_ok());
    }
    let duo = recut(&sidecar, sparsity(0.6, Rounding::DuoStable)).unwrap();
    assert_eq!(duo.mask.num_streaming(), 7);
    let reference = recut(&sidecar, sparsity(0.6, Rounding::Reference)).unwrap();
    assert_eq!(reference.rank_source, RankSource::Reference);
    assert_eq!(reference.mask.num_retrieval(), 4);
    assert!(parsed(&write::to_bytes(&reference)).is_ok());
    let back = recut(&reference, sparsity(0.6, Rounding::FloorRetrieval)).unwrap();
    assert_eq!(back.ranks, sidecar.ranks);
}

#[test]
fn impossible_cuts_are_refused() {
    let sidecar = sample();
    for (target, part) in [
        (sparsity(1.5, Rounding::Nearest), "1.5"),
        (sparsity(f64::NAN, Rounding::Nearest), "NaN"),
        (sparsity(0.5, Rounding::Count), "`count`"),
        (Target::NumRetrieval(13), "13 retrieval heads of 12"),
    ] {
        let error = recut(&sidecar, target).unwrap_err();
        assert_eq!(error.code(), "mask.target");
        assert!(error.to_string().contains(part), "{error}");
    }
    let mut imported = sidecar;
    imported.log_alpha = None;
    imported.rank_source = RankSource::Score;
    let error = recut(&imported, sparsity(0.5, Rounding::Reference)).unwrap_err();
    assert!(matches!(error, CutError::NoGates));
    let kept = recut(&imported, sparsity(0.5, Rounding::Nearest)).unwrap();
    assert_eq!(kept.rank_source, RankSource::Score);
    for log_alpha in [&LOG_ALPHA[..11], &[f32::NAN; 12]] {
        let gates = TrainedGates {
            log_alpha,
            num_steps: 1,
        };
        let error = trained(gates, &provenance(), Target::NumRetrieval(1)).unwrap_err();
        assert_eq!(error.code(), "mask.nonfinite");
    }
}

#[test]
fn no_flipped_or_missing_byte_panics() {
    let good = write::to_bytes(&sample());
    for index in 0..good.len() {
        let mut bad = good.clone();
        bad[index] ^= 0x15;
        let _ = parsed(&bad);
        let _ = parsed(&good[..index]);
    }
}
