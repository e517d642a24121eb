//! Rows, the collator's goldens, and the loader: order, seeking, ranks, prefetch, and data that changed.

use crate::mds_reader::{fixtures, open};
use prulong::config::data::{StreamSpec, StreamWeight};
use prulong::config::instruct_mask::InstructMask;
use prulong::data::collate::{CollateSettings, IGNORED, collate};
use prulong::data::identity::DataIdentity;
use prulong::data::loader::{Loader, LoaderSettings, PackedRow};
use prulong::data::mds::array::Array;
use prulong::data::mds::column::Encoding;
use prulong::data::mds::dtype::Dtype;
use prulong::data::mds::error::MdsError;
use prulong::data::mds::value::{Value, hex};
use prulong::data::mds::writer::{WriteOptions, Writer};
use prulong::data::order::OrderKind;
use prulong::data::ranks::Ranks;
use prulong::data::rows::{RowNeeds, TokenRow, read_row};
use prulong::fault::Coded;
use serde_json::Value as Json;
use sha2::{Digest, Sha256};
use std::path::Path;

fn check_values(values: &[i64], expected: &Json, context: &str) {
    assert_eq!(expected["n"], values.len(), "{context}");
    assert_eq!(
        expected["first12"],
        serde_json::json!(&values[..12]),
        "{context}"
    );
    assert_eq!(
        expected["last4"],
        serde_json::json!(&values[values.len() - 4..]),
        "{context}"
    );
    let bytes: Vec<u8> = values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    assert_eq!(
        expected["sha256_i64le"],
        hex(&Sha256::digest(bytes)),
        "{context}"
    );
}

fn rows(name: &str, numbers: &Json, needs: RowNeeds) -> Vec<TokenRow> {
    let dataset = open(&fixtures().join(name)).unwrap();
    let numbers: Vec<u64> = serde_json::from_value(numbers.clone()).unwrap();
    numbers
        .iter()
        .map(|&row| read_row(&dataset, row, needs).unwrap())
        .collect()
}

#[test]
fn rows_are_collated_as_the_reference_does() {
    let text = std::fs::read_to_string(fixtures().join("collate.json")).unwrap();
    let golden: Json = serde_json::from_str(&text).unwrap();
    let cases = golden["collate"].as_array().unwrap();
    assert_eq!(cases.len(), 9);
    for case in cases {
        let args = &case["args"];
        let needs = RowNeeds {
            vocab_size: Some(128_256),
            instruct_mask: if args["apply_instruct_masks"] == true {
                InstructMask::Needed
            } else {
                InstructMask::Ignored
            },
        };
        let rows = rows(case["dataset"].as_str().unwrap(), &case["rows"], needs);
        let budget = usize::try_from(args["per_device_max_tokens"].as_u64().unwrap()).unwrap();
        let settings = CollateSettings {
            budget: Some(budget),
            single_document: args["single_seq"] == true,
        };
        let joined = collate(&rows, settings);
        let context = case.to_string();
        check_values(&joined.ids, &case["input_ids"], &context);
        check_values(&joined.labels, &case["labels"], &context);
        assert_eq!(
            case["seq_lengths"],
            serde_json::json!(joined.doc_lens),
            "{context}"
        );
        let ignored = joined.labels.len() - joined.num_trained();
        assert_eq!(case["ignored"], ignored, "{context}");
    }
}

#[test]
fn clipping_is_counted_and_single_documents_ignore_spans() {
    let rows = rows("packed-raw", &serde_json::json!([1]), RowNeeds::default());
    let clip = |budget| {
        let settings = CollateSettings {
            budget: Some(budget),
            single_document: false,
        };
        collate(&rows, settings)
    };
    assert_eq!((clip(512).num_clipped, clip(250).num_clipped), (0, 262));
    assert_eq!(
        (clip(101).doc_lens, clip(101).num_clipped),
        (vec![100], 412)
    );
    let settings = CollateSettings {
        budget: None,
        single_document: true,
    };
    assert_eq!(collate(&rows, settings).doc_lens, [512]);
}

fn array(values: &[u32]) -> Value {
    Value::Array(Array::from_u32(values, vec![values.len() as u64]).unwrap())
}

fn spans(values: &[u32]) -> Value {
    Value::Array(Array::from_u32(values, vec![values.len() as u64 / 2, 2]).unwrap())
}

/// A dataset of rows `(ids, indices, mask)`.
fn write_rows(dir: &Path, rows: &[(Value, Value, Value)], size_limit: u64) {
    let array = || Encoding::TypedArray(Dtype::Uint32);
    let columns = [
        ("input_ids", array()),
        ("indices", array()),
        ("mask", array()),
    ];
    let options = WriteOptions {
        size_limit: Some(size_limit),
        ..WriteOptions::default()
    };
    let mut writer = Writer::create(dir, &columns, options).unwrap();
    for (ids, indices, mask) in rows {
        let row = [("input_ids", ids), ("indices", indices), ("mask", mask)];
        writer.write(&row).unwrap();
    }
    writer.finish().unwrap();
}

/// A dataset whose row r holds the tokens `[base + r; 8]`.
fn numbered(dir: &Path, base: u32, num_rows: u32) {
    let rows: Vec<_> = (0..num_rows)
        .map(|row| (array(&[base + row; 8]), spans(&[0, 8]), array(&[1; 8])))
        .collect();
    write_rows(dir, &rows, 600);
}

fn stream(dir: &Path, weight: StreamWeight) -> StreamSpec {
    StreamSpec {
        path: dir.to_path_buf(),
        weight,
    }
}

fn plain(dir: &Path) -> StreamSpec {
    stream(dir, StreamWeight::Repeat(1.0))
}

fn take(loader: &mut Loader, count: usize) -> Vec<PackedRow> {
    (0..count).map(|_| loader.next_row().unwrap()).collect()
}

#[test]
fn bad_rows_are_refused_by_code() {
    let check = |row: (Value, Value, Value), code: &str| {
        let dir = tempfile::tempdir().unwrap();
        write_rows(dir.path(), &[row], 1 << 20);
        let settings = LoaderSettings {
            vocab_size: Some(100),
            instruct_mask: InstructMask::Needed,
            budget: Some(6),
            ..LoaderSettings::default()
        };
        let error = Loader::open(&[plain(dir.path())], &settings).unwrap_err();
        assert_eq!(error.code(), code, "{error}");
    };
    let row =
        |ids: &[u32], indices: &[u32], mask: &[u32]| (array(ids), spans(indices), array(mask));
    check(row(&[1, 100], &[0, 2], &[1, 1]), "mds.token_range");
    check(row(&[1, 2], &[0, 3], &[1, 1]), "mds.spans");
    check(row(&[1, 2, 3, 4], &[2, 4, 0, 2], &[1; 4]), "mds.spans");
    check(row(&[1, 2, 3, 4], &[0, 3, 2, 4], &[1; 4]), "mds.spans");
    check(row(&[1, 2, 3, 4], &[3, 1], &[1; 4]), "mds.spans");
    check(
        (array(&[1, 2]), array(&[0, 2]), array(&[1, 1])),
        "mds.spans",
    );
    check(row(&[1, 2], &[0, 2], &[1]), "mds.mask_len");
    check(row(&[1, 2], &[0, 1], &[1, 1]), "mds.empty_sample");
    check(row(&[1; 7], &[0, 7], &[1; 7]), "mds.row_len");
}

#[test]
fn masked_rows_are_delivered_with_nothing_to_train_on() {
    let dir = tempfile::tempdir().unwrap();
    let row = (array(&[1, 2, 3]), spans(&[0, 3]), array(&[1, 0, 0]));
    write_rows(dir.path(), &[row], 1 << 20);
    let settings = LoaderSettings {
        instruct_mask: InstructMask::Needed,
        ..LoaderSettings::default()
    };
    let mut loader = Loader::open(&[plain(dir.path())], &settings).unwrap();
    let row = loader.next_row().unwrap();
    assert_eq!((row.num_trained, row.labels), (0, vec![IGNORED; 3]));
}

#[test]
fn seeking_to_a_position_is_replaying_to_it() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    numbered(a.path(), 0, 13);
    numbered(b.path(), 100, 5);
    let streams = [
        stream(a.path(), StreamWeight::Proportion(0.5)),
        stream(b.path(), StreamWeight::Proportion(0.5)),
    ];
    let open = |prefetch_rows| {
        let settings = LoaderSettings {
            seed: 5,
            prefetch_rows,
            ..LoaderSettings::default()
        };
        Loader::open(&streams, &settings).unwrap()
    };
    let mut loader = open(8);
    let replayed = take(&mut loader, 60);
    assert_eq!(loader.position(), 60);
    for position in [0, 1, 17, 18, 41] {
        loader.seek(position as u64).unwrap();
        assert_eq!(take(&mut loader, 4), replayed[position..position + 4]);
    }
    assert_eq!(take(&mut open(1), 60), replayed);
    let of = |range: std::ops::Range<usize>, stream| {
        let rows = replayed[range].iter().filter(|row| row.stream == stream);
        rows.map(|row| row.ids[0]).collect::<Vec<_>>()
    };
    assert_eq!((of(0..18, 0).len(), of(0..18, 1).len()), (9, 9));
    let mut pass = of(0..60, 0)[..13].to_vec();
    pass.sort_unstable();
    assert_eq!(pass, (0..13).collect::<Vec<_>>());
}

#[test]
fn ranks_together_read_the_rows_of_one() {
    let dir = tempfile::tempdir().unwrap();
    numbered(dir.path(), 0, 16);
    let open = |ranks| {
        let settings = LoaderSettings {
            ranks,
            ..LoaderSettings::default()
        };
        Loader::open(&[plain(dir.path())], &settings).unwrap()
    };
    let alone = take(&mut open(Ranks::single(4)), 24);
    let mut first = open(Ranks::new(4, 0, 2).unwrap());
    let mut second = open(Ranks::new(4, 1, 2).unwrap());
    for step in alone.chunks(4) {
        let together = [take(&mut first, 2), take(&mut second, 2)].concat();
        assert_eq!(together, step);
    }
    assert_eq!((first.position(), second.position()), (24, 24));
    second.seek(12).unwrap();
    assert_eq!(take(&mut second, 1), alone[14..15]);
}

#[test]
fn changed_data_is_noticed_and_moved_data_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    numbered(&at("a"), 0, 16);
    numbered(&at("b"), 0, 15);
    let identity = |path: &Path, order| -> DataIdentity {
        let settings = LoaderSettings {
            order,
            ..LoaderSettings::default()
        };
        Loader::open(&[plain(path)], &settings)
            .unwrap()
            .identity()
            .clone()
    };
    let shuffled = OrderKind::Shuffled { block_rows: 0 };
    let original = identity(&at("a"), shuffled);
    let json = serde_json::to_string(&original).unwrap();
    let saved: DataIdentity = serde_json::from_str(&json).unwrap();
    let error = identity(&at("b"), shuffled).check(&saved).unwrap_err();
    assert_eq!(error.code(), "mds.fingerprint");
    assert!(error.to_string().contains("`b` rows 16 -> 15"), "{error}");
    assert!(
        identity(&at("a"), OrderKind::Sequential)
            .check(&saved)
            .is_err()
    );
    std::fs::rename(at("a"), at("moved")).unwrap();
    identity(&at("moved"), shuffled).check(&saved).unwrap();
}

#[test]
fn a_shard_that_breaks_later_is_an_error_at_its_row() {
    let dir = tempfile::tempdir().unwrap();
    numbered(dir.path(), 0, 40);
    let settings = LoaderSettings {
        order: OrderKind::Sequential,
        ..LoaderSettings::default()
    };
    let mut loader = Loader::open(&[plain(dir.path())], &settings).unwrap();
    let last = dir.path().join("shard.00003.mds");
    let mut bytes = std::fs::read(&last).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&last, bytes).unwrap();
    let error = loop {
        if let Err(error) = loader.next_row() {
            break error;
        }
    };
    assert_eq!(error.code(), "mds.hash", "{error}");
    let before = loader.position();
    assert!(before > 0 && before < 40);
    assert!(matches!(loader.next_row(), Err(MdsError::Hash { .. })));
    assert_eq!(loader.position(), before);
}

#[test]
fn too_little_data_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    numbered(dir.path(), 0, 3);
    let settings = LoaderSettings {
        ranks: Ranks::single(4),
        ..LoaderSettings::default()
    };
    let error = Loader::open(&[plain(dir.path())], &settings).unwrap_err();
    assert_eq!(error.code(), "mds.too_small");
}
