//! Where gates start: reset, stripes, a mask file's values or its order, or a checkpoint of another run.
//!
//! Masks are never reset silently: every run names its source, and frozen gates need one.

use super::error::TrainError;
use crate::checkpoint::state::decode;
use crate::checkpoint::store::CheckpointStore;
use crate::config::gates::GateInit;
use crate::fault::AnyFault;
use crate::gate::bank::GateBank;
use crate::mask::rounding::Rounding;
use crate::mask::sidecar::content::Sidecar;
use crate::mask::sidecar::read;
use crate::shape::AttentionShape;
use std::path::Path;

/// The gates a run starts with.
///
/// # Errors
/// A file that cannot be read, or holds gates of another shape.
pub fn initial_gates(
    init: &GateInit,
    shape: AttentionShape,
    seed: u64,
) -> Result<GateBank, AnyFault> {
    match init {
        GateInit::Reset { mean, std } => Ok(GateBank::reset(
            shape.num_layers,
            shape.num_kv_heads,
            (*mean, *std),
            seed,
        )),
        GateInit::Stripes {
            num_retrieval_layers,
            num_streaming_layers,
            start_with_retrieval,
        } => {
            let period = num_retrieval_layers + num_streaming_layers;
            let values: Vec<f64> = (0..shape.num_gates())
                .map(|gate| {
                    let in_first = (gate / shape.num_kv_heads) % period < *num_retrieval_layers;
                    f64::from(u8::from(in_first == *start_with_retrieval))
                })
                .collect();
            Ok(GateBank::from_values(shape.num_kv_heads, &values))
        }
        GateInit::Mask { path, sparsity } => from_mask(path, *sparsity, shape),
        GateInit::Scores { path, mean, spread } => from_order(path, (*mean, *spread), shape),
        GateInit::Checkpoint { path } => from_checkpoint(path, shape),
    }
}

/// Gates that stay as they are: 1 where the bank is above 0, else 0.
pub fn frozen(bank: &GateBank) -> Vec<Vec<f64>> {
    let open = |a: &f64| f64::from(u8::from(*a > 0.0));
    bank.log_alpha()
        .chunks(bank.num_kv_heads())
        .map(|layer| layer.iter().map(open).collect())
        .collect()
}

/// A sidecar's mask, cut again through its ranks if another sparsity is asked for.
fn from_mask(
    path: &Path,
    sparsity: Option<f64>,
    shape: AttentionShape,
) -> Result<GateBank, AnyFault> {
    let sidecar = read_sidecar(path, shape)?;
    let num_gates = shape.num_gates();
    let count = sparsity.and_then(|s| Rounding::FloorRetrieval.num_retrieval(num_gates, s));
    let mask = match count {
        Some(count) => sidecar.ranks.cut(count),
        None => sidecar.mask,
    };
    let values: Vec<f64> = mask
        .flags()
        .iter()
        .map(|flag| f64::from(u8::from(*flag)))
        .collect();
    Ok(GateBank::from_values(shape.num_kv_heads, &values))
}

/// A mask file's order as values from `mean + spread`, the most retrieval-like head, down to `mean - spread`.
///
/// Ranks, not scores: what a score's scale means differs from score to score.
fn from_order(
    path: &Path,
    (mean, spread): (f64, f64),
    shape: AttentionShape,
) -> Result<GateBank, AnyFault> {
    let graded = read_sidecar(path, shape)?.ranks.graded();
    let log_alpha = graded
        .iter()
        .map(|place| mean + spread * (2.0 * place - 1.0));
    Ok(GateBank::new(shape.num_kv_heads, log_alpha.collect()))
}

fn read_sidecar(path: &Path, shape: AttentionShape) -> Result<Sidecar, AnyFault> {
    let file = std::fs::File::open(path).map_err(|source| TrainError::Open {
        path: path.to_path_buf(),
        source,
    })?;
    let sidecar = read::read(file, path)?.sidecar;
    check_shape(
        (sidecar.mask.num_layers(), sidecar.mask.num_kv_heads()),
        shape,
    )?;
    Ok(sidecar)
}

/// The gates of another run's checkpoint, in full precision.
fn from_checkpoint(path: &Path, shape: AttentionShape) -> Result<GateBank, AnyFault> {
    let loaded = CheckpointStore::load_path(path)?;
    let tensors = decode(loaded.file("state.safetensors")?)?;
    let name = "gates.log_alpha";
    let log_alpha = tensors.get(name).and_then(|tensor| tensor.to_f64().ok());
    let log_alpha = log_alpha.ok_or(TrainError::State {
        step: loaded.step,
        name: name.to_owned(),
    })?;
    if log_alpha.len() != shape.num_gates() {
        return Err(TrainError::Mismatch {
            what: "gates",
            found: log_alpha.len().to_string(),
            needed: shape.num_gates().to_string(),
        }
        .into());
    }
    Ok(GateBank::new(shape.num_kv_heads, log_alpha))
}

fn check_shape(
    (layers, kv_heads): (usize, usize),
    shape: AttentionShape,
) -> Result<(), TrainError> {
    if (layers, kv_heads) == (shape.num_layers, shape.num_kv_heads) {
        return Ok(());
    }
    Err(TrainError::Mismatch {
        what: "gates [layers, kv heads]",
        found: format!("[{layers}, {kv_heads}]"),
        needed: format!("[{}, {}]", shape.num_layers, shape.num_kv_heads),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: AttentionShape = AttentionShape {
        num_layers: 4,
        num_heads: 4,
        num_kv_heads: 2,
        head_dim: 8,
    };

    #[test]
    fn stripes_cover_whole_layers_and_can_be_swapped() {
        for (start_with_retrieval, first) in [(true, 10.0), (false, -10.0)] {
            let init = GateInit::Stripes {
                num_retrieval_layers: 1,
                num_streaming_layers: 2,
                start_with_retrieval,
            };
            let bank = initial_gates(&init, SHAPE, 0).unwrap();
            let expected = [first, -first, -first, first].map(|a| [a; 2]).concat();
            assert_eq!(bank.log_alpha(), expected);
            assert_eq!(
                frozen(&bank)[0],
                [f64::from(u8::from(start_with_retrieval)); 2]
            );
        }
    }

    #[test]
    fn gates_of_another_shape_are_refused() {
        let error = check_shape((2, 8), SHAPE).unwrap_err();
        assert!(error.to_string().contains("[2, 8]"), "{error}");
    }
}
