//! AdamW over one weight tensor: the same rule as `host_adamw`, in f32.

use super::host_adamw::{AdamSettings, Rate};
use tch::Tensor;

/// Moments of one tensor, f32 or wider.
#[derive(Debug)]
pub struct AdamW {
    /// First moment.
    pub first: Tensor,
    /// Second moment.
    pub second: Tensor,
}

impl AdamW {
    /// Zero moments for a tensor like `weight` (f32 or wider).
    ///
    /// # Shapes
    /// Those of `weight`.
    pub fn new(weight: &Tensor) -> Self {
        Self {
            first: weight.zeros_like(),
            second: weight.zeros_like(),
        }
    }

    /// Updates `weight` in place; `step` counts from 1.
    ///
    /// # Shapes
    /// `weight` and `grad` alike.
    pub fn update(
        &mut self,
        weight: &mut Tensor,
        grad: &Tensor,
        step: u64,
        settings: AdamSettings,
        rate: Rate,
    ) {
        let AdamSettings {
            betas: [beta_1, beta_2],
            eps,
        } = settings;
        let exponent = i32::try_from(step).unwrap_or(i32::MAX);
        let correction_1 = 1.0 - beta_1.powi(exponent);
        let correction_2 = (1.0 - beta_2.powi(exponent)).sqrt();
        let _ = self.first.lerp_(grad, 1.0 - beta_1);
        let _ = self.second.g_mul_scalar_(beta_2);
        let _ = self.second.addcmul_(&(grad * (1.0 - beta_2)), grad);
        let denominator = self.second.sqrt() / correction_2 + eps;
        let _ = weight.g_mul_scalar_(1.0 - rate.lr * rate.weight_decay);
        let update = &self.first / denominator * (rate.lr / correction_1);
        let _ = weight.g_sub_(&update);
    }
}

#[cfg(test)]
mod tests {
    use super::super::host_adamw::HostAdamW;
    use super::*;
    use crate::attention::testing::{assert_close, normal};

    #[test]
    fn tensors_and_host_numbers_follow_the_same_rule() {
        let mut weight = normal(1, &[3, 5]);
        let mut host = Vec::<f64>::try_from(weight.flatten(0, -1)).unwrap();
        let (mut tensor_state, mut host_state) = (AdamW::new(&weight), HostAdamW::new(15));
        let settings = AdamSettings {
            betas: [0.9, 0.95],
            eps: 1e-8,
        };
        let rate = Rate {
            lr: 0.1,
            weight_decay: 0.2,
        };
        for step in 1..6 {
            let grad = normal(10 + step, &[3, 5]);
            let flat = Vec::<f64>::try_from(grad.flatten(0, -1)).unwrap();
            tensor_state.update(&mut weight, &grad, step, settings, rate);
            host_state.update(&mut host, &flat, step, settings, rate);
        }
        assert_close(
            &weight.flatten(0, -1),
            &Tensor::from_slice(&host),
            "weights",
        );
    }
}
