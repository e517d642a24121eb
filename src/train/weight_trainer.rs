//! Weights under training: f32 masters, one update rule per tensor, and their state.
//!
//! # Decisions
//! The model computes in its own dtype; masters are f32. For an f32 model master and weight share memory, so nothing is
//! copied. Norms are never decayed.

use super::optimizer::adamw::AdamW;
use super::optimizer::host_adamw::{AdamSettings, Rate};
use super::optimizer::muon::{Muon, MuonSettings};
use crate::model::llama::Llama;
use crate::model::train_pass::ModelGrads;
use crate::torch::host::{from_f32, shape_of, square_sum, to_f32};
use tch::{Kind, Tensor};

/// Which tensors Muon updates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rules {
    /// AdamW everywhere.
    AdamW,
    /// Muon on the matrices of the decoder layers, AdamW on the rest.
    MuonInLayers,
}

/// Rates of one step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WeightRates {
    /// AdamW's rate; the decay applies to matrices only.
    pub adam: Rate,
    /// Muon's rate.
    pub muon: Rate,
}

/// Constants of both rules.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WeightSettings {
    /// AdamW.
    pub adam: AdamSettings,
    /// Muon.
    pub muon: MuonSettings,
}

#[derive(Debug)]
enum Rule {
    AdamW(AdamW),
    Muon(Muon),
}

#[derive(Debug)]
struct Slot {
    name: String,
    weight: Tensor,
    master: Tensor,
    rule: Rule,
}

/// One vector of the trainer's state.
#[derive(Debug)]
pub struct NamedState {
    /// Name in a checkpoint.
    pub name: String,
    /// Shape.
    pub shape: Vec<usize>,
    /// Row-major values.
    pub values: Vec<f32>,
}

/// All weights of a model, in the order of [`Llama::named_tensors`].
#[derive(Debug)]
pub struct WeightTrainer {
    slots: Vec<Slot>,
    settings: WeightSettings,
}

impl WeightTrainer {
    /// Fresh optimizer state for every weight of `model`.
    pub fn new(model: &Llama, rules: Rules, settings: WeightSettings) -> Self {
        let slots = model.named_tensors().into_iter().map(|(name, weight)| {
            // `to_kind` gives the same memory when the dtype already is f32.
            let master = weight.to_kind(Kind::Float);
            let is_layer_matrix = name.starts_with("model.layers.") && weight.dim() == 2;
            let rule = if rules == Rules::MuonInLayers && is_layer_matrix {
                Rule::Muon(Muon::new(&master))
            } else {
                Rule::AdamW(AdamW::new(&master))
            };
            Slot {
                name,
                weight: weight.shallow_clone(),
                master,
                rule,
            }
        });
        Self {
            slots: slots.collect(),
            settings,
        }
    }

    /// Applies gradients scaled by `clip`; `step` counts from 1.
    pub fn update(&mut self, grads: &ModelGrads, clip: f64, step: u64, rates: WeightRates) {
        let _guard = tch::no_grad_guard();
        for (slot, grad) in self.slots.iter_mut().zip(grads.tensors()) {
            let grad = if clip < 1.0 {
                grad * clip
            } else {
                grad.shallow_clone()
            };
            match &mut slot.rule {
                Rule::Muon(muon) => {
                    muon.update(&mut slot.master, &grad, self.settings.muon, rates.muon);
                }
                Rule::AdamW(adam) => {
                    let is_norm = slot.master.dim() == 1;
                    let weight_decay = if is_norm {
                        0.0
                    } else {
                        rates.adam.weight_decay
                    };
                    let rate = Rate {
                        weight_decay,
                        ..rates.adam
                    };
                    adam.update(&mut slot.master, &grad, step, self.settings.adam, rate);
                }
            }
            if slot.weight.kind() != Kind::Float {
                slot.weight.copy_(&slot.master);
            }
        }
    }

    /// Masters and moments.
    pub fn state(&self) -> Vec<NamedState> {
        let mut state = Vec::new();
        for slot in &self.slots {
            let mut push = |part: &str, tensor: &Tensor| {
                state.push(NamedState {
                    name: format!("{part}.{}", slot.name),
                    shape: shape_of(tensor),
                    values: to_f32(tensor),
                });
            };
            push("weight", &slot.master);
            match &slot.rule {
                Rule::Muon(muon) => push("momentum", &muon.momentum),
                Rule::AdamW(adam) => {
                    push("first_moment", &adam.first);
                    push("second_moment", &adam.second);
                }
            }
        }
        state
    }

    /// Restores what [`Self::state`] gave, in place.
    ///
    /// # Errors
    /// The name of the first tensor that is missing or has another size.
    pub fn restore(&mut self, get: impl Fn(&str) -> Option<Vec<f32>>) -> Result<(), String> {
        let _guard = tch::no_grad_guard();
        for slot in &mut self.slots {
            let fill = |part: &str, tensor: &mut Tensor| {
                let name = format!("{part}.{}", slot.name);
                match get(&name).filter(|values| values.len() == tensor.numel()) {
                    Some(values) => {
                        let shape = shape_of(tensor);
                        tensor.copy_(&from_f32(&values, &shape, tensor.device()));
                        Ok(())
                    }
                    None => Err(name),
                }
            };
            fill("weight", &mut slot.master)?;
            match &mut slot.rule {
                Rule::Muon(muon) => fill("momentum", &mut muon.momentum)?,
                Rule::AdamW(adam) => {
                    fill("first_moment", &mut adam.first)?;
                    fill("second_moment", &mut adam.second)?;
                }
            }
            if slot.weight.kind() != Kind::Float {
                slot.weight.copy_(&slot.master);
            }
        }
        Ok(())
    }
}

/// Sum of squares over all weight gradients.
pub fn grad_square_sum(grads: &ModelGrads) -> f64 {
    grads.tensors().into_iter().map(square_sum).sum()
}
