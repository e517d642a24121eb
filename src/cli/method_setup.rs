//! From a checked configuration to the method that trains the gates.

use crate::config::duo::{DuoSettings, FullBranch};
use crate::config::gates::{GateInit, GateNoise};
use crate::config::sparsity::{Constraint as ConfigConstraint, SparsitySettings};
use crate::config::train::{MethodSettings, TrainConfig};
use crate::fault::AnyFault;
use crate::gate::lagrangian::Constraint;
use crate::gate::noise::Coupling;
use crate::model::block::pair::OpenEnd;
use crate::shape::AttentionShape;
use crate::train::gate_init::{frozen, initial_gates};
use crate::train::gate_trainer::{GateRates, GateTrainer, LinearTerm};
use crate::train::method::Method;
use crate::train::method::duo_attention::{DuoAttention, DuoConstants};
use crate::train::method::frozen::Frozen;
use crate::train::method::prulong::{PruLong, PruLongSettings};
use crate::train::optimizer::host_adamw::Rate;
use crate::train::settled::SettledAfter;

/// The method of a run, with gates for a model of `shape`.
///
/// # Errors
/// A source of gates that cannot be read, or holds gates of another shape.
pub(super) fn method(
    config: &TrainConfig,
    shape: AttentionShape,
    rows_per_step: usize,
) -> Result<Box<dyn Method>, AnyFault> {
    match &config.method {
        MethodSettings::PruLong {
            init,
            noise,
            sparsity,
        } => {
            let coupling = coupling(*noise, rows_per_step);
            prulong(config, init, (sparsity.as_ref(), coupling), shape)
        }
        MethodSettings::DuoAttention(settings) => Ok(duo_attention(config, settings, shape)),
    }
}

fn prulong(
    config: &TrainConfig,
    init: &GateInit,
    (sparsity, coupling): (Option<&SparsitySettings>, Coupling),
    shape: AttentionShape,
) -> Result<Box<dyn Method>, AnyFault> {
    let bank = initial_gates(init, shape, config.seed)?;
    let rates = config.optimizer.gates;
    let lambdas = rates.and_then(|rates| rates.lambdas);
    let (Some(rates), Some(lambdas), Some(sparsity)) = (rates, lambdas, sparsity) else {
        return Ok(Box::new(Frozen(frozen(&bank))));
    };
    let linear_term = if sparsity.linear_term {
        LinearTerm::On
    } else {
        LinearTerm::Off
    };
    let settings = PruLongSettings {
        rates: GateRates {
            gates: Rate {
                lr: rates.lr,
                weight_decay: rates.weight_decay,
            },
            lambdas: Rate {
                lr: lambdas.lr,
                weight_decay: lambdas.weight_decay,
            },
        },
        constraint: match sparsity.constraint {
            ConfigConstraint::Expected => Constraint::Expected,
            ConfigConstraint::Sampled => Constraint::Sampled,
        },
        target: sparsity.course.clone(),
        coupling,
        settled_after: sparsity.settled_steps.map(|num_steps| SettledAfter {
            num_steps,
            ramp_end: sparsity.course.ramp_end(),
            sparsity: sparsity.course.end(),
        }),
    };
    let trainer = GateTrainer::new(bank, linear_term);
    Ok(Box::new(PruLong::new(trainer, settings)))
}

fn coupling(noise: GateNoise, rows_per_step: usize) -> Coupling {
    let per_step = rows_per_step as u64;
    match noise {
        GateNoise::Independent => Coupling::Independent,
        GateNoise::Antithetic {} => Coupling::Antithetic { per_step },
        GateNoise::Stratified { num_strata } => Coupling::Stratified {
            per_step,
            num_strata,
        },
    }
}

fn duo_attention(
    config: &TrainConfig,
    settings: &DuoSettings,
    shape: AttentionShape,
) -> Box<dyn Method> {
    let Some(rates) = config.optimizer.gates else {
        unreachable!("a file that trains no gates by this method is refused")
    };
    let constants = DuoConstants {
        rate: Rate {
            lr: rates.lr,
            weight_decay: rates.weight_decay,
        },
        penalty: settings.penalty,
        open_end: match settings.full_branch {
            FullBranch::Teacher => OpenEnd::Teacher,
            FullBranch::Student => OpenEnd::Student,
        },
        num_steps: config.optimizer.steps,
    };
    let gates = vec![settings.init; shape.num_gates()];
    Box::new(DuoAttention::new(shape.num_kv_heads, gates, constants))
}
