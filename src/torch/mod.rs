//! The edge to libtorch: device choice, dtype policy, C-ABI functions, thread counts, allocator statistics.
//!
//! Start reading in `device`: it is the first thing a command that computes calls, because CUDA has to be loaded before
//! libtorch is asked anything ([`cuda::load`]). Functions of the C ABI follow: those of the CPU by linking ([`abi`]), those of
//! CUDA by name ([`cuda_symbols`]) with one file per family.
//!
//! Letters used for shapes everywhere above this module: `B` batch, `T` query tokens, `S` key tokens, `H` heads, `K` kv
//! heads, `G` heads per kv head, `D` `head_dim`, `C` hidden, `V` vocabulary, `L` layers. Layout `[B, T, H, D]`.
//!
//! **Invariant:** the only module with unsafe code besides the kernels' launchers; nothing here reads the environment.

pub mod error;

pub mod abi;
pub mod allocator;
pub mod bf16;
pub mod capability;
pub mod cuda;
pub mod dims;
pub mod dtype;
pub mod host;
pub mod host_view;
pub mod memory;
pub mod offload;
pub mod products;
pub mod row_product;
pub mod shim;
pub mod threads;

pub mod attention_operands;
pub mod cuda_symbols;
pub mod cudnn_attention;
pub mod flash_attention;
mod handle;

pub mod device;

#[cfg(test)]
mod cpu_twin;
#[cfg(test)]
pub(crate) mod stand_in;
#[cfg(test)]
mod testing;
