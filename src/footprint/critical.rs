//! Critical KV footprint: the smallest footprint at which a method keeps a share of the full-attention score.

use crate::fault::{Coded, Kind};

/// One evaluated point of a method: a footprint and the score reached with it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScoredFootprint {
    /// KV footprint, in any unit that all points share.
    pub kv_footprint: f64,
    /// Score, in the unit of the full-attention score.
    pub score: f64,
}

/// Where a curve crosses its threshold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Crossing {
    /// Interpolated between two points.
    At(f64),
    /// Even the smallest footprint tried keeps the score: below this value.
    Below(f64),
    /// No footprint tried keeps the score: above this value.
    Above(f64),
}

/// The critical footprint under both readings of "keeps the score", and how far they are apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CriticalFootprint {
    /// From the smallest footprint that reaches the threshold: reproduces the paper, and is the default figure.
    pub last_crossing: Crossing,
    /// From the last point before the first failure: the strict figure.
    pub first_crossing: Crossing,
    /// Times the score falls below the threshold and recovers; the two figures differ if and only if it does.
    pub num_dips: usize,
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
    let passes: Vec<bool> = curve.iter().map(|p| p.score >= threshold).collect();
    let last = passes.iter().rposition(|pass| *pass);
    let first = passes.iter().position(|pass| !pass).map_or_else(
        || passes.len().checked_sub(1),
        |failure| failure.checked_sub(1),
    );
    let recoveries = passes.windows(2).filter(|pair| !pair[0] && pair[1]).count();
    Ok(CriticalFootprint {
        last_crossing: cross(&curve, last, threshold)?,
        first_crossing: cross(&curve, first, threshold)?,
        num_dips: recoveries,
    })
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
