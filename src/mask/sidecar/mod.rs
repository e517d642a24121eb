//! The mask artefact: one self-describing safetensors file (masks.md sections 6 to 8).
//!
//! Start at [`content`], what a sidecar holds. [`cut`] makes one from trained gates or from another sidecar, [`mod@write`] gives its
//! bytes, [`read`] checks foreign bytes in a fixed order, [`fit`] compares it with a model and a use.
//!
//! **Invariant:** equal content gives equal bytes; nothing depends on time, host, user or path.

pub mod container;
pub mod content;
pub mod cut;
pub mod fit;
mod keys;
mod lookup;
pub mod read;
pub mod write;

#[cfg(test)]
mod tests;
