//! The gates that `prulong bench train` steps with: shares at 0, between, and at 1.

use crate::cli::bench_error::BenchError;
use crate::estimate::plan::Gates;
use crate::real::real;
use crate::shape::AttentionShape;

/// Shares may add up to this much more than 1: `0.7 + 0.3` rounds.
const ROUNDING: f64 = 1e-9;

/// One gate per layer and kv head, and how many stand where.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct BenchGates {
    /// Gates, a row per layer.
    pub(super) z: Vec<Vec<f64>>,
    /// The exact share at 0.
    pub(super) sparsity: f64,
    /// The exact share strictly between 0 and 1.
    pub(super) between: f64,
}

impl BenchGates {
    /// Gates of which a share is at 0, a share at one half and the rest at 1, as evenly over the layers as it goes.
    ///
    /// # Errors
    /// [`BenchError::TooManyGates`] if both shares are more than 1.
    pub(super) fn new(
        shape: AttentionShape,
        sparsity: f64,
        between: f64,
    ) -> Result<Self, BenchError> {
        if sparsity + between > 1.0 + ROUNDING {
            return Err(BenchError::TooManyGates { sparsity, between });
        }
        let count = real(shape.num_gates());
        let gate = |layer: usize, head: usize| {
            let rank = real(head * shape.num_layers + layer) + 0.5;
            if rank < sparsity * count {
                0.0
            } else if rank < (sparsity + between) * count {
                0.5
            } else {
                1.0
            }
        };
        let layers = 0..shape.num_layers;
        let z: Vec<Vec<f64>> = layers
            .map(|layer| {
                let heads = 0..shape.num_kv_heads;
                heads.map(|head| gate(layer, head)).collect()
            })
            .collect();
        let share = |is_one: fn(f64) -> bool| {
            real(z.iter().flatten().filter(|z| is_one(**z)).count()) / count
        };
        Ok(Self {
            sparsity: share(|z| z <= 0.0),
            between: share(|z| z > 0.0 && z < 1.0),
            z,
        })
    }

    /// What an estimate counts of them.
    pub(super) fn counted(&self) -> Gates {
        let sparsity = self.sparsity;
        if self.between > 0.0 {
            Gates::Shares {
                full: 1.0 - sparsity,
                streaming: sparsity + self.between,
            }
        } else {
            Gates::Ends { sparsity }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: AttentionShape = AttentionShape {
        num_layers: 4,
        num_heads: 16,
        num_kv_heads: 8,
        head_dim: 32,
    };

    /// How many gates pass, and that no layer has more than one of them above another.
    fn count(gates: &BenchGates, is_one: impl Fn(f64) -> bool) -> usize {
        let of = |layer: &Vec<f64>| layer.iter().filter(|z| is_one(**z)).count();
        let counts = gates.z.iter().map(of);
        let [least, most] = [counts.clone().min(), counts.clone().max()];
        assert!(most.unwrap() - least.unwrap() <= 1, "{gates:?}");
        counts.sum()
    }

    #[test]
    fn gates_have_the_shares_that_were_asked_for() {
        for (asked, closed, between) in [
            ([0.0, 0.0], 0, 0),
            ([0.35, 0.0], 11, 0),
            ([0.7, 0.0], 22, 0),
            ([1.0, 0.0], 32, 0),
            ([0.0, 1.0], 0, 32),
            ([0.35, 0.3], 11, 10),
            ([0.7, 0.3], 22, 10),
        ] {
            let gates = BenchGates::new(SHAPE, asked[0], asked[1]).unwrap();
            assert_eq!((gates.z.len(), gates.z[0].len()), (4, 8));
            assert_eq!(count(&gates, |z| z <= 0.0), closed, "{asked:?}");
            assert_eq!(count(&gates, |z| z > 0.0 && z < 1.0), between, "{asked:?}");
            assert_eq!(count(&gates, |z| z >= 1.0), 32 - closed - between);
            assert!((gates.sparsity - real(closed) / 32.0).abs() < 1e-12);
            assert!((gates.between - real(between) / 32.0).abs() < 1e-12);
        }
        let error = BenchGates::new(SHAPE, 0.7, 0.31).unwrap_err();
        assert!(matches!(error, BenchError::TooManyGates { .. }));
    }

    #[test]
    fn gates_between_count_in_both_branches() {
        let counted =
            |sparsity, between| BenchGates::new(SHAPE, sparsity, between).unwrap().counted();
        assert_eq!(counted(0.5, 0.0), Gates::Ends { sparsity: 0.5 });
        let shares = |gates: Gates| (gates.full_share(), gates.streaming_share());
        assert_eq!(shares(counted(0.25, 0.5)), (0.75, 0.75));
        assert_eq!(shares(counted(0.0, 1.0)), shares(Gates::Between));
    }
}
