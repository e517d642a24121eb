//! Exports from a run through several targets.

use super::*;
use crate::schedule::course::Plateau;
use crate::train::plateaus::READABLE;

/// A run that left its target of 0.5 at step 4, and had a target of 0.7 at its end; the gates of then are in the other order.
fn run_through_two_targets(plateaus: &[f32]) -> tempfile::TempDir {
    let run = run_dir();
    let provenance = std::fs::read(run.path().join(EXPORT_NAME)).unwrap();
    let provenance = Provenance {
        plateaus: vec![Plateau {
            sparsity: 0.5,
            step: 4,
        }],
        ..Provenance::parse(&provenance).unwrap()
    };
    std::fs::write(run.path().join(EXPORT_NAME), provenance.to_json()).unwrap();
    let gates: Vec<f32> = (0..32_u8).map(|i| -f32::from(i)).collect();
    let tensors = [
        NamedTensor::f32("log_alpha", &[4, 8], &gates),
        NamedTensor::f32(READABLE, &[plateaus.len() / 32, 4, 8], plateaus),
    ];
    save_all(run.path(), 12, &tensors);
    run
}

#[test]
fn every_target_of_a_run_has_a_mask_of_the_gates_that_were_trained_for_it() {
    let rising: Vec<f32> = (0..32_u8).map(f32::from).collect();
    let run = run_through_two_targets(&rising);
    let masks = export(&args(&[text(run.path())])).unwrap().masks;
    let found: Vec<_> = masks
        .iter()
        .map(|mask| (mask.step, mask.num_retrieval, mask.target_sparsity))
        .collect();
    assert_eq!(found, [(Some(4), 16, Some(0.5)), (Some(12), 9, Some(0.7))]);
    let table = |mask: &Exported| {
        std::fs::read_to_string(mask.folder.join("duo/full_attention_heads.tsv")).unwrap()
    };
    assert!(table(&masks[0]).starts_with('0') && table(&masks[1]).starts_with('1'));
    // What a mask says of its training is what its own gates saw.
    let trained_for = |mask: &Exported| {
        let path = mask.folder.join(SIDECAR_NAME);
        let file = std::fs::File::open(&path).unwrap();
        let sidecar = crate::mask::sidecar::read::read(file, &path)
            .unwrap()
            .sidecar;
        sidecar.training.unwrap().target_sparsity
    };
    assert_eq!(
        (trained_for(&masks[0]), trained_for(&masks[1])),
        (Some(0.5), Some(0.7))
    );
    // Another size is cut from the last gates, and so is every size of a step that was asked for.
    for (words, step) in [
        (&["--sparsity", "0.5"][..], 4),
        (&["--sparsity", "0.6"], 12),
        (&["--num-retrieval", "16"], 12),
        (&["--sparsity", "0.5", "--step", "12"], 12),
        (&["--step", "12"], 12),
        (&["--step", "10", "--num-retrieval", "3"], 10),
    ] {
        let fresh = run.path().join("fresh");
        let words = [&[text(run.path()), "--dry-run", "-o", text(&fresh)], words].concat();
        assert_eq!(exported(&words).unwrap().step, Some(step), "{words:?}");
    }
}

#[test]
fn as_many_heads_of_two_targets_are_two_masks() {
    let rising: Vec<f32> = (0..32_u8).map(f32::from).collect();
    let run = run_through_two_targets(&rising);
    let words = [
        text(run.path()),
        "--sparsity",
        "0.5",
        "--num-retrieval",
        "16",
    ];
    let masks = export(&args(&words)).unwrap().masks;
    let names: Vec<_> = masks
        .iter()
        .map(|mask| mask.folder.file_name().unwrap())
        .collect();
    assert_eq!(names, ["16-of-32", "16-of-32-step-12"]);
    assert_eq!((masks[0].step, masks[1].step), (Some(4), Some(12)));
    assert!(masks.iter().all(|mask| mask.warnings.is_empty()));
}

#[test]
fn a_run_under_way_and_a_named_step_give_the_target_of_then() {
    let run = run_through_two_targets(&[0.0; 32]);
    let plateau = |step| {
        let provenance = std::fs::read(run.path().join(EXPORT_NAME)).unwrap();
        let provenance = Provenance {
            plateaus: vec![Plateau {
                sparsity: 0.5,
                step,
            }],
            ..Provenance::parse(&provenance).unwrap()
        };
        std::fs::write(run.path().join(EXPORT_NAME), provenance.to_json()).unwrap();
    };
    let words = [text(run.path()), "--dry-run", "--step", "10"];
    for (end, target) in [(4, 0.7), (9, 0.7), (10, 0.5), (11, 0.5)] {
        plateau(end);
        assert_eq!(
            exported(&words).unwrap().target_sparsity,
            Some(target),
            "{end}"
        );
    }
    // The newest checkpoint is of step 12: on the way, at the very end, and left.
    for (end, targets) in [(20, &[0.5][..]), (12, &[0.5]), (11, &[0.5, 0.7])] {
        plateau(end);
        let masks = export(&args(&words[..2])).unwrap().masks;
        let found: Vec<f64> = masks
            .iter()
            .filter_map(|mask| mask.target_sparsity)
            .collect();
        assert_eq!(found, targets, "{end}");
    }
}

#[test]
fn a_checkpoint_without_the_gates_of_a_target_that_was_left_is_refused() {
    for num_plateaus in [0, 2] {
        let run = run_through_two_targets(&vec![0.0; num_plateaus * 32]);
        let fault = refused(&[text(run.path())]);
        assert_eq!((fault.code(), fault.kind()), ("run.no_gates", Kind::Input));
        assert!(fault.hint().unwrap().contains("--step"));
    }
}
