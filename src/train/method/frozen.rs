//! Gates that stay as they were loaded, while weights train under them.

use super::{Found, GatePicture, Method, MethodState, Micro, Moment, StillGates};
use crate::metrics::record::Record;
use crate::metrics::tag;
use crate::model::train_pass::{ModelGrads, TrainPass};
use crate::train::optimizer::host_adamw::AdamSettings;

/// One gate per layer and kv head.
#[derive(Debug)]
pub struct Frozen(pub Vec<Vec<f64>>);

impl Method for Frozen {
    fn begin(&mut self) {}

    fn micro_step(
        &mut self,
        engine: &TrainPass,
        micro: &Micro,
        grads: Option<&mut ModelGrads>,
    ) -> Found {
        let (found, bad_grad) =
            engine.run_watched(micro.row, &self.0, micro.weight, grads, micro.watch);
        let loss_sum = found.loss_sum;
        Found { loss_sum, bad_grad }
    }

    fn square_sum(&self) -> f64 {
        0.0
    }

    fn update(&mut self, _scale: (f64, f64), _step: u64, _settings: AdamSettings) {}

    fn still_gates(&self) -> StillGates {
        let soft = self.0.clone();
        StillGates {
            soft,
            rounded: None,
        }
    }

    fn state(&self) -> MethodState {
        MethodState::default()
    }

    fn restore(&mut self, _get: &dyn Fn(&str) -> Option<Vec<f64>>) -> Result<(), &'static str> {
        Ok(())
    }

    fn report(&self, loss: f64, record: &mut Record) {
        record.scalar(tag::LOSS_LM, loss);
    }

    fn watch(&mut self, _done: &[Record]) {}

    fn observe(&mut self, _record: &mut Record, _moment: Moment) {}

    fn picture(&self) -> Option<GatePicture> {
        None
    }
}
