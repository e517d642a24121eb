//! How many lines of the answer were written, and how many that do not belong there.

use std::collections::BTreeMap;

/// F1 over the multisets of non-blank lines, in [0, 1]: the order does not matter, repetition does; 1 if both are empty.
#[expect(clippy::cast_precision_loss, reason = "texts have few lines")]
pub fn row_f1(output: &str, answer: &str) -> f64 {
    let (mut found, wanted) = (rows(output), rows(answer));
    let (num_found, num_wanted): (usize, usize) = (found.values().sum(), wanted.values().sum());
    if num_found + num_wanted == 0 {
        return 1.0;
    }
    let shared: usize = wanted
        .into_iter()
        .map(|(row, count)| found.entry(row).or_default().to_owned().min(count))
        .sum();
    // 2PR / (P + R) with P = shared / found and R = shared / wanted.
    2.0 * shared as f64 / (num_found + num_wanted) as f64
}

fn rows(text: &str) -> BTreeMap<&str, usize> {
    let mut rows = BTreeMap::new();
    for row in text.lines().filter(|row| !row.trim().is_empty()) {
        *rows.entry(row).or_default() += 1;
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::row_f1;
    use crate::random::{below, stream};

    #[test]
    fn lines_count_wherever_they_stand() {
        let check = |output: &str, answer: &str, expected: f64| {
            let found = row_f1(output, answer);
            assert!((found - expected).abs() < 1e-12, "{output:?}: {found}");
        };
        check("a\nb\n", "a\nb\n", 1.0);
        check("b\n\n  \na", "a\nb\n", 1.0);
        check("a\n", "a\nb\n", 2.0 / 3.0);
        check("a\nb\nc\nd\n", "a\nb\n", 2.0 / 3.0);
        check("a\na\na\n", "a\nb\n", 2.0 / 5.0);
        check("a\na\n", "a\na\n", 1.0);
        check("a \n", "a\n", 0.0);
        check("", "a\n", 0.0);
        check("a\n", "", 0.0);
        check("", "\n", 1.0);
    }

    /// Precision and recall by crossing out, as the name says.
    fn slow(output: &str, answer: &str) -> f64 {
        let lines = |text: &str| -> Vec<String> {
            let lines = text.lines().filter(|line| !line.is_empty());
            lines.map(str::to_owned).collect()
        };
        let (output, mut left) = (lines(output), lines(answer));
        let num_wanted = left.len();
        let mut shared = 0;
        for line in &output {
            if let Some(at) = left.iter().position(|other| other == line) {
                left.remove(at);
                shared += 1;
            }
        }
        if shared == 0 {
            return if output.is_empty() && num_wanted == 0 {
                1.0
            } else {
                0.0
            };
        }
        let share = |of: usize| f64::from(shared) / f64::from(u32::try_from(of).unwrap());
        let (precision, recall) = (share(output.len()), share(num_wanted));
        2.0 * precision * recall / (precision + recall)
    }

    #[test]
    fn it_is_the_harmonic_mean_and_symmetric() {
        let mut rng = stream("row f1", &[]);
        for _ in 0..500 {
            let mut text = || -> String {
                let num_lines = below(&mut rng, 6);
                let letter =
                    |_| ["a\n", "b\n", "c\n", "\n"][usize::try_from(below(&mut rng, 4)).unwrap()];
                (0..num_lines).map(letter).collect()
            };
            let (a, b) = (text(), text());
            assert!((row_f1(&a, &b) - slow(&a, &b)).abs() < 1e-12, "{a:?} {b:?}");
            assert_eq!(row_f1(&a, &b).to_bits(), row_f1(&b, &a).to_bits());
        }
    }
}
