//! Names of everything a run logs. They are an interface: never renamed, only added.

/// Next-token loss, nats per token.
pub const LOSS_LM: &str = "loss/lm";
/// Mean squared difference of the student's final hidden states from the teacher's.
pub const LOSS_DISTILL: &str = "loss/distill";
/// The part of the loss that is about gates alone: the sparsity constraint, or the penalty of open gates.
pub const LOSS_REG: &str = "loss/reg";
/// What is minimised.
pub const LOSS_TOTAL: &str = "loss/total";
/// Sparsity the schedule asks for.
pub const SPARSITY_TARGET: &str = "sparsity/target";
/// Mean probability that a gate is closed.
pub const SPARSITY_EXPECTED: &str = "sparsity/expected";
/// One minus the mean of the sampled gates, where the constraint is about these.
pub const SPARSITY_SAMPLED: &str = "sparsity/sampled";
/// Share of heads whose gate without noise is below one half.
pub const SPARSITY_HARD: &str = "sparsity/hard";
/// Multiplier of the constraint.
pub const LAMBDA_1: &str = "lambda/1";
/// Multiplier of the squared constraint.
pub const LAMBDA_2: &str = "lambda/2";
/// Heads whose gate is open.
pub const HEADS_RETRIEVAL: &str = "heads/retrieval";
/// Heads whose gate is closed.
pub const HEADS_STREAMING: &str = "heads/streaming";
/// Heads whose gate is neither.
pub const HEADS_UNDECIDED: &str = "heads/undecided";
/// Mean of gates without noise.
pub const GATES_MEAN: &str = "gates/mean";
/// Loss on held-out rows with full attention, nats per token.
pub const VAL_FULL: &str = "val/loss_full";
/// The same with the gates as they are, without noise.
pub const VAL_GATES: &str = "val/loss_gates";
/// The same with the mask that the gates round to.
pub const VAL_MASK: &str = "val/loss_mask";
/// Loss with the rounded mask minus loss with the gates, on held-out rows.
pub const GAP_SOFT_HARD: &str = "gap/soft_hard";
/// Global norm of the gradients of all that trains, before clipping.
pub const GRAD_NORM: &str = "grad/norm";
/// Norm of the gradient of the gates.
pub const GRAD_GATES: &str = "grad/gates";
/// Norm of the gradient of the multipliers.
pub const GRAD_LAMBDA: &str = "grad/lambda";
/// Norm of the gradient of the weights.
pub const GRAD_WEIGHTS: &str = "grad/weights";
/// Learning rate of the gates, or of the weights when only they train.
pub const LR: &str = "lr";
/// Training tokens per second.
pub const PERF_TOK_S: &str = "perf/tok_s";
/// Share of the device's peak arithmetic.
pub const PERF_MFU: &str = "perf/mfu";
/// Milliseconds per step.
pub const PERF_STEP_MS: &str = "perf/step_ms";
/// Milliseconds a step waited for data.
pub const PERF_DATA_WAIT_MS: &str = "perf/data_wait_ms";
/// Peak device memory, bytes.
pub const PERF_GPU_MEM_PEAK: &str = "perf/gpu_mem_peak";
/// Seconds left.
pub const TIME_ETA: &str = "time/eta";
/// TensorBoard events that could not be written.
pub const DROPPED_EVENTS: &str = "dropped_events";
/// Histogram of the gates.
pub const HIST_Z: &str = "gates/z";
/// Histogram of `log_alpha`.
pub const HIST_LOG_ALPHA: &str = "gates/log_alpha";
/// Histogram of gates without noise, before they are clamped.
pub const HIST_GATES: &str = "gates/raw";
/// Picture of the gates, layers x kv heads.
pub const IMAGE_MASK: &str = "mask/heatmap";

/// Tags whose values depend on the machine's speed, hence differ between runs that are otherwise bit-identical.
pub fn is_timing(tag: &str) -> bool {
    tag.starts_with("perf/") || tag.starts_with("time/") || tag == DROPPED_EVENTS
}
