//! What a figure leaves out, and by how much: the steps from the reference's script to the caches, and the freedom of heads
//! that choose for themselves.

use super::eviction::LayerBudget;
use super::holdings::{Holdings, REFERENCE_EXTRA};
use super::workload::{Convention, Workload};
use std::fmt;

/// Why a figure is not what a method holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case", tag = "name")]
pub enum Cause {
    /// The script counts one query more.
    OneQueryMore,
    /// The script keeps a constant more of every chunk, and counts one query more.
    ConstantPerChunk,
    /// The script adds Locret's stabilizers to every chunk, and counts one query more.
    StabilizersPerChunk,
    /// The script gives every layer the same budget.
    LayerBudgets,
    /// The script leaves out the tokens of the patch.
    Patch,
    /// The reference's cache holds every kv head once per head of its group.
    RepeatedKv {
        /// Heads per kv head.
        group_size: usize,
    },
    /// Heads choose for themselves: no two of a group may agree.
    OwnChoice,
    /// Heads are whole: the nearest mask that export makes has another sparsity.
    WholeHeads {
        /// Its retrieval heads.
        num_retrieval: usize,
        /// All kv heads.
        num_heads: usize,
    },
}

/// One thing that a figure leaves out.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Gap {
    /// Why.
    pub cause: Cause,
    /// KV footprint without, and with what is left out.
    pub from: f64,
    /// KV footprint with it.
    pub to: f64,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OneQueryMore => f.write_str("the script counts one query more than are made"),
            Self::ConstantPerChunk => write!(
                f,
                "the script keeps {REFERENCE_EXTRA} entries more of every chunk, and counts one query more"
            ),
            Self::StabilizersPerChunk => f.write_str(
                "the script adds the stabilizers to every chunk, though the budget is global, and counts one query more",
            ),
            Self::LayerBudgets => f.write_str("the script gives every layer the same budget"),
            Self::Patch => f.write_str("the script leaves out the queries of the patch"),
            Self::RepeatedKv { group_size } => write!(
                f,
                "the reference's cache holds every kv head {group_size} times, once per head"
            ),
            Self::OwnChoice => {
                f.write_str("heads choose for themselves: at most, if no two of a group agree")
            }
            Self::WholeHeads {
                num_retrieval,
                num_heads,
            } => write!(
                f,
                "heads are whole: `export-mask` would keep {num_retrieval} of {num_heads} retrieval heads"
            ),
        }
    }
}

impl Gap {
    /// How much is left out, in shares of the full footprint.
    pub fn difference(&self) -> f64 {
        self.to - self.from
    }
}

/// What the figure of `holdings` leaves out. Under the reference's convention each step starts where the one before ends, and
/// the last one without repeated keys and values ends at what the caches hold.
pub fn gaps(holdings: &Holdings, workload: &Workload) -> Vec<Gap> {
    let figure = |holdings: &Holdings, workload: &Workload| holdings.predict(workload).kv_footprint;
    let start = figure(holdings, workload);
    let mut path: Vec<(Cause, f64)> = Vec::new();
    if let (Convention::Reference, Some(counted)) = (workload.convention(), workload.counted()) {
        let steps = steps(holdings).into_iter();
        path.extend(steps.map(|(cause, holdings)| (cause, figure(&holdings, &counted))));
    }
    if let Holdings::Ranked { num_choosers, .. } = holdings
        && *num_choosers > 1
    {
        let group_size = *num_choosers;
        let held = path.last().map_or(start, |(_, to)| *to);
        path.push(match workload.convention() {
            Convention::Counted => (Cause::OwnChoice, holdings.at_most(workload).kv_footprint),
            Convention::Reference => (Cause::RepeatedKv { group_size }, times(group_size, held)),
        });
    }
    let starts = std::iter::once(start).chain(path.iter().map(|(_, to)| *to));
    let gap = |(from, &(cause, to))| Gap { cause, from, to };
    starts.zip(&path).map(gap).collect()
}

/// From the script to the caches, one thing after another.
fn steps(holdings: &Holdings) -> Vec<(Cause, Holdings)> {
    let Holdings::Ranked {
        eviction,
        num_layers,
        num_choosers,
    } = holdings
    else {
        let cause = match holdings {
            Holdings::Locret(_) => Cause::StabilizersPerChunk,
            _ => Cause::OneQueryMore,
        };
        return vec![(cause, holdings.clone())];
    };
    let with = |layers, patch| Holdings::Ranked {
        eviction: super::eviction::TokenEviction {
            patch,
            layers,
            ..*eviction
        },
        num_layers: *num_layers,
        num_choosers: *num_choosers,
    };
    let mut steps = vec![(Cause::ConstantPerChunk, with(LayerBudget::Uniform, false))];
    if !eviction.layers_are_alike() {
        steps.push((Cause::LayerBudgets, with(eviction.layers, false)));
    }
    if eviction.patch {
        steps.push((Cause::Patch, with(eviction.layers, true)));
    }
    steps
}

#[expect(clippy::cast_precision_loss, reason = "a group has few heads")]
fn times(group_size: usize, footprint: f64) -> f64 {
    group_size as f64 * footprint
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::footprint::eviction::{TokenEviction, TokenSparsity};
    use crate::span::{Span, StreamingRule};

    fn workload(convention: Convention) -> Workload {
        Workload::new(131_052, 20, 8_192, convention).unwrap()
    }

    fn ranked(layers: LayerBudget, patch: bool, num_choosers: usize) -> Holdings {
        Holdings::Ranked {
            eviction: TokenEviction {
                observation_len: 64,
                sparsity: TokenSparsity::new(0.7).unwrap(),
                patch,
                layers,
            },
            num_layers: 32,
            num_choosers,
        }
    }

    fn causes(gaps: &[Gap]) -> Vec<Cause> {
        gaps.iter().map(|gap| gap.cause).collect()
    }

    #[test]
    fn steps_lead_from_the_script_to_the_caches_and_have_the_published_sizes() {
        let uniform = gaps(
            &ranked(LayerBudget::Uniform, true, 1),
            &workload(Convention::Reference),
        );
        assert_eq!(causes(&uniform), [Cause::ConstantPerChunk, Cause::Patch]);
        for (found, golden) in [
            (uniform[0].from, 0.351_111_78),
            (uniform[0].to, 0.343_673_02),
            (uniform[1].from, 0.343_673_02),
            (uniform[1].to, 0.346_514_34),
        ] {
            assert!((found - golden).abs() < 1e-6, "{found} for {golden}");
        }
        assert!((uniform[0].difference() + 0.007_438_76).abs() < 1e-6);
        let pyramid = ranked(LayerBudget::Pyramid, true, 4);
        let found = gaps(&pyramid, &workload(Convention::Reference));
        let repeated = Cause::RepeatedKv { group_size: 4 };
        assert_eq!(
            causes(&found),
            [
                Cause::ConstantPerChunk,
                Cause::LayerBudgets,
                Cause::Patch,
                repeated
            ]
        );
        let counted = pyramid.predict(&workload(Convention::Counted)).kv_footprint;
        assert!((found[2].to - counted).abs() < 1e-12);
        assert!((found[3].to - 4.0 * counted).abs() < 1e-12);
        assert!(found[1].difference() > 0.0);
    }

    #[test]
    fn what_the_caches_count_leaves_out_only_what_heads_choose() {
        let counted = workload(Convention::Counted);
        assert!(gaps(&ranked(LayerBudget::Pyramid, true, 1), &counted).is_empty());
        let own = gaps(&ranked(LayerBudget::Uniform, false, 4), &counted);
        assert_eq!(causes(&own), [Cause::OwnChoice]);
        assert!(own[0].difference() > 0.5 && own[0].to <= 1.0);
        let span = Span::new(128, 1024, 1).unwrap();
        let masked = Holdings::all_streaming(span, StreamingRule::DuoChunk);
        assert!(gaps(&masked, &counted).is_empty());
        let script = gaps(&masked, &workload(Convention::Reference));
        assert_eq!(causes(&script), [Cause::OneQueryMore]);
        assert!(script[0].difference().abs() < 1e-6);
    }
}
