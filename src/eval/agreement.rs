//! Whether the caches hold what the formula says.

use super::error::EvalError;
use crate::footprint::holdings::Holdings;
use crate::footprint::predict::Prediction;
use crate::footprint::workload::Workload;

/// Largest difference between counted and predicted shares that rounding explains.
const TOLERANCE: f64 = 1e-9;

/// What the formula says of `workload`. Where heads choose for themselves it is what they would hold if they agreed.
///
/// # Errors
/// [`EvalError::Footprint`] if `method`'s caches `counted` something else: other figures, or, where heads choose, less than
/// the least or more than the most.
pub(super) fn check(
    method: &str,
    holdings: &Holdings,
    workload: &Workload,
    counted: Prediction,
) -> Result<Prediction, EvalError> {
    let (least, most) = (holdings.predict(workload), holdings.at_most(workload));
    let within = |pick: fn(&Prediction) -> f64| {
        let range = pick(&least) - TOLERANCE..=pick(&most) + TOLERANCE;
        range.contains(&pick(&counted))
    };
    if within(|of| of.kv_footprint) && within(|of| of.kv_peak) {
        return Ok(least);
    }
    Err(EvalError::Footprint {
        method: method.to_owned(),
        counted: format!("{counted:?}"),
        formula: format!("{least:?}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::footprint::eviction::{LayerBudget, TokenEviction, TokenSparsity};
    use crate::footprint::workload::Convention;

    #[test]
    fn other_figures_are_refused_and_choosing_heads_have_a_range() {
        let workload = Workload::new(40, 3, 20, Convention::Counted).unwrap();
        let ranked = |num_choosers| Holdings::Ranked {
            eviction: TokenEviction {
                observation_len: 2,
                sparsity: TokenSparsity::new(0.7).unwrap(),
                patch: false,
                layers: LayerBudget::Uniform,
            },
            num_layers: 2,
            num_choosers,
        };
        let (least, most) = (ranked(2).predict(&workload), ranked(2).at_most(&workload));
        let middle = Prediction {
            kv_footprint: f64::midpoint(least.kv_footprint, most.kv_footprint),
            kv_peak: least.kv_peak,
        };
        let check = |num_choosers, counted| check("m", &ranked(num_choosers), &workload, counted);
        for counted in [least, middle, most] {
            assert_eq!(check(2, counted).unwrap(), least);
        }
        assert_eq!(check(1, least).unwrap(), least);
        for counted in [middle, most] {
            assert!(matches!(
                check(1, counted),
                Err(EvalError::Footprint { .. })
            ));
        }
        let more = Prediction {
            kv_peak: most.kv_peak + 1e-6,
            ..most
        };
        assert!(check(2, more).is_err());
    }
}
