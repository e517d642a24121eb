//! Text as the literature's scorers see it: Python's classes of characters, normal forms, parts of an output.
//!
//! **Invariant:** pure functions of text, which know no metric.

pub mod chars;
pub mod choice;
pub mod csv_text;
pub mod normalise;
pub mod parse;
pub mod ranking;
pub mod rouge;
pub mod stem;
pub mod tsv;
