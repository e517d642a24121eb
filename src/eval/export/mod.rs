//! A finished run in the layouts that other harnesses write, so that their tables and plots read it.
//!
//! One file per layout; [`layout`] lists them. What a harness calls a run is one model with one method and chunk length here
//! ([`subject`]). What a layout has a place for and a run folder does not hold is named in the layout's file.
//!
//! **Invariant:** a pure function of the results and the time at which they were written.

pub mod helmet;
pub mod kvpress;
pub mod layout;
pub mod lm_eval;
mod string_match;
pub mod subject;
