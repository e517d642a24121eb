//! Several evaluations of the same items as one study: the masks of each are a family under its name.

use super::study::{Panel, Study};
use crate::eval::method::MethodKind;

/// One evaluation with what its masks are called.
pub struct Arm {
    /// Name of its masks' family.
    pub name: String,
    /// Its critical footprints.
    pub study: Study,
}

/// All arms in one, in their order; `None` without an arm.
///
/// Panels of the same place are one: full attention's score is the first arm's, and the others' where they have the same items.
/// All heads streaming closes the sweep of every arm with masks and is a family of its own only in an arm without.
pub fn join(arms: Vec<Arm>) -> Option<Study> {
    let mut arms = arms.into_iter();
    let first = arms.next()?;
    let mut joined = Study {
        panels: Vec::new(),
        warnings: Vec::new(),
        ..first.study.clone()
    };
    for arm in std::iter::once(first).chain(arms) {
        for panel in arm.study.panels {
            let differs = add(&mut joined, &arm.name, panel);
            joined.warnings.extend(differs);
        }
        for warning in arm.study.warnings {
            joined.warnings.push(format!("{}: {warning}", arm.name));
        }
    }
    Some(joined)
}

/// Puts a panel where it belongs; a warning if it is about other items.
fn add(joined: &mut Study, name: &str, mut panel: Panel) -> Option<String> {
    for curve in &mut panel.curves {
        if curve.kind == MethodKind::Mask {
            name.clone_into(&mut curve.family);
        }
    }
    let place = |panel: &Panel| {
        let Panel {
            model,
            chunk_len,
            task,
            length,
            ..
        } = panel;
        (model.clone(), *chunk_len, task.clone(), *length)
    };
    let here = place(&panel);
    let Some(known) = joined.panels.iter_mut().find(|known| place(known) == here) else {
        joined.panels.push(panel);
        return None;
    };
    known.curves.append(&mut panel.curves);
    known.savers.append(&mut panel.savers);
    let is_other =
        known.num_items != panel.num_items || known.full.mean.total_cmp(&panel.full.mean).is_ne();
    is_other.then(|| {
        let (task, of) = (&panel.task, panel.num_items);
        format!(
            "{name}: answered other items of `{task}` than the first arm, {of} with a full score of {:.3}: it is held against the \
             first arm's",
            panel.full.mean
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::critical::curve::Curve;
    use crate::eval::critical::study::SCHEMA;
    use crate::eval::metric::registry::Metric;
    use crate::eval::scoring::Scoring;
    use crate::eval::summary::Score;

    fn study(warning: &str) -> Study {
        Study {
            schema: SCHEMA.to_owned(),
            keep: 0.9,
            num_resamples: 1,
            panels: Vec::new(),
            warnings: vec![warning.to_owned()],
        }
    }

    #[test]
    fn warnings_say_whose_they_are_and_nothing_comes_of_nothing() {
        let arm = |name: &str, warning| Arm {
            name: name.to_owned(),
            study: study(warning),
        };
        let joined = join(vec![arm("a", "few items"), arm("b", "few items")]).unwrap();
        assert_eq!(joined.warnings, ["a: few items", "b: few items"]);
        assert!(join(Vec::new()).is_none());
    }

    fn panel(num_items: usize, mean: f64) -> Panel {
        Panel {
            model: "m".to_owned(),
            chunk_len: 64,
            task: "recall".to_owned(),
            metric: Metric::ExactTokens,
            title: String::new(),
            scoring: Scoring::Strict,
            length: 512,
            num_items,
            num_left_out: 0,
            full: Score {
                mean,
                low: mean,
                high: mean,
            },
            threshold: 0.9 * mean,
            has_room: true,
            curves: vec![Curve {
                family: "mask".to_owned(),
                kind: MethodKind::Mask,
                points: Vec::new(),
                critical: None,
            }],
            savers: Vec::new(),
        }
    }

    #[test]
    fn panels_of_one_place_become_one_and_other_items_are_noticed() {
        let arm = |name: &str, panel| Arm {
            name: name.to_owned(),
            study: Study {
                panels: vec![panel],
                warnings: Vec::new(),
                ..study("")
            },
        };
        let families = |joined: &Study| -> Vec<String> {
            let curves = joined.panels.iter().flat_map(|panel| &panel.curves);
            curves.map(|curve| curve.family.clone()).collect()
        };
        let same = join(vec![arm("a", panel(20, 0.9)), arm("b", panel(20, 0.9))]).unwrap();
        assert_eq!((same.panels.len(), same.warnings.len()), (1, 0));
        assert_eq!(families(&same), ["a", "b"]);
        for other in [panel(19, 0.9), panel(20, 0.8)] {
            let joined = join(vec![arm("a", panel(20, 0.9)), arm("b", other)]).unwrap();
            assert_eq!(joined.warnings.len(), 1);
            assert!(joined.warnings[0].starts_with("b: answered other items"));
        }
        let elsewhere = Panel {
            length: 1024,
            ..panel(20, 0.9)
        };
        let joined = join(vec![arm("a", panel(20, 0.9)), arm("b", elsewhere)]).unwrap();
        assert_eq!((joined.panels.len(), joined.warnings.len()), (2, 0));
    }
}
