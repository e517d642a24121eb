//! The training procedure: steps, optimizers, run directory.
//!
//! **Invariant:** training never imports inference or evaluation; what to measure during a run is put together in `cli`.

pub mod error;
pub mod gate_init;
pub mod gate_loop;
pub mod gate_state;
pub mod gate_step;
pub mod gate_trainer;
pub mod head_scores;
pub mod method;
pub mod optimizer;
pub mod plateaus;
pub mod pretrain_loop;
pub mod pretrain_step;
pub mod profile;
pub mod red_flags;
pub mod reduction;
pub mod run_dir;
pub mod run_dir_error;
pub mod run_io;
pub mod save;
pub mod settled;
pub mod settling;
pub mod signal;
pub mod validation;
mod watch;
pub mod weight_trainer;

#[cfg(test)]
#[expect(clippy::cast_sign_loss, reason = "tiny test shapes")]
mod tests;
