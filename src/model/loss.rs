//! Next-token cross-entropy in chunks of tokens: loss, gradient of the hidden states and of the head in one visit.
//!
//! Logits exist for one chunk at a time. A chunk, or a whole row, without a single label adds exactly 0.

use super::linear;
use crate::attention::wide;
use crate::cuda::active;
use crate::cuda::cross_entropy::{self, Predicted};
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

    /// Positions of the tokens that are predicted themselves, one behind the rows that predict them.
    ///
    /// # Shapes
    /// Returns `[n]`, i64, `n` = [`Self::num_valid`].
    pub fn label_positions(&self) -> Tensor {
        &self.rows + 1
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
            let losses = self.losses(&hidden.index_select(0, &rows), &tokens);
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
        for chunk in self.chunks(targets) {
            let h = hidden.index_select(0, &chunk.rows);
            let (mut losses, dlogits) = self.losses_and_dlogits(&h, &chunk, token_weight);
            if let Some(weights) = &chunk.weights {
                losses *= weights.to_kind(losses.kind());
            }
            total += losses.sum(Kind::Double).double_value(&[]);
            let dh = linear::input_grad(&dlogits, self.weight);
            let _ = dhidden.index_copy_(0, &chunk.rows, &dh);
            linear::add_weight_grad(weight_grad.as_deref_mut(), &dlogits, &h);
        }
        (total, dhidden)
    }

    /// Losses `[n]` of one chunk, wide dtype.
    fn losses(&self, h: &Tensor, tokens: &Tensor) -> Tensor {
        let logits = linear::forward(h, self.weight);
        match active::kernels(&logits) {
            Some(kernels) => active::done(cross_entropy::losses(kernels, &logits, tokens)),
            None => losses_and_probabilities(&logits, tokens).0,
        }
    }

    /// Unweighted losses `[n]` of one chunk, wide dtype, and the weighted gradient by its logits `[n, V]`, in the dtype of `h`.
    fn losses_and_dlogits(&self, h: &Tensor, chunk: &Chunk, token_weight: f64) -> (Tensor, Tensor) {
        let mut logits = linear::forward(h, self.weight);
        if let Some(kernels) = active::kernels(&logits) {
            let predicted = Predicted {
                tokens: &chunk.tokens,
                weights: chunk.weights.as_ref(),
            };
            let losses =
                cross_entropy::losses_and_grad(kernels, &mut logits, predicted, token_weight);
            return (active::done(losses), logits);
        }
        let (losses, mut probabilities) = losses_and_probabilities(&logits, &chunk.tokens);
        let tokens = chunk.tokens.unsqueeze(-1);
        let minus_one = Tensor::full(tokens.size(), -1.0, (losses.kind(), h.device()));
        let _ = probabilities.scatter_add_(1, &tokens, &minus_one);
        if let Some(weights) = &chunk.weights {
            probabilities *= weights.to_kind(losses.kind()).unsqueeze(-1);
        }
        (losses, (probabilities * token_weight).to_kind(h.kind()))
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

/// Losses `[n]` and softmax probabilities `[n, V]` of logits `[n, V]`, wide dtype.
fn losses_and_probabilities(logits: &Tensor, tokens: &Tensor) -> (Tensor, Tensor) {
    let logits = logits.to_kind(wide(logits.kind()));
    let lse = logits.logsumexp([-1], true);
    let picked = logits.gather(1, &tokens.unsqueeze(-1), false);
    let losses = (&lse - picked).squeeze_dim(-1);
    (losses, (logits - lse).exp_())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attention::testing::{Naive, normal};
    use crate::cuda::testing::{on_every_device, using};

    /// Targets of `rows` rows, every second one weighted.
    fn chunk(rows: i64, vocab_size: i64, device: Device) -> Chunk {
        let tokens = (0..rows).map(|row| (row * 7919 + 3) % vocab_size);
        let weights = (0..rows).map(|row| if row % 2 == 0 { 1.0_f32 } else { 0.3 });
        Chunk {
            rows: Tensor::arange(rows, (Kind::Int64, device)),
            tokens: Tensor::from_slice(&tokens.collect::<Vec<_>>()).to_device(device),
            weights: Some(Tensor::from_slice(&weights.collect::<Vec<_>>()).to_device(device)),
        }
    }

    #[test]
    fn the_kernel_is_as_good_as_libtorchs_operators() {
        on_every_device(|kernels, device| {
            // Whole packs and not; fewer tokens than threads; more rows than thread blocks.
            for (rows, vocab_size) in [(1, 1), (2, 67), (5, 2048), (3, 1000), (2, 5001)] {
                let mut chunk = chunk(rows, vocab_size, device);
                let exact = [normal(1, &[rows, 16]), normal(2, &[vocab_size, 16]) * 3.0];
                for kind in [Kind::Float, Kind::BFloat16] {
                    let what = format!("[{rows}, {vocab_size}] {kind:?}");
                    let of = |chunk: &Chunk, [h, weight]: &[Tensor; 2]| {
                        let chunk_len = 1024;
                        let head = Head { weight, chunk_len };
                        let (losses, dlogits) = head.losses_and_dlogits(h, chunk, 0.37);
                        [head.losses(h, &chunk.tokens), losses, dlogits]
                    };
                    let naive = Naive::new(&exact, kind, device, |inputs| of(&chunk, inputs));
                    let found = using(kernels, || of(&chunk, &naive.inputs));
                    for ((index, found), name) in
                        (0..).zip(&found).zip(["losses alone", "losses", "dlogits"])
                    {
                        naive.assert_no_worse(index, found, &format!("{name} {what}"));
                    }
                    chunk.weights = None;
                    let naive = Naive::new(&exact, kind, device, |inputs| of(&chunk, inputs));
                    let [_, _, found] = using(kernels, || of(&chunk, &naive.inputs));
                    naive.assert_no_worse(2, &found, &format!("unweighted {what}"));
                }
            }
        });
    }

    #[test]
    fn the_kernel_shifts_by_the_largest_logit_and_keeps_what_is_no_number() {
        on_every_device(|kernels, device| {
            let rows = [
                vec![1e4, 1e4 - 1.0, -1e4],
                vec![f64::NEG_INFINITY, 2.0, 3.0],
                vec![f64::NAN, 2.0, 3.0],
                vec![f64::NEG_INFINITY; 3],
            ];
            let numbers: Vec<f32> = rows.concat().iter().map(|x| narrow(*x)).collect();
            let logits = Tensor::from_slice(&numbers).view([4, 3]).to_device(device);
            let tokens = Tensor::from_slice(&[1_i64, 2, 1, 0]).to_device(device);
            let (oracle, _) = losses_and_probabilities(&logits.to_kind(Kind::Double), &tokens);
            let found = cross_entropy::losses(kernels, &logits, &tokens).unwrap();
            for row in 0..4 {
                let [found, oracle] = [&found, &oracle].map(|x| x.double_value(&[row]));
                let is_same = (found - oracle).abs() <= 1e-6 * oracle.abs();
                assert!(
                    is_same || found.is_nan() && oracle.is_nan(),
                    "row {row}: {found}, {oracle}"
                );
            }
            let outside = Tensor::from_slice(&[3_i64, -1, 0, 0]).to_device(device);
            let found = cross_entropy::losses(kernels, &logits, &outside).unwrap();
            assert!(found.double_value(&[0]).is_nan() && found.double_value(&[1]).is_nan());
        });
    }

    #[expect(clippy::cast_possible_truncation, reason = "numbers of f32")]
    fn narrow(x: f64) -> f32 {
        x as f32
    }
}
