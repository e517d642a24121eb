//! One colour and one mark for every family, the same in all figures of a page.

use super::drawing::Mark;
use crate::eval::critical::study::Study;
use crate::eval::method::MethodKind;

/// Classes of the style's colours that other families than masks take in turn.
const OTHERS: [&str; 6] = ["s1", "s2", "s3", "s4", "s5", "s6"];

/// How a family looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Look {
    /// Its class in the style: a colour.
    pub(super) class: &'static str,
    /// Its mark.
    pub(super) mark: Mark,
}

/// The families of a run, in the order in which they are first met, with their looks.
pub(super) struct Looks {
    families: Vec<(String, Look)>,
}

impl Looks {
    /// Gives every family of the study its look. Masks under test and random masks always have theirs.
    pub(super) fn of(study: &Study) -> Self {
        let mut families: Vec<(String, Look)> = Vec::new();
        let mut num_others = 0;
        for curve in study.panels.iter().flat_map(|panel| &panel.curves) {
            if families.iter().any(|(name, _)| *name == curve.family) {
                continue;
            }
            let look = match curve.kind {
                MethodKind::Mask => Look {
                    class: "s0",
                    mark: Mark::Circle,
                },
                MethodKind::Random => Look {
                    class: "s7",
                    mark: Mark::Cross,
                },
                _ => {
                    num_others += 1;
                    other(num_others - 1)
                }
            };
            families.push((curve.family.clone(), look));
        }
        Self { families }
    }

    /// Every family with its look.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, Look)> {
        let families = self.families.iter();
        families.map(|(name, look)| (name.as_str(), *look))
    }

    /// The look of `family`.
    pub(super) fn get(&self, family: &str) -> Look {
        let mut families = self.iter();
        let found = families.find(|(name, _)| *name == family);
        found.map_or(other(0), |(_, look)| look)
    }
}

/// The look of another family: colours and marks have different numbers, so that pairs of them repeat late.
fn other(index: usize) -> Look {
    let marks = [Mark::Square, Mark::Triangle, Mark::Diamond, Mark::Wedge];
    Look {
        class: OTHERS[index % OTHERS.len()],
        mark: marks[index % marks.len()],
    }
}
