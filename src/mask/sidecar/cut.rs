//! A sidecar from trained gates, or from another sidecar's order, at a chosen number of retrieval heads.

use super::content::{Base, RankSource, Sidecar, Training};
use crate::fault::{Coded, Kind};
use crate::mask::foreign::problem::ForeignProblem;
use crate::mask::provenance::Provenance;
use crate::mask::rank::Ranks;
use crate::mask::reference_order::reference_order;
use crate::mask::rounding::Rounding;
use crate::mask::soft_gate;
use crate::shape::AttentionShape;

/// How many heads to keep.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Target {
    /// A share of streaming heads, turned into a count by a rule.
    Sparsity {
        /// The share, in [0, 1].
        sparsity: f64,
        /// The rule.
        rounding: Rounding,
    },
    /// The count itself.
    NumRetrieval(usize),
}

impl Target {
    /// Retrieval heads of `num_heads`.
    ///
    /// # Errors
    /// [`CutError::Sparsity`], [`CutError::Rule`] or [`CutError::Count`].
    pub fn num_retrieval(self, num_heads: usize) -> Result<usize, CutError> {
        let num_retrieval = match self {
            Self::NumRetrieval(count) => count,
            Self::Sparsity { sparsity, rounding } => {
                if !(0.0..=1.0).contains(&sparsity) {
                    return Err(CutError::Sparsity { sparsity });
                }
                let count = rounding.num_retrieval(num_heads, sparsity);
                count.ok_or(CutError::Rule { rounding })?
            }
        };
        if num_retrieval > num_heads {
            return Err(CutError::Count {
                num_retrieval,
                num_heads,
            });
        }
        Ok(num_retrieval)
    }
}

/// Gates as training left them.
#[derive(Debug, Clone, Copy)]
pub struct TrainedGates<'a> {
    /// Row-major `[layers, kv_heads]`.
    pub log_alpha: &'a [f32],
    /// Optimizer steps they have seen.
    pub num_steps: u64,
}

/// Why no mask could be cut.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CutError {
    /// A share outside [0, 1].
    #[error("a sparsity of {sparsity} is not between 0 and 1")]
    Sparsity {
        /// The value given.
        sparsity: f64,
    },
    /// A rule that does not turn shares into counts.
    #[error("the rule `{}` needs a number of retrieval heads, not a sparsity", .rounding.name())]
    Rule {
        /// The rule.
        rounding: Rounding,
    },
    /// More heads than there are.
    #[error("cannot keep {num_retrieval} retrieval heads of {num_heads}")]
    Count {
        /// Heads asked for.
        num_retrieval: usize,
        /// Heads there are.
        num_heads: usize,
    },
    /// The reference's order needs gates.
    #[error("the reference's order needs `log_alpha`, which this mask does not have")]
    NoGates,
    /// A decision has no order to cut it again.
    #[error(transparent)]
    Binary(#[from] ForeignProblem),
    /// Gates that cannot be ordered.
    #[error(
        "the gates hold NaN or infinity, or {found} values for {num_layers} layers of {num_kv_heads} kv heads"
    )]
    Gates {
        /// Values found.
        found: usize,
        /// Decoder blocks of the model.
        num_layers: usize,
        /// Kv heads per layer of the model.
        num_kv_heads: usize,
    },
}

impl Coded for CutError {
    fn code(&self) -> &'static str {
        match self {
            Self::Gates { .. } => "mask.nonfinite",
            Self::Binary(problem) => problem.code(),
            _ => "mask.target",
        }
    }
    fn kind(&self) -> Kind {
        Kind::Input
    }
    fn hint(&self) -> Option<String> {
        match self {
            Self::Binary(problem) => Some(problem.hint()),
            _ => None,
        }
    }
}

/// A mask from the gates of a run.
///
/// # Errors
/// [`CutError`] for an impossible target, or gates that are not finite or of another shape than the run's model.
pub fn trained(
    gates: TrainedGates<'_>,
    provenance: &Provenance,
    target: Target,
) -> Result<Sidecar, CutError> {
    let shape = provenance.arch.shape();
    let ranks = ranked(gates.log_alpha, &shape)?;
    let uncut = Sidecar {
        log_alpha: Some(gates.log_alpha.to_vec()),
        gate_score: Some(gates.log_alpha.iter().map(|a| soft_f32(*a)).collect()),
        ..uncut(ranks, RankSource::LogAlpha, gates.num_steps, provenance)
    };
    recut(&uncut, target)
}

/// A mask from the gates of a DuoAttention run after `num_steps`, row-major, as the last update left them.
///
/// # Errors
/// As [`trained`].
pub fn distilled(
    gates: &[f32],
    num_steps: u64,
    provenance: &Provenance,
    target: Target,
) -> Result<Sidecar, CutError> {
    let ranks = ranked(gates, &provenance.arch.shape())?;
    let uncut = Sidecar {
        gate_score: Some(gates.to_vec()),
        ..uncut(ranks, RankSource::Score, num_steps, provenance)
    };
    recut(&uncut, target)
}

/// Heads by descending parameter, ties by (layer, kv head).
fn ranked(parameters: &[f32], shape: &AttentionShape) -> Result<Ranks, CutError> {
    let (num_layers, num_kv_heads) = (shape.num_layers, shape.num_kv_heads);
    let ranks = Ranks::by_score(num_layers, num_kv_heads, parameters);
    ranks.ok_or(CutError::Gates {
        found: parameters.len(),
        num_layers,
        num_kv_heads,
    })
}

/// A mask of no retrieval head in the order of `ranks`, without the numbers that gave it.
fn uncut(
    ranks: Ranks,
    rank_source: RankSource,
    num_steps: u64,
    provenance: &Provenance,
) -> Sidecar {
    Sidecar {
        mask: ranks.cut(0),
        ranks,
        log_alpha: None,
        gate_score: None,
        rounding: Rounding::Count,
        target_sparsity: None,
        rank_source,
        source: "trained".to_owned(),
        program_version: env!("CARGO_PKG_VERSION").to_owned(),
        span: provenance.deploy_span,
        streaming_rule: None,
        chunk_len: None,
        training: Some(training(num_steps, provenance)),
        base: base(provenance),
        other: std::collections::BTreeMap::new(),
    }
}

/// The same order at another count; what was evaluated with the old mask is dropped.
///
/// This is no re-thresholding: the order is stored, and a mask is a prefix of it. A mask that was imported as a decision has no
/// order, and only its own count.
///
/// # Errors
/// [`CutError`] for an impossible target.
pub fn recut(sidecar: &Sidecar, target: Target) -> Result<Sidecar, CutError> {
    let (ranks, rank_source) = order(sidecar, target)?;
    let num_retrieval = target.num_retrieval(ranks.ranks().len())?;
    let (rounding, target_sparsity) = match target {
        Target::NumRetrieval(_) => (Rounding::Count, None),
        Target::Sparsity { sparsity, rounding } => (rounding, Some(sparsity)),
    };
    if sidecar.rank_source == RankSource::Mask {
        if sidecar.mask.num_retrieval() == num_retrieval {
            return Ok(sidecar.clone());
        }
        return Err(ForeignProblem::already_binary(&sidecar.mask, num_retrieval).into());
    }
    Ok(Sidecar {
        mask: ranks.cut(num_retrieval),
        ranks,
        rank_source,
        rounding,
        target_sparsity,
        streaming_rule: None,
        chunk_len: None,
        program_version: env!("CARGO_PKG_VERSION").to_owned(),
        ..sidecar.clone()
    })
}

/// The order a target asks for: the reference's, or that of the gates, or the stored one where there are no gates.
fn order(sidecar: &Sidecar, target: Target) -> Result<(Ranks, RankSource), CutError> {
    let (num_layers, num_kv_heads) = (sidecar.ranks.num_layers(), sidecar.ranks.num_kv_heads());
    let wants_reference = matches!(
        target,
        Target::Sparsity {
            rounding: Rounding::Reference,
            ..
        }
    );
    let Some(log_alpha) = &sidecar.log_alpha else {
        if wants_reference {
            return Err(CutError::NoGates);
        }
        return Ok((sidecar.ranks.clone(), sidecar.rank_source));
    };
    let (ranks, source) = if wants_reference {
        let ranks = reference_order(num_layers, num_kv_heads, log_alpha);
        (ranks, RankSource::Reference)
    } else {
        let ranks = Ranks::by_score(num_layers, num_kv_heads, log_alpha);
        (ranks, RankSource::LogAlpha)
    };
    let ranks = ranks.ok_or(CutError::Gates {
        found: log_alpha.len(),
        num_layers,
        num_kv_heads,
    })?;
    Ok((ranks, source))
}

fn training(num_steps: u64, provenance: &Provenance) -> Training {
    Training {
        method: provenance.method,
        span: provenance.train_span,
        seq_len: provenance.seq_len,
        num_steps,
        seed: provenance.seed,
        target_sparsity: provenance.target_sparsity,
        data_id: provenance.data_id.clone(),
        config_sha256: provenance.config_sha256.clone(),
    }
}

fn base(provenance: &Provenance) -> Base {
    Base {
        model: provenance.base_model.clone(),
        revision: provenance.base_model_revision.clone(),
        arch: provenance.arch.clone(),
        weights_sha256: provenance.base_weights_sha256.clone(),
        weights_modified: provenance.weights_modified,
        rebased_from: None,
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the tensor is F32")]
fn soft_f32(log_alpha: f32) -> f32 {
    soft_gate::soft(f64::from(log_alpha)) as f32
}
