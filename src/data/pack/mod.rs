//! Packing: documents become rows of exactly L tokens.
//!
//! Start at [`run`]. Pass 1 tokenizes every document into a spool file and keeps a few bytes per document; the plan is made
//! from lengths alone ([`cut`], [`best_fit`], [`mod@concat`], put together in [`plan`]); pass 2 writes the planned rows.
//!
//! **Invariant:** nothing vanishes silently: tokens read plus begin and end tokens added equal tokens written plus tokens
//! dropped under a reason. The output does not depend on the number of threads.
//!
//! # Decisions
//! What trains gates is distance inside one document, so whole long documents come before a full set: rows are filled by
//! long documents alone, and short ones are packed best-fit afterwards, never split.

pub mod best_fit;
pub mod concat;
pub mod cut;
pub mod error;
pub mod generated;
pub mod piece;
pub mod plan;
pub mod report;
pub mod run;
pub mod settings;
pub mod spool;
pub mod stage;
pub mod write;

/// Receives the progress of pass 1, from any thread.
pub trait PackProgress: Sync {
    /// One more document was read: its text's `bytes`, and the tokens it became.
    fn advance(&self, bytes: u64, tokens: u64);
}
