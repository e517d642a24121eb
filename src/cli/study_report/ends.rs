//! How the runs of an arm ended: where their sparsity stood, and what they warned of on the way.

use crate::cli::study_plan::Plan;
use crate::config::study::Arm;
use crate::fault::AnyFault;
use crate::metrics::jsonl;
use crate::metrics::record::Record;
use crate::metrics::tag;

/// One training run at its end.
#[derive(Debug, PartialEq, serde::Serialize)]
pub(super) struct RunEnd {
    seed: u64,
    /// Expected sparsity of the last logged step, if the method has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    sparsity: Option<f64>,
    /// Its target.
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<f64>,
    warnings: Vec<RunWarning>,
}

/// A red flag, or another event of a run.
#[derive(Debug, PartialEq, serde::Serialize)]
struct RunWarning {
    step: u64,
    code: String,
    text: String,
}

impl RunEnd {
    fn of(seed: u64, records: &[Record]) -> Self {
        let last = |tag| records.iter().rev().find_map(|record| record.value(tag));
        let warnings = records.iter().flat_map(|record| {
            record.events.iter().map(|event| RunWarning {
                step: record.step,
                code: event.code.clone(),
                text: event.text.clone(),
            })
        });
        Self {
            seed,
            sparsity: last(tag::SPARSITY_EXPECTED),
            target: last(tag::SPARSITY_TARGET),
            warnings: warnings.collect(),
        }
    }

    /// For a terminal.
    pub(super) fn line(&self, arm: &str) -> String {
        let sparsity = self.sparsity.zip(self.target);
        let sparsity = sparsity.map(|(found, target)| format!("sparsity {found:.3} for {target}"));
        let codes = self.warnings.iter().map(|warning| warning.code.clone());
        let parts: Vec<String> = sparsity.into_iter().chain(codes).collect();
        let parts = if parts.is_empty() {
            "no warnings".to_owned()
        } else {
            parts.join(", ")
        };
        format!("  {arm}, seed {}: {parts}", self.seed)
    }
}

/// Of every run of an arm.
///
/// # Errors
/// Metrics that cannot be read.
pub(super) fn ends(plan: &Plan<'_>, arm: &Arm) -> Result<Vec<RunEnd>, AnyFault> {
    if !matches!(arm, Arm::Train { .. }) {
        return Ok(Vec::new());
    }
    let end = |seed: &u64| {
        let metrics = plan.run(arm.name(), *seed).join(jsonl::FILE_NAME);
        Ok(RunEnd::of(*seed, &jsonl::read(&metrics)?))
    };
    plan.study.seeds.iter().map(end).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_says_where_it_ended_and_what_it_warned_of() {
        let mut first = Record::new(4);
        first
            .scalar(tag::SPARSITY_EXPECTED, 0.25)
            .scalar(tag::SPARSITY_TARGET, 0.5)
            .event("gate.still", "no gate moves".to_owned());
        let mut last = Record::new(8);
        last.scalar(tag::SPARSITY_EXPECTED, 0.375)
            .scalar(tag::SPARSITY_TARGET, 0.75)
            .event("gate.missed_target", "far from it".to_owned());
        let held_out = Record::new(8);
        let end = RunEnd::of(3, &[first, last, held_out]);
        assert_eq!(
            end.line("a"),
            "  a, seed 3: sparsity 0.375 for 0.75, gate.still, gate.missed_target"
        );
        assert_eq!(
            (end.warnings[1].step, end.warnings[1].text.as_str()),
            (8, "far from it")
        );
        assert_eq!(
            RunEnd::of(1, &[Record::new(8)]).line("b"),
            "  b, seed 1: no warnings"
        );
    }
}
