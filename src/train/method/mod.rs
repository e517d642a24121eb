//! The ways of training gates: one file each, chosen by `method` in the run's file.
//!
//! A method owns its gates and their update; the step around it (`gate_step`), the loop, checkpoints and metrics know none of
//! them. Start reading at [`mod@prulong`].
//!
//! **Invariant:** a step that ends early has changed nothing of a method but its gradients, which the next one forgets.

use super::gate_trainer::NamedVector;
use super::optimizer::host_adamw::AdamSettings;
use crate::gate::noise::NoiseKey;
use crate::metrics::record::Record;
use crate::model::train_pass::{ModelGrads, Row, TrainPass};
use crate::model::watch::{BadGrad, Watch};

pub mod duo_attention;
pub mod frozen;
pub mod prulong;

/// One micro-batch of a step.
#[derive(Debug, Clone, Copy)]
pub struct Micro<'a> {
    /// Its tokens and labels.
    pub row: &'a Row,
    /// What noise it is drawn by; holds the step.
    pub key: NoiseKey,
    /// Weight of every label's loss.
    pub weight: f64,
    /// Its share of what does not depend on labels: 1 / micro-batches of the step.
    pub share: f64,
    /// Whether attention's gradients are looked at.
    pub watch: Watch,
}

/// What a micro-batch gave besides gradients.
#[derive(Debug, Default)]
pub struct Found {
    /// Sum of the loss over its labels.
    pub loss_sum: f64,
    /// A gradient of attention that is not finite.
    pub bad_grad: Option<BadGrad>,
}

/// A method's numbers in a checkpoint.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MethodState {
    /// For readers, to be rounded to f32: name, shape, values.
    pub readable: Vec<(&'static str, Vec<usize>, Vec<f64>)>,
    /// What continues the run.
    pub exact: Vec<NamedVector>,
}

/// What TensorBoard shows of the gates.
#[derive(Debug, Clone, PartialEq)]
pub struct GatePicture {
    /// Name of the parameters' histogram.
    pub tag: &'static str,
    /// The parameters, row-major.
    pub parameters: Vec<f64>,
    /// How open each head is, in [0, 1], row-major.
    pub open: Vec<f64>,
    /// Kv heads per layer.
    pub num_kv_heads: usize,
}

/// Gates without noise, one value per layer and kv head.
#[derive(Debug, Clone, PartialEq)]
pub struct StillGates {
    /// As they are.
    pub soft: Vec<Vec<f64>>,
    /// As the mask they round to; nothing for gates that are not meant to be rounded.
    pub rounded: Option<Vec<Vec<f64>>>,
}

/// Where in a run a record stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// More steps follow.
    Underway,
    /// It is the last one, whether the run was planned so long or has settled.
    Last,
}

/// One way of training gates.
pub trait Method {
    /// Forgets the gradients of the step before.
    fn begin(&mut self);

    /// Loss and gradients of one micro-batch. Gradients of gates add up inside, those of weights in `grads`, if weights train.
    fn micro_step(
        &mut self,
        engine: &TrainPass,
        micro: &Micro,
        grads: Option<&mut ModelGrads>,
    ) -> Found;

    /// Sum of squares of the gates' gradients, and of what else the method trains for them.
    fn square_sum(&self) -> f64;

    /// Applies the gradients, scaled by `clip`, with every rate multiplied by `multiplier`; `step` counts from 1.
    fn update(&mut self, scale: (f64, f64), step: u64, settings: AdamSettings);

    /// Whether the run may end before its last step.
    fn is_settled(&self) -> bool {
        false
    }

    /// The gates of now, without noise.
    fn still_gates(&self) -> StillGates;

    /// Everything that changes during training.
    fn state(&self) -> MethodState;

    /// Restores the exact part of what [`Self::state`] gave.
    ///
    /// # Errors
    /// The name of the first vector that is missing or of another length.
    fn restore(&mut self, get: &dyn Fn(&str) -> Option<Vec<f64>>) -> Result<(), &'static str>;

    /// Adds the step's losses and where the gates stand to `record`; `loss` is the mean over labels.
    fn report(&self, loss: f64, record: &mut Record);

    /// Prepares the red flags of a run whose records so far are `done`.
    fn watch(&mut self, done: &[Record]);

    /// Adds an event to `record` for every red flag that it raises for the first time.
    fn observe(&mut self, record: &mut Record, moment: Moment);

    /// What to show of the gates; nothing if they do not train.
    fn picture(&self) -> Option<GatePicture>;
}

/// Row-major values as one vector per layer.
fn by_layer(values: &[f64], num_kv_heads: usize) -> Vec<Vec<f64>> {
    values.chunks(num_kv_heads).map(<[f64]>::to_vec).collect()
}

fn norm(grads: &[f64]) -> f64 {
    grads.iter().map(|grad| grad * grad).sum::<f64>().sqrt()
}
