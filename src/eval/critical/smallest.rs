//! The smallest mask of a finished run that keeps enough everywhere: how many heads to export.
//!
//! # Decisions
//! Nothing is interpolated: a head mask is a count of heads, and only counts that were tried are known to keep the score. A size
//! passes if its masks keep the share in every plot with room for losses, and no larger size that was tried fails.

use super::study::{Panel, Study};
use crate::eval::method::MethodKind;
use crate::eval::results::{Part, Results, StreamingIdentity};
use crate::fault::{Coded, Kind};
use crate::footprint::critical::CriticalError;
use std::collections::BTreeSet;

/// Share of the threshold by which a mean of scores may miss it for no reason but rounding.
const ROUNDING: f64 = 1e-12;

/// A size of mask, and what it was tried on.
#[derive(Debug, Clone, PartialEq)]
pub struct Smallest {
    /// Retrieval heads.
    pub num_retrieval: usize,
    /// Every mask of that size that was tried: one text per layer, 1 = retrieval.
    pub masks: BTreeSet<Vec<String>>,
    /// How streaming heads streamed, if they did so in one way.
    pub streaming: Option<StreamingIdentity>,
    /// Tokens per prefill chunk, if there was one length.
    pub chunk_len: Option<usize>,
    /// Plots that it passed in.
    pub num_plots: usize,
    /// Plots in which full attention scores too little for losses to say anything.
    pub num_without_room: usize,
}

/// Why no size can be named.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SmallestError {
    /// A score that is no number.
    #[error(transparent)]
    Curve(#[from] CriticalError),
    /// Nothing to judge by.
    #[error("the run has no task on which full attention scores enough for losses to show")]
    NoRoom,
    /// Nothing to choose from.
    #[error("the run tried no head mask in every one of its {num_plots} plots")]
    NoMasks {
        /// Plots with room for losses.
        num_plots: usize,
    },
    /// Every mask loses too much.
    #[error(
        "its largest mask, {num_retrieval} retrieval heads, keeps less than {keep} of full attention's score: {place}"
    )]
    NoneKeeps {
        /// Heads of the largest mask tried.
        num_retrieval: usize,
        /// The share asked for.
        keep: f64,
        /// Where.
        place: String,
    },
}

impl Coded for SmallestError {
    fn code(&self) -> &'static str {
        match self {
            Self::Curve(error) => error.code(),
            Self::NoRoom | Self::NoMasks { .. } => "critical.nothing_tried",
            Self::NoneKeeps { .. } => "critical.none_keeps",
        }
    }
    fn kind(&self) -> Kind {
        Kind::Input
    }
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Curve(error) => return error.hint(),
            Self::NoRoom => "evaluate shorter lengths, or tasks that the model can do",
            Self::NoMasks { .. } => {
                "evaluate masks of several sparsities with `prulong eval --mask A B C`"
            }
            Self::NoneKeeps { .. } => "evaluate larger masks, or ask for a smaller `--keep`",
        };
        Some(hint.to_owned())
    }
}

impl Smallest {
    /// The smallest size of `results` that keeps the share `keep` of full attention's score.
    ///
    /// # Errors
    /// [`SmallestError`].
    pub fn of(results: &Results, keep: f64) -> Result<Self, SmallestError> {
        let study = Study::of(results, keep)?;
        let (plots, without_room): (Vec<&Panel>, Vec<&Panel>) =
            study.panels.iter().partition(|panel| panel.has_room);
        let num_retrieval = size(&plots, keep)?;
        let used = |part: &&Part| plots.iter().any(|plot| is_of(plot, part));
        let parts: Vec<&Part> = results.parts.iter().filter(used).collect();
        Ok(Self {
            num_retrieval,
            masks: masks(&parts, num_retrieval),
            streaming: single(parts.iter().map(|part| part.streaming)).flatten(),
            chunk_len: single(parts.iter().map(|part| part.chunk_len)),
            num_plots: plots.len(),
            num_without_room: without_room.len(),
        })
    }
}

fn is_of(plot: &Panel, part: &Part) -> bool {
    plot.model == part.model.name && plot.chunk_len == part.chunk_len
}

/// The smallest size that passes with all larger ones.
fn size(plots: &[&Panel], keep: f64) -> Result<usize, SmallestError> {
    let (first, others) = plots.split_first().ok_or(SmallestError::NoRoom)?;
    let tried = |plot: &Panel| sizes(plot).map(|(size, _)| size).collect::<BTreeSet<_>>();
    let shared = others
        .iter()
        .fold(tried(first), |shared, plot| &shared & &tried(plot));
    let failure = |size: usize| plots.iter().find(|plot| !keeps(plot, size, keep));
    let mut passing = shared
        .iter()
        .rev()
        .take_while(|size| failure(**size).is_none());
    if let Some(smallest) = passing.by_ref().last() {
        return Ok(*smallest);
    }
    let num_plots = plots.len();
    let largest = shared.last().ok_or(SmallestError::NoMasks { num_plots })?;
    let place = failure(*largest).map(|plot| {
        format!(
            "{} at {} tokens, chunk {}, {}",
            plot.task, plot.length, plot.chunk_len, plot.model
        )
    });
    Err(SmallestError::NoneKeeps {
        num_retrieval: *largest,
        keep,
        place: place.unwrap_or_default(),
    })
}

/// Sizes of the masks under test with the share of the score they keep.
fn sizes(plot: &Panel) -> impl Iterator<Item = (usize, f64)> {
    let curves = plot
        .curves
        .iter()
        .filter(|curve| curve.kind == MethodKind::Mask);
    let points = curves.flat_map(|curve| &curve.points);
    points.filter_map(|point| Some((point.num_retrieval?, point.relative?)))
}

fn keeps(plot: &Panel, size: usize, keep: f64) -> bool {
    sizes(plot).any(|(tried, share)| tried == size && share >= keep * (1.0 - ROUNDING))
}

/// The masks of that size, wherever they were tried.
fn masks(parts: &[&Part], num_retrieval: usize) -> BTreeSet<Vec<String>> {
    let tasks = parts.iter().flat_map(|part| &part.tasks);
    tasks
        .flat_map(|task| &task.methods)
        .filter(|method| matches!(method.kind, MethodKind::Mask | MethodKind::AllStreaming))
        .filter(|method| method.num_retrieval() == Some(num_retrieval))
        .filter_map(|method| method.retrieval_mask.clone())
        .collect()
}

/// The value, if all are one.
fn single<T: PartialEq>(mut values: impl Iterator<Item = T>) -> Option<T> {
    let first = values.next()?;
    values.all(|value| value == first).then_some(first)
}
