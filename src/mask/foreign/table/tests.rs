//! Every trap of foreign tables.

use super::*;
use crate::fault::Coded;

fn parsed(text: &str) -> Result<ScoreTable, MaskError> {
    parse_table(text.as_bytes(), Path::new("masks.tsv"))
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
    let file = Path::new("masks.tsv");
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
