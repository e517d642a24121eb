//! AdamW over a few hundred f64 numbers on the host: gates and multipliers.
//!
//! `p <- p (1 - lr wd)`, then the Adam update; bias correction as in PyTorch.

/// Constants of Adam.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamSettings {
    /// Decay of the first and second moment.
    pub betas: [f64; 2],
    /// Added to the root of the second moment.
    pub eps: f64,
}

/// Step size and decoupled decay of one group.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// Learning rate.
    pub lr: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
}

/// Moments of a group of numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct HostAdamW {
    /// First moments.
    pub first: Vec<f64>,
    /// Second moments.
    pub second: Vec<f64>,
}

impl HostAdamW {
    /// Zero moments for `count` numbers.
    pub fn new(count: usize) -> Self {
        Self {
            first: vec![0.0; count],
            second: vec![0.0; count],
        }
    }

    /// Updates `values` by `grads`; `step` counts from 1.
    pub fn update(
        &mut self,
        values: &mut [f64],
        grads: &[f64],
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
        let moments = self.first.iter_mut().zip(&mut self.second);
        for ((value, grad), (first, second)) in values.iter_mut().zip(grads).zip(moments) {
            *first = beta_1 * *first + (1.0 - beta_1) * grad;
            *second = beta_2 * *second + (1.0 - beta_2) * grad * grad;
            *value *= 1.0 - rate.lr * rate.weight_decay;
            *value -= rate.lr / correction_1 * *first / (second.sqrt() / correction_2 + eps);
        }
    }
}
