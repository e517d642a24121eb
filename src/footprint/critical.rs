//! Critical KV footprint: the smallest footprint at which a method keeps a share of the full-attention score.

use crate::fault::{Coded, Kind};
use std::cmp::Ordering;
use std::fmt;

/// Share of the threshold by which a sum of scores may miss it for no reason but rounding.
const ROUNDING: f64 = 1e-12;

/// One evaluated point of a method: a footprint and the score reached with it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScoredFootprint {
    /// KV footprint, in any unit that all points share.
    pub kv_footprint: f64,
    /// Score, in the unit of the full-attention score.
    pub score: f64,
}

/// Where a curve crosses its threshold.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind", content = "kv_footprint")]
pub enum Crossing {
    /// Interpolated between two points.
    At(f64),
    /// Even the smallest footprint tried keeps the score: below this value.
    Below(f64),
    /// No footprint tried keeps the score: above this value.
    Above(f64),
}

/// The critical footprint under both readings of "keeps the score", and how far they are apart.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct CriticalFootprint {
    /// From the smallest footprint that reaches the threshold: reproduces the paper, and is the default figure.
    pub last_crossing: Crossing,
    /// From the last point before the first failure: the strict figure.
    pub first_crossing: Crossing,
    /// Times the score falls below the threshold and recovers; the two figures differ if and only if it does.
    pub num_dips: usize,
    /// Smallest change of one point's score that moves `last_crossing` to other points, in the unit of the scores.
    pub margin: f64,
}

/// Why a curve has no critical footprint.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CriticalError {
    /// No point was evaluated.
    #[error("a curve without points has no critical KV footprint")]
    Empty,
    /// A number that cannot be compared.
    #[error("point {index} of the curve is not finite")]
    NotFinite {
        /// Position of the point as given.
        index: usize,
    },
    /// Items that are not the same everywhere.
    #[error("{found} items stand against {expected} of full attention")]
    Unpaired {
        /// Items of full attention.
        expected: usize,
        /// Items of a point.
        found: usize,
    },
}

impl Coded for CriticalError {
    fn code(&self) -> &'static str {
        "eval.critical"
    }
    fn kind(&self) -> Kind {
        Kind::Input
    }
}

/// Finds where the scores cross `threshold` (the kept share times the full-attention score). Points may come in any order;
/// full attention itself is not one of them.
///
/// # Errors
/// [`CriticalError`] without points or with a non-finite number.
pub fn critical(
    points: &[ScoredFootprint],
    threshold: f64,
) -> Result<CriticalFootprint, CriticalError> {
    let finite = |p: &ScoredFootprint| p.kv_footprint.is_finite() && p.score.is_finite();
    if let Some(index) = points.iter().position(|point| !finite(point)) {
        return Err(CriticalError::NotFinite { index });
    }
    let mut curve = points.to_vec();
    curve.sort_by(|a, b| b.kv_footprint.total_cmp(&a.kv_footprint));
    let lowest = threshold - ROUNDING * threshold.abs();
    let passes: Vec<bool> = curve.iter().map(|p| p.score >= lowest).collect();
    let last = passes.iter().rposition(|pass| *pass);
    let first = passes.iter().position(|pass| !pass).map_or_else(
        || passes.len().checked_sub(1),
        |failure| failure.checked_sub(1),
    );
    // From the last passing point on: a lower one that passes takes its place, and so does a higher one if it fails.
    let deciding = &curve[last.unwrap_or(0)..];
    let distances = deciding.iter().map(|p| (p.score - threshold).abs());
    let recoveries = passes.windows(2).filter(|pair| !pair[0] && pair[1]).count();
    Ok(CriticalFootprint {
        last_crossing: cross(&curve, last, threshold)?,
        first_crossing: cross(&curve, first, threshold)?,
        num_dips: recoveries,
        margin: distances.fold(f64::INFINITY, f64::min),
    })
}

impl Crossing {
    /// The number, whatever it says of the crossing.
    pub fn value(self) -> f64 {
        match self {
            Self::At(value) | Self::Below(value) | Self::Above(value) => value,
        }
    }

    /// The least and the most that the critical footprint can be: 0 and infinity where no point tried bounds it.
    pub fn bounds(self) -> (f64, f64) {
        match self {
            Self::At(value) => (value, value),
            Self::Below(value) => (0.0, value),
            Self::Above(value) => (value, f64::INFINITY),
        }
    }

    /// Orders crossings of resamples of one curve: below all that was tried, between, above all. Curves of other points are
    /// compared by their [`Self::bounds`].
    pub(super) fn order(&self, other: &Self) -> Ordering {
        let class = |of: &Self| match of {
            Self::Below(_) => 0,
            Self::At(_) => 1,
            Self::Above(_) => 2,
        };
        let values = || self.value().total_cmp(&other.value());
        class(self).cmp(&class(other)).then_with(values)
    }
}

/// `61.2` in percent, `<34.0` or `>93.0` where it is only bounded.
impl fmt::Display for Crossing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self {
            Self::At(_) => "",
            Self::Below(_) => "<",
            Self::Above(_) => ">",
        };
        write!(f, "{sign}{:.1}", 100.0 * self.value())
    }
}

/// The crossing between the passing point `at` and the next lower footprint.
fn cross(
    curve: &[ScoredFootprint],
    at: Option<usize>,
    threshold: f64,
) -> Result<Crossing, CriticalError> {
    let highest = curve.first().ok_or(CriticalError::Empty)?;
    let Some(at) = at else {
        return Ok(Crossing::Above(highest.kv_footprint));
    };
    let passing = curve[at];
    Ok(match curve.get(at + 1) {
        None => Crossing::Below(passing.kv_footprint),
        Some(failing) => {
            let share = (threshold - failing.score) / (passing.score - failing.score);
            let step = passing.kv_footprint - failing.kv_footprint;
            Crossing::At(failing.kv_footprint + share * step)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(points: &[(f64, f64)]) -> Vec<ScoredFootprint> {
        points
            .iter()
            .map(|&(kv_footprint, score)| ScoredFootprint {
                kv_footprint,
                score,
            })
            .collect()
    }

    fn near(crossing: Crossing, golden: f64) {
        let Crossing::At(value) = crossing else {
            panic!("{crossing:?} is not {golden}");
        };
        assert!((value - golden).abs() < 5e-3, "{value} is not {golden}");
    }

    #[test]
    fn a_curve_that_dips_has_two_figures() {
        let points = curve(&[(0.9, 95.), (0.7, 93.), (0.5, 85.), (0.4, 91.), (0.3, 70.)]);
        let found = critical(&points, 90.0).unwrap();
        assert_eq!(found.num_dips, 1);
        let (Crossing::At(last), Crossing::At(first)) = (found.last_crossing, found.first_crossing)
        else {
            panic!("{found:?}");
        };
        assert!((last - 0.395_238_10).abs() < 1e-8 && (first - 0.625).abs() < 1e-12);
    }

    #[test]
    fn curves_read_off_the_paper_give_its_table() {
        let recall = curve(&[
            (93., 94.3),
            (86., 93.6),
            (80., 92.),
            (73., 88.7),
            (66., 87.3),
            (59., 82.4),
            (52., 74.1),
        ]);
        near(critical(&recall, 85.68).unwrap().last_crossing, 63.69);
        let rerank = curve(&[
            (87., 17.),
            (81., 12.8),
            (75., 13.6),
            (69., 12.1),
            (62., 13.4),
            (56., 9.3),
            (50., 4.9),
        ]);
        let found = critical(&rerank, 12.6).unwrap();
        near(found.last_crossing, 60.83);
        near(found.first_crossing, 71.0);
        let table = curve(&[(84., 32.2), (81., 27.5)]);
        near(critical(&table, 29.61).unwrap().last_crossing, 82.35);
        let travel = curve(&[(97., 53.), (91., 51.), (89., 41.8)]);
        near(critical(&travel, 49.5).unwrap().last_crossing, 90.67);
        let learning = curve(&[(45., 80.), (38., 74.7)]);
        near(critical(&learning, 75.51).unwrap().last_crossing, 39.07);
    }

    #[test]
    fn the_margin_is_the_smallest_change_that_moves_the_result() {
        // A recovery to 49 stays half a point below: one more, and the result falls from 93 to below 86.
        let points = [(94., 51.), (92., 47.), (89., 43.), (86., 49.), (84., 43.)];
        let found = critical(&curve(&points), 49.5).unwrap();
        near(found.last_crossing, 93.25);
        assert!((found.margin - 0.5).abs() < 1e-12);
        let mut moved = points;
        moved[3].1 += 0.6;
        let found = critical(&curve(&moved), 49.5).unwrap();
        assert!(found.last_crossing.value() < 86.0, "{found:?}");
        let all_pass = critical(&curve(&[(0.9, 5.0), (0.5, 4.0)]), 3.0).unwrap();
        assert!((all_pass.margin - 1.0).abs() < 1e-12);
        let none_pass = critical(&curve(&[(0.9, 2.5), (0.5, 1.0)]), 3.0).unwrap();
        assert!((none_pass.margin - 0.5).abs() < 1e-12);
    }

    #[test]
    fn a_score_of_exactly_the_kept_share_passes_however_it_was_summed() {
        let ones = |count: usize| std::iter::repeat_n(1.0, count);
        for tens in 1..40 {
            let num_items = 400.0;
            let full = ones(10 * tens).sum::<f64>() / num_items;
            let score = ones(9 * tens).map(|one| one / num_items).sum::<f64>();
            let found = critical(&curve(&[(0.5, score)]), 0.9 * full).unwrap();
            assert_eq!(found.last_crossing, Crossing::Below(0.5), "{tens}");
        }
    }

    #[test]
    fn bounds_are_printed_with_their_side_and_in_order() {
        let mut crossings = [
            Crossing::Above(0.93),
            Crossing::At(0.612),
            Crossing::Below(0.34),
            Crossing::At(0.5),
        ];
        crossings.sort_by(Crossing::order);
        let texts = crossings.map(|crossing| crossing.to_string());
        assert_eq!(texts, ["<34.0", "50.0", "61.2", ">93.0"]);
        let bounds = crossings.map(Crossing::bounds);
        let infinity = f64::INFINITY;
        assert_eq!(
            bounds,
            [(0.0, 0.34), (0.5, 0.5), (0.612, 0.612), (0.93, infinity)]
        );
        let json = serde_json::to_value(Crossing::Below(0.5)).unwrap();
        assert_eq!(
            json,
            serde_json::json!({"kind": "below", "kv_footprint": 0.5})
        );
    }

    #[test]
    fn curves_that_never_cross_are_bounded_from_their_side() {
        let all_pass = curve(&[(47., 87.7), (80., 95.4), (60., 94.8)]);
        let found = critical(&all_pass, 85.68).unwrap();
        assert_eq!(found.last_crossing, Crossing::Below(47.));
        assert_eq!(found.first_crossing, Crossing::Below(47.));
        let none_pass = curve(&[(93., 82.4), (86., 68.2)]);
        let found = critical(&none_pass, 85.68).unwrap();
        assert_eq!(found.last_crossing, Crossing::Above(93.));
        assert_eq!(found.first_crossing, Crossing::Above(93.));
    }

    #[test]
    fn curves_that_cannot_be_compared_are_errors() {
        assert!(matches!(critical(&[], 1.0), Err(CriticalError::Empty)));
        let broken = curve(&[(1.0, 2.0), (f64::NAN, 1.0)]);
        assert!(matches!(
            critical(&broken, 1.0),
            Err(CriticalError::NotFinite { index: 1 })
        ));
    }
}
