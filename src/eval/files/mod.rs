//! The user's files of published evaluations, from rows to prompts. The data sets themselves are in `eval::dataset`.
//!
//! [`library`] knows the folders and [`wording`] the texts around an item; [`rows`] reads what is in a file; an [`entry`] is
//! an item as text, which [`fit`] brings to a length and turns into tokens ([`prompt`]). Start reading at [`entry`].
//!
//! **Invariant:** nothing is downloaded, and nothing is written into the user's folders.

pub mod entry;
pub mod error;
pub mod fit;
pub mod forms;
pub mod library;
pub mod prompt;
pub mod rows;
pub mod wording;
