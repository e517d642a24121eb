//! One distillation pass over a packed row: a teacher with full attention, a student whose heads mix, and the distance of their
//! final hidden states (DuoAttention, arXiv 2410.10819).
//!
//! ```text
//! A: x_0 = embed(ids);  O_l = attention_l(A);  x_{l+1} = block_l(x_l)
//! B: the same weights;  heads mix (1 - g) streaming(q_B, k_B, v_B) + g O_l
//! loss = sum over labels of mean_C (norm(x_B) - norm(x_A))^2
//! ```
//!
//! Weights are frozen, and nothing goes back into A. The compared positions are those of the labels themselves: unlike next-token
//! loss, nothing is shifted.

use super::block::pair::{self, OpenEnd, PairInputs};
use super::block::{BlockContext, SavedBlock};
use super::norm;
use super::train_pass::{Row, TrainPass};
use super::watch::{BadGrad, Watch};
use crate::attention::head_mix::HeadMix;
use crate::attention::wide;
use crate::profile::recorder;
use crate::profile::span::{Part, Pass};
use crate::real::real;
use crate::torch::dims::dims;
use tch::{Kind, Tensor};

/// What a pass found.
#[derive(Debug, Clone, PartialEq)]
pub struct DistillResult {
    /// Sum over the labels of the mean squared difference.
    pub loss_sum: f64,
    /// dL/dg of every gate, row-major, with `L = label_weight * loss_sum`; also of gates at 0 and 1.
    pub dgates: Vec<f64>,
}

/// A model, its attention and settings, and what an open gate lets through.
#[derive(Clone, Copy)]
pub struct DistillPass<'a> {
    /// The model, its attention and settings; there are no logits, so the loss's chunks do not count.
    pub engine: TrainPass<'a>,
    /// What an open gate lets through.
    pub open_end: OpenEnd,
}

/// Where both streams end, and what the student's backward pass needs.
struct Streams {
    teacher: Tensor,
    student: Tensor,
    attended: Vec<Tensor>,
    saved: Vec<SavedBlock>,
}

/// The loss, and the gradient of the student's last layer's output, `[T, C]`.
struct Top {
    loss_sum: f64,
    dx: Tensor,
}

impl DistillPass<'_> {
    /// Loss and gradients of `row` under gates `gates[layer]`, and the topmost gradient of attention that is not finite, if
    /// `watch` looks. `label_weight` multiplies every label's loss in the gradients.
    pub fn run(
        &self,
        row: &Row,
        gates: &[Vec<f64>],
        label_weight: f64,
        watch: Watch,
    ) -> (DistillResult, Option<BadGrad>) {
        let _guard = tch::no_grad_guard();
        let context = BlockContext {
            watch,
            ..self.engine.context(row)
        };
        let streams = self.forward(&context, row, gates);
        let top = recorder::timed(Part::Loss, Pass::Both, &[&streams.student], || {
            self.top(&streams, row, label_weight)
        });
        let Streams {
            teacher,
            student,
            attended,
            saved,
        } = streams;
        // Room for the layers' backward passes, the largest moment of a step.
        drop((teacher, student));
        let mixes: Vec<HeadMix> = gates
            .iter()
            .zip(&attended)
            .map(|(gates, attended)| self.open_end.mix(gates, attended))
            .collect();
        let (dgates, bad) = self
            .engine
            .backward(&context, (row, &mixes), saved, top.dx, None);
        let loss_sum = top.loss_sum;
        (DistillResult { loss_sum, dgates }, bad)
    }

    fn forward(&self, context: &BlockContext, row: &Row, gates: &[Vec<f64>]) -> Streams {
        let model = self.engine.model;
        let embedded = recorder::forward(Part::Embed, &[&row.ids], || model.embed(&row.ids));
        let mut streams = Streams {
            teacher: embedded.shallow_clone(),
            student: embedded,
            attended: Vec::with_capacity(model.layers.len()),
            saved: Vec::with_capacity(model.layers.len()),
        };
        for ((layer, weights), gates) in (0_u64..).zip(&model.layers).zip(gates) {
            let inputs = PairInputs {
                teacher: &streams.teacher,
                student: (layer > 0).then_some(&streams.student),
            };
            let outputs = recorder::frame(Part::Layer, Pass::Forward, layer, || {
                pair::forward(weights, context, inputs, (gates, self.open_end))
            });
            streams.teacher = outputs.teacher;
            streams.student = outputs.student;
            streams.attended.push(outputs.attended);
            streams.saved.push(self.engine.away(layer, outputs.saved));
        }
        streams
    }

    /// The loss, and `h_B - h_A` at the labels, `[n, C]`, wide.
    fn difference(&self, streams: &Streams, labels: &Tensor) -> (f64, Tensor) {
        let [student, teacher] = [&streams.student, &streams.teacher].map(|x| {
            let x = x.index_select(0, labels);
            let eps = self.engine.model.config().rms_norm_eps;
            let hidden = norm::forward(&x, &self.engine.model.final_norm, eps);
            hidden.to_kind(wide(hidden.kind()))
        });
        let difference = student - teacher;
        let [num_labels, _] = dims(&difference);
        if num_labels == 0 {
            return (0.0, difference);
        }
        let means = difference
            .square()
            .mean_dim([-1].as_slice(), false, None::<Kind>);
        (means.sum(Kind::Double).double_value(&[]), difference)
    }

    fn top(&self, streams: &Streams, row: &Row, label_weight: f64) -> Top {
        let model = self.engine.model;
        let labels = row.targets.label_positions();
        let (loss_sum, difference) = self.difference(streams, &labels);
        let x = &streams.student;
        let mut dx = x.zeros_like();
        let [num_labels, width] = dims(&difference);
        if num_labels > 0 {
            let dhidden = (difference * (2.0 * label_weight / real(width))).to_kind(x.kind());
            let normed = (&x.index_select(0, &labels), &model.final_norm);
            let eps = model.config().rms_norm_eps;
            let rows = norm::backward(&dhidden, normed, eps, None, None);
            let _ = dx.index_copy_(0, &labels, &rows);
        }
        Top { loss_sum, dx }
    }
}

#[cfg(test)]
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_wrap,
    reason = "tiny test shapes"
)]
mod tests;
