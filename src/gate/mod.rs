//! HardConcrete gates, one per kv head; their noise; and the Lagrangian that pushes them to a target sparsity.
//!
//! Everything here is a few hundred numbers on the host, in f64: no tensors. Start reading at [`hard_concrete`].
//!
//! **Invariant:** nothing here knows the model, the loss or the optimizer.

pub mod bank;
pub mod hard_concrete;
pub mod lagrangian;
pub mod noise;
