//! The command line: one file per subcommand, which holds its arguments and one `run`; its doc comments are the help.
//!
//! Start reading at [`program`]: it parses the command line, dispatches, and turns the result into an exit code. A new
//! subcommand is a file here, a `mod` line below, and one variant and one arm in [`program`].
//!
//! **Invariant:** only this module prints, reads the environment or the home directory, and decides exit codes; nothing
//! else imports it. Results go to standard output, everything else to standard error.

#![expect(
    clippy::needless_pass_by_value,
    reason = "every subcommand owns its arguments, whether it consumes them or not"
)]

pub mod amounts;
mod bug;
mod check;
pub mod config_args;
pub mod config;
pub mod critical;
pub mod data;
pub mod data_inspect;
pub mod data_sample;
pub mod data_stats;
pub mod doctor;
pub mod eval;
mod eval_console;
mod eval_dry_run;
mod eval_files;
mod eval_flags;
mod eval_methods;
mod eval_run;
mod eval_subject;
mod eval_tasks;
pub mod export_mask;
mod export_report;
pub mod export_results;
pub mod footprint;
mod footprint_masks;
mod footprint_methods;
mod footprint_report;
pub mod mask;
mod mask_diff;
mod mask_show;
mod mask_verify;
pub mod failure;
pub mod generate;
mod generate_report;
mod generate_source;
pub mod machine;
pub mod compute;
mod new_file;
pub mod output;
pub mod pack;
pub mod program;
pub mod publish;
pub mod rescore;
mod rescore_report;
pub mod report;
pub mod score;
mod score_report;
mod score_text;
pub mod sources;
pub mod text_args;
pub mod tokenizer;
pub mod console;
pub mod pretrain;
mod pretrain_model;
pub mod run_setup;
mod shape_args;
pub mod train;
mod train_setup;
