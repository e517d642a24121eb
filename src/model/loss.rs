//! Next-token cross-entropy in chunks of tokens: loss, gradient of the hidden states and of the head in one visit.
//!
//! Logits exist for one chunk at a time. A chunk, or a whole row, without a single label adds exactly 0.

use super::linear;
use crate::attention::wide;
use tch::{Device, Kind, Tensor};

/// Positions that carry loss, and the tokens they must predict.
#[derive(Debug)]
pub struct Targets {
    rows: Tensor,
    tokens: Tensor,
    weights: Option<Tensor>,
    num_valid: i64,
}

/// One chunk of targets.
struct Chunk {
    rows: Tensor,
    tokens: Tensor,
    weights: Option<Tensor>,
}

impl Targets {
    /// From labels aligned with the tokens: position `i` predicts `labels[i + 1]` unless that is negative.
    ///
    /// The first token of every document has label -100, so no prediction crosses a document.
    pub fn from_labels(labels: &[i64], device: Device) -> Self {
        let valid = labels
            .iter()
            .enumerate()
            .skip(1)
            .filter(|(_, label)| **label >= 0);
        let (rows, tokens): (Vec<i64>, Vec<i64>) = valid
            .filter_map(|(i, label)| Some((i64::try_from(i).ok()? - 1, *label)))
            .unzip();
        Self {
            num_valid: i64::try_from(rows.len()).unwrap_or(i64::MAX),
            rows: Tensor::from_slice(&rows).to_device(device),
            tokens: Tensor::from_slice(&tokens).to_device(device),
            weights: None,
        }
    }

    /// As [`Self::from_labels`], with a weight per token: predicting token `i` counts `weights[i]` times.
    pub fn weighted(labels: &[i64], weights: &[f32], device: Device) -> Self {
        let valid = labels
            .iter()
            .zip(weights)
            .skip(1)
            .filter(|(label, _)| **label >= 0);
        let weights: Vec<f32> = valid.map(|(_, weight)| *weight).collect();
        let weights = Some(Tensor::from_slice(&weights).to_device(device));
        Self {
            weights,
            ..Self::from_labels(labels, device)
        }
    }

    /// Number of positions with a target.
    pub fn num_valid(&self) -> i64 {
        self.num_valid
    }
}

/// The language-model head and how it is visited.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    /// `[V, C]`.
    pub weight: &'a Tensor,
    /// Positions per chunk.
    pub chunk_len: i64,
}

impl Head<'_> {
    /// Sum of the cross-entropy over all targets, in nats.
    ///
    /// # Shapes
    /// `hidden` `[T, C]`, after the final norm.
    pub fn loss(&self, hidden: &Tensor, targets: &Targets) -> f64 {
        self.nll(hidden, targets).iter().sum()
    }

    /// Cross-entropy of every target, in nats, in order.
    ///
    /// # Shapes
    /// `hidden` `[T, C]`, after the final norm.
    pub fn nll(&self, hidden: &Tensor, targets: &Targets) -> Vec<f64> {
        let mut nll = Vec::new();
        for Chunk { rows, tokens, .. } in self.chunks(targets) {
            let (losses, _) = self.chunk(&hidden.index_select(0, &rows), &tokens);
            let losses = losses.to_kind(Kind::Double).to_device(Device::Cpu);
            nll.extend(Vec::<f64>::try_from(losses).unwrap_or_default());
        }
        nll
    }

    /// Weighted sum of the cross-entropy, and the gradient of `token_weight *` that sum by `hidden`.
    ///
    /// # Shapes
    /// `hidden` `[T, C]`; `weight_grad` `[V, C]` is added to. Returns the gradient `[T, C]` in the dtype of `hidden`.
    ///
    /// # Precision
    /// Softmax in f32 (f64 for f64 inputs); the loss is summed in f64.
    pub fn loss_and_grad(
        &self,
        hidden: &Tensor,
        targets: &Targets,
        token_weight: f64,
        mut weight_grad: Option<&mut Tensor>,
    ) -> (f64, Tensor) {
        let mut total = 0.0;
        let mut dhidden = hidden.zeros_like();
        for Chunk {
            rows,
            tokens,
            weights,
        } in self.chunks(targets)
        {
            let h = hidden.index_select(0, &rows);
            let (mut losses, mut probabilities) = self.chunk(&h, &tokens);
            let weights = weights.map(|weights| weights.to_kind(losses.kind()));
            if let Some(weights) = &weights {
                losses *= weights;
            }
            total += losses.sum(Kind::Double).double_value(&[]);
            let tokens = tokens.unsqueeze(-1);
            let _ = probabilities.scatter_add_(
                1,
                &tokens,
                &Tensor::full(tokens.size(), -1.0, (probabilities.kind(), h.device())),
            );
            if let Some(weights) = &weights {
                probabilities *= weights.unsqueeze(-1);
            }
            let dlogits = (probabilities * token_weight).to_kind(h.kind());
            let _ = dhidden.index_copy_(0, &rows, &linear::input_grad(&dlogits, self.weight));
            linear::add_weight_grad(weight_grad.as_deref_mut(), &dlogits, &h);
        }
        (total, dhidden)
    }

    /// Losses `[n]` and softmax probabilities `[n, V]` of one chunk, wide dtype.
    fn chunk(&self, h: &Tensor, tokens: &Tensor) -> (Tensor, Tensor) {
        let logits = linear::forward(h, self.weight);
        let logits = logits.to_kind(wide(logits.kind()));
        let lse = logits.logsumexp([-1], true);
        let picked = logits.gather(1, &tokens.unsqueeze(-1), false);
        let losses = (&lse - picked).squeeze_dim(-1);
        (losses, (logits - lse).exp_())
    }

    fn chunks(&self, targets: &Targets) -> Vec<Chunk> {
        let len = self.chunk_len.max(1);
        let step = usize::try_from(len).unwrap_or(1);
        (0..targets.num_valid)
            .step_by(step)
            .map(|start| {
                let len = len.min(targets.num_valid - start);
                let part = |x: &Tensor| x.narrow(0, start, len);
                Chunk {
                    rows: part(&targets.rows),
                    tokens: part(&targets.tokens),
                    weights: targets.weights.as_ref().map(part),
                }
            })
            .collect()
    }
}
