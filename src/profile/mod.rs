//! Where the time of a training step goes: spans recorded while it runs, as a trace and as a table.
//! [`measure`] times whole pieces of work from outside.
//!
//! Start reading at [`recorder`]. The layers below training say what they do ([`recorder::forward`], [`recorder::backward`],
//! [`recorder::frame`]); whether anybody listens is decided by whoever runs the step.
//!
//! **Invariant:** nothing here changes a number that a step computes.

pub mod chrome;
pub mod measure;
pub mod recorder;
pub mod span;
pub mod summary;
pub mod trace_file;
