//! The MDS reader against datasets written by Python's writer, and against damaged copies of them.

use prulong::data::mds::dataset::{Dataset, ReadOptions, Verify};
use prulong::data::mds::error::MdsError;
use prulong::data::mds::value::{Value, hex};
use prulong::fault::{Coded, Kind};
use serde_json::Value as Json;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

pub(crate) fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/mds")
}

pub(crate) fn open(dir: &Path) -> Result<Dataset, MdsError> {
    Dataset::open(dir, ReadOptions::default())
}

fn expected() -> Json {
    let text = std::fs::read_to_string(fixtures().join("expected.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn check_array(name: &str, value: &Value, expected: &Json) {
    let Value::Array(array) = value else {
        panic!("{name}: not an array: {value:?}")
    };
    assert_eq!(expected["dtype"], array.dtype().name(), "{name}");
    assert_eq!(
        expected["shape"],
        serde_json::json!(array.shape()),
        "{name}"
    );
    let digest = hex(&Sha256::digest(array.bytes()));
    assert_eq!(expected["sha256_le"], digest, "{name}");
    if let (Some(values), Some(found)) = (expected["values"].as_array(), array.integers()) {
        let values: Vec<i128> = values
            .iter()
            .map(|v| i128::from(v.as_i64().unwrap()))
            .collect();
        assert_eq!(values, found, "{name}");
    }
}

fn check_value(name: &str, value: &Value, expected: &Json) {
    match value {
        Value::Array(_) => check_array(name, value, expected),
        Value::Bytes(bytes) => assert_eq!(expected["bytes_hex"], hex(bytes), "{name}"),
        Value::Float(number) => {
            let text = expected["value"].as_str().unwrap();
            let expected: f64 = text.parse().unwrap();
            assert_eq!(expected.to_bits(), number.to_bits(), "{name}");
        }
        Value::FloatText(text) => assert_eq!(expected["float"], *text, "{name}"),
        Value::DecimalText(text) => assert_eq!(expected["decimal"], *text, "{name}"),
        Value::IntText(text) => {
            // 10^30 + k does not fit an f64: compare by the digits that the JSON text holds.
            assert!(
                text.starts_with("1000000000000000000000000000"),
                "{name}: {text}"
            );
        }
        Value::Int(number) => {
            let plain = if expected.is_object() {
                &expected["value"]
            } else {
                expected
            };
            assert_eq!(plain.to_string(), number.to_string(), "{name}");
        }
        Value::Str(text) => assert_eq!(expected, text, "{name}"),
        Value::Json(json) => assert_eq!(expected, json, "{name}"),
    }
}

#[test]
fn every_value_of_every_fixture_is_read() {
    let expected = expected();
    let datasets = expected["datasets"].as_object().unwrap();
    assert_eq!(datasets.len(), 8);
    for (name, about) in datasets {
        let dataset = Dataset::open(
            &fixtures().join(name),
            ReadOptions {
                verify: Verify::All,
                cache_bytes: 0,
            },
        )
        .unwrap();
        let samples = about["samples"].as_array().unwrap();
        assert_eq!(dataset.num_rows(), samples.len() as u64, "{name}");
        for (index, sample) in (0_u64..).zip(samples) {
            let row = dataset.row(index).unwrap();
            assert_eq!(
                row.columns().len(),
                sample.as_object().unwrap().len(),
                "{name}"
            );
            for (column, value) in row.columns().iter().zip(row.values().unwrap()) {
                let place = format!("{name} row {index} {}", column.name);
                assert_eq!(
                    about["columns"][&column.name],
                    column.encoding.name(),
                    "{place}"
                );
                check_value(&place, &value, &sample[&column.name]);
            }
        }
    }
}

#[test]
fn values_print_as_json() {
    let row = open(&fixtures().join("all-encodings"))
        .unwrap()
        .row(1)
        .unwrap();
    let check = |column: &str, expected: &str| {
        let value = row.value(column).unwrap().unwrap();
        assert_eq!(value.to_json().to_string(), expected, "{column}");
    };
    check("a_bytes", "\"00ff0101\"");
    check("d_json", "[]");
    check("e_u64", "18446744073709551614");
    check("h_sint", "\"1000000000000000000000000000001\"");
    check("h_sdec", "\"2.234567890123456789012345679\"");
    check("h_sfloat", "1.1");
    check("i_nd_3d", "[[[1,1,1]],[[1,1,1]]]");
    check("i_nd_dyn", "[[1.0,1.0],[1.0,1.0]]");
    check("i_nd_static", "[[-1,0,1],[2,3,4]]");
}

/// A copy of a fixture that can be damaged.
fn copy(name: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(fixtures().join(name)).unwrap() {
        let entry = entry.unwrap();
        std::fs::write(
            dir.path().join(entry.file_name()),
            std::fs::read(entry.path()).unwrap(),
        )
        .unwrap();
    }
    dir
}

fn edit_index(dir: &Path, from: &str, to: &str) {
    let path = dir.join("index.json");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{from}");
    std::fs::write(path, text.replacen(from, to, 1)).unwrap();
}

fn read_all(dir: &Path) -> Result<(), MdsError> {
    open(dir)?.check_rows()
}

/// Damages a copy of `fixture`, and expects the error `code`.
fn check_refused(fixture: &str, damage: impl Fn(&Path), code: &str) {
    let dir = copy(fixture);
    damage(dir.path());
    let error = read_all(dir.path()).unwrap_err();
    assert_eq!(error.code(), code, "{error}");
    assert_eq!(error.kind(), Kind::Input, "{error}");
}

fn flip_last_byte(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(path, bytes).unwrap();
}

fn patch(path: &Path, at: usize, with: &[u8]) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at..at + with.len()].copy_from_slice(with);
    std::fs::write(path, bytes).unwrap();
}

#[test]
#[expect(clippy::too_many_lines, reason = "one line per way to be damaged")]
fn damaged_datasets_are_refused_by_code() {
    let index = |from: &'static str, to: &'static str| move |dir: &Path| edit_index(dir, from, to);
    let raw = "packed-raw";
    check_refused("bad-pickle", |_| (), "mds.encoding");
    check_refused(
        raw,
        |dir| flip_last_byte(&dir.join("shard.00000.mds")),
        "mds.hash",
    );
    check_refused(raw, index("\"version\": 2", "\"version\": 3"), "mds.index");
    check_refused(
        raw,
        index("\"format\": \"mds\"", "\"format\": \"csv\""),
        "mds.index",
    );
    check_refused(raw, index("{", ""), "mds.index");
    check_refused(
        raw,
        |dir| std::fs::remove_file(dir.join("index.json")).unwrap(),
        "mds.index",
    );
    check_refused(
        raw,
        |dir| std::fs::remove_file(dir.join("shard.00001.mds")).unwrap(),
        "mds.index",
    );
    check_refused(raw, index("\"bytes\": 4482", "\"bytes\": 4483"), "mds.size");
    check_refused(raw, index("\"samples\": 2", "\"samples\": 3"), "mds.count");
    check_refused(raw, index("shard.00000.mds", "../x"), "mds.unsafe_name");
    check_refused(
        raw,
        index("shard.00000.mds", "/etc/passwd"),
        "mds.unsafe_name",
    );
    check_refused(raw, index("\"domain\", ", ""), "mds.columns");
    check_refused(
        raw,
        index("null, null, null, 8", "null, null, null, 4"),
        "mds.columns",
    );
    check_refused(raw, index("\"ndarray:uint32\"", "\"pil\""), "mds.encoding");
    check_refused(
        "all-encodings",
        index("\"d_json\"", "\"b_str\""),
        "mds.columns",
    );
    let offsets = |dir: &Path| patch(&dir.join("shard.00000.mds"), 8, &9999_u32.to_le_bytes());
    check_refused("sft-raw", offsets, "mds.offsets");
    let into_header = |dir: &Path| patch(&dir.join("shard.00000.mds"), 4, &5_u32.to_le_bytes());
    check_refused("sft-raw", into_header, "mds.offsets");
    check_refused("packed-zstd", index("\"zstd\"", "\"br\""), "mds.codec");
    check_refused(
        "packed-zstd",
        index("\"bytes\": 4486", "\"bytes\": 4485"),
        "mds.bomb",
    );
    check_refused(
        "packed-zstd",
        index("\"bytes\": 4486", "\"bytes\": 4487"),
        "mds.codec",
    );
    check_refused(
        "codec-gz",
        |dir| flip_last_byte(&dir.join("shard.00000.mds.gz")),
        "mds.codec",
    );
    let trailing = |dir: &Path| {
        let path = dir.join("shard.00000.mds.gz");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.push(0);
        std::fs::write(path, bytes).unwrap();
        edit_index(dir, "\"bytes\": 1840", "\"bytes\": 1841");
    };
    check_refused("codec-gz", trailing, "mds.codec");
}

#[test]
fn links_that_leave_the_folder_are_refused() {
    let dir = copy("sft-raw");
    let path = dir.path().join("shard.00000.mds");
    std::fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink(fixtures().join("sft-raw/shard.00000.mds"), &path).unwrap();
    assert_eq!(open(dir.path()).unwrap_err().code(), "mds.unsafe_name");
}

#[test]
fn a_folder_of_splits_names_them() {
    let error = open(&fixtures().join("splits")).unwrap_err().to_string();
    assert!(error.contains("`train`, `val`"), "{error}");
}

#[test]
fn verification_can_be_switched_off() {
    let dir = copy("packed-raw");
    flip_last_byte(&dir.path().join("shard.00000.mds"));
    let options = ReadOptions {
        verify: Verify::Off,
        ..ReadOptions::default()
    };
    Dataset::open(dir.path(), options).unwrap().row(0).unwrap();
}

#[test]
fn either_file_of_a_compressed_shard_will_do() {
    let dir = copy("packed-zstd");
    let packed = std::fs::read(dir.path().join("shard.00000.mds.zstd")).unwrap();
    std::fs::remove_file(dir.path().join("shard.00000.mds.zstd")).unwrap();
    let raw = zstd::decode_all(packed.as_slice()).unwrap();
    std::fs::write(dir.path().join("shard.00000.mds"), raw).unwrap();
    read_all(dir.path()).unwrap();
}

#[test]
fn merged_indexes_may_name_folders_and_mix_compression() {
    let dir = tempfile::tempdir().unwrap();
    let mut shards = Vec::new();
    for part in ["packed-raw", "packed-zstd"] {
        let to = dir.path().join(part);
        std::fs::create_dir(&to).unwrap();
        for entry in std::fs::read_dir(fixtures().join(part)).unwrap().flatten() {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
        let text = std::fs::read_to_string(to.join("index.json")).unwrap();
        let text = text.replace("\"shard.", &format!("\"{part}/shard."));
        let mut index: Json = serde_json::from_str(&text).unwrap();
        shards.append(index["shards"].as_array_mut().unwrap());
    }
    let merged = serde_json::json!({ "version": 2, "shards": shards });
    std::fs::write(dir.path().join("index.json"), merged.to_string()).unwrap();
    let dataset = open(dir.path()).unwrap();
    assert_eq!(dataset.num_rows(), 20);
    for row in 0..10 {
        let twin = dataset.row(row + 10).unwrap().values().unwrap();
        assert_eq!(dataset.row(row).unwrap().values().unwrap(), twin);
    }
}

/// The values of every row, or the first error.
fn rows(dir: &Path, verify: Verify) -> Result<Vec<Vec<Value>>, MdsError> {
    let options = ReadOptions {
        verify,
        ..ReadOptions::default()
    };
    let dataset = Dataset::open(dir, options)?;
    (0..dataset.num_rows())
        .map(|row| dataset.row(row)?.values())
        .collect()
}

#[test]
fn truncation_at_every_byte_is_an_error() {
    let dir = copy("all-encodings");
    let path = dir.path().join("shard.00000.mds");
    let whole = std::fs::read(&path).unwrap();
    for len in 0..whole.len() {
        std::fs::write(&path, &whole[..len]).unwrap();
        let index = std::fs::read_to_string(fixtures().join("all-encodings/index.json")).unwrap();
        let declared = index.replace("\"bytes\": 2045", &format!("\"bytes\": {len}"));
        std::fs::write(dir.path().join("index.json"), &index).unwrap();
        assert_eq!(
            rows(dir.path(), Verify::Off).unwrap_err().code(),
            "mds.size"
        );
        std::fs::write(dir.path().join("index.json"), &declared).unwrap();
        let error = rows(dir.path(), Verify::Off).unwrap_err();
        assert_eq!(error.code(), "mds.offsets", "cut at {len}: {error}");
    }
}

#[test]
fn a_flipped_bit_is_an_error_or_only_changes_values() {
    let dir = copy("all-encodings");
    let path = dir.path().join("shard.00000.mds");
    let whole = std::fs::read(&path).unwrap();
    let original = rows(dir.path(), Verify::Off).unwrap();
    for at in 0..whole.len() {
        for bit in [0, 3, 7] {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << bit;
            std::fs::write(&path, &bytes).unwrap();
            if let Ok(read) = rows(dir.path(), Verify::Off) {
                assert_eq!(read.len(), original.len());
            }
        }
    }
}

#[test]
fn a_flipped_bit_of_a_hashed_shard_is_an_error() {
    let dir = copy("packed-raw");
    let path = dir.path().join("shard.00000.mds");
    let whole = std::fs::read(&path).unwrap();
    for at in (0..whole.len()).step_by(7) {
        let mut bytes = whole.clone();
        bytes[at] ^= 4;
        std::fs::write(&path, &bytes).unwrap();
        let dataset = open(dir.path()).unwrap();
        assert_eq!(dataset.row(0).unwrap_err().code(), "mds.hash");
    }
}
