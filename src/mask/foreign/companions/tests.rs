//! What an export writes agrees with its sidecar; every edit of it is told.

use super::*;
use crate::mask::gate_method::GateMethod;
use crate::mask::provenance::tests::published;
use crate::mask::sidecar::cut::{Target, TrainedGates, distilled, trained};

fn sample() -> Sidecar {
    let mut provenance = published();
    provenance.arch.num_hidden_layers = 2;
    provenance.arch.num_attention_heads = 4;
    provenance.arch.num_key_value_heads = 2;
    let gates = TrainedGates {
        log_alpha: &[1.0, 4.0, 3.0, 2.0],
        num_steps: 1,
    };
    trained(gates, &provenance, Target::NumRetrieval(2)).unwrap()
}

fn written(name: &str) -> Vec<u8> {
    let sidecar = sample();
    match name {
        "duo/full_attention_heads.tsv" => duo::table_text(&sidecar.mask).into(),
        "duo/config.json" => duo::config_text(&sidecar).into(),
        "duo_rank/full_attention_heads.tsv" => duo_rank::table_text(&sidecar).unwrap().into(),
        "duo_rank/config.json" => duo_rank::config_text(&sidecar).into(),
        rtp_llm::FILE_NAME => rtp_llm::text(&sidecar).into(),
        _ => head_scores::to_bytes(&sidecar),
    }
}

/// A mask of gates that DuoAttention trained, one of them outside [0, 1].
fn distilled_sample() -> Sidecar {
    let mut provenance = published();
    provenance.arch.num_hidden_layers = 2;
    provenance.arch.num_attention_heads = 4;
    provenance.arch.num_key_value_heads = 2;
    provenance.method = GateMethod::DuoAttention;
    provenance.target_sparsity = None;
    let gates = [0.5, 1.25, 0.75, -0.125];
    distilled(&gates, 1, &provenance, Target::NumRetrieval(2)).unwrap()
}

#[test]
fn every_file_of_an_export_agrees() {
    for (sidecar, num_derived) in [(sample(), 6), (distilled_sample(), 8)] {
        let files = crate::mask::export::files(&sidecar).into_iter();
        let derived: Vec<_> = files
            .filter(|file| names().any(|name| name == file.name))
            .collect();
        assert_eq!(derived.len(), num_derived);
        for file in derived {
            let found = differences(&sidecar, &file.name, file.bytes);
            assert!(found.is_empty(), "{}: {found:?}", file.name);
        }
    }
}

#[test]
fn gates_are_compared_before_they_are_clipped_and_belong_to_no_other_mask() {
    let sidecar = distilled_sample();
    let name = "duo_gates/full_attention_heads.tsv";
    let table = duo_gates::table_text(&sidecar).unwrap();
    let edited = table.replace("1.250000000000000000e+00", "1.5");
    assert_ne!(edited, table);
    let found = differences(&sidecar, name, edited.into());
    assert_eq!(
        found,
        ["layer 0, kv head 1: gate 1.5, in the sidecar gate 1.25"]
    );
    let found = differences(&sample(), name, table.into());
    assert_eq!(found, ["the sidecar is of no DuoAttention training"]);
}

#[test]
fn what_a_format_writes_agrees() {
    assert_eq!(names().count(), 8);
    for name in names().filter(|name| !name.starts_with("duo_gates/")) {
        let found = differences(&sample(), name, written(name));
        assert!(found.is_empty(), "{name}: {found:?}");
        let nothing = differences(&sample(), name, Vec::new());
        assert!(!nothing.is_empty(), "{name}");
    }
    // Other spelling, same mask.
    let crlf = b"0.0\t1.0\r\n1.0\t0.0\r\n".to_vec();
    assert!(differences(&sample(), "duo/full_attention_heads.tsv", crlf).is_empty());
    assert!(differences(&sample(), "README.md", b"prose".to_vec()).is_empty());
}

/// A companion, an edit of its text, and what must be said about it.
const EDITS: [(&str, &str, &str, &str); 9] = [
    (
        "duo/full_attention_heads.tsv",
        "0\t1",
        "1\t1",
        "layer 0, kv head 0: retrieval, in the sidecar streaming",
    ),
    (
        "duo/full_attention_heads.tsv",
        "0\t1\n",
        "",
        "1 lines of 2 columns: it ends early, but the model has 2 layers",
    ),
    (
        "duo/config.json",
        "\"recent_size\":1024",
        "\"recent_size\":512",
        "`recent_size` is 512, by the sidecar 1024",
    ),
    (
        "duo/config.json",
        "\"sparsity\":0.5,",
        "",
        "`sparsity` is missing, by the sidecar 0.5",
    ),
    (
        "duo_rank/full_attention_heads.tsv",
        "\t1\n",
        "\t0.5\n",
        "layer 0, kv head 1: rank 1, in the sidecar rank 0",
    ),
    (
        "duo_rank/config.json",
        "\"sink_size\":128",
        "\"sink_size\":4",
        "`sink_size` is 4, by the sidecar 128",
    ),
    (
        rtp_llm::FILE_NAME,
        "\"swa_token_num\":1024",
        "\"swa_token_num\":8",
        "`swa_token_num` is 8, by the sidecar 1024",
    ),
    (
        rtp_llm::FILE_NAME,
        "[0,0,1,1]",
        "[0,0,1,0]",
        "layer 0: heads 2 to 3, which share kv head 1, hold 1 0",
    ),
    (
        rtp_llm::FILE_NAME,
        "\"0\":[0,0,1,1],",
        "",
        "layers 0 are not in the file",
    ),
];

#[test]
fn every_difference_is_named() {
    for (name, from, to, expected) in EDITS {
        let text = String::from_utf8(written(name)).unwrap();
        assert!(text.contains(from), "{from} in {text}");
        let found = differences(&sample(), name, text.replacen(from, to, 1).into());
        let named = found.iter().any(|text| text.starts_with(expected));
        assert!(named, "{name}, {to}: {found:?}");
    }
    let mut other = sample();
    other.ranks = Ranks::from_ranks(2, 2, &[2, 0, 1, 3]).unwrap();
    let found = differences(
        &sample(),
        head_scores::FILE_NAME,
        head_scores::to_bytes(&other),
    );
    assert_eq!(
        found,
        [
            "layer 0, kv head 0: rank 2, in the sidecar rank 3",
            "layer 1, kv head 1: rank 3, in the sidecar rank 2"
        ]
    );
}

#[test]
fn many_heads_are_counted_instead_of_listed() {
    let heads: Vec<String> = (0..20).map(|head| head.to_string()).collect();
    let short = shortened(heads);
    assert_eq!(short.len(), MOST_HEADS + 1);
    assert_eq!(short[MOST_HEADS], "8 more heads differ");
}
