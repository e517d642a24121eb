//! The training step that `estimate` and `bench train` are about: which model, how long a row, what it keeps.

use crate::cli::amounts::parse_word;
use crate::config::dtype::Dtype;
use crate::config::loss::{LossSettings, MemorySettings, Offload, Saving};
use crate::estimate::known;
use crate::estimate::plan::{Gates, Plan, WeightUpdates};
use crate::estimate::sizes::ModelSizes;
use crate::fault::{AnyFault, Coded, Kind};
use crate::model::config::ModelConfig;
use crate::model::rope_config::RopeConfig;
use crate::span::Span;
use std::path::{Path, PathBuf};

/// Sink, window and block of the published runs.
const SPAN: [usize; 3] = [128, 1024, 128];

/// Longest row that is planned for.
const MAX_TOKENS: usize = 1 << 30;

/// The step to plan.
#[derive(clap::Args, Debug)]
pub(super) struct PlanArgs {
    /// The model by name: llama-2-7b, llama-2-13b, llama-3-8b, llama-3.1-8b, llama-3.1-70b, llama-3.2-1b, llama-3.2-3b, 124m
    /// or tiny.
    #[arg(long, value_name = "NAME", conflicts_with = "model")]
    shape: Option<String>,

    /// The model's folder, of which `config.json` is read.
    #[arg(long, value_name = "DIR")]
    pub(super) model: Option<PathBuf>,

    /// Tokens of one row, taken to be a single document.
    #[arg(long = "seq", value_name = "TOKENS", value_parser = parse_tokens)]
    pub(super) num_tokens: Option<usize>,

    /// What the forward pass keeps for the backward pass: `x`, each layer's input; `x+attention`, also attention's outputs and
    /// their logsumexp; `all`, so that no product is computed again [default: x+attention].
    #[arg(long = "save", value_name = "WHAT", value_parser = parse_word::<Saving>)]
    saving: Option<Saving>,

    /// Where that waits for the backward pass: `none`, on the device; `host`, in pinned host memory but for the last layer's, of CUDA
    /// devices only [default: none].
    #[arg(long, value_name = "WHERE", value_parser = parse_word::<Offload>)]
    offload: Option<Offload>,

    /// Tokens that pass the feed-forward at one time [default: 4096].
    #[arg(long = "mlp-chunk", value_name = "TOKENS", value_parser = parse_tokens)]
    mlp_chunk_len: Option<usize>,

    /// Tokens whose logits exist at one time [default: 1024].
    #[arg(long = "loss-chunk", value_name = "TOKENS", value_parser = parse_tokens)]
    loss_chunk_len: Option<usize>,

    /// Leading tokens that streaming heads see [default: 128].
    #[arg(long, value_name = "TOKENS")]
    sink: Option<usize>,

    /// Most recent tokens that streaming heads see [default: 1024].
    #[arg(long, value_name = "TOKENS")]
    window: Option<usize>,

    /// Granularity of both; 1 is exact to the token [default: 128].
    #[arg(long, value_name = "TOKENS")]
    block: Option<usize>,
}

/// Why nothing can be planned.
#[derive(Debug, thiserror::Error)]
pub(super) enum PlanError {
    #[error("there is no model named `{name}`")]
    Unknown { name: String },
    #[error("which model is meant was not said")]
    NoModel,
    #[error("`model.path` = `{path}` is not there")]
    NoFolder { path: PathBuf },
    #[error("how long a row is was not said")]
    NoLength,
}

impl Coded for PlanError {
    fn code(&self) -> &'static str {
        match self {
            Self::Unknown { .. } | Self::NoModel | Self::NoFolder { .. } => "plan.model",
            Self::NoLength => "plan.seq",
        }
    }
    fn kind(&self) -> Kind {
        Kind::Input
    }
    fn hint(&self) -> Option<String> {
        let names = known::NAMES.join(", ");
        Some(match self {
            Self::Unknown { .. } => format!("known are {names}; or give a folder with `--model`"),
            Self::NoModel => {
                format!("name one with `--shape` ({names}), or give a folder with `--model`")
            }
            Self::NoFolder { .. } => {
                format!("its sizes are enough: name them with `--shape` ({names})")
            }
            Self::NoLength => "give `--seq TOKENS`".to_owned(),
        })
    }
}

/// A model to plan with: its name for people, and its configuration.
pub(super) struct PlannedModel {
    pub(super) name: String,
    pub(super) config: ModelConfig,
}

impl PlanArgs {
    /// The model that was named; nothing if none was.
    ///
    /// # Errors
    /// An unknown name, or what is wrong with a folder's `config.json`.
    pub(super) fn planned_model(&self) -> Result<Option<PlannedModel>, AnyFault> {
        planned_model(self.shape.as_deref(), self.model.as_deref())
    }

    /// Replaces in `plan` what was said here.
    ///
    /// # Errors
    /// Lengths that make no span.
    pub(super) fn change(&self, plan: &mut Plan) -> Result<(), AnyFault> {
        let replace = |target: &mut usize, value: Option<usize>| {
            *target = value.unwrap_or(*target);
        };
        replace(&mut plan.num_tokens, self.num_tokens);
        replace(&mut plan.memory.mlp_chunk_len, self.mlp_chunk_len);
        replace(&mut plan.loss.chunk_len, self.loss_chunk_len);
        plan.memory.saving = self.saving.unwrap_or(plan.memory.saving);
        plan.memory.offload = self.offload.unwrap_or(plan.memory.offload);
        let span = plan.span;
        plan.span = Span::new(
            self.sink.unwrap_or(span.sink_len()),
            self.window.unwrap_or(span.window_len()),
            self.block.unwrap_or(span.block_len()),
        )?;
        Ok(())
    }

    /// The plan for `model`: what was said here, and the defaults of a training file.
    ///
    /// # Errors
    /// A length that is missing, or lengths that make no span.
    pub(super) fn plan(
        &self,
        model: &ModelConfig,
        dtype: Dtype,
        gates: Gates,
    ) -> Result<Plan, AnyFault> {
        let num_tokens = self.num_tokens.ok_or(PlanError::NoLength)?;
        let [sink, window, block] = SPAN;
        let mut plan = Plan {
            model: model.sizes(),
            num_tokens,
            span: Span::new(sink, window, block)?,
            dtype,
            memory: MemorySettings::default(),
            loss: LossSettings::default(),
            gates,
            weights: WeightUpdates::Frozen,
        };
        self.change(&mut plan)?;
        Ok(plan)
    }
}

/// The model of that name, else that of a folder; nothing if neither was named.
///
/// # Errors
/// An unknown name, or what is wrong with a folder's `config.json`.
pub(super) fn planned_model(
    shape: Option<&str>,
    folder: Option<&Path>,
) -> Result<Option<PlannedModel>, AnyFault> {
    let Some(name) = shape else {
        return folder.map(of_folder).transpose();
    };
    let unknown = || PlanError::Unknown {
        name: name.to_owned(),
    };
    let sizes = known::sizes(name).ok_or_else(unknown)?;
    Ok(Some(PlannedModel {
        name: name.to_owned(),
        config: config_of(&sizes),
    }))
}

/// The model of a folder.
///
/// # Errors
/// What is wrong with its `config.json`.
pub(super) fn of_folder(folder: &Path) -> Result<PlannedModel, AnyFault> {
    let config = ModelConfig::load(folder)?;
    let name = folder.file_name().unwrap_or(folder.as_os_str());
    let name = name.to_string_lossy().into_owned();
    Ok(PlannedModel { name, config })
}

/// A configuration of these sizes; its other constants decide no cost.
fn config_of(sizes: &ModelSizes) -> ModelConfig {
    ModelConfig {
        shape: sizes.shape,
        hidden_size: sizes.hidden_size,
        intermediate_size: sizes.intermediate_size,
        vocab_size: sizes.vocab_size,
        rms_norm_eps: 1e-5,
        rope: RopeConfig::unscaled(500_000.0),
        max_position_embeddings: 131_072,
        tie_word_embeddings: sizes.is_tied,
        bos_id: None,
        eos_ids: Vec::new(),
        dtype: None,
    }
}

/// A count of tokens that a row can have.
pub(super) fn parse_tokens(text: &str) -> Result<usize, String> {
    let tokens = text
        .parse()
        .map_err(|_| format!("`{text}` is no count of tokens"))?;
    if (1..=MAX_TOKENS).contains(&tokens) {
        Ok(tokens)
    } else {
        Err(format!("tokens are 1 to {MAX_TOKENS}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_model_is_a_sound_configuration_and_the_help_names_it() {
        let help = {
            use clap::Args as _;
            let mut command = PlanArgs::augment_args(clap::Command::new("x"));
            command.render_long_help().to_string()
        };
        let words: Vec<&str> = help.split([' ', ',', '\n']).collect();
        for name in known::NAMES {
            let sizes = known::sizes(name).unwrap();
            assert_eq!(config_of(&sizes).checked().unwrap().sizes(), sizes);
            let is_listed = words.iter().any(|word| word.trim_end_matches('.') == name);
            assert!(is_listed, "{name}: {help}");
        }
        let tiny = Path::new(env!("CARGO_MANIFEST_DIR")).join("checkpoints/tiny");
        let tiny = of_folder(&tiny).unwrap();
        assert_eq!(Some(tiny.config.sizes()), known::sizes(&tiny.name));
    }
}
