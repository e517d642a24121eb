//! From a checked configuration to a trainer, its data and the facts an exported mask will carry.

use super::run_setup::pass_settings;
use crate::attention::Backend;
use crate::config::data::Verification;
use crate::config::load::Loaded;
use crate::config::loss::Reduction as ConfigReduction;
use crate::config::model::Dtype;
use crate::config::sparsity::Constraint as ConfigConstraint;
use crate::config::train::TrainConfig;
use crate::data::loader::{Loader, LoaderSettings};
use crate::data::manifest;
use crate::data::mds::dataset::{ReadOptions, Verify};
use crate::data::ranks::Ranks;
use crate::data::tokenizer::Tokenizer;
use crate::fault::AnyFault;
use crate::gate::lagrangian::Constraint;
use crate::mask::provenance::{Provenance, folder_name};
use crate::model::fingerprint::arch_facts;
use crate::model::llama::Llama;
use crate::model::weights::Weights as WeightFiles;
use crate::train::error::TrainError;
use crate::train::gate_init::{frozen, initial_gates};
use crate::train::gate_loop::Plan;
use crate::train::gate_step::{Gates, StepSettings, Trainer, Weights};
use crate::train::gate_trainer::{GateRates, GateTrainer, LinearTerm};
use crate::train::optimizer::host_adamw::{AdamSettings, Rate};
use crate::train::optimizer::muon::MuonSettings;
use crate::train::reduction::Reduction;
use crate::train::weight_trainer::{Rules, WeightSettings, WeightTrainer};
use tch::{Device, Kind};

/// Everything a run needs before its directory is touched.
pub(super) struct Prepared {
    pub(super) trainer: Trainer,
    pub(super) loader: Loader,
    pub(super) plan: Plan,
    pub(super) provenance: Provenance,
    /// Fingerprint of the base model's weights.
    pub(super) model_id: String,
    /// What was found, for the user.
    pub(super) summary: String,
}

/// Loads model and data and assembles the trainer.
pub(super) fn prepare(
    loaded: &Loaded<TrainConfig>,
    device: Device,
    backend: Box<dyn Backend>,
) -> Result<Prepared, AnyFault> {
    let config = &loaded.config;
    let kind = match config.model.dtype {
        Dtype::F32 => Kind::Float,
        Dtype::Bf16 => Kind::BFloat16,
    };
    let model = Llama::load(&config.model.path, kind, device)?;
    let model_id =
        WeightFiles::open(&config.model.path, model.config())?.base_sha256(model.config())?;
    check_tokenizers(config)?;
    let (loader, plan, row_len) = open_data(config, model.config().vocab_size)?;
    let provenance = provenance(loaded, &model, (&loader, row_len), &model_id);
    let summary = summary(config, &model, (&loader, row_len), backend.name());
    let trainer = trainer(config, model, backend)?;
    Ok(Prepared {
        trainer,
        loader,
        plan,
        provenance,
        model_id,
        summary,
    })
}

/// Refuses rows that were packed with another tokenizer, where both sides say which one they have.
fn check_tokenizers(config: &TrainConfig) -> Result<(), AnyFault> {
    if !config.model.path.join("tokenizer.json").is_file() {
        return Ok(());
    }
    let tokenizer = Tokenizer::from_file(&config.model.path)?;
    for stream in &config.data.train {
        let Some(manifest) = manifest::load(&stream.path)? else {
            continue;
        };
        if manifest.head.tokenizer.fingerprint != tokenizer.fingerprint() {
            let (data, model) = (stream.path.clone(), config.model.path.clone());
            return Err(TrainError::Tokenizer { data, model }.into());
        }
    }
    Ok(())
}

/// The loader, the run's plan, and the length of a stored row.
fn open_data(config: &TrainConfig, vocab_size: usize) -> Result<(Loader, Plan, usize), AnyFault> {
    let streams = &config.data.train;
    let settings = LoaderSettings {
        seed: config.seed,
        epoch_rows: config.data.epoch_rows,
        clip_rows: config.data.clip_rows,
        single_document: config.data.single_document,
        instruct_mask: config.data.instruct_mask,
        vocab_size: Some(vocab_size as u64),
        prefetch_rows: config.data.prefetch_rows,
        read: read_options(config.data.verify),
        ..LoaderSettings::default()
    };
    let probe = Loader::open(streams, &settings)?;
    let row_len = probe.stored_row_len()?;
    let rows_per_step = rows_per_step(config.optimizer.tokens_per_step, row_len as u64)?;
    let ranks = Ranks::single(rows_per_step);
    let loader = Loader::open(streams, &LoaderSettings { ranks, ..settings })?;
    let plan = Plan {
        num_steps: config.optimizer.steps,
        rows_per_step: usize::try_from(rows_per_step).unwrap_or(usize::MAX),
        log_every: config.run.log_every,
    };
    Ok((loader, plan, row_len))
}

/// Rows of one optimizer step; an error if tokens do not divide into whole rows.
fn rows_per_step(tokens_per_step: u64, row_len: u64) -> Result<u64, TrainError> {
    if row_len > 0 && tokens_per_step > 0 && tokens_per_step.is_multiple_of(row_len) {
        return Ok(tokens_per_step / row_len);
    }
    Err(TrainError::Batch {
        tokens_per_step,
        row_len,
    })
}

fn trainer(
    config: &TrainConfig,
    model: Llama,
    backend: Box<dyn Backend>,
) -> Result<Trainer, AnyFault> {
    let optimizer = &config.optimizer;
    let adam = AdamSettings {
        betas: optimizer.betas,
        eps: optimizer.eps,
    };
    let gates = gates(config, &model)?;
    let weights = optimizer.weights.map(|rates| Weights {
        trainer: WeightTrainer::new(
            &model,
            Rules::AdamW,
            WeightSettings {
                adam,
                muon: MuonSettings {
                    momentum: 0.95,
                    iterations: 5,
                },
            },
        ),
        rate: Rate {
            lr: rates.lr,
            weight_decay: rates.weight_decay,
        },
    });
    let reduction = match config.loss.reduction {
        ConfigReduction::Mean => Reduction::Mean,
        ConfigReduction::ExactTokens => Reduction::ExactTokens,
        ConfigReduction::TokenScaled => Reduction::TokenScaled {
            num_targets: 0.0,
            num_micro_batches: 0.0,
        },
    };
    let settings = StepSettings {
        seed: config.seed,
        pass: pass_settings(&config.memory, &config.loss),
        lr: optimizer.lr,
        adam,
        clip_norm: optimizer.clip_norm,
    };
    let span = config.attention.span;
    Ok(Trainer {
        model,
        backend,
        span,
        gates,
        weights,
        reduction,
        settings,
    })
}

fn gates(config: &TrainConfig, model: &Llama) -> Result<Gates, AnyFault> {
    let bank = initial_gates(&config.gate_init, model.config().shape, config.seed)?;
    let (Some(rates), Some(sparsity)) = (config.optimizer.gates, config.sparsity) else {
        return Ok(Gates::Frozen(frozen(&bank)));
    };
    let linear_term = if sparsity.linear_term {
        LinearTerm::On
    } else {
        LinearTerm::Off
    };
    Ok(Gates::Trained {
        trainer: GateTrainer::new(bank, linear_term),
        rates: GateRates {
            gates: Rate {
                lr: rates.lr,
                weight_decay: rates.weight_decay,
            },
            lambdas: Rate {
                lr: rates.lambda_lr,
                weight_decay: rates.lambda_weight_decay,
            },
        },
        constraint: match sparsity.constraint {
            ConfigConstraint::Expected => Constraint::Expected,
            ConfigConstraint::Sampled => Constraint::Sampled,
        },
        target: sparsity.schedule,
    })
}

fn provenance(
    loaded: &Loaded<TrainConfig>,
    model: &Llama,
    (loader, row_len): (&Loader, usize),
    model_id: &str,
) -> Provenance {
    let config = &loaded.config;
    Provenance {
        arch: arch_facts(model.config()),
        base_model: folder_name(&config.model.path),
        base_model_revision: None,
        base_weights_sha256: Some(model_id.to_owned()),
        weights_modified: config.optimizer.weights.is_some(),
        deploy_span: config.deployment.span,
        train_span: config.attention.span,
        seq_len: row_len,
        num_steps: config.optimizer.steps,
        seed: config.seed,
        target_sparsity: config
            .sparsity
            .map_or(0.0, |sparsity| sparsity.schedule.end),
        data_id: loader.fingerprint(),
        config_sha256: super::run_setup::config_sha256(&loaded.resolved),
    }
}

fn summary(
    config: &TrainConfig,
    model: &Llama,
    (loader, row_len): (&Loader, usize),
    backend: &str,
) -> String {
    let shape = model.config().shape;
    let span = config.attention.span;
    format!(
        "model {}: {} layers x {} kv heads = {} gates, {} on {}, attention {backend}\n\
         data: {} rows of {row_len} tokens an epoch; streaming heads see sink {} + window {} (block {})",
        folder_name(&config.model.path),
        shape.num_layers,
        shape.num_kv_heads,
        shape.num_gates(),
        match config.model.dtype {
            Dtype::F32 => "f32",
            Dtype::Bf16 => "bf16",
        },
        crate::torch::device::name(model.device()),
        loader.epoch_rows(),
        span.sink_len(),
        span.window_len(),
        span.block_len(),
    )
}

fn read_options(verification: Verification) -> ReadOptions {
    let verify = match verification {
        Verification::Off => Verify::Off,
        Verification::FirstUse => Verify::FirstUse,
        Verification::All => Verify::All,
    };
    ReadOptions {
        verify,
        ..ReadOptions::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Coded;

    #[test]
    fn tokens_must_divide_into_whole_rows_and_the_message_says_which_counts_do() {
        assert_eq!(rows_per_step(4096, 1024).unwrap(), 4);
        let error = rows_per_step(4000, 1024).unwrap_err();
        assert_eq!(error.code(), "config.batch");
        assert_eq!(error.hint().unwrap(), "use 3072 or 4096");
    }
}
