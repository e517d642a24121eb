//! Integration tests, one binary.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
#![expect(
    clippy::duplicate_mod,
    reason = "the example and the bench are programs of their own; both measure with benches/shared"
)]

mod cli_critical;
mod cli_data;
mod cli_eval;
mod cli_export_results;
mod cli_eval_files;
mod cli_eval_plan;
mod cli_footprint;
mod cli_frame;
mod cli_generate;
mod cli_help;
mod cli_nsa;
mod cli_rescore;
mod cli_report;
mod cli_score;
mod data_loader;
mod data_pack;
mod doctor;
mod engine_bench;
mod fault_eval;
mod fault_runs;
mod fault_store;
mod golden_logits;
mod golden_rope;
mod hand_made_run;
mod infer_example;
mod lm_baselines_example;
mod mds_reader;
mod mds_writer;
mod model_files;
mod model_save;
mod old_checkpoints;
mod pretrain_from;
mod readme;
mod step_example;

#[path = "../../benches/engine.rs"]
#[expect(dead_code, reason = "only `cargo bench` calls its `main`")]
mod engine;
#[path = "../../examples/step.rs"]
#[expect(dead_code, reason = "only an example calls its `main`")]
mod step;
#[path = "../../examples/infer.rs"]
#[expect(dead_code, reason = "only an example calls its `main`")]
mod infer;
#[path = "../../examples/lm_baselines.rs"]
#[expect(dead_code, reason = "only an example calls its `main`")]
mod lm_baselines;
