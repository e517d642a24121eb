//! Settings of a run: a TOML file and `--set` overrides become one checked value that the rest of the program trusts.
//!
//! Start reading at [`load`]; [`train`], [`pretrain`], [`eval`] and [`study`] are the kinds of file. Each section has its own file, where
//! a default stands beside its field with its reason. Values that define an experiment (seed, steps, rates, sparsities)
//! have no default.
//!
//! **Invariant:** nothing is merged in silently: a run is its file and its overrides. The resolved text holds every value
//! and is itself a valid file.
//! **Invariant:** no value is NaN or infinite, no path holds `~` or a variable, and no unknown key passes.
//!
//! # Decisions
//! - The parsed file is kept as a tree whose nodes know where they were written, and a small deserializer of our own reads
//!   it: errors arrive as data (key, expected names, place) instead of as another library's message, and an override is
//!   blamed as it was typed, also when it is only wrong together with the rest.
//! - A relative path in a file is relative to that file; in an override it is relative to the working directory, as a shell
//!   completes it.

pub mod error;
pub mod load;

pub mod eval;
pub mod eval_files;
pub mod eval_text;
pub mod pretrain;
pub mod study;
pub mod train;
pub mod wording;

pub mod attention;
pub mod corpus;
pub mod data;
pub mod device;
pub mod dtype;
pub mod duo;
pub mod export;
pub mod gates;
pub mod generator;
pub mod generator_kinds;
pub mod instruct_mask;
pub mod loss;
pub mod model;
pub mod optimizer;
pub mod parse;
pub mod run;
pub mod sparsity;
pub mod stage;
pub mod validation;

mod check;
mod de;
mod paths;
mod set;
mod tree;

#[cfg(test)]
mod tests;
