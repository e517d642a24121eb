//! The exact bytes other engines read.

use super::*;
use crate::fault::Coded;
use crate::mask::foreign::table::{ScoreTable, parse_table};
use crate::mask::head_mask::HeadKind;
use crate::mask::sidecar::cut::{Target, TrainedGates, trained};

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
