//! One training sequence: token ids, and how much the prediction of each counts.

/// Label of a token whose prediction is not trained.
pub const IGNORED_LABEL: i64 = -100;

/// A sequence of tokens with one weight per token.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Sequence {
    /// Token ids.
    pub ids: Vec<u32>,
    /// `weights[t]` scales the loss of predicting `ids[t]` from what stands before it; 0 = not trained. The first token,
    /// which nothing predicts, has 0.
    pub weights: Vec<f32>,
}

impl Sequence {
    /// A sequence in which every token but the first counts fully.
    pub fn trained_throughout(ids: Vec<u32>) -> Self {
        let weights = (0..ids.len()).map(|t| if t == 0 { 0.0 } else { 1.0 });
        Self {
            weights: weights.collect(),
            ids,
        }
    }

    /// Labels aligned with `ids` (not shifted): the id itself, or [`IGNORED_LABEL`] where the weight is 0.
    pub fn labels(&self) -> Vec<i64> {
        let pairs = self.ids.iter().zip(&self.weights);
        pairs
            .map(|(id, weight)| {
                if *weight > 0.0 {
                    i64::from(*id)
                } else {
                    IGNORED_LABEL
                }
            })
            .collect()
    }

    /// Appends tokens that all have the same weight.
    pub(super) fn push_all(&mut self, ids: &[u32], weight: f32) {
        self.ids.extend_from_slice(ids);
        self.weights.resize(self.ids.len(), weight);
    }

    /// Cuts the sequence to its first `len` tokens.
    pub(super) fn truncate(&mut self, len: usize) {
        self.ids.truncate(len);
        self.weights.truncate(len);
    }

    /// Number of tokens.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is no token.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}

/// A weight of the settings, checked there to be positive and finite; a loss is computed in f32.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a weight needs no more than f32"
)]
pub(super) fn loss_weight(weight: f64) -> f32 {
    weight as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_follow_the_weights() {
        let mut sequence = Sequence::trained_throughout(vec![7, 8]);
        sequence.push_all(&[9, 10], 0.0);
        sequence.push_all(&[11], 3.0);
        assert_eq!(sequence.labels(), [-100, 8, -100, -100, 11]);
        sequence.truncate(2);
        assert_eq!(sequence.labels(), [-100, 8]);
    }
}
