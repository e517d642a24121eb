//! Shots in which every label occurs equally often.

use super::python::Python;

/// `num_shots` rows in rounds that hold one row of every label each, in random order.
///
/// `labels[row]` is the row's label; the last round is cut. Rows are used again only if a label has fewer of them than there
/// are rounds.
pub fn rounds<L: PartialEq>(labels: &[L], num_shots: usize, generator: &mut Python) -> Vec<usize> {
    let groups = by_label(labels);
    if groups.is_empty() {
        return Vec::new();
    }
    let num_rounds = num_shots.div_ceil(groups.len());
    let mut rounds: Vec<Vec<usize>> = vec![Vec::with_capacity(groups.len()); num_rounds];
    for rows in &groups {
        let mut picked = generator.sample(rows.len(), num_rounds % rows.len());
        while picked.len() < num_rounds {
            let missing = num_rounds - picked.len();
            picked.extend(generator.sample(rows.len(), missing.min(rows.len())));
        }
        for (round, index) in rounds.iter_mut().zip(picked) {
            round.push(rows[index]);
        }
    }
    for round in &mut rounds {
        generator.shuffle(round);
    }
    let mut shots = rounds.concat();
    shots.truncate(num_shots);
    shots
}

/// The rows of each label, labels in order of first appearance.
fn by_label<L: PartialEq>(labels: &[L]) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for (row, label) in labels.iter().enumerate() {
        match groups.iter_mut().find(|rows| labels[rows[0]] == *label) {
            Some(rows) => rows.push(row),
            None => groups.push(vec![row]),
        }
    }
    groups
}

/// The numbers that labels `0..num_labels` are shown as: entry i is that of label i.
pub fn shown_labels(num_labels: usize, seed: u64) -> Vec<usize> {
    let mut shown: Vec<usize> = (0..num_labels).collect();
    Python::new(seed).shuffle(&mut shown);
    shown
}
