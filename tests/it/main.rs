//! Integration tests, one binary.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
#![expect(
    clippy::duplicate_mod,
    reason = "examples are programs of their own, and share files"
)]

mod cli_bench_infer;
mod cli_critical;
mod cli_data;
mod cli_estimate;
mod cli_eval;
mod cli_export_results;
mod cli_eval_files;
mod cli_eval_plan;
mod cli_footprint;
mod cli_frame;
mod cli_generate;
mod cli_help;
mod cli_mask;
mod cli_nsa;
mod cli_rescore;
mod cli_report;
mod cli_score;
mod cli_score_heads;
mod cli_study;
mod clients_result;
mod cuda_attention;
mod data_loader;
mod data_pack;
mod doctor;
mod duo_attention;
mod export_critical;
mod engine_bench;
mod engine_kernels;
mod fault_eval;
mod fault_runs;
mod fault_store;
mod golden_logits;
mod golden_rope;
mod hand_made_mask;
mod hand_made_run;
#[cfg(feature = "hub")]
mod hub_faults;
#[cfg(not(feature = "hub"))]
mod hub_missing;
#[cfg(feature = "hub")]
mod hub_place;
#[cfg(feature = "hub")]
mod hub_pull;
#[cfg(feature = "hub")]
mod hub_push;
#[cfg(feature = "hub")]
mod hub_routes;
#[cfg(feature = "hub")]
mod hub_server;
mod infer_example;
mod lm_baselines_example;
mod logits_example;
mod mask_loaders;
mod mds_reader;
mod mds_writer;
mod model_files;
mod model_save;
mod old_checkpoints;
mod performance_kernels;
mod performance_store;
mod performance_table;
mod pretrain_from;
mod read_mask_example;
mod readme;
mod step_example;
mod step_work;
mod train_profile;

#[path = "../../benches/engine.rs"]
#[expect(dead_code, reason = "only `cargo bench` calls its `main`")]
mod engine;
#[path = "../../examples/performance.rs"]
#[expect(dead_code, reason = "only an example calls its `main`")]
mod performance;
#[path = "../../examples/step.rs"]
#[expect(dead_code, reason = "only an example calls its `main`")]
mod step;
#[path = "../../examples/infer.rs"]
#[expect(dead_code, reason = "only an example calls its `main`")]
mod infer;
#[path = "../../examples/lm_baselines.rs"]
#[expect(dead_code, reason = "only an example calls its `main`")]
mod lm_baselines;
#[path = "../../examples/logits.rs"]
#[expect(dead_code, reason = "only an example calls its `main`")]
mod logits;
