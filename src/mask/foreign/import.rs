//! A sidecar from what a foreign file says.

use super::content::{Content, Foreign};
use super::problem::ForeignProblem;
use crate::fault::{Coded, Kind};
use crate::mask::error::MaskWarning;
use crate::mask::head_mask::HeadMask;
use crate::mask::rank::Ranks;
use crate::mask::rounding::Rounding;
use crate::mask::sidecar::content::{Base, RankSource, Sidecar};
use crate::mask::sidecar::cut::{CutError, Target, recut};
use crate::span::{Span, SpanError};
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// What the user says about a foreign file.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// How many heads to keep; scores need it.
    pub target: Option<Target>,
    /// Sink to deploy with, in tokens; instead of what the file states.
    pub sink_len: Option<usize>,
    /// Window to deploy with, in tokens; instead of what the file states.
    pub window_len: Option<usize>,
    /// Block of the streaming pattern, in tokens.
    pub block_len: usize,
    /// The model the mask is for.
    pub base: Base,
    /// `prulong.source` of the format.
    pub source: &'static str,
}

/// Why a sound foreign file makes no sidecar.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// Something is missing that neither file nor user said.
    #[error(transparent)]
    Foreign(#[from] ForeignProblem),
    /// Scores, and nobody said how many heads to keep.
    #[error("these are scores, from which a number of retrieval heads must be chosen")]
    NoTarget,
    /// An impossible number of heads.
    #[error(transparent)]
    Cut(#[from] CutError),
    /// An impossible span.
    #[error(transparent)]
    Span(#[from] SpanError),
}

impl Coded for ImportError {
    fn code(&self) -> &'static str {
        match self {
            Self::Foreign(problem) => problem.code(),
            Self::NoTarget => "mask.not_binary",
            Self::Cut(error) => error.code(),
            Self::Span(_) => "mask.span",
        }
    }
    fn kind(&self) -> Kind {
        Kind::Input
    }
    fn hint(&self) -> Option<String> {
        match self {
            Self::Foreign(problem) => Some(problem.hint()),
            Self::NoTarget => Some("choose `--sparsity` or `--num-retrieval`".to_owned()),
            Self::Cut(error) => error.hint(),
            Self::Span(error) => error.hint(),
        }
    }
}

/// A sidecar and what is odd about it.
///
/// # Errors
/// [`ImportError`].
pub fn import(
    foreign: Foreign,
    request: Request,
) -> Result<(Sidecar, Vec<MaskWarning>), ImportError> {
    let mut warnings = foreign.warnings.clone();
    let span = span(&foreign, &request, &mut warnings)?;
    let sidecar = match foreign.content {
        Content::Mask(mask) => decided(mask, span, request)?,
        Content::Scores {
            num_layers,
            num_kv_heads,
            scores,
        } => {
            let extents = (num_layers, num_kv_heads);
            let sidecar = scored(extents, &scores, span, request)?;
            warnings.extend(ties((&sidecar.mask, &sidecar.ranks), &scores));
            sidecar
        }
    };
    Ok((sidecar, warnings))
}

/// What the user says of the span, else what the file does; `warnings` tells where they differ.
fn span(
    foreign: &Foreign,
    request: &Request,
    warnings: &mut Vec<MaskWarning>,
) -> Result<Span, ImportError> {
    let mut len = |what, option, stated: Option<usize>, asked: Option<usize>| {
        if let (Some(stated), Some(asked)) = (stated, asked)
            && stated != asked
        {
            warnings.push(MaskWarning::SpanMismatch {
                field: what,
                stored: stated.to_string(),
                used: asked.to_string(),
            });
        }
        let len = asked.or(stated);
        len.ok_or(ForeignProblem::SizesUnstated { what, option })
    };
    let sink_len = len("sink_len", "--sink-len", foreign.sink_len, request.sink_len)?;
    let window_len = len(
        "window_len",
        "--window-len",
        foreign.window_len,
        request.window_len,
    )?;
    Ok(Span::new(sink_len, window_len, request.block_len)?)
}

/// The mask that content stands for: the decision itself, or scores cut at a target; and whether the cut goes through a tie.
///
/// # Errors
/// [`ImportError::NoTarget`], or what is wrong with the target.
pub fn decide(
    content: &Content,
    target: Option<Target>,
) -> Result<(HeadMask, Option<MaskWarning>), ImportError> {
    match content {
        Content::Mask(mask) => {
            confirm(mask, target)?;
            Ok((mask.clone(), None))
        }
        Content::Scores {
            num_layers,
            num_kv_heads,
            scores,
        } => {
            let target = target.ok_or(ImportError::NoTarget)?;
            let ranks = order((*num_layers, *num_kv_heads), scores)?;
            let mask = ranks.cut(target.num_retrieval(scores.len())?);
            let ties = ties((&mask, &ranks), scores);
            Ok((mask, ties))
        }
    }
}

/// A target may only confirm a decision.
fn confirm(mask: &HeadMask, target: Option<Target>) -> Result<(), ImportError> {
    let Some(target) = target else {
        return Ok(());
    };
    let asked = target.num_retrieval(mask.flags().len())?;
    if asked == mask.num_retrieval() {
        return Ok(());
    }
    Err(ForeignProblem::already_binary(mask, asked).into())
}

fn order(
    (num_layers, num_kv_heads): (usize, usize),
    scores: &[f64],
) -> Result<Ranks, ForeignProblem> {
    let ranks = Ranks::by_wide_score(num_layers, num_kv_heads, scores);
    ranks.ok_or(ForeignProblem::Scores {
        found: scores.len(),
        expected: num_layers * num_kv_heads,
    })
}

/// The decision as it is.
fn decided(mask: HeadMask, span: Span, request: Request) -> Result<Sidecar, ImportError> {
    confirm(&mask, request.target)?;
    let target_sparsity = match request.target {
        Some(Target::Sparsity { sparsity, .. }) => Some(sparsity),
        _ => None,
    };
    Ok(Sidecar {
        target_sparsity,
        ..sidecar(Ranks::of_mask(&mask), mask, span, request)
    })
}

fn scored(
    extents: (usize, usize),
    scores: &[f64],
    span: Span,
    request: Request,
) -> Result<Sidecar, ImportError> {
    let target = request.target.ok_or(ImportError::NoTarget)?;
    let ranks = order(extents, scores)?;
    let uncut = Sidecar {
        rank_source: RankSource::Score,
        gate_score: Some(scores.iter().map(|score| single(*score)).collect()),
        ..sidecar(ranks.clone(), ranks.cut(0), span, request)
    };
    Ok(recut(&uncut, target)?)
}

fn sidecar(ranks: Ranks, mask: HeadMask, span: Span, request: Request) -> Sidecar {
    Sidecar {
        mask,
        ranks,
        log_alpha: None,
        gate_score: None,
        rounding: Rounding::Imported,
        target_sparsity: None,
        rank_source: RankSource::Mask,
        source: request.source.to_owned(),
        program_version: env!("CARGO_PKG_VERSION").to_owned(),
        span,
        streaming_rule: None,
        chunk_len: None,
        training: None,
        base: request.base,
        other: BTreeMap::new(),
    }
}

/// Heads that only their place puts on one side of the cut.
pub fn ties((mask, ranks): (&HeadMask, &Ranks), scores: &[f64]) -> Option<MaskWarning> {
    let ranked = ranks.ranks().iter().zip(scores);
    let last_kept = mask.num_retrieval().checked_sub(1)?;
    let score_at = |place: usize| ranked.clone().find(|(rank, _)| **rank == place);
    let (_, score) = score_at(last_kept)?;
    let (_, next) = score_at(last_kept + 1)?;
    // As the order compares: 0 and -0 are one score.
    let is_tied = |other: &f64| other.partial_cmp(score) == Some(Ordering::Equal);
    let tied = || ranked.clone().filter(|(_, other)| is_tied(other));
    is_tied(next).then(|| MaskWarning::TiesAtCut {
        score: *score,
        num_tied: tied().count(),
        num_kept: tied().filter(|(rank, _)| **rank <= last_kept).count(),
    })
}

#[expect(clippy::cast_possible_truncation, reason = "the tensor is F32")]
fn single(score: f64) -> f32 {
    score as f32
}

#[cfg(test)]
mod tests;
