//! Where numbers of a run go, one file per sink.
//!
//! Start reading at [`record`] (what is written), then [`writer`] (one call to every sink). `metrics.jsonl` ([`jsonl`]) is
//! the record of the run and its failures are errors; TensorBoard files ([`tensorboard`]) are a convenience whose failures are
//! counted and reported once.
//!
//! # Decisions
//! - TensorBoard files are written through tensorboard-rs's record framing and protos only. Its `SummaryWriter` runs a thread
//!   that panics when the disk is full and swaps the height and width of images.
//! - Pictures go from dark blue to light yellow with lightness rising linearly, so they read the same without colour and for
//!   every kind of colour vision.
//!
//! **Invariant:** writing consumes no randomness and changes no number of the run.

pub mod error;
pub mod heatmap;
pub mod jsonl;
pub mod palette;
pub mod record;
pub mod tag;
pub mod tensorboard;
pub mod writer;
