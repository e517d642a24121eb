//! Tasks, metrics and results: what a mask costs in answers and saves in memory.
//!
//! [`request`] is what was asked for. [`task`] makes prompts with known answers for every place of a [`plan`], or reads them from
//! the user's files ([`dataset`], [`files`]); [`method_plan`]
//! names what is compared, [`evaluate`] runs every method on the same items, [`metric`] compares the answers with each
//! [`gold`]. [`run_folder`] keeps every answer ([`item_result`]) through kills; [`results`] is what they add up to, [`table`]
//! what is shown; [`rescore`] scores what was written down again. [`saved_run`] reads a folder back, [`critical`] finds the
//! least footprint that keeps the score, [`report`] is the page of it all, and [`export`] the files of other harnesses. Start
//! reading at [`evaluate`].
//!
//! **Invariant:** items depend on the seed, task, length, depth and index alone, so every method sees the same ones.

mod agreement;
pub mod answered;
pub mod brief;
pub mod categories;
pub mod ceiling;
pub mod choice;
pub mod critical;
pub mod dataset;
pub mod document;
pub mod error;
pub mod evaluate;
pub mod export;
pub mod files;
pub mod forecast;
pub mod forecast_table;
pub mod gold;
#[cfg(test)]
mod goldens;
pub mod haystack;
pub mod grid;
mod held;
pub mod item;
pub mod item_result;
pub mod item_set;
pub mod ledger;
pub mod mask_file;
pub mod material;
pub mod method;
pub mod method_plan;
pub mod method_spec;
pub mod metric;
pub mod names;
mod nsa_words;
pub mod one_method;
pub mod parts;
pub mod plan;
pub mod procedure;
pub mod prompt_text;
pub mod reading;
pub mod report;
pub mod request;
pub mod rescore;
pub mod results;
pub mod ruler;
pub mod run_folder;
mod savers;
mod setting_words;
mod skip_words;
pub mod saved_run;
pub mod scoring;
pub mod stop;
pub mod streaming;
pub mod suite;
pub mod summary;
pub mod table;
pub mod task;
pub mod text;
pub mod units;

#[cfg(test)]
mod tests;
