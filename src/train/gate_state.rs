//! What a checkpoint of `prulong train` holds.
//!
//! `state.safetensors`: for readers, in F32, the gates `[L, K]` (`log_alpha`, or DuoAttention's `gate`) and PruLong's `lambda_1`,
//! `lambda_2` `[1]`, and the gates of targets that the run has left (`log_alpha_plateaus`, `[targets, L, K]`); everything that
//! continues the run in full precision beside them. `cursor.json`: where the data stands.

use super::error::TrainError;
use super::gate_step::Trainer;
use crate::checkpoint::state::{NamedTensor, decode, encode};
use crate::checkpoint::store::Loaded;
use crate::data::identity::DataIdentity;
use crate::data::loader::Loader;
use crate::fault::AnyFault;

const STATE: &str = "state.safetensors";
const CURSOR: &str = "cursor.json";
const REDUCTION: &str = "reduction";

/// Position in the data, and which data.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Cursor {
    position: u64,
    data: DataIdentity,
}

/// Vectors of a trainer with their shapes, before encoding.
#[derive(Default)]
struct Vectors {
    f64: Vec<(String, Vec<usize>, Vec<f64>)>,
    f32: Vec<(String, Vec<usize>, Vec<f32>)>,
}

impl Vectors {
    fn of(trainer: &Trainer) -> Self {
        let mut vectors = Self::default();
        let method = trainer.method.state();
        for (name, shape, values) in method.readable {
            vectors.push_readable(name, &shape, &values);
        }
        for (name, values) in method.exact {
            let shape = vec![values.len()];
            vectors.f64.push((name.to_owned(), shape, values));
        }
        vectors
            .f64
            .push((REDUCTION.to_owned(), vec![2], trainer.reduction.state()));
        if let Some(weights) = &trainer.weights {
            let state = weights.trainer.state().into_iter();
            vectors
                .f32
                .extend(state.map(|part| (part.name, part.shape, part.values)));
        }
        vectors
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "the exact values stand beside them"
    )]
    fn push_readable(&mut self, name: &str, shape: &[usize], values: &[f64]) {
        let values = values.iter().map(|value| *value as f32).collect();
        self.f32.push((name.to_owned(), shape.to_vec(), values));
    }

    fn encode(&self) -> Result<Vec<u8>, AnyFault> {
        let wide = self
            .f64
            .iter()
            .map(|(name, shape, v)| NamedTensor::f64(name.clone(), shape, v));
        let narrow = self
            .f32
            .iter()
            .map(|(name, shape, v)| NamedTensor::f32(name.clone(), shape, v));
        let tensors: Vec<NamedTensor<'_>> = wide.chain(narrow).collect();
        Ok(encode(&tensors)?)
    }
}

/// Files of a checkpoint with the data at `position`.
///
/// # Errors
/// If a file cannot be encoded.
pub fn state(
    trainer: &Trainer,
    loader: &Loader,
    position: u64,
) -> Result<Vec<(&'static str, Vec<u8>)>, AnyFault> {
    let cursor = Cursor {
        position,
        data: loader.identity().clone(),
    };
    let cursor = serde_json::to_vec_pretty(&cursor).unwrap_or_default();
    Ok(vec![
        (STATE, Vectors::of(trainer).encode()?),
        (CURSOR, cursor),
    ])
}

/// Restores a trainer; returns the position of the data.
///
/// # Errors
/// [`TrainError::State`] for a missing vector; data that changed since.
pub fn restore(trainer: &mut Trainer, loader: &Loader, loaded: &Loaded) -> Result<u64, AnyFault> {
    let tensors = decode(loaded.file(STATE)?)?;
    let step = loaded.step;
    let missing = |name: &str| TrainError::State {
        step,
        name: name.to_owned(),
    };
    let wide = |name: &str| tensors.get(name).and_then(|tensor| tensor.to_f64().ok());
    trainer.method.restore(&wide).map_err(missing)?;
    let reduction = wide(REDUCTION).ok_or_else(|| missing(REDUCTION))?;
    trainer.reduction.restore(&reduction);
    if let Some(weights) = &mut trainer.weights {
        let narrow = |name: &str| tensors.get(name).and_then(|tensor| tensor.to_f32().ok());
        weights
            .trainer
            .restore(narrow)
            .map_err(|name| TrainError::State { step, name })?;
    }
    let cursor: Cursor = loaded.json(CURSOR)?;
    loader.identity().check(&cursor.data)?;
    Ok(cursor.position)
}
