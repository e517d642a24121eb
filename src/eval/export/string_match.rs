//! The score that RULER's readers look for: the share of right answers that stand in the output.

use crate::eval::answered::Answered;
use crate::eval::item_result::ItemResult;
use crate::eval::metric::registry::Metric;
use crate::eval::reading::Reading;

/// The share, in [0, 1]; nothing where right answers are no texts.
pub(super) fn string_match(item: &ItemResult) -> Option<f64> {
    let answered = Answered::new(&item.cue, &item.output, Reading::Whole, &item.gold);
    Some(Metric::RulerRecall.score(&answered)?.compat)
}
