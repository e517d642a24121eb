//! What a training step needs, from sizes alone: parameters, bytes, FLOPs; and the least that inference does and moves.
//!
//! Start reading at [`plan`]: it is the question; [`flops`] and [`memory`] answer it, and [`remedy`] says what to change.
//!
//! **Invariant:** pure arithmetic; no tensors, files or clocks. What is counted here is what the engine in `model` and
//! `attention` does, and a test holds the two together.

pub mod flops;
pub mod inference;
pub mod known;
pub mod memory;
pub mod plan;
pub mod remedy;
pub mod sizes;
