//! What the scorer of a procedure says of one answer.

use super::{countdown, route, trace, travel};
use crate::eval::answered::Answered;
use crate::eval::gold::Gold;
use crate::eval::scoring::{Pair, ScorePair};

/// What the scorer of a procedure says of one answer; each in [0, 1].
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Verdict {
    /// 1 if it is right as a whole, else 0.
    pub accuracy: ScorePair,
    /// How far it is right.
    pub partial: ScorePair,
    /// 1 if what is read as the answer was found, else 0.
    pub extraction: ScorePair,
}

impl Verdict {
    /// Right in every respect.
    pub fn right() -> Self {
        Self {
            accuracy: Pair::both(1.0),
            partial: Pair::both(1.0),
            extraction: Pair::both(1.0),
        }
    }
}

/// The verdict on an answer; nothing where the right one is no procedure.
pub fn verdict(answered: &Answered<'_>) -> Option<Verdict> {
    let output = answered.text();
    match answered.gold() {
        Gold::Route { text } => Some(route::judge(output, text)),
        Gold::Trace { text } => Some(trace::judge(output, text)),
        Gold::Countdown {
            numbers,
            target,
            search,
        } => Some(countdown::judge(output, numbers, *target, search)),
        Gold::Travel {
            cities,
            durations,
            procedure,
        } => Some(travel::judge(output, (cities, durations), procedure)),
        _ => None,
    }
}

/// How many items at the start of `these` equal those of `others`.
pub(super) fn num_leading<T: PartialEq>(these: &[T], others: &[T]) -> usize {
    let pairs = these.iter().zip(others);
    pairs.take_while(|(this, other)| this == other).count()
}

/// `part` of `whole`, in [0, 1]; 0 of nothing.
#[expect(clippy::cast_precision_loss, reason = "procedures have few lines")]
pub(super) fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 {
        return 0.0;
    }
    (part as f64 / whole as f64).min(1.0)
}

/// Checks every metric of a procedure against a golden case.
#[cfg(test)]
pub(super) fn assert_verdict(output: &str, gold: &Gold, case: &serde_json::Value) {
    use crate::eval::goldens::assert_golden;
    use crate::eval::metric::registry::Metric;
    use crate::eval::reading::Reading;
    let answered = Answered::new("", output, Reading::Whole, gold);
    for metric in [
        Metric::Accuracy,
        Metric::PartialAccuracy,
        Metric::ExtractionRate,
    ] {
        let found = metric.score(&answered).unwrap();
        assert_golden(found.compat, &case["metrics"], metric.name(), case);
        assert!((0.0..=1.0).contains(&found.strict), "{case}");
    }
}
