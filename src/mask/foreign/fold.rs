//! From query heads to kv heads: a group of query heads shares one kv head, which is retrieval or streaming as a whole.

use super::problem::ForeignProblem;
use crate::shape::AttentionShape;

/// How the values of a group become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fold {
    /// A kv head is retrieval if any of its query heads is.
    Any,
    /// A kv head scores what its best query head does.
    Max,
}

impl Fold {
    /// The option's value.
    pub fn name(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Max => "max",
        }
    }

    /// Refuses a fold where columns are kv heads already.
    ///
    /// # Errors
    /// [`ForeignProblem::Fold`] if there is one.
    pub fn refuse(fold: Option<Self>) -> Result<(), ForeignProblem> {
        fold.map_or(Ok(()), |fold| {
            Err(ForeignProblem::Fold {
                given: fold.name(),
                reason: "the format counts kv heads",
            })
        })
    }
}

/// Checks the fold of a format that has one.
///
/// # Errors
/// [`ForeignProblem::Fold`] for another than `expected`.
pub fn only(fold: Option<Fold>, expected: Fold) -> Result<Option<Fold>, ForeignProblem> {
    match fold {
        Some(given) if given != expected => Err(ForeignProblem::Fold {
            given: given.name(),
            reason: match expected {
                Fold::Any => "the format stores decisions, which `any` folds",
                Fold::Max => "the format stores scores, which `max` folds",
            },
        }),
        fold => Ok(fold),
    }
}

/// Row-major values over query heads to values over kv heads: the only value of each group, or with `largest` the largest.
///
/// # Errors
/// [`ForeignProblem::GroupNotUniform`] for the first group of different values, unless `largest`.
pub fn groups(
    values: &[f64],
    shape: &AttentionShape,
    fold: Fold,
    largest: bool,
) -> Result<Vec<f64>, ForeignProblem> {
    let groups = values.chunks(shape.group_size()).enumerate();
    groups
        .map(|(index, group)| {
            let best = group.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let uniform = group.iter().all(|value| value.to_bits() == best.to_bits());
            if uniform || largest {
                return Ok(best);
            }
            let found: Vec<String> = group.iter().map(ToString::to_string).collect();
            Err(ForeignProblem::GroupNotUniform {
                layer: index / shape.num_kv_heads,
                kv_head: index % shape.num_kv_heads,
                group_size: shape.group_size(),
                found: found.join(" "),
                fold: fold.name(),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: AttentionShape = AttentionShape {
        num_layers: 2,
        num_heads: 4,
        num_kv_heads: 2,
        head_dim: 8,
    };

    #[test]
    fn groups_fold_to_their_value_and_disagreement_is_named() {
        let uniform = [1.0, 1.0, 0.0, 0.0, 0.5, 0.5, 2.0, 2.0];
        let folded = groups(&uniform, &SHAPE, Fold::Any, false).unwrap();
        assert_eq!(folded, [1.0, 0.0, 0.5, 2.0]);
        let mixed = [1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0];
        let problem = groups(&mixed, &SHAPE, Fold::Any, false).unwrap_err();
        assert_eq!(problem.code(), "mask.group_not_uniform");
        assert_eq!(
            problem.to_string(),
            "layer 1: heads 2 to 3, which share kv head 1, hold 0 1"
        );
        assert!(problem.hint().contains("--fold any"));
        let folded = groups(&mixed, &SHAPE, Fold::Any, true).unwrap();
        assert_eq!(folded, [1.0, 0.0, 0.0, 1.0]);
    }

    #[test]
    fn a_fold_that_does_not_apply_is_refused() {
        assert!(Fold::refuse(None).is_ok());
        assert_eq!(
            Fold::refuse(Some(Fold::Any)).unwrap_err().code(),
            "mask.usage"
        );
        assert!(only(Some(Fold::Max), Fold::Max).is_ok());
        let problem = only(Some(Fold::Any), Fold::Max).unwrap_err();
        assert!(problem.to_string().contains("`--fold any`"), "{problem}");
        assert!(only(Some(Fold::Max), Fold::Any).is_err());
    }
}
