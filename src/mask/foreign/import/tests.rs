//! Decisions stay decisions, scores need a count, and nothing is guessed.

use super::*;
use crate::mask::provenance::tests::published;
use crate::mask::sidecar::read::parse;
use crate::mask::sidecar::write;
use std::path::Path;

fn request(target: Option<Target>) -> Request {
    let published = published();
    let mut arch = published.arch;
    arch.num_hidden_layers = 2;
    arch.num_attention_heads = 8;
    arch.num_key_value_heads = 4;
    Request {
        target,
        sink_len: Some(16),
        window_len: Some(64),
        block_len: 1,
        base: Base {
            model: published.base_model,
            revision: None,
            arch,
            weights_sha256: None,
            weights_modified: false,
            rebased_from: None,
        },
        source: "test",
    }
}

fn scores(values: [f64; 8]) -> Foreign {
    Foreign::of(Content::Scores {
        num_layers: 2,
        num_kv_heads: 4,
        scores: values.into(),
    })
}

fn decision() -> Foreign {
    let flags = [false, true, true, false, false, false, true, false];
    Foreign::of(Content::Mask(HeadMask::new(2, 4, flags.into()).unwrap()))
}

fn sparsity(sparsity: f64) -> Target {
    let rounding = Rounding::FloorRetrieval;
    Target::Sparsity { sparsity, rounding }
}

fn code(foreign: Foreign, request: Request) -> &'static str {
    import(foreign, request).unwrap_err().code()
}

#[test]
fn a_decision_is_taken_as_it_is_and_reads_back() {
    let (sidecar, warnings) = import(decision(), request(None)).unwrap();
    assert_eq!(sidecar.ranks.ranks(), [3, 0, 1, 4, 5, 6, 2, 7]);
    assert_eq!(sidecar.rounding, Rounding::Imported);
    assert_eq!(sidecar.rank_source, RankSource::Mask);
    assert_eq!((sidecar.source.as_str(), warnings), ("test", vec![]));
    let bytes = write::to_bytes(&sidecar);
    assert_eq!(parse(&bytes, Path::new("x")).unwrap().sidecar, sidecar);
}

#[test]
fn a_decision_is_never_cut_again() {
    // Three of eight: `int(8 * (1 - 0.6))`.
    let (sidecar, _) = import(decision(), request(Some(sparsity(0.6)))).unwrap();
    assert_eq!(sidecar.target_sparsity, Some(0.6));
    assert_eq!(sidecar.rounding, Rounding::Imported);
    import(decision(), request(Some(Target::NumRetrieval(3)))).unwrap();
    let error = import(decision(), request(Some(sparsity(0.5)))).unwrap_err();
    assert_eq!(error.code(), "mask.already_binary");
    assert!(error.hint().unwrap().contains("`--num-retrieval 3`"));
    assert_eq!(
        code(decision(), request(Some(Target::NumRetrieval(4)))),
        "mask.already_binary"
    );
    // Neither is the sidecar that came of it.
    assert!(recut(&sidecar, Target::NumRetrieval(3)).is_ok());
    let error = recut(&sidecar, Target::NumRetrieval(2)).unwrap_err();
    assert_eq!(error.code(), "mask.already_binary");
    assert!(error.hint().is_some());
}

#[test]
fn scores_need_a_count_and_keep_their_order() {
    let values = [0.1, 0.9, 0.8, -0.2, 0.0, 0.5, 1e-9, 2e-9];
    assert_eq!(code(scores(values), request(None)), "mask.not_binary");
    let (sidecar, warnings) = import(scores(values), request(Some(sparsity(0.6)))).unwrap();
    assert_eq!(sidecar.ranks.ranks(), [3, 0, 1, 7, 6, 2, 5, 4]);
    assert_eq!(sidecar.mask.num_retrieval(), 3);
    assert_eq!(sidecar.rank_source, RankSource::Score);
    assert_eq!(sidecar.rounding, Rounding::FloorRetrieval);
    let stored = sidecar.gate_score.as_deref().unwrap();
    assert_eq!(stored, values.map(single));
    assert!(warnings.is_empty());
    let bytes = write::to_bytes(&sidecar);
    assert_eq!(parse(&bytes, Path::new("x")).unwrap().sidecar, sidecar);
    let mut wrong = values;
    wrong[3] = f64::NAN;
    assert_eq!(
        code(scores(wrong), request(Some(sparsity(0.6)))),
        "mask.values"
    );
    assert_eq!(
        code(scores(values), request(Some(sparsity(1.2)))),
        "mask.target"
    );
    let target = Some(Target::NumRetrieval(9));
    assert_eq!(code(scores(values), request(target)), "mask.target");
}

#[test]
fn ties_at_the_cut_are_counted() {
    let values = [1.0, 1.0, 0.0, 1.0, -0.0, 0.0, 1.0, 0.5];
    for (kept, tied) in [
        (0, None),
        (2, Some((1.0, 4, 2))),
        (4, None),
        (5, None),
        (6, Some((0.0, 3, 1))),
        (8, None),
    ] {
        let target = Some(Target::NumRetrieval(kept));
        let (_, warnings) = import(scores(values), request(target)).unwrap();
        let found = warnings.iter().find_map(|warning| match warning {
            MaskWarning::TiesAtCut {
                score,
                num_tied,
                num_kept,
            } => Some((*score, *num_tied, *num_kept)),
            _ => None,
        });
        assert_eq!(found, tied, "{kept}");
        let codes = warnings.iter().map(MaskWarning::code);
        assert!(codes.eq(tied.map(|_| "mask.ties_at_cut")));
    }
}

#[test]
fn sizes_come_from_the_file_or_from_the_user() {
    let mut foreign = decision();
    foreign.sink_len = Some(8);
    let ask = |sink_len, window_len| Request {
        sink_len,
        window_len,
        ..request(None)
    };
    let (sidecar, warnings) = import(foreign.clone(), ask(None, Some(32))).unwrap();
    assert_eq!(sidecar.span, Span::new(8, 32, 1).unwrap());
    assert!(warnings.is_empty());
    let (sidecar, warnings) = import(foreign.clone(), ask(Some(4), Some(32))).unwrap();
    assert_eq!(sidecar.span, Span::new(4, 32, 1).unwrap());
    assert_eq!(warnings[0].code(), "mask.span_mismatch");
    let error = import(foreign.clone(), ask(None, None)).unwrap_err();
    assert_eq!(error.code(), "mask.span");
    assert!(error.hint().unwrap().contains("`--window-len`"));
    assert_eq!(code(foreign, ask(None, Some(0))), "mask.span");
}
