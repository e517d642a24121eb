//! The HardConcrete distribution of one gate (Louizos et al., arXiv 1712.01312; constants of the PruLong code).
//!
//! `s = sigmoid((ln u - ln(1 - u) + a) / T)`, stretched to `s_bar = 1.2 s - 0.1` and clamped to [0, 1].
//!
//! # Decisions
//! Temperature 2/3 divides noise and `log_alpha`, and the stretch is [-0.1, 1.1]: the paper prints otherwise, but the
//! published results come from the code.

/// Temperature.
pub const TEMPERATURE: f64 = 2.0 / 3.0;
/// Lower end of the stretch interval.
pub const STRETCH_LOW: f64 = -0.1;
/// Upper end of the stretch interval.
pub const STRETCH_HIGH: f64 = 1.1;
/// Uniform noise is clipped to `[NOISE_CLIP, 1 - NOISE_CLIP]`.
pub const NOISE_CLIP: f64 = 1e-8;

const WIDTH: f64 = STRETCH_HIGH - STRETCH_LOW;

/// One sampled gate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// The gate, in [0, 1]; exactly 0 or 1 where the clamp acts.
    pub z: f64,
    /// `dz/dlog_alpha`; exactly 0 where the clamp acts.
    pub slope: f64,
}

/// The gate for uniform noise `u` and parameter `log_alpha`.
pub fn sample(u: f64, log_alpha: f64) -> Sample {
    let u = u.clamp(NOISE_CLIP, 1.0 - NOISE_CLIP);
    let s = sigmoid((u.ln() - (1.0 - u).ln() + log_alpha) / TEMPERATURE);
    let stretched = WIDTH * s + STRETCH_LOW;
    if stretched <= 0.0 {
        Sample { z: 0.0, slope: 0.0 }
    } else if stretched >= 1.0 {
        Sample { z: 1.0, slope: 0.0 }
    } else {
        Sample {
            z: stretched,
            slope: WIDTH * s * (1.0 - s) / TEMPERATURE,
        }
    }
}

/// P(z = 0): the probability that the gate is exactly closed.
pub fn prob_closed(log_alpha: f64) -> f64 {
    sigmoid(TEMPERATURE * (-STRETCH_LOW / STRETCH_HIGH).ln() - log_alpha)
}

/// P(z = 1): the probability that the gate is exactly open.
pub fn prob_fully_open(log_alpha: f64) -> f64 {
    prob_closed(-log_alpha)
}

/// The logistic function.
pub fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_match_the_golden_table() {
        for (log_alpha, closed) in [
            (-10.0, 0.999_775),
            (-4.0, 0.916_934),
            (-2.0, 0.599_025),
            (-1.598_596_848_532_247, 0.5),
            (-1.0, 0.354_665),
            (0.0, 0.168_178),
            (1.0, 0.069_228_8),
            (2.0, 0.026_633_3),
            (4.0, 0.003_689_39),
            (4.5, 0.002_240_98),
            (10.0, 9.178_87e-6),
        ] {
            let error = (prob_closed(log_alpha) - closed).abs();
            assert!(error <= 5e-7, "a = {log_alpha}: {error:e}");
            assert!((prob_fully_open(-log_alpha) - prob_closed(log_alpha)).abs() < 1e-15);
        }
    }

    #[test]
    fn samples_match_the_golden_values() {
        for (u, log_alpha, z) in [
            (0.01, 4.0, 0.248_668_55),
            (0.01, 4.5, 0.457_268_54),
            (0.1, 1.0, 0.070_830_32),
            (0.1, 2.0, 0.411_890_61),
            (0.5, -1.0, 0.118_910_63),
            (0.5, 0.0, 0.5),
            (0.5, 1.0, 0.881_089_37),
            (0.9, -2.0, 0.588_109_39),
            (0.9, -1.0, 0.929_169_68),
            (0.99, -4.0, 0.751_331_45),
        ] {
            assert!(
                (sample(u, log_alpha).z - z).abs() <= 6e-9,
                "u = {u}, a = {log_alpha}"
            );
        }
        for (u, log_alpha, slope) in [
            (0.5, 0.0, 0.45),
            (0.5, 1.0, 0.268_463_61),
            (0.1, 2.0, 0.440_295_92),
        ] {
            assert!((sample(u, log_alpha).slope - slope).abs() <= 6e-9);
        }
    }

    #[test]
    fn slopes_match_finite_differences_inside_and_are_exactly_zero_on_the_clamps() {
        for step in 0..200 {
            let u = 0.005 * f64::from(step) + 0.002;
            for log_alpha in [-3.0, -1.0, 0.0, 0.7, 2.5] {
                let at = |a: f64| sample(u, a).z;
                let found = sample(u, log_alpha);
                if found.z == 0.0 || found.z >= 1.0 {
                    assert!(found.slope == 0.0);
                } else if (1e-4..=1.0 - 1e-4).contains(&found.z) {
                    let numeric = (at(log_alpha + 1e-6) - at(log_alpha - 1e-6)) / 2e-6;
                    assert!(
                        (numeric - found.slope).abs() < 1e-6,
                        "u = {u}, a = {log_alpha}"
                    );
                }
            }
        }
    }

    #[test]
    fn extreme_noise_is_clipped_to_finite_values() {
        for u in [0.0, 1.0] {
            assert!(sample(u, 4.0).z.is_finite());
        }
    }
}
