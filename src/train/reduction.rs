//! How the losses of a step's micro-batches become one number.

use crate::model::train_pass::Row;
use crate::real::real;

/// The weight of a target in its micro-batch.
#[derive(Debug, Clone, PartialEq)]
pub enum Reduction {
    /// Mean per micro-batch, then over micro-batches: a short one weighs as much as a long one.
    Mean,
    /// Mean over all targets of the step.
    ExactTokens,
    /// Sum over the running mean of targets per micro-batch, over every micro-batch so far: the reference's choice for
    /// instruction data.
    TokenScaled {
        /// Targets of all micro-batches so far.
        num_targets: f64,
        /// Micro-batches so far.
        num_micro_batches: f64,
    },
}

impl Reduction {
    /// The weight of every target of each row; rows without targets get 0. Running means move on.
    pub fn weights(&mut self, rows: &[Row]) -> Vec<f64> {
        let counts: Vec<f64> = rows
            .iter()
            .map(|row| real(row.targets.num_valid()))
            .collect();
        self.weights_of(&counts)
    }

    fn weights_of(&mut self, counts: &[f64]) -> Vec<f64> {
        let num_rows: f64 = counts.iter().map(|_| 1.0).sum();
        let total: f64 = counts.iter().sum();
        let weight = |count: f64, divisor: f64| if count > 0.0 { 1.0 / divisor } else { 0.0 };
        match self {
            Self::Mean => counts.iter().map(|n| weight(*n, n * num_rows)).collect(),
            Self::ExactTokens => counts.iter().map(|n| weight(*n, total)).collect(),
            Self::TokenScaled {
                num_targets,
                num_micro_batches,
            } => counts
                .iter()
                .map(|n| {
                    *num_targets += n;
                    *num_micro_batches += 1.0;
                    weight(*n, *num_targets / *num_micro_batches * num_rows)
                })
                .collect(),
        }
    }

    /// What a checkpoint must remember.
    pub fn state(&self) -> Vec<f64> {
        match self {
            Self::TokenScaled {
                num_targets,
                num_micro_batches,
            } => {
                vec![*num_targets, *num_micro_batches]
            }
            _ => vec![0.0, 0.0],
        }
    }

    /// Restores what [`Self::state`] gave.
    pub fn restore(&mut self, state: &[f64]) {
        if let (
            Self::TokenScaled {
                num_targets,
                num_micro_batches,
            },
            [targets, batches],
        ) = (self, state)
        {
            (*num_targets, *num_micro_batches) = (*targets, *batches);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reduction_weighs_targets_as_documented() {
        assert_eq!(Reduction::Mean.weights_of(&[4.0, 1.0]), [0.125, 0.5]);
        assert_eq!(Reduction::ExactTokens.weights_of(&[4.0, 1.0]), [0.2, 0.2]);
        assert_eq!(Reduction::ExactTokens.weights_of(&[0.0, 2.0]), [0.0, 0.5]);
        let mut scaled = Reduction::TokenScaled {
            num_targets: 0.0,
            num_micro_batches: 0.0,
        };
        assert_eq!(scaled.weights_of(&[4.0]), [0.25]);
        assert_eq!(scaled.weights_of(&[8.0]), [1.0 / 6.0]);
        assert_eq!(scaled.state(), [12.0, 2.0]);
        let mut resumed = Reduction::TokenScaled {
            num_targets: 0.0,
            num_micro_batches: 0.0,
        };
        resumed.restore(&scaled.state());
        assert_eq!(resumed, scaled);
    }
}
