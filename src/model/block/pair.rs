//! One decoder layer of two streams through the same weights: a teacher with full attention, and a student that mixes.

use super::{BlockContext, LayerWeights, Projected, SavedBlock, attend, forgetting, forward_from};
use crate::attention::head_mix::HeadMix;
use tch::Tensor;

/// What a layer gets of each stream.
#[derive(Debug, Clone, Copy)]
pub struct PairInputs<'a> {
    /// `[T, C]`.
    pub teacher: &'a Tensor,
    /// `[T, C]`; `None` in the first layer, where it is the teacher's.
    pub student: Option<&'a Tensor>,
}

/// What a layer makes of both.
#[derive(Debug)]
pub struct PairOutputs {
    /// `[T, C]`.
    pub teacher: Tensor,
    /// `[T, C]`.
    pub student: Tensor,
    /// The teacher's attention output `[T, H, D]`.
    pub attended: Tensor,
    /// What the student's backward pass needs.
    pub saved: SavedBlock,
}

/// What an open gate of the student lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenEnd {
    /// The teacher's attention output.
    Teacher,
    /// The student's own full attention.
    Student,
}

impl OpenEnd {
    /// How the student's heads mix, by `gates` and the teacher's attention output.
    ///
    /// # Shapes
    /// `attended` `[T, H, D]`.
    pub fn mix<'a>(self, gates: &'a [f64], attended: &'a Tensor) -> HeadMix<'a> {
        let teacher = (self == Self::Teacher).then_some(attended);
        HeadMix::Distilled { gates, teacher }
    }
}

/// Both streams through one layer; nothing of the teacher's is kept but what the student mixes.
///
/// # Shapes
/// As [`PairInputs`] and [`PairOutputs`]; `gates`: one per kv head.
pub fn forward(
    weights: &LayerWeights,
    context: &BlockContext,
    inputs: PairInputs,
    (gates, open_end): (&[f64], OpenEnd),
) -> PairOutputs {
    let projected = Projected::new(weights, context, inputs.teacher);
    let open = vec![1.0; gates.len()];
    let (attended, _) = attend(context, &projected, HeadMix::Gated(&open));
    let teacher = forgetting(weights, context, inputs.teacher, &attended);
    let attended = attended.view_as(&projected.q);
    let (x, projected) = match inputs.student {
        Some(student) => {
            drop(projected);
            (student, Projected::new(weights, context, student))
        }
        None => (inputs.teacher, projected),
    };
    let mix = open_end.mix(gates, &attended);
    let (student, saved) = forward_from(weights, context, (x, projected), mix);
    PairOutputs {
        teacher,
        student,
        attended,
        saved,
    }
}
