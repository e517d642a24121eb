//! From a checked configuration to a trainer, its data and the facts an exported mask will carry.

use super::estimate::plan_of;
use super::fit_check;
use super::method_setup::method;
use super::run_setup::{pass_settings, products_name};
use crate::attention::Backend;
use crate::attention::choose::{Choice, check_head_dim};
use crate::config::data::{StreamSpec, StreamWeight, Verification};
use crate::config::load::Loaded;
use crate::config::loss::Reduction as ConfigReduction;
use crate::config::train::{MethodSettings, TrainConfig};
use crate::config::validation::ValidationSettings;
use crate::cuda::active::Choice as KernelChoice;
use crate::data::loader::{Loader, LoaderSettings};
use crate::data::manifest;
use crate::data::mds::dataset::{ReadOptions, Verify};
use crate::data::order::OrderKind;
use crate::data::ranks::Ranks;
use crate::data::tokenizer::Tokenizer;
use crate::fault::AnyFault;
use crate::mask::provenance::{Provenance, folder_name};
use crate::model::fingerprint::arch_facts;
use crate::model::llama::Llama;
use crate::model::train_pass::PassSettings;
use crate::model::weights::Weights as WeightFiles;
use crate::schedule::course::SparsityCourse;
use crate::torch::dtype::DtypeChoice;
use crate::train::error::TrainError;
use crate::train::gate_loop::{self, Plan};
use crate::train::gate_step::{StepSettings, Trainer, Weights};
use crate::train::optimizer::host_adamw::{AdamSettings, Rate};
use crate::train::optimizer::muon::MuonSettings;
use crate::train::reduction::Reduction;
use crate::train::validation::Validation;
use crate::train::weight_trainer::{Rules, WeightSettings, WeightTrainer};
use tch::Device;

/// Everything a run needs before its directory is touched.
pub(super) struct Prepared {
    pub(super) trainer: Trainer,
    pub(super) loader: Loader,
    pub(super) validation: Option<Validation>,
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
    (device, dtype): (Device, DtypeChoice),
    choice: Choice,
    kernels: &KernelChoice,
) -> Result<Prepared, AnyFault> {
    let config = &loaded.config;
    let pass = pass_settings(&config.memory, &config.loss, device)?;
    let model = Llama::load(&config.model.path, dtype.dtype.kind(), device)?;
    check_head_dim(&*choice.backend, model.config().shape.head_dim)?;
    let model_id =
        WeightFiles::open(&config.model.path, model.config())?.base_sha256(model.config())?;
    check_tokenizers(config)?;
    let (loader, plan, row_len) = open_data(config, model.config().vocab_size)?;
    let provenance = provenance(loaded, &model, (&loader, row_len), &model_id);
    let computed_by = format!(
        "{dtype}, attention {} ({}), products {}, {}",
        choice.backend.name(),
        choice.reason,
        products_name(device),
        kernels.phrase()
    );
    let mut summary = summary(config, &model, (&loader, row_len), &computed_by);
    let step = plan_of(config, model.config(), row_len);
    if let Some(warning) = fit_check::warning(&step, device)? {
        summary = format!("{summary}\n{warning}");
    }
    let validation = match &config.validation {
        Some(settings) => Some(validation(settings, config, &model)?),
        None => None,
    };
    if trains_on_held_out(config) {
        summary.push_str(
            "\nwarning: `validation.data` is trained on too: its loss is no held-out one",
        );
    }
    let trainer = trainer(config, model, choice.backend, (plan.rows_per_step, pass))?;
    Ok(Prepared {
        trainer,
        loader,
        validation,
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
    let held_out = config.validation.iter().map(|rows| &rows.data);
    let trained = config.data.train.iter().map(|stream| &stream.path);
    for path in trained.chain(held_out) {
        let Some(manifest) = manifest::load(path)? else {
            continue;
        };
        if manifest.head.tokenizer.fingerprint != tokenizer.fingerprint() {
            let (data, model) = (path.clone(), config.model.path.clone());
            return Err(TrainError::Tokenizer { data, model }.into());
        }
    }
    Ok(())
}

/// Tokens of a stored row of the run's data.
pub(super) fn row_len(config: &TrainConfig) -> Result<usize, AnyFault> {
    let settings = LoaderSettings {
        read: read_options(config.data.verify),
        ..LoaderSettings::default()
    };
    Ok(Loader::open(&config.data.train, &settings)?.stored_row_len()?)
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

fn trains_on_held_out(config: &TrainConfig) -> bool {
    let held_out = config.validation.as_ref().map(|rows| &rows.data);
    let mut trained = config.data.train.iter().map(|stream| &stream.path);
    held_out.is_some_and(|data| trained.any(|path| path == data))
}

/// The first rows of the held-out folder.
fn validation(
    settings: &ValidationSettings,
    config: &TrainConfig,
    model: &Llama,
) -> Result<Validation, AnyFault> {
    let stream = StreamSpec {
        path: settings.data.clone(),
        weight: StreamWeight::Repeat(1.0),
    };
    let loader_settings = LoaderSettings {
        order: OrderKind::Sequential,
        clip_rows: config.data.clip_rows,
        single_document: config.data.single_document,
        instruct_mask: settings.instruct_mask,
        vocab_size: Some(model.config().vocab_size as u64),
        prefetch_rows: 1,
        read: read_options(config.data.verify),
        ..LoaderSettings::default()
    };
    let mut loader = Loader::open(&[stream], &loader_settings)?;
    let (rows, needed) = (loader.epoch_rows(), settings.num_rows as u64);
    if rows < needed {
        let path = settings.data.clone();
        return Err(TrainError::HeldOut { path, rows, needed }.into());
    }
    let rows = gate_loop::read_rows(model, &mut loader, settings.num_rows)?;
    if rows.iter().all(|row| row.targets.num_valid() == 0) {
        let (path, num_rows) = (settings.data.clone(), settings.num_rows);
        return Err(TrainError::NothingHeldOut { path, num_rows }.into());
    }
    Ok(Validation::new(rows, settings.every))
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
    (rows_per_step, pass): (usize, PassSettings),
) -> Result<Trainer, AnyFault> {
    let optimizer = &config.optimizer;
    let adam = AdamSettings {
        betas: optimizer.betas,
        eps: optimizer.eps,
    };
    let method = method(config, model.config().shape, rows_per_step)?;
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
        pass,
        lr: optimizer.lr,
        adam,
        clip_norm: optimizer.clip_norm.unwrap_or(f64::INFINITY),
    };
    let span = config.attention.span;
    Ok(Trainer {
        model,
        backend,
        span,
        method,
        weights,
        reduction,
        settings,
    })
}

fn provenance(
    loaded: &Loaded<TrainConfig>,
    model: &Llama,
    (loader, row_len): (&Loader, usize),
    model_id: &str,
) -> Provenance {
    let config = &loaded.config;
    let course = match &config.method {
        MethodSettings::PruLong { sparsity, .. } => sparsity.as_ref().map(|target| &target.course),
        MethodSettings::DuoAttention(_) => None,
    };
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
        method: config.method.method(),
        target_sparsity: match &config.method {
            MethodSettings::PruLong { .. } => Some(course.map_or(0.0, SparsityCourse::end)),
            MethodSettings::DuoAttention(_) => None,
        },
        plateaus: course.map_or_else(Vec::new, |course| course.plateaus().collect()),
        data_id: loader.fingerprint(),
        config_sha256: super::run_setup::config_sha256(&loaded.resolved),
    }
}

fn summary(
    config: &TrainConfig,
    model: &Llama,
    (loader, row_len): (&Loader, usize),
    computed_by: &str,
) -> String {
    let shape = model.config().shape;
    let span = config.attention.span;
    let by = match config.method {
        MethodSettings::PruLong { .. } => "",
        MethodSettings::DuoAttention(_) => " by DuoAttention",
    };
    format!(
        "model {}: {} layers x {} kv heads = {} gates{by}, on {} in {computed_by}\n\
         data: {} rows of {row_len} tokens an epoch; streaming heads see sink {} + window {} (block {})",
        folder_name(&config.model.path),
        shape.num_layers,
        shape.num_kv_heads,
        shape.num_gates(),
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
