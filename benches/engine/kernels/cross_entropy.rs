//! Losses of one chunk of logits, which become their own gradient.

use super::{BF16, Bench, F32, F64, Size, Work, bf16};
use prulong::cuda::active::done;
use prulong::cuda::cross_entropy::{self, Predicted};
use tch::{Device, Kind, Tensor};

/// What each row's gradient is multiplied with.
const SCALE: f64 = 1e-3;

pub(super) const BENCHES: &[Bench] = &[Bench {
    kernel: "cross_entropy",
    full: [1024, 128_256],
    quick: [6, 1024],
    // Logits; their gradient; a target and a loss for every row.
    bytes: |[rows, vocab_size]| 2 * rows * vocab_size * BF16 + rows * (F64 + F32),
    prepare,
}];

fn prepare(size: Size, device: Device) -> Work {
    let [rows, vocab_size] = size;
    let mut logits = bf16(1, &size, device);
    let tokens = Tensor::arange(rows, (Kind::Int64, device)).remainder(vocab_size);
    let twins = (logits.copy(), tokens.shallow_clone());
    Work {
        launch: Box::new(move |kernels| {
            let predicted = Predicted {
                tokens: &tokens,
                weights: None,
            };
            let losses = cross_entropy::losses_and_grad(kernels, &mut logits, predicted, SCALE);
            let _ = done(losses);
        }),
        operators: Box::new(move || {
            let (logits, tokens) = &twins;
            let _ = losses_and_grad(logits, &tokens.unsqueeze(-1));
        }),
    }
}

/// As `src/model/loss.rs` computes both where no kernel is in use.
fn losses_and_grad(logits: &Tensor, tokens: &Tensor) -> (Tensor, Tensor) {
    let logits = logits.to_kind(Kind::Float);
    let lse = logits.logsumexp([-1], true);
    let losses = &lse - logits.gather(1, tokens, false);
    let mut probabilities = (logits - lse).exp_();
    let minus_one = Tensor::full(tokens.size(), -1.0, (Kind::Float, tokens.device()));
    let _ = probabilities.scatter_add_(1, tokens, &minus_one);
    (losses, (probabilities * SCALE).to_kind(Kind::BFloat16))
}
