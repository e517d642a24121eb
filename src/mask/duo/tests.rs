//! The exact bytes other engines read, and every trap of foreign tables.

use super::*;
use crate::fault::Coded;
use crate::mask::head_mask::HeadKind;
use crate::mask::sidecar::cut::{Target, TrainedGates, trained};
use crate::shape::AttentionShape;

fn parsed(text: &str) -> Result<ScoreTable, MaskError> {
    parse_table(text.as_bytes(), Path::new(TABLE_NAME))
}

fn sample() -> Sidecar {
    let provenance = crate::mask::provenance::tests::published();
    let log_alpha: Vec<f32> = (0..256_u16).map(|i| f32::from(i % 17) - 8.0).collect();
    let gates = TrainedGates {
        log_alpha: &log_alpha,
        num_steps: 1000,
    };
    trained(gates, &provenance, Target::NumRetrieval(76)).unwrap()
}

#[test]
fn the_directory_holds_the_documented_bytes() {
    let mask = HeadMask::new(2, 3, vec![true, false, false, false, true, true]).unwrap();
    assert_eq!(table_text(&mask), "1\t0\t0\n0\t1\t1\n");
    let config = config_text(&sample());
    let golden = "{\"deploy_recent_size\":1024,\"deploy_sink_size\":128,\
                  \"model_name\":\"meta-llama/Llama-3.1-8B-Instruct\",\"recent_size\":1024,\"sink_size\":128,\
                  \"sparsity\":0.703125,\"threshold\":0.5}\n";
    assert_eq!(config, golden);
}

#[test]
fn a_written_mask_reads_back_equal() {
    let sidecar = sample();
    let table = parsed(&table_text(&sidecar.mask)).unwrap();
    assert_eq!(table.to_mask(Path::new("x")).unwrap(), sidecar.mask);
    let sizes = parse_config(config_text(&sidecar).as_bytes(), Path::new("x")).unwrap();
    assert_eq!((sizes.sink_size, sizes.recent_size), (128, 1024));
}

#[test]
fn crlf_and_floats_are_read() {
    let table = parsed("1.0\t0.0\r\n0\t1e0\r\n").unwrap();
    let mask = table.to_mask(Path::new("x")).unwrap();
    assert_eq!(mask.flags(), [true, false, false, true]);
}

#[test]
fn graded_scores_are_scores_and_never_a_mask() {
    let table = parsed("0.25\t1\n0\t-1.4e-3\n").unwrap();
    assert_eq!(table.scores, [0.25, 1.0, 0.0, -0.0014]);
    let error = table.to_mask(Path::new("x")).unwrap_err();
    assert_eq!(error.code(), "mask.not_binary");
    assert!(error.hint().is_some());
}

#[test]
fn traps_of_foreign_tables_are_named_with_their_place() {
    for (text, code, place) in [
        ("1\t0\n1\n", "mask.ragged", "line 2"),
        ("1\t0\n1\t0\t1\n", "mask.ragged", "line 2"),
        ("1,0\n0,1\n", "mask.separator", "`,`"),
        ("1;0\n", "mask.separator", "`;`"),
        ("1 0\n", "mask.separator", "` `"),
        ("head0\thead1\n1\t0\n", "mask.header_row", "head0"),
        ("1\t0\n1\tx\n", "mask.values", "line 2, column 2"),
        ("1\tnan\n", "mask.values", "line 1, column 2"),
        ("nan\t1\n", "mask.values", "line 1, column 1"),
        ("1\t\n", "mask.values", "line 1, column 2"),
        ("", "mask.shape", "0 x 0"),
    ] {
        let error = parsed(text).unwrap_err();
        assert_eq!(error.code(), code, "{text:?}: {error}");
        assert!(error.to_string().contains(place), "{text:?}: {error}");
    }
    let error = parse_table(&[b'1', b'\t', 0xff], Path::new("x")).unwrap_err();
    assert_eq!(error.code(), "mask.values");
    let long = "1\n".repeat(MAX_AXIS + 1);
    assert_eq!(parsed(&long).unwrap_err().code(), "mask.shape");
    let huge = vec![b'1'; MAX_TABLE_BYTES + 1];
    let error = parse_table(&huge, Path::new("x")).unwrap_err();
    assert_eq!(error.code(), "mask.shape");
}

#[test]
fn a_table_of_query_heads_is_named_as_such() {
    let shape = AttentionShape {
        num_layers: 1,
        num_heads: 4,
        num_kv_heads: 2,
        head_dim: 8,
    };
    let file = Path::new(TABLE_NAME);
    assert!(parsed("1\t0\n").unwrap().check_shape(&shape, file).is_ok());
    let error = parsed("1\t1\t0\t0\n").unwrap().check_shape(&shape, file);
    let error = error.unwrap_err();
    assert_eq!(error.code(), "mask.shape");
    let text = error.to_string();
    assert!(
        text.contains("4 columns") && text.contains("2 kv heads and 4 heads"),
        "{text}"
    );
}

#[test]
fn sizes_must_be_there_and_possible() {
    for text in [
        "{",
        "[]",
        "{\"sink_size\":1}",
        "{\"sink_size\":1,\"recent_size\":0}",
        "{\"sink_size\":-1,\"recent_size\":4}",
        "{\"sink_size\":\"1\",\"recent_size\":4}",
    ] {
        let error = parse_config(text.as_bytes(), Path::new(CONFIG_NAME)).unwrap_err();
        assert_eq!(error.code(), "mask.metadata", "{text}");
    }
}

#[test]
fn tables_that_loaders_squeeze_are_announced() {
    for (num_layers, num_kv_heads, num_warnings) in [(4, 1, 1), (1, 8, 1), (4, 8, 0)] {
        let mask = HeadMask::uniform(num_layers, num_kv_heads, HeadKind::Streaming);
        assert_eq!(warnings(&mask).len(), num_warnings);
    }
}
