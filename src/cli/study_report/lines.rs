//! What a study found, for a terminal.

use super::agreement::MaskAgreement;
use super::{ArmReport, SeedHeldOut, SeedSettling, SizeScores, StudyReport, mean};
use crate::eval::critical::lines::lines as critical_lines;

impl StudyReport {
    /// For a terminal.
    pub(in crate::cli) fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        for arm in &self.arms {
            lines.push(format!("{}: {}", arm.name, arm.about));
        }
        lines.push(String::new());
        lines.extend(critical_lines(&self.critical));
        lines.push(String::new());
        lines.push("share of full attention's score, mean over seeds [least, most]:".to_owned());
        for arm in &self.arms {
            lines.extend(arm.scores.iter().map(|size| size.line(&arm.name)));
        }
        lines.push(String::new());
        lines.push("masks of different seeds: shared retrieval heads (Jaccard), correlation of the orders:".to_owned());
        for arm in &self.arms {
            lines.extend(
                arm.agreement
                    .iter()
                    .map(|agreement| agreement.line(&arm.name)),
            );
        }
        lines.extend(self.between_lines());
        lines.push(String::new());
        lines.push(
            "saved step from which on the mask is the last one's, of all steps, by seed:"
                .to_owned(),
        );
        for arm in &self.arms {
            lines.extend(
                self.sparsities
                    .iter()
                    .filter_map(|share| arm.settled_line(*share)),
            );
        }
        lines.extend(self.end_lines());
        lines.extend(self.held_out_lines());
        lines
    }

    fn end_lines(&self) -> Vec<String> {
        let of_arm = |arm: &ArmReport| -> Vec<String> {
            arm.ends.iter().map(|end| end.line(&arm.name)).collect()
        };
        let mut lines: Vec<String> = self.arms.iter().flat_map(of_arm).collect();
        if !lines.is_empty() {
            lines.insert(0, String::new());
            lines.insert(1, "where runs ended, and what they warned of:".to_owned());
        }
        lines
    }

    /// For each size a triangle of arms.
    fn between_lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for sparsity in &self.sparsities {
            let mut rows = Vec::new();
            for arm in &self.arms {
                let before = self.between_arms.iter().filter(|pair| {
                    pair.second == arm.name && pair.agreement.sparsity.total_cmp(sparsity).is_eq()
                });
                let cells: Vec<String> = before
                    .map(|pair| format!("{} {:.2}", pair.first, pair.agreement.mean_jaccard))
                    .collect();
                if !cells.is_empty() {
                    rows.push(format!("  {} with {}", arm.name, cells.join(", ")));
                }
            }
            if !rows.is_empty() {
                lines.push(String::new());
                let heading = "shared retrieval heads of different arms (Jaccard, mean over all pairs of seeds)";
                lines.push(format!("{heading} at {sparsity}:"));
                lines.extend(rows);
            }
        }
        lines
    }

    fn held_out_lines(&self) -> Vec<String> {
        let runs = self.arms.iter().flat_map(ArmReport::held_out_lines);
        let mut lines: Vec<String> = runs.collect();
        if !lines.is_empty() {
            let heading = "loss on held-out rows at the end, nats per token above full attention: gates, mask";
            lines.insert(0, String::new());
            lines.insert(1, format!("{heading}:"));
        }
        lines
    }
}

impl ArmReport {
    fn held_out_lines(&self) -> Vec<String> {
        let line = |run: &SeedHeldOut| {
            let look = run.looks.last()?;
            let mask = look
                .mask
                .map_or("-".to_owned(), |mask| format!("{:+.4}", mask - look.full));
            let gates = look.gates - look.full;
            let (name, seed) = (&self.name, run.seed);
            Some(format!("  {name}, seed {seed}: {gates:+.4}, {mask}"))
        };
        self.held_out.iter().filter_map(line).collect()
    }

    fn settled_line(&self, sparsity: f64) -> Option<String> {
        let of_size = |run: &&SeedSettling| run.sparsity.total_cmp(&sparsity).is_eq();
        let runs = self.settling.iter().filter(of_size);
        let text = |run: &SeedSettling| {
            let last = run.settling.steps.last().copied().unwrap_or(0);
            format!("{} of {last}", run.settling.settled)
        };
        let texts: Vec<String> = runs.map(text).collect();
        (!texts.is_empty()).then(|| format!("  {} at {sparsity}: {}", self.name, texts.join(", ")))
    }
}

impl SizeScores {
    fn line(&self, arm: &str) -> String {
        let place = format!(
            "  {arm}, {} at {}, chunk {}, {} retrieval heads",
            self.task, self.length, self.chunk_len, self.num_retrieval
        );
        if self.full <= 0.0 {
            return format!("{place}: - (full attention scores 0)");
        }
        let shares = || self.scores.iter().map(|score| score / self.full);
        format!(
            "{place}: {:.3} [{:.3}, {:.3}]",
            mean(shares()),
            shares().fold(f64::INFINITY, f64::min),
            shares().fold(f64::NEG_INFINITY, f64::max),
        )
    }
}

impl MaskAgreement {
    fn line(&self, arm: &str) -> String {
        let spearman = self
            .mean_spearman
            .map_or("-".to_owned(), |mean| format!("{mean:.3}"));
        format!(
            "  {arm} at {}: Jaccard {:.3} (least {:.3}, by chance {:.3}), Spearman {spearman}, {} pairs",
            self.sparsity,
            self.mean_jaccard,
            self.least_jaccard,
            self.chance_jaccard,
            self.num_pairs
        )
    }
}
