//! The edge to libtorch: device choice, dtype policy, C-ABI functions, thread counts, allocator statistics.
//!
//! Start reading in `device`: it is the first thing a command that computes calls, because CUDA has to be loaded before
//! libtorch is asked anything ([`cuda::load`]).
//!
//! Letters used for shapes everywhere above this module: `B` batch, `T` query tokens, `S` key tokens, `H` heads, `K` kv
//! heads, `G` heads per kv head, `D` `head_dim`, `C` hidden, `V` vocabulary, `L` layers. Layout `[B, T, H, D]`.
//!
//! **Invariant:** the only module with unsafe code besides the kernels' launchers; nothing here reads the environment.

pub mod error;

pub mod abi;
pub mod bf16;
pub mod cuda;
pub mod dims;
pub mod dtype;
pub mod host;
pub mod shim;
pub mod threads;

pub mod device;
