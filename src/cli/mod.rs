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
mod bandwidth;
pub mod bench;
mod bench_error;
mod bench_gates;
mod bench_infer;
mod bench_infer_case;
mod bench_infer_methods;
mod bench_infer_report;
mod bench_report;
mod bench_train;
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
mod doctor_kernels;
pub mod estimate;
mod estimate_report;
mod estimate_run;
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
mod export_source;
mod export_target;
mod fit_check;
pub mod footprint;
mod footprint_masks;
mod footprint_methods;
mod footprint_report;
mod foreign_file;
pub mod mask;
mod mask_companions;
mod mask_convert;
mod mask_diff;
mod mask_import;
mod mask_out;
mod mask_show;
mod mask_show_foreign;
mod mask_verify;
mod method_setup;
pub mod failure;
pub mod generate;
mod generate_report;
mod generate_source;
mod hub_args;
mod kernels;
pub mod machine;
mod coded_text;
pub mod compute;
mod new_file;
pub mod output;
pub mod pack;
mod pack_generated;
mod plan_args;
mod process_memory;
pub mod program;
pub mod publish;
pub mod pull;
pub mod push;
pub mod rescore;
mod rescore_report;
pub mod report;
pub mod score;
pub mod score_heads;
mod score_report;
mod score_text;
pub mod sources;
pub mod text_args;
pub mod tokenizer;
pub mod console;
pub mod pretrain;
mod pretrain_model;
mod rounding_rule;
pub mod run_setup;
mod shape_args;
pub mod study;
mod study_plan;
mod study_report;
pub mod train;
mod train_setup;
