//! Slope of the loss: how much the next-token loss falls as a head opens, to first order, with every gate half open.
//!
//! The score is `-dL/dz` per target at `z = 1/2`, from the pass that trains gates: what the first step of a run would see, without
//! noise and without the constraint.
//!
//! # Decisions
//! At `z = 1`, the plain model, the slope says what the *last* bit of a head's full attention is worth, which is next to nothing
//! for a model that was trained with all of it, and the streaming branch of the other heads is not there. Half open, both
//! branches of every head take part.

use crate::model::train_pass::{Row, TrainPass};

/// `-dL/dz` of every kv head in nats per target, mean over `rows`; `None` if no row has a target.
pub fn loss_slope(pass: &TrainPass<'_>, rows: &[Row]) -> Option<Vec<f64>> {
    let shape = pass.model.config().shape;
    let half_open = vec![vec![0.5; shape.num_kv_heads]; shape.num_layers];
    let num_targets: i64 = rows.iter().map(|row| row.targets.num_valid()).sum();
    if num_targets == 0 {
        return None;
    }
    #[expect(
        clippy::cast_precision_loss,
        reason = "targets of a sample are far below 2^52"
    )]
    let weight = -1.0 / num_targets as f64;
    let mut scores = vec![0.0; shape.num_gates()];
    for row in rows {
        let found = pass.run(row, &half_open, weight, None);
        for (score, dz) in scores.iter_mut().zip(&found.dz) {
            *score += dz;
        }
    }
    Some(scores)
}
