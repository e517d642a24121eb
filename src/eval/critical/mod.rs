//! The paper's question about a finished run: how little of the KV footprint keeps a share of full attention's score?
//!
//! [`family`] puts methods together that differ only in how much they keep; each family is a curve of footprint and score for
//! every task, length and chunk length. [`study`] finds where the curves cross, and how sure that is; [`choice`] takes a part of
//! it, [`lines`] shows it, and [`smallest`] says which of the masks tried to use.
//!
//! # Decisions
//! - Every method of a run answers the same items, so items are drawn again for all of them at once. An item that any method
//!   failed is left out of all, and said to be.
//! - All heads streaming is the far end of every sweep of head masks (inference.md section 5), of random ones too.
//! - Masks of one size are one point, their mean: they differ in what they keep, not in how much.
//! - Methods that skip compute keep every entry. They are no curve over the footprint, and have no critical one.

pub mod choice;
pub mod curve;
pub mod family;
pub mod join;
pub mod lines;
pub mod smallest;
pub mod study;
