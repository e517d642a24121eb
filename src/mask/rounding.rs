//! From a target sparsity to an integer number of retrieval heads, and which fractions other loaders need to reproduce it
//! (masks.md section 3).
//!
//! # Decisions
//! The default is the reference's count, `int(n * (1 - s))` in f64 with its artefacts (n = 10, s = 0.9 keeps 0 heads), because
//! published masks have it. Counts are stored as integers; the fraction is derived from them.

use crate::real::real;

/// The rule that turned a target into a count.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Default,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Rounding {
    /// Keeps `int(n * (1 - s))` heads: PruLong's count with the order of `log_alpha`.
    #[default]
    FloorRetrieval,
    /// The same count with PruLong's own order, for parity.
    Reference,
    /// Streams `ceil((n - 1) * s)` heads: what DuoAttention-style loaders do with the same nominal sparsity.
    DuoStable,
    /// Streams `n * s` heads, rounded half to even: what kvpress does.
    Nearest,
    /// The count was given.
    Count,
    /// Found as it is in a binary mask.
    Imported,
}

/// Every rule with its name.
const NAMES: [(Rounding, &str); 6] = [
    (Rounding::FloorRetrieval, "floor-retrieval"),
    (Rounding::Reference, "reference"),
    (Rounding::DuoStable, "duo-stable"),
    (Rounding::Nearest, "nearest"),
    (Rounding::Count, "count"),
    (Rounding::Imported, "imported"),
];

impl Rounding {
    /// The rule's name in settings and mask files.
    pub fn name(self) -> &'static str {
        NAMES
            .into_iter()
            .find_map(|(rule, name)| (rule == self).then_some(name))
            .unwrap_or_default()
    }

    /// The rule of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        NAMES
            .into_iter()
            .find_map(|(rule, known)| (known == name).then_some(rule))
    }

    /// Retrieval heads kept of `num_heads` at sparsity `target`; `None` if the target is outside [0, 1], or the rule needs a
    /// count instead.
    pub fn num_retrieval(self, num_heads: usize, target: f64) -> Option<usize> {
        if !(0.0..=1.0).contains(&target) {
            return None;
        }
        if target <= 0.0 {
            return Some(num_heads);
        }
        if target >= 1.0 {
            return Some(0);
        }
        let n = real(num_heads);
        let streaming = |count: f64| num_heads.saturating_sub(whole(count));
        match self {
            Self::FloorRetrieval | Self::Reference => Some(whole(n * (1.0 - target))),
            Self::DuoStable => Some(streaming(((n - 1.0) * target).ceil())),
            Self::Nearest => Some(streaming((n * target).round_ties_even())),
            Self::Count | Self::Imported => None,
        }
    }
}

/// The nominal sparsities at which noise-and-quantile loaders return a binary mask unchanged: `above < s <= up_to`.
///
/// DuoAttention's loader adds noise to the 0/1 values and keeps everything at or above a quantile. Outside this interval that
/// many *random* heads change class.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct SurvivalInterval {
    /// Exclusive lower end.
    pub above: f64,
    /// Inclusive upper end.
    pub up_to: f64,
}

impl SurvivalInterval {
    /// Of a mask with `num_streaming` of `num_heads`; `None` if every head has the same class, where the loaders' special cases
    /// at 0 and 1 apply.
    pub fn of(num_streaming: usize, num_heads: usize) -> Option<Self> {
        if num_streaming == 0 || num_streaming >= num_heads {
            return None;
        }
        let gaps = real(num_heads) - 1.0;
        Some(Self {
            above: (real(num_streaming) - 1.0) / gaps,
            up_to: real(num_streaming) / gaps,
        })
    }

    /// Whether a loader called with sparsity `target` returns the mask unchanged.
    pub fn contains(&self, target: f64) -> bool {
        // At 1 and above the loaders keep no head at all, whatever the quantile says.
        self.above < target && target <= self.up_to && target < 1.0
    }
}

/// Whether a loader called with sparsity `target` returns a mask with these counts unchanged.
pub fn survives(num_streaming: usize, num_heads: usize, target: f64) -> bool {
    match SurvivalInterval::of(num_streaming, num_heads) {
        Some(interval) => interval.contains(target),
        None if num_streaming == 0 => target <= 0.0,
        None => target >= 1.0,
    }
}

/// The exact share of streaming heads: the number to pass to other loaders, always inside the survival interval.
pub fn exact_sparsity(num_streaming: usize, num_heads: usize) -> f64 {
    real(num_streaming) / real(num_heads)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "truncation is the rule; values lie in 0..=n"
)]
fn whole(count: f64) -> usize {
    count as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random;

    /// One row per sparsity 0.1 ... 0.9 of 256 heads: (kept, survives, interval) for two rules, and `nearest`.
    #[test]
    fn counts_and_intervals_match_the_golden_table() {
        let table = [
            (0.1, 230, true, (0.09804, 0.10196), 230, 230),
            (0.2, 204, false, (0.20000, 0.20392), 205, 205),
            (0.3, 179, true, (0.29804, 0.30196), 179, 179),
            (0.4, 153, false, (0.40000, 0.40392), 154, 154),
            (0.5, 128, true, (0.49804, 0.50196), 128, 128),
            (0.6, 102, false, (0.60000, 0.60392), 103, 102),
            (0.7, 76, false, (0.70196, 0.70588), 77, 77),
            (0.8, 51, false, (0.80000, 0.80392), 52, 51),
            (0.9, 25, false, (0.90196, 0.90588), 26, 26),
        ];
        for (s, floor, floor_survives, (above, up_to), duo, nearest) in table {
            let kept = |rule: Rounding| rule.num_retrieval(256, s).unwrap();
            assert_eq!(kept(Rounding::FloorRetrieval), floor, "floor at {s}");
            assert_eq!(kept(Rounding::Reference), floor, "reference at {s}");
            assert_eq!(kept(Rounding::DuoStable), duo, "duo-stable at {s}");
            assert_eq!(kept(Rounding::Nearest), nearest, "nearest at {s}");
            assert_eq!(survives(256 - floor, 256, s), floor_survives, "{s}");
            assert!(survives(256 - duo, 256, s), "duo-stable at {s}");
            let interval = SurvivalInterval::of(256 - floor, 256).unwrap();
            assert!((interval.above - above).abs() < 5e-6, "{s}");
            assert!((interval.up_to - up_to).abs() < 5e-6, "{s}");
        }
    }

    #[test]
    fn the_ends_keep_all_and_none_and_float_artefacts_are_the_references() {
        for rule in [
            Rounding::FloorRetrieval,
            Rounding::Reference,
            Rounding::DuoStable,
            Rounding::Nearest,
        ] {
            assert_eq!(rule.num_retrieval(256, 0.0), Some(256), "{rule:?}");
            assert_eq!(rule.num_retrieval(256, 1.0), Some(0), "{rule:?}");
            assert_eq!(rule.num_retrieval(256, 1.1), None, "{rule:?}");
            assert_eq!(rule.num_retrieval(256, f64::NAN), None, "{rule:?}");
        }
        assert_eq!(Rounding::Count.num_retrieval(256, 0.5), None);
        assert_eq!(Rounding::FloorRetrieval.num_retrieval(10, 0.9), Some(0));
        assert_eq!(Rounding::FloorRetrieval.num_retrieval(10, 0.8), Some(1));
    }

    /// A loader as DuoAttention's family has it: noise, linear-interpolated quantile, keep `>=`.
    fn loader_keeps(num_streaming: usize, num_heads: usize, target: f64, seed: u64) -> Vec<bool> {
        if target <= 0.0 || target >= 1.0 {
            return vec![target <= 0.0; num_heads];
        }
        let mut rng = random::stream("loader noise", &[seed]);
        let noisy: Vec<f64> = (0..num_heads)
            .map(|head| {
                f64::from(u8::from(head >= num_streaming)) + 1e-6 * random::uniform(&mut rng)
            })
            .collect();
        let mut sorted = noisy.clone();
        sorted.sort_by(f64::total_cmp);
        let position = target * real(num_heads - 1);
        let low = sorted[whole(position.floor())];
        let high = sorted[whole(position.ceil())];
        let share = position - position.floor();
        let quantile = low + (high - low) * share;
        noisy.iter().map(|value| *value >= quantile).collect()
    }

    #[test]
    fn the_survival_interval_is_what_a_quantile_loader_does() {
        for (seed, num_heads) in [2_usize, 3, 8, 16, 31, 64, 256].into_iter().enumerate() {
            for num_streaming in 0..=num_heads {
                for thousandths in (0..=1000_u32).step_by(17) {
                    let target = f64::from(thousandths) / 1000.0;
                    let kept = loader_keeps(num_streaming, num_heads, target, seed as u64);
                    let unchanged = kept
                        .iter()
                        .enumerate()
                        .all(|(head, kept)| *kept == (head >= num_streaming));
                    assert_eq!(
                        survives(num_streaming, num_heads, target),
                        unchanged,
                        "{num_streaming} of {num_heads} at {target}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_exact_fraction_always_survives() {
        for num_heads in 1..=300 {
            for num_streaming in 0..=num_heads {
                let exact = exact_sparsity(num_streaming, num_heads);
                assert!(
                    survives(num_streaming, num_heads, exact),
                    "{num_streaming} of {num_heads}"
                );
            }
        }
        assert!((exact_sparsity(180, 256) - 0.703_125).abs() < f64::EPSILON);
    }

    #[test]
    fn duo_stable_survives_its_nominal_sparsity() {
        for num_heads in [2, 16, 128, 224, 256, 512, 1024] {
            for thousandths in 0..=1000_u32 {
                let target = f64::from(thousandths) / 1000.0;
                let kept = Rounding::DuoStable
                    .num_retrieval(num_heads, target)
                    .unwrap();
                assert!(
                    survives(num_heads - kept, num_heads, target),
                    "{num_heads} heads at {target}"
                );
            }
        }
    }

    #[test]
    fn names_read_back() {
        for (rule, name) in NAMES {
            assert_eq!(Rounding::from_name(name), Some(rule));
            assert_eq!(rule.name(), name);
            assert_eq!(serde_json::json!(rule), name);
        }
        assert_eq!(Rounding::from_name("floor"), None);
    }
}
