//! Kernels of our own: CUDA C++ from `kernels/`, compiled at run time with NVRTC, started on libtorch's stream.
//!
//! Start reading at [`runner`] (what a launcher is given), then [`rope`] (the shortest launcher). [`active`] holds the choice of
//! the process; [`stream`] loads compiled kernels ([`nvrtc`], [`cache`]) and starts them. Each launcher's oracle is a
//! composition of libtorch's operators in `model` or `attention`; the functions there ask [`active`] and take the kernel where
//! it is in use. [`timing`] measures one kernel of a launcher.
//!
//! **Invariant:** memory belongs to libtorch and is borrowed by address for one launch; nothing here frees it. Nothing here
//! knows models.

pub mod error;

pub mod active;
pub mod cache;
pub mod cross_entropy;
pub mod gate_mix;
pub mod nvrtc;
mod operand;
pub mod rms_norm;
pub mod rope;
pub mod runner;
pub mod source;
pub mod stream;
pub mod streaming_decode;
pub mod swiglu;
pub mod timing;

#[cfg(test)]
pub(crate) mod emulation;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
