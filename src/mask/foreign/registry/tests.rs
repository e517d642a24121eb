//! Round trips through every format, for masks of any shape.

use super::*;
use crate::fault::Coded;
use crate::mask::foreign::content::{Content, NamedBytes};
use crate::mask::foreign::import::{Request, import};
use crate::mask::gate_method::GateMethod;
use crate::mask::provenance::tests::published;
use crate::mask::sidecar::cut::{Target, TrainedGates, distilled, trained};
use crate::shape::AttentionShape;
use crate::span::Span;
use proptest::prelude::*;

/// A trained sidecar of any small shape, with any gates and any count.
fn sidecars() -> impl Strategy<Value = Sidecar> {
    let shapes = (1_usize..6, 1_usize..5, 1_usize..4);
    let gates = |(num_layers, num_kv_heads, group_size)| {
        let num_heads: usize = num_layers * num_kv_heads;
        let gates = prop::collection::vec(-9.0_f32..9.0, num_heads);
        let spans = (0_usize..300, 1_usize..2000);
        let shape = Just((num_layers, num_kv_heads, group_size));
        (shape, gates, 0..=num_heads, spans)
    };
    shapes
        .prop_flat_map(gates)
        .prop_map(|(shape, gates, kept, (sink_len, window_len))| {
            let (num_layers, num_kv_heads, group_size) = shape;
            let mut provenance = published();
            provenance.arch.num_hidden_layers = num_layers;
            provenance.arch.num_attention_heads = num_kv_heads * group_size;
            provenance.arch.num_key_value_heads = num_kv_heads;
            provenance.deploy_span = Span::new(sink_len, window_len, 1).unwrap();
            let gates = TrainedGates {
                log_alpha: &gates,
                num_steps: 7,
            };
            trained(gates, &provenance, Target::NumRetrieval(kept)).unwrap()
        })
}

/// What a format wrote, as its reader takes it.
fn input(format: &Format, files: &Files) -> Input {
    let named = |(name, bytes): &(&'static str, Vec<u8>)| NamedBytes {
        path: name.into(),
        bytes: bytes.clone(),
    };
    let has_config = matches!(
        format.place,
        Place::Folder {
            config: Some(_),
            ..
        }
    );
    let config = has_config.then(|| named(&files[1]));
    let main = named(&files[0]);
    Input { main, config }
}

fn model(sidecar: &Sidecar) -> Reading {
    Reading {
        shape: Some(sidecar.base.arch.shape()),
        fold: None,
    }
}

/// Writes and imports again, with what the format does not store said once more.
fn round_trip(format: &Format, sidecar: &Sidecar) -> Option<Sidecar> {
    let files = (format.write)(sidecar)?;
    let foreign = format.read?(&input(format, &files), &model(sidecar)).unwrap();
    let target = match foreign.content {
        Content::Mask(_) => None,
        Content::Scores { .. } => Some(Target::NumRetrieval(sidecar.mask.num_retrieval())),
    };
    let states_sizes = foreign.window_len.is_some();
    let unless_stated = |len| (!states_sizes).then_some(len);
    let request = Request {
        target,
        sink_len: unless_stated(sidecar.span.sink_len()),
        window_len: unless_stated(sidecar.span.window_len()),
        block_len: 1,
        base: sidecar.base.clone(),
        source: format.source,
    };
    let (again, warnings) = import(foreign, request).unwrap();
    assert_eq!(warnings, [], "{}", format.name);
    Some(again)
}

#[test]
fn gates_of_a_duo_attention_run_give_their_mask_and_order_back() {
    let mut provenance = published();
    provenance.arch.num_hidden_layers = 2;
    provenance.arch.num_attention_heads = 6;
    provenance.arch.num_key_value_heads = 3;
    provenance.method = GateMethod::DuoAttention;
    provenance.target_sparsity = None;
    let gates = [0.9, 0.123_456_79, 1.0, 0.5, 0.3, 0.0];
    let sidecar = distilled(&gates, 7, &provenance, Target::NumRetrieval(3)).unwrap();
    for name in [
        "duo",
        "duo-rank",
        "duo-gates",
        "prulong-tsv",
        "rlkv",
        "kvzip",
    ] {
        let again = round_trip(find(name).unwrap(), &sidecar).unwrap();
        assert_eq!(again.mask, sidecar.mask, "{name}");
    }
    let again = round_trip(find("duo-gates").unwrap(), &sidecar).unwrap();
    assert_eq!(
        (&again.ranks, &again.gate_score),
        (&sidecar.ranks, &sidecar.gate_score)
    );
}

/// Formats that store the order of the heads.
const GRADED: [&str; 3] = ["duo-rank", "kvzip", "headkv-json"];

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_format_gives_its_mask_back(sidecar in sidecars()) {
        for format in all().iter().filter(|format| format.read.is_some()) {
            let num_heads = sidecar.mask.flags().len();
            let Some(again) = round_trip(format, &sidecar) else {
                let is_alone = format.name == "duo-rank" && num_heads == 1;
                prop_assert!(is_alone || format.name == "duo-gates");
                continue;
            };
            prop_assert_eq!(&again.mask, &sidecar.mask, "{}", format.name);
            prop_assert_eq!(again.span, sidecar.span);
            prop_assert_eq!(&again.source, format.source);
            if GRADED.contains(&format.name) {
                prop_assert_eq!(&again.ranks, &sidecar.ranks, "{}", format.name);
            }
            let bytes = write::to_bytes(&again);
            let checked = crate::mask::sidecar::read::parse(&bytes, "x".as_ref()).unwrap();
            prop_assert_eq!(checked.sidecar, again);
        }
    }

    #[test]
    fn another_shape_is_refused_by_every_format(sidecar in sidecars(), more in 1_usize..4) {
        let shape = sidecar.base.arch.shape();
        let others = [
            AttentionShape { num_layers: shape.num_layers + more, ..shape },
            AttentionShape { num_kv_heads: shape.num_kv_heads + more,
                num_heads: shape.group_size() * (shape.num_kv_heads + more), ..shape },
        ];
        for format in all() {
            let (Some(read), Some(files)) = (format.read, (format.write)(&sidecar)) else { continue };
            for (other, what) in others.iter().zip(["layers", "heads"]) {
                let reading = Reading { shape: Some(*other), fold: None };
                let foreign = read(&input(format, &files), &reading);
                // A layer that RTP-LLM's object does not mention is all retrieval, and listed.
                if format.name == "rtp-llm" && what == "layers" {
                    prop_assert_eq!(foreign.unwrap().warnings[0].code(), "mask.missing_layers");
                    continue;
                }
                let error = foreign.unwrap_err();
                prop_assert_eq!(error.code(), "mask.shape", "{}", format.name);
                let text = error.to_string();
                let expected = format!("{} layers with {} kv heads", other.num_layers, other.num_kv_heads);
                prop_assert!(text.contains(&expected), "{}", text);
            }
        }
    }

    #[test]
    fn no_damaged_byte_panics(sidecar in sidecars(), at in any::<prop::sample::Index>(), flip in 1_u8..) {
        for format in all() {
            let (Some(read), Some(files)) = (format.read, (format.write)(&sidecar)) else { continue };
            let mut input = input(format, &files);
            let at = at.index(input.main.bytes.len());
            input.main.bytes[at] ^= flip;
            let _ = read(&input, &model(&sidecar));
            input.main.bytes.truncate(at);
            let _ = read(&input, &Reading::default());
        }
    }
}

#[test]
fn files_of_another_kind_are_refused_by_every_reader() {
    for format in all() {
        let Some(read) = format.read else { continue };
        for (bytes, code) in [
            (
                &b"version https://git-lfs.github.com/spec/v1\n"[..],
                "st.lfs_pointer",
            ),
            (b"\n<!DOCTYPE html><html>", "st.looks_like_html"),
            (b"PK\x03\x04\0\0archive/data.pkl", "model.pickle_refused"),
            (b"\x80\x04\x95", "model.pickle_refused"),
        ] {
            let main = NamedBytes {
                path: "x".into(),
                bytes: bytes.into(),
            };
            let error = read(&Input { main, config: None }, &Reading::default()).unwrap_err();
            assert_eq!(error.code(), code, "{}: {error}", format.name);
            assert!(error.hint().is_some(), "{}: {error}", format.name);
        }
    }
}

#[test]
fn names_are_unique_and_folders_tell_their_format() {
    let mut names: Vec<_> = all().iter().map(|format| format.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all().len());
    for format in all() {
        assert_eq!(find(format.name).unwrap().name, format.name);
        assert_eq!(format.read.is_none(), format.name == SIDECAR);
    }
    assert!(find("kvpress").is_none());
    let of = |names: &[&str]| of_folder(|name| names.contains(&name)).map(|format| format.name);
    assert_eq!(
        of(&["full_attention_heads.tsv", "config.json"]),
        Some("duo")
    );
    let both = ["full_attention_heads.tsv", "adapter_weights.tsv"];
    assert_eq!(of(&both), Some("rlkv"));
    assert_eq!(of(&["masks.tsv"]), None);
}
