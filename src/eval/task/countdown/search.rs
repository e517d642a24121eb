//! The search for calculations that make a target of given numbers: depth first, as `LongProc` does it, and written down.
//!
//! Numbers are taken in pairs (first, second), (first, third), ...; of each pair the larger one comes first, and `+ - * /` are
//! tried in that order. The result goes in front of the numbers left. Results that are not whole or 2,000 or more, and divisions
//! by zero, are dropped. It ends when the only number left is the target.

use std::fmt::Write as _;
use std::ops::ControlFlow::{self, Break, Continue};

/// Results from here on are dropped.
pub(super) const TOO_LARGE: u32 = 2_000;

/// A search that came to an end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// The search, one line a step.
    pub(super) search: String,
    /// The calculations that it found, in their order.
    pub(super) solution: Vec<String>,
}

/// Searches for `target`; nothing if the numbers do not make it.
pub(super) fn search(numbers: &[u32], target: u32) -> Option<Found> {
    let mut walk = Walk {
        text: String::new(),
        made: Vec::new(),
        judge: |_: &str, number| {
            if number == target {
                Break(())
            } else {
                Continue(())
            }
        },
    };
    let end = walk.pick(numbers);
    end.is_break().then_some(Found {
        search: walk.text,
        solution: walk.made,
    })
}

/// Calls `visit` with every number that all of `numbers` make, in the order of the search for one of them, and the bytes of
/// the search up to there, until it breaks.
pub(super) fn walk(numbers: &[u32], mut visit: impl FnMut(u32, usize) -> ControlFlow<()>) {
    let mut walk = Walk {
        text: String::new(),
        made: Vec::new(),
        judge: |text: &str, number| visit(number, text.len()),
    };
    // Whether it came to an end is known to `visit`.
    let _ = walk.pick(numbers);
}

/// A search under way.
struct Walk<J> {
    text: String,
    /// The calculations made so far.
    made: Vec<String>,
    /// Whether the last number left ends the search.
    judge: J,
}

impl<J: FnMut(&str, u32) -> ControlFlow<()>> Walk<J> {
    /// Tries every pair of `numbers`.
    fn pick(&mut self, numbers: &[u32]) -> ControlFlow<()> {
        let marks = "-".repeat(self.made.len() + 1);
        for i in 0..numbers.len() {
            for j in i + 1..numbers.len() {
                let mut left = numbers.to_vec();
                let (b, a) = (left.remove(j), left.remove(i));
                if !left.is_empty() {
                    self.line(format_args!(
                        "{marks} Pick two numbers: {a} and {b}; left: {}",
                        list(&left)
                    ));
                }
                for operator in ['+', '-', '*', '/'] {
                    self.attempt(&marks, (a.max(b), operator, a.min(b)), &left)?;
                }
            }
        }
        Continue(())
    }

    fn attempt(
        &mut self,
        marks: &str,
        (a, operator, b): (u32, char, u32),
        left: &[u32],
    ) -> ControlFlow<()> {
        let result = match operator {
            '+' => Some(a + b),
            '-' => Some(a - b),
            '*' => Some(a * b),
            _ => (b > 0 && a % b == 0).then(|| a / b),
        };
        let term = format!("{a} {operator} {b}");
        let Some(result) = result else {
            self.line(format_args!(
                "{marks} Try {term} = no whole number, drop this branch"
            ));
            return Continue(());
        };
        let calculation = format!("{term} = {result}");
        if result >= TOO_LARGE {
            self.line(format_args!(
                "{marks} Try {calculation}: too large, drop this branch"
            ));
            return Continue(());
        }
        self.made.push(calculation.clone());
        if left.is_empty() {
            let end = (self.judge)(&self.text, result);
            let what = if end.is_break() {
                "the target"
            } else {
                "not the target, drop this branch"
            };
            self.line(format_args!("{marks} Try {calculation}: {what}"));
            end?;
        } else {
            let numbers = [&[result], left].concat();
            self.line(format_args!(
                "{marks} Try {calculation}: now {}",
                list(&numbers)
            ));
            self.pick(&numbers)?;
        }
        self.made.pop();
        Continue(())
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a text cannot fail.
        let _ = writeln!(self.text, "{line}");
    }
}

/// The numbers as they are written down.
pub(super) fn list(numbers: &[u32]) -> String {
    let numbers: Vec<String> = numbers.iter().map(u32::to_string).collect();
    numbers.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::goldens::goldens;

    #[test]
    fn the_first_solution_is_that_of_the_python_search() {
        for case in goldens("countdown_search") {
            let numbers: Vec<u32> = serde_json::from_value(case["nums"].clone()).unwrap();
            let solution: Vec<String> = serde_json::from_value(case["solution"].clone()).unwrap();
            let target = u32::try_from(case["target"].as_u64().unwrap()).unwrap();
            assert_eq!(
                search(&numbers, target).unwrap().solution,
                solution,
                "{case}"
            );
        }
    }

    #[test]
    fn every_step_is_written_down() {
        let found = search(&[13, 13, 39], 4).unwrap();
        let expected = "\
            - Pick two numbers: 13 and 13; left: 39\n\
            - Try 13 + 13 = 26: now 26, 39\n\
            -- Try 39 + 26 = 65: not the target, drop this branch\n\
            -- Try 39 - 26 = 13: not the target, drop this branch\n\
            -- Try 39 * 26 = 1014: not the target, drop this branch\n\
            -- Try 39 / 26 = no whole number, drop this branch\n\
            - Try 13 - 13 = 0: now 0, 39\n\
            -- Try 39 + 0 = 39: not the target, drop this branch\n\
            -- Try 39 - 0 = 39: not the target, drop this branch\n\
            -- Try 39 * 0 = 0: not the target, drop this branch\n\
            -- Try 39 / 0 = no whole number, drop this branch\n\
            - Try 13 * 13 = 169: now 169, 39\n\
            -- Try 169 + 39 = 208: not the target, drop this branch\n\
            -- Try 169 - 39 = 130: not the target, drop this branch\n\
            -- Try 169 * 39 = 6591: too large, drop this branch\n\
            -- Try 169 / 39 = no whole number, drop this branch\n\
            - Try 13 / 13 = 1: now 1, 39\n\
            -- Try 39 + 1 = 40: not the target, drop this branch\n\
            -- Try 39 - 1 = 38: not the target, drop this branch\n\
            -- Try 39 * 1 = 39: not the target, drop this branch\n\
            -- Try 39 / 1 = 39: not the target, drop this branch\n\
            - Pick two numbers: 13 and 39; left: 13\n\
            - Try 39 + 13 = 52: now 52, 13\n\
            -- Try 52 + 13 = 65: not the target, drop this branch\n\
            -- Try 52 - 13 = 39: not the target, drop this branch\n\
            -- Try 52 * 13 = 676: not the target, drop this branch\n\
            -- Try 52 / 13 = 4: the target\n";
        assert_eq!(found.search, expected);
        assert_eq!(found.solution, ["39 + 13 = 52", "52 / 13 = 4"]);
    }

    #[test]
    fn a_walk_meets_numbers_where_searches_for_them_end() {
        let numbers = [7, 12, 3, 40];
        let mut num_met = 0;
        let mut seen = std::collections::BTreeSet::new();
        walk(&numbers, |number, end| {
            if seen.insert(number) {
                let found = search(&numbers, number).unwrap();
                let before = found
                    .search
                    .trim_end()
                    .rsplit_once('\n')
                    .map_or(0, |(before, _)| before.len() + 1);
                assert_eq!(before, end, "{number}");
            }
            num_met += 1;
            Continue(())
        });
        assert!(num_met > 300, "{num_met}");
        for number in 0..TOO_LARGE {
            assert_eq!(search(&numbers, number).is_some(), seen.contains(&number));
        }
    }
}
