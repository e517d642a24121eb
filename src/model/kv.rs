//! The one question a decoder block asks a KV cache during inference.
//!
//! **Invariant:** the model knows no kind of cache; `infer` implements this trait, once per kind, and decides what is kept.

use crate::fault::AnyFault;
use tch::Tensor;

/// Stores the keys and values of new tokens and answers attention over everything it kept.
pub trait KvCache {
    /// Shows `layer`'s normalised input, from which its queries, keys and values are made, before it is asked to attend.
    ///
    /// # Shapes
    /// `h_tc`: `[T, C]`.
    fn see_input(&mut self, _layer: usize, _h_tc: &Tensor) {}

    /// Appends `T` tokens to `layer` and attends from their queries.
    ///
    /// Called once per layer and chunk, layers in ascending order. Queries and keys are already rotated at their true
    /// positions, which continue from the tokens this layer has seen before.
    ///
    /// # Shapes
    /// `q_thd`: `[T, H, D]`. `k_tkd`, `v_tkd`: `[T, K, D]`, `K` divides `H`. Returns `[T, H, D]`, in the dtype of `q_thd`.
    ///
    /// # Errors
    /// Whatever the cache cannot do: a layer it does not have, shapes it was not made for, memory that ran out.
    fn attend(
        &mut self,
        layer: usize,
        q_thd: &Tensor,
        k_tkd: &Tensor,
        v_tkd: &Tensor,
    ) -> Result<Tensor, AnyFault>;
}
