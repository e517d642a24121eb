//! Floating-point operations of one row's forward and backward pass.
//!
//! A product of `[m, k]` and `[k, n]` counts `2 m k n`. Attention counts `4 D` for each head and each (query, key) pair that
//! its branch works on, backward 2.5 times as much. Full attention works on half the square of the row, as rates of attention
//! kernels are published; streaming attention on `sink + window` keys of every query, masked ones included, or on half the
//! square where that is less. Norms, rotations and activation functions are not counted.

use super::plan::{Plan, WeightUpdates};
use crate::config::loss::Saving;
use crate::real::real;

/// FLOPs of attention's backward pass over those of its forward pass: five products instead of two.
const BACKWARD_PER_FORWARD: f64 = 2.5;

/// What one row costs, by part.
///
/// # Units
/// FLOPs.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Flops {
    /// Weight products of all layers, forward.
    pub gemm_forward: f64,
    /// The same backward: gradients of activations.
    pub gemm_backward: f64,
    /// Gradients of all weights, if they train.
    pub weight_grads: f64,
    /// Full attention.
    pub full_forward: f64,
    /// Its gradients.
    pub full_backward: f64,
    /// Streaming attention.
    pub streaming_forward: f64,
    /// Its gradients.
    pub streaming_backward: f64,
    /// Logits and their gradient.
    pub head: f64,
    /// What no gate needs: with frozen weights, everything below the gates of the first layer. Part of the figures above.
    pub skipped: f64,
    /// What the backward pass does again, because it was not kept. Not part of the figures above.
    pub recomputed: f64,
}

impl Flops {
    /// Counts the FLOPs of `plan`.
    pub fn new(plan: &Plan) -> Self {
        let (n, layers) = (real(plan.num_tokens), real(plan.model.shape.num_layers));
        let gemm = 2.0 * n * plan.model.layer_params();
        let [full, streaming] = attention(plan);
        let full_backward = BACKWARD_PER_FORWARD
            * full
            * (plan.gates.full_backward_share() / plan.gates.full_share().max(f64::MIN_POSITIVE));
        let qkv = 2.0 * n * plan.model.qkv_params();
        // A teacher's pass forward; both streams have the first layer's queries, keys and values in common. It has no logits.
        let (teacher, head) = if plan.gates.has_teacher() {
            (layers * gemm - qkv, 0.0)
        } else {
            (0.0, 2.0 * n * plan.model.head_params())
        };
        let trains = plan.weights == WeightUpdates::AdamW;
        let weight_grads = if trains { layers * gemm + head } else { 0.0 };
        let below_gates = qkv + full_backward + BACKWARD_PER_FORWARD * streaming;
        Self {
            gemm_forward: layers * gemm + teacher,
            gemm_backward: layers * gemm,
            weight_grads,
            full_forward: layers * full,
            full_backward: layers * full_backward,
            streaming_forward: layers * streaming,
            streaming_backward: layers * BACKWARD_PER_FORWARD * streaming,
            head: 2.0 * head,
            skipped: if trains { 0.0 } else { below_gates },
            // The teacher's attention is kept whatever else is not.
            recomputed: layers * recomputed(plan, streaming + full_backward / BACKWARD_PER_FORWARD),
        }
    }

    /// All layers, forward and backward, nothing skipped or recomputed, without gradients of weights.
    pub fn layers(&self) -> f64 {
        self.gemm_forward
            + self.gemm_backward
            + self.full_forward
            + self.full_backward
            + self.streaming_forward
            + self.streaming_backward
    }

    /// What the gradients need; what a rate of useful FLOPs (and MFU) counts.
    pub fn useful(&self) -> f64 {
        self.layers() + self.weight_grads + self.head - self.skipped
    }

    /// What the step does.
    pub fn performed(&self) -> f64 {
        self.useful() + self.recomputed
    }
}

/// Forward FLOPs of one layer's full and streaming attention.
fn attention(plan: &Plan) -> [f64; 2] {
    let n = real(plan.num_tokens);
    let causal = n * n / 2.0;
    let streaming = causal.min(n * real(plan.span.dense_prefix()));
    let per_pair = 4.0 * plan.model.query_width();
    [
        per_pair * causal * plan.gates.full_share(),
        per_pair * streaming * plan.gates.streaming_share(),
    ]
}

/// FLOPs of one layer's forward pass that its backward pass does again.
fn recomputed(plan: &Plan, attention: f64) -> f64 {
    let (n, model) = (real(plan.num_tokens), &plan.model);
    let gate_and_up = 2.0 * model.mlp_matrix_params();
    let products = 2.0 * n * (model.qkv_params() + model.output_params() + gate_and_up);
    match plan.memory.saving {
        Saving::Inputs => products + attention,
        Saving::InputsAndAttention => products,
        Saving::All => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::dtype::Dtype;
    use crate::config::loss::{LossSettings, MemorySettings};
    use crate::estimate::known;
    use crate::estimate::plan::Gates;
    use crate::span::Span;

    /// The published recipe on Llama-3.1-8B.
    fn plan(num_tokens: usize) -> Plan {
        Plan {
            model: known::sizes("llama-3.1-8b").unwrap(),
            num_tokens,
            span: Span::new(128, 1024, 128).unwrap(),
            dtype: Dtype::Bf16,
            memory: MemorySettings::default(),
            loss: LossSettings::default(),
            gates: Gates::Between,
            weights: WeightUpdates::Frozen,
        }
    }

    /// `value` as the table prints it: `digits` behind the point, in units of `unit`.
    #[track_caller]
    fn printed(value: f64, unit: f64, digits: usize, expected: &str) {
        assert_eq!(format!("{:.digits$}", value / unit), expected);
    }

    /// Tokens, then GEMM, full forward and backward, streaming forward and backward, head, layers; PFLOP.
    const GOLDEN: [(usize, [(&str, usize); 7]); 3] = [
        (
            8192,
            [
                ("0.114", 3),
                ("0.018", 3),
                ("0.044", 3),
                ("0.005", 3),
                ("0.012", 3),
                ("0.017", 3),
                ("0.31", 2),
            ],
        ),
        (
            65_536,
            [
                ("0.915", 3),
                ("1.13", 2),
                ("2.81", 2),
                ("0.040", 3),
                ("0.099", 3),
                ("0.138", 3),
                ("5.91", 2),
            ],
        ),
        (
            131_072,
            [
                ("1.83", 2),
                ("4.50", 2),
                ("11.3", 1),
                ("0.079", 3),
                ("0.198", 3),
                ("0.275", 3),
                ("19.7", 1),
            ],
        ),
    ];

    #[test]
    fn the_published_recipe_costs_what_the_golden_table_says() {
        for (num_tokens, row) in GOLDEN {
            let flops = Flops::new(&plan(num_tokens));
            assert!((flops.gemm_forward - flops.gemm_backward).abs() < 1.0);
            let found = [
                flops.gemm_forward,
                flops.full_forward,
                flops.full_backward,
                flops.streaming_forward,
                flops.streaming_backward,
                flops.head,
                flops.layers(),
            ];
            for (found, (expected, digits)) in found.into_iter().zip(row) {
                printed(found, 1e15, digits, expected);
            }
        }
        // Seconds at 60 % and 70 % of a peak of 989 TFLOP/s.
        for (num_tokens, seconds) in [
            (8192, [("0.52", 2), ("0.44", 2)]),
            (65_536, [("9.96", 2), ("8.53", 2)]),
            (131_072, [("33.2", 1), ("28.5", 1)]),
        ] {
            for (share, (expected, digits)) in [0.6, 0.7].into_iter().zip(seconds) {
                let rate = 989e12 * share;
                printed(
                    Flops::new(&plan(num_tokens)).layers(),
                    rate,
                    digits,
                    expected,
                );
            }
        }
    }

    #[test]
    fn policies_differ_in_what_is_done_again_and_gates_in_what_runs() {
        let recomputed = |saving| {
            let mut plan = plan(65_536);
            plan.memory.saving = saving;
            Flops::new(&plan).recomputed
        };
        let attention = {
            let flops = Flops::new(&plan(65_536));
            flops.full_forward + flops.streaming_forward
        };
        let products = recomputed(Saving::InputsAndAttention);
        // All but the down projection's 58.7 of 218.1 million weights a layer.
        printed(products, 1e15, 3, "0.669");
        assert!((recomputed(Saving::Inputs) - products - attention).abs() < 1e6);
        assert!(recomputed(Saving::All).abs() < 1.0);
        let at = |gates| {
            let mut plan = plan(65_536);
            plan.gates = gates;
            Flops::new(&plan)
        };
        let (both, open) = (at(Gates::Between), at(Gates::Ends { sparsity: 0.0 }));
        assert!((open.full_forward - both.full_forward).abs() < 1.0);
        assert!(open.streaming_forward.abs() < 1.0);
        let most = at(Gates::Ends { sparsity: 0.7 });
        assert!((most.full_forward / both.full_forward - 0.3).abs() < 1e-9);
        assert!((most.streaming_forward / both.streaming_forward - 0.7).abs() < 1e-9);
    }

    #[test]
    fn a_teacher_costs_a_second_pass_forward_and_nothing_back() {
        let mut plan = plan(8192);
        let one = Flops::new(&plan);
        plan.gates = Gates::Distilled;
        let two = Flops::new(&plan);
        let qkv = 2.0 * 8192.0 * 4096.0 * 6144.0;
        assert!((two.gemm_forward - 2.0 * one.gemm_forward + qkv).abs() < 1.0);
        assert!((two.gemm_backward - one.gemm_backward).abs() < 1.0);
        assert!((two.full_forward - one.full_forward).abs() < 1.0);
        assert!(two.full_backward.abs() + two.head.abs() < 1.0);
        assert!((two.streaming_backward - one.streaming_backward).abs() < 1.0);
        let back_to_the_first = qkv + two.streaming_backward / 32.0;
        assert!((two.skipped - back_to_the_first).abs() < 1.0);
    }

    #[test]
    fn training_weights_costs_a_third_pass_and_leaves_nothing_out() {
        let mut plan = plan(8192);
        let frozen = Flops::new(&plan);
        plan.weights = WeightUpdates::AdamW;
        let trained = Flops::new(&plan);
        assert!((trained.weight_grads - frozen.gemm_forward - frozen.head / 2.0).abs() < 1.0);
        assert!(trained.skipped.abs() < 1.0 && frozen.skipped > 1e12);
        // One layer of 32: attention's gradients, and those through q, k and v.
        let layer = (frozen.full_backward + frozen.streaming_backward) / 32.0;
        let qkv = 2.0 * 8192.0 * 4096.0 * 6144.0;
        assert!((frozen.skipped - layer - qkv).abs() < 1.0);
    }

    #[test]
    fn short_rows_stream_like_full_attention() {
        let flops = Flops::new(&plan(1000));
        assert!((flops.full_forward - flops.streaming_forward).abs() < 1.0);
    }
}
