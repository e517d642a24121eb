//! Every task, length and chunk length of a run: its curves, their critical footprints, and what weakens them.

use super::curve::{Critical, Curve, Difference, Items, Point};
use super::family::{Family, families};
use crate::eval::ceiling;
use crate::eval::method::MethodKind;
use crate::eval::metric::registry::Metric;
use crate::eval::results::{MethodResult, Part, Results, TaskResult};
use crate::eval::scoring::Scoring;
use crate::eval::summary::Score;
use crate::eval::table::columns;
use crate::footprint::critical::CriticalError;
use crate::footprint::paired::{Estimate, NUM_RESAMPLES};

/// Name and version of the JSON form.
pub const SCHEMA: &str = "prulong.critical/1";

/// The share of full attention's score that the paper asks for.
pub const KEEP: f64 = 0.9;

/// Every critical footprint of a run.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Study {
    /// [`SCHEMA`].
    pub schema: String,
    /// Share of full attention's score to be kept.
    pub keep: f64,
    /// Times items were drawn again for each interval.
    pub num_resamples: usize,
    /// One for each model, chunk length, task and length, in that order.
    pub panels: Vec<Panel>,
    /// What the reader should know before trusting the numbers.
    pub warnings: Vec<String>,
}

/// All families on the items of one task and length.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Panel {
    /// Name of the model.
    pub model: String,
    /// Tokens per prefill chunk.
    pub chunk_len: usize,
    /// Name of the task.
    pub task: String,
    /// The score it is judged by.
    pub metric: Metric,
    /// What that is called, with what it stands in for.
    #[serde(skip)]
    pub title: String,
    /// Which of its scores.
    pub scoring: Scoring,
    /// Prompt and answer together, in tokens.
    pub length: usize,
    /// Items that every method answered.
    pub num_items: usize,
    /// Items that some method did not.
    pub num_left_out: usize,
    /// What full attention scores.
    pub full: Score,
    /// The score to be kept.
    pub threshold: f64,
    /// Whether full attention scores enough for losses to say something.
    pub has_room: bool,
    /// One for every family.
    pub curves: Vec<Curve>,
    /// Methods that keep every entry and attend to a part of them.
    pub savers: Vec<Point>,
}

impl Study {
    /// Looks for the least footprint that keeps the share `keep` of full attention's score, everywhere in `results`, whose
    /// methods have their items.
    ///
    /// # Errors
    /// [`CriticalError::NotFinite`].
    pub fn of(results: &Results, keep: f64) -> Result<Self, CriticalError> {
        let mut study = Self {
            schema: SCHEMA.to_owned(),
            keep,
            num_resamples: NUM_RESAMPLES,
            panels: Vec::new(),
            warnings: Vec::new(),
        };
        for part in &results.parts {
            for task in &part.tasks {
                for length in &results.provenance.grid.lengths {
                    study.add(part, task, *length)?;
                }
            }
        }
        Ok(study)
    }

    fn add(&mut self, part: &Part, task: &TaskResult, length: usize) -> Result<(), CriticalError> {
        let info = &task.task;
        let place = format!(
            "`{}` on {} at {length} tokens, chunk {}",
            info.name, part.model.name, part.chunk_len
        );
        let (methods, silent) = split(&task.methods, length);
        for method in silent {
            self.warn(format!("{place}: `{}` answered nothing", method.name));
        }
        let Some(full) = methods
            .iter()
            .find(|method| method.kind == MethodKind::Full)
        else {
            return Ok(());
        };
        let (items, num_left_out) = Items::shared(info, &methods, length);
        if num_left_out > 0 {
            self.warn(format!(
                "{place}: {num_left_out} items are left out, as some method failed them"
            ));
        }
        if items.len() == 0 {
            return Ok(());
        }
        let full_scores = items.scores(full);
        let mean = items.mean(&full_scores);
        let too_low = ceiling::warning(info, length, mean.mean);
        let has_room = too_low.is_none();
        if let Some(warning) = too_low {
            self.warn(warning);
        }
        let families = families(methods.iter().copied());
        let panel = Panel {
            model: part.model.name.clone(),
            chunk_len: part.chunk_len,
            task: info.name.clone(),
            metric: info.metric,
            title: info.title(),
            scoring: info.headline,
            length,
            num_items: items.len(),
            num_left_out,
            full: mean,
            threshold: self.keep * mean.mean,
            has_room,
            curves: curves(&items, &families, (&full_scores, mean.mean), self.keep)?,
            savers: savers(&items, &methods, mean.mean),
        };
        self.panels.push(panel);
        Ok(())
    }

    fn warn(&mut self, warning: String) {
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }
}

/// Methods that answered anything at `length`, and those that did not.
fn split(methods: &[MethodResult], length: usize) -> (Vec<&MethodResult>, Vec<&MethodResult>) {
    methods.iter().partition(|method| {
        let mut items = method.items.iter();
        items.any(|item| item.length_target == length && item.error.is_none())
    })
}

/// The curves of `families` beside full attention's scores and their mean.
fn curves(
    items: &Items<'_>,
    families: &[Family<'_>],
    (full_scores, full): (&[f64], f64),
    keep: f64,
) -> Result<Vec<Curve>, CriticalError> {
    let estimate = |family: &Family<'_>| {
        let series = items.all_series(family);
        items.draws.estimate(full_scores, &series, keep)
    };
    let estimates: Vec<Estimate> = families.iter().map(estimate).collect::<Result<_, _>>()?;
    let baseline = best_baseline(families, &estimates);
    let curve = |(family, estimate): (&Family<'_>, &Estimate)| {
        let mut critical = Critical::of(estimate);
        if family.kind == MethodKind::Mask {
            critical.baseline = baseline.map(|(of, theirs)| Difference {
                family: of.name.clone(),
                by: estimate.difference(theirs),
                interval: estimate.difference_interval(theirs),
            });
        }
        let settings = family.settings.iter();
        Curve {
            family: family.name.clone(),
            kind: family.kind,
            points: settings.map(|setting| items.point(setting, full)).collect(),
            critical: (full > 0.0).then_some(critical),
        }
    };
    Ok(families.iter().zip(&estimates).map(curve).collect())
}

/// The family that is sure of the smallest critical footprint among those that are no mask under test: of several whose most is
/// the same, the one whose least is smaller.
fn best_baseline<'a, 'b>(
    families: &'a [Family<'b>],
    estimates: &'a [Estimate],
) -> Option<(&'a Family<'b>, &'a Estimate)> {
    let baselines = families.iter().zip(estimates);
    baselines
        .filter(|(family, _)| family.kind != MethodKind::Mask)
        .min_by(|(_, a), (_, b)| {
            let ((a_least, a_most), (b_least, b_most)) = (bounds(a), bounds(b));
            a_most.total_cmp(&b_most).then(a_least.total_cmp(&b_least))
        })
}

fn bounds(estimate: &Estimate) -> (f64, f64) {
    estimate.found.last_crossing.bounds()
}

fn savers(items: &Items<'_>, methods: &[&MethodResult], full: f64) -> Vec<Point> {
    let columns = columns(methods.iter().copied());
    let savers = columns
        .iter()
        .filter(|column| column.kind() == MethodKind::Skipping);
    savers.map(|column| items.point(column, full)).collect()
}
