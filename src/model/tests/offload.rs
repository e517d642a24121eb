//! What waits in host memory changes no bit of what a pass finds.

use super::{Case, gates};
use crate::model::block::Saving;
use crate::model::train_pass::{ModelGrads, PassResult, TrainPass};
use crate::profile::recorder;
use crate::profile::span::{Part, Pass, Span};
use crate::torch::offload::Offload;
use tch::{Device, Kind};

/// The CPU's own memory stands in for pinned memory: the copies are real, and their originals are gone.
#[test]
fn host_copies_change_no_bit() {
    for kind in [Kind::Double, Kind::BFloat16] {
        let case = Case::of_kind(false, kind);
        for (what, z) in gates() {
            for saving in [Saving::Inputs, Saving::InputsAndAttention, Saving::All] {
                let run = |offload| {
                    let mut pass = case.pass(saving, 5);
                    pass.settings.offload = offload;
                    trained(&case, &pass, &z)
                };
                let (expected, grads, _) = run(Offload::None);
                let (found, moved, spans) = run(Offload::Host);
                assert_eq!(found, expected, "{what} {saving:?}");
                let pairs = moved.tensors().into_iter().zip(grads.tensors());
                assert!(pairs.clone().count() > 0);
                for ((found, expected), (name, _)) in pairs.zip(case.model.named_tensors()) {
                    assert!(found.equal(expected), "{what} {saving:?} {name}");
                }
                // All layers but the last go away and come back.
                assert_eq!(copies(&spans), [2, 2], "{what} {saving:?}");
            }
        }
    }
}

#[test]
fn nothing_is_copied_unless_asked_for() {
    let case = Case::new(false);
    let (_, z) = gates().remove(2);
    let (_, _, spans) = trained(&case, &case.pass(Saving::All, 5), &z);
    assert!(!spans.is_empty());
    assert_eq!(copies(&spans), [0, 0]);
}

/// A pass with every weight trained, and its spans.
fn trained(case: &Case, pass: &TrainPass, z: &[Vec<f64>]) -> (PassResult, ModelGrads, Vec<Span>) {
    let mut grads = ModelGrads::zeros(&case.model);
    recorder::start(Device::Cpu);
    let found = pass.run(&case.row(), z, 0.37, Some(&mut grads));
    (found, grads, recorder::stop())
}

/// Copies away and back.
fn copies(spans: &[Span]) -> [usize; 2] {
    [Pass::Forward, Pass::Backward].map(|pass| {
        let is_copy = |span: &&Span| span.part == Part::Offload && span.pass == pass;
        spans.iter().filter(is_copy).count()
    })
}
