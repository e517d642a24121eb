//! The MDS writer: equal bytes to Python's for equal rows, and what it refuses.

use crate::mds_reader::{fixtures, open};
use proptest::prelude::*;
use prulong::data::mds::array::Array;
use prulong::data::mds::column::Encoding;
use prulong::data::mds::dtype::Dtype;
use prulong::data::mds::value::Value;
use prulong::data::mds::writer::{WriteOptions, Writer};
use prulong::fault::Coded;
use std::path::Path;

/// Writes the rows of `from` into `to`, with the settings found in its index.
fn rewrite(from: &Path, to: &Path) {
    let text = std::fs::read_to_string(from.join("index.json")).unwrap();
    let index: serde_json::Value = serde_json::from_str(&text).unwrap();
    let about = &index["shards"][0];
    let dataset = open(from).unwrap();
    let columns = dataset.shards()[0].columns.clone();
    let columns: Vec<(&str, Encoding)> = columns
        .iter()
        .map(|column| (column.name.as_str(), column.encoding.clone()))
        .collect();
    let options = WriteOptions {
        size_limit: about["size_limit"].as_u64(),
        hashes: serde_json::from_value(about["hashes"].clone()).unwrap(),
        zstd_level: (about["compression"] == "zstd").then_some(3),
    };
    let mut writer = Writer::create(to, &columns, options).unwrap();
    for row in 0..dataset.num_rows() {
        let values = dataset.row(row).unwrap().values().unwrap();
        let named: Vec<(&str, &Value)> = columns.iter().map(|c| c.0).zip(&values).collect();
        writer.write(&named).unwrap();
    }
    assert_eq!(writer.finish().unwrap(), dataset.num_rows());
}

#[test]
fn raw_shards_and_index_equal_pythons_byte_for_byte() {
    let names = [
        "all-encodings",
        "docs-int32",
        "packed-raw",
        "sft-raw",
        "splits/train",
        "splits/val",
    ];
    for name in names {
        let to = tempfile::tempdir().unwrap();
        rewrite(&fixtures().join(name), to.path());
        let mut num_files = 0;
        for entry in std::fs::read_dir(fixtures().join(name)).unwrap().flatten() {
            let found = std::fs::read(to.path().join(entry.file_name())).unwrap();
            assert!(
                found == std::fs::read(entry.path()).unwrap(),
                "{name} {:?}",
                entry.file_name()
            );
            num_files += 1;
        }
        assert_eq!(
            std::fs::read_dir(to.path()).unwrap().count(),
            num_files,
            "{name}"
        );
    }
}

#[test]
fn compressed_shards_hold_the_same_rows() {
    let to = tempfile::tempdir().unwrap();
    let from = fixtures().join("packed-zstd");
    rewrite(&from, to.path());
    let (ours, theirs) = (open(to.path()).unwrap(), open(&from).unwrap());
    for (ours, theirs) in ours.shards().iter().zip(theirs.shards()) {
        assert_eq!(ours.raw.hashes, theirs.raw.hashes);
        assert_eq!(ours.raw.basename, theirs.raw.basename);
    }
    ours.check_rows().unwrap();
}

#[test]
fn a_folder_in_use_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("x"), "").unwrap();
    let error = Writer::create(dir.path(), &[("a", Encoding::Int)], WriteOptions::default());
    assert_eq!(error.unwrap_err().code(), "mds.exists");
}

#[test]
fn without_finish_there_is_no_dataset() {
    let dir = tempfile::tempdir().unwrap();
    let options = WriteOptions {
        size_limit: Some(1),
        ..WriteOptions::default()
    };
    let mut writer = Writer::create(dir.path(), &[("a", Encoding::Int)], options).unwrap();
    writer.write(&[("a", &Value::Int(1))]).unwrap();
    writer.write(&[("a", &Value::Int(2))]).unwrap();
    drop(writer);
    let error = open(dir.path()).unwrap_err();
    assert!(error.to_string().contains("interrupted"), "{error}");
}

#[test]
fn values_that_do_not_fit_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let columns = [("a", Encoding::Scalar(Dtype::Uint8))];
    let mut writer = Writer::create(dir.path(), &columns, WriteOptions::default()).unwrap();
    let mut check = |values: &[(&str, &Value)], code: &str| {
        assert_eq!(writer.write(values).unwrap_err().code(), code);
    };
    check(&[("a", &Value::Int(256))], "mds.encoding");
    check(&[("a", &Value::Float(1.0))], "mds.encoding");
    check(&[], "mds.columns");
    check(
        &[("a", &Value::Int(1)), ("b", &Value::Int(1))],
        "mds.columns",
    );
}

fn any_row() -> impl Strategy<Value = (String, Vec<u8>, i64, Vec<u32>)> {
    (
        ".{0,12}",
        prop::collection::vec(any::<u8>(), 0..40),
        any::<i64>(),
        prop::collection::vec(any::<u32>(), 1..300),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn what_is_written_is_read(rows in prop::collection::vec(any_row(), 1..20), limit in 1_u64..3000, zip: bool) {
        let dir = tempfile::tempdir().unwrap();
        let columns = [
            ("text", Encoding::Str),
            ("bytes", Encoding::Bytes),
            ("int", Encoding::Int),
            ("array", Encoding::TypedArray(Dtype::Uint32)),
        ];
        let options = WriteOptions { size_limit: Some(limit), zstd_level: zip.then_some(1), ..WriteOptions::default() };
        let mut writer = Writer::create(dir.path(), &columns, options).unwrap();
        for (text, bytes, int, array) in &rows {
            writer.write(&[
                ("text", &Value::Str(text.clone())),
                ("bytes", &Value::Bytes(bytes.clone())),
                ("int", &Value::Int((*int).into())),
                ("array", &Value::Array(Array::from_u32(array, vec![array.len() as u64]).unwrap())),
            ]).unwrap();
        }
        writer.finish().unwrap();
        let dataset = open(dir.path()).unwrap();
        prop_assert_eq!(dataset.num_rows(), rows.len() as u64);
        for (index, (text, bytes, int, array)) in (0_u64..).zip(&rows) {
            let row = dataset.row(index).unwrap();
            prop_assert_eq!(row.value("text").unwrap(), Some(Value::Str(text.clone())));
            prop_assert_eq!(row.value("bytes").unwrap(), Some(Value::Bytes(bytes.clone())));
            prop_assert_eq!(row.value("int").unwrap(), Some(Value::Int((*int).into())));
            let values: Vec<i128> = array.iter().map(|&v| v.into()).collect();
            let Some(Value::Array(read)) = row.value("array").unwrap() else { panic!() };
            prop_assert_eq!(read.integers(), Some(values));
        }
    }
}
