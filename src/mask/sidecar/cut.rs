//! A sidecar from trained gates, or from another sidecar's order, at a chosen number of retrieval heads.

use super::content::{Base, RankSource, Sidecar, Training};
use crate::fault::{Coded, Kind};
use crate::mask::provenance::Provenance;
use crate::mask::rank::Ranks;
use crate::mask::reference_order::reference_order;
use crate::mask::rounding::Rounding;
use crate::mask::soft_gate;

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
    /// Gates that cannot be ordered.
    #[error(
        "`log_alpha` holds NaN or infinity, or {found} values for {num_layers} layers of {num_kv_heads} kv heads"
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
            _ => "mask.target",
        }
    }
    fn kind(&self) -> Kind {
        Kind::Input
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
    let unusable = CutError::Gates {
        found: gates.log_alpha.len(),
        num_layers: shape.num_layers,
        num_kv_heads: shape.num_kv_heads,
    };
    let ranks = Ranks::by_score(shape.num_layers, shape.num_kv_heads, gates.log_alpha);
    let ranks = ranks.ok_or(unusable)?;
    let uncut = Sidecar {
        mask: ranks.cut(0),
        ranks,
        log_alpha: Some(gates.log_alpha.to_vec()),
        gate_score: Some(gates.log_alpha.iter().map(|a| soft_f32(*a)).collect()),
        rounding: Rounding::Count,
        target_sparsity: None,
        rank_source: RankSource::LogAlpha,
        source: "trained".to_owned(),
        program_version: env!("CARGO_PKG_VERSION").to_owned(),
        span: provenance.deploy_span,
        streaming_rule: None,
        chunk_len: None,
        training: Some(training(gates.num_steps, provenance)),
        base: base(provenance),
        other: std::collections::BTreeMap::new(),
    };
    recut(&uncut, target)
}

/// The same order at another count; what was evaluated with the old mask is dropped.
///
/// This is no re-thresholding: the order is stored, and a mask is a prefix of it.
///
/// # Errors
/// [`CutError`] for an impossible target.
pub fn recut(sidecar: &Sidecar, target: Target) -> Result<Sidecar, CutError> {
    let (ranks, rank_source) = order(sidecar, target)?;
    let num_heads = ranks.ranks().len();
    let (num_retrieval, rounding, target_sparsity) = match target {
        Target::NumRetrieval(count) => (count, Rounding::Count, None),
        Target::Sparsity { sparsity, rounding } => {
            if !(0.0..=1.0).contains(&sparsity) {
                return Err(CutError::Sparsity { sparsity });
            }
            let count = rounding.num_retrieval(num_heads, sparsity);
            let count = count.ok_or(CutError::Rule { rounding })?;
            (count, rounding, Some(sparsity))
        }
    };
    if num_retrieval > num_heads {
        return Err(CutError::Count {
            num_retrieval,
            num_heads,
        });
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
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the tensor is F32")]
fn soft_f32(log_alpha: f32) -> f32 {
    soft_gate::soft(f64::from(log_alpha)) as f32
}
