//! Tasks, metrics and results: what a mask costs in answers and saves in memory.
//!
//! [`task`] makes prompts with known answers for every place of a [`plan`], [`method_plan`] names what is compared, [`evaluate`]
//! runs every method on the same items, [`metric`] compares the answers with each [`gold`], [`results`] is what is written down, [`table`] what is
//! shown. Start reading at [`evaluate`].
//!
//! **Invariant:** items depend on the seed, task, length, depth and index alone, so every method sees the same ones.

mod agreement;
pub mod answered;
pub mod brief;
pub mod ceiling;
pub mod choice;
pub mod document;
pub mod error;
pub mod evaluate;
pub mod gold;
#[cfg(test)]
mod goldens;
pub mod haystack;
pub mod item;
pub mod mask_file;
pub mod material;
pub mod method;
pub mod method_plan;
pub mod method_spec;
pub mod metric;
pub mod plan;
pub mod reading;
pub mod results;
mod savers;
mod skip_words;
pub mod scoring;
pub mod summary;
pub mod table;
pub mod task;
pub mod text;

#[cfg(test)]
mod tests;
