//! Countdown: calculations that make a target of given numbers, between `<Solution>` and `</Solution>`, after the
//! search that found them.

use super::tag::tagged;
use super::verdict::{Verdict, share};
use crate::eval::scoring::{Pair, ScorePair};
use crate::eval::text::chars::trim;

/// What a search begins with; the last one counts.
const SEARCH: &str = "# Search Procedure";

/// What ends the gold's search.
const FOUND: &str = "Now we have found the target";

/// Marks a line that must be the gold's.
const PICK: &str = "Pick two numbers";

/// Marks a line that must do what the gold's does.
const TRY: &str = "Try ";

/// What a line says that gives a branch up.
const DROP: &str = "drop this branch";

/// Any solution is right. Without one, its search is right up to the first line that does something else than the gold's,
/// of those behind the first, which must be the same: compat counts the lines before the last one reached, strict all that
/// are right. Without a gold search there is no partial credit.
pub fn judge(output: &str, numbers: &[i64], target: i64, search: &str) -> Verdict {
    let solution = tagged(output, "Solution");
    if solution.is_some_and(|solution| solves(solution, numbers, target)) {
        return Verdict::right();
    }
    let reach = Reach::of(output, search).unwrap_or_default();
    Verdict {
        accuracy: Pair::both(0.0),
        partial: ScorePair {
            compat: share(reach.last_index, reach.num_lines),
            strict: share(reach.num_right, reach.num_lines),
        },
        extraction: Pair::both(f64::from(solution.is_some())),
    }
}

/// Whether the lines of `solution` make `target` of `numbers`, each used once: three lines of four numbers.
fn solves(solution: &str, numbers: &[i64], target: i64) -> bool {
    let mut left = numbers.to_vec();
    solution
        .split('\n')
        .all(|line| step(line, &mut left).is_some())
        && left == [target]
}

/// Replaces both numbers of a right calculation by its result.
fn step(line: &str, left: &mut Vec<i64>) -> Option<()> {
    let (term, result) = line.split_once('=')?;
    let operator = ['+', '-', '*', '/']
        .into_iter()
        .find(|operator| term.contains(*operator))?;
    let (a, b) = term.split_once(operator)?;
    let [a, b, result] = [a, b, result].map(|number| trim(number).parse::<i64>().ok());
    let (a, b, result) = (a?, b?, result?);
    let is_right = match operator {
        '+' => a.checked_add(b) == Some(result),
        '-' => a.checked_sub(b) == Some(result),
        '*' => a.checked_mul(b) == Some(result),
        _ => b != 0 && result.checked_mul(b) == Some(a),
    };
    take(left, a)?;
    take(left, b)?;
    left.push(result);
    is_right.then_some(())
}

fn take(left: &mut Vec<i64>, number: i64) -> Option<i64> {
    let at = left.iter().position(|other| *other == number)?;
    Some(left.remove(at))
}

/// How far a search went with the gold's.
#[derive(Debug, Clone, Copy, Default)]
struct Reach {
    last_index: usize,
    num_right: usize,
    num_lines: usize,
}

impl Reach {
    /// Nothing without a search, or with another first line.
    fn of(output: &str, gold: &str) -> Option<Self> {
        let (_, found) = output.rsplit_once(SEARCH)?;
        let gold = gold.rsplit_once(SEARCH).map_or(gold, |(_, gold)| gold);
        let gold = gold.split(FOUND).next().unwrap_or_default();
        let (mut found, mut wanted) = (trim(found).split('\n'), trim(gold).split('\n'));
        if found.next() != wanted.next() {
            return None;
        }
        let num_lines = wanted.clone().count();
        let num_compared = num_lines.min(found.clone().count());
        let pairs = found.zip(wanted);
        let num_right = pairs
            .take_while(|(found, wanted)| does_the_same(found, wanted))
            .count();
        Some(Self {
            last_index: num_right.min(num_compared.saturating_sub(1)),
            num_right,
            num_lines,
        })
    }
}

fn does_the_same(line: &str, gold: &str) -> bool {
    let is_try = !gold.contains(PICK) && gold.contains(TRY);
    let term = |line: &str| line.split('=').next().map(str::to_owned);
    let same = || term(line) == term(gold) && line.contains(DROP) == gold.contains(DROP);
    line == gold || (is_try && same())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::gold::Gold;
    use crate::eval::goldens::goldens;
    use crate::eval::procedure::verdict::assert_verdict;

    #[test]
    fn compat_is_that_of_the_python_scorer() {
        for case in goldens("countdown") {
            let gold = Gold::Countdown {
                numbers: serde_json::from_value(case["nums"].clone()).unwrap(),
                target: case["target"].as_i64().unwrap(),
                search: String::new(),
            };
            assert_verdict(case["prediction"].as_str().unwrap(), &gold, &case);
        }
    }

    #[test]
    fn solutions_of_the_search_are_right() {
        for case in goldens("countdown_search") {
            let numbers: Vec<i64> = serde_json::from_value(case["nums"].clone()).unwrap();
            let lines: Vec<String> = serde_json::from_value(case["solution"].clone()).unwrap();
            let target = case["target"].as_i64().unwrap();
            assert!(solves(&lines.join("\n"), &numbers, target), "{case}");
            assert!(!solves(&lines.join("\n"), &numbers, target + 1), "{case}");
        }
    }

    #[test]
    fn only_whole_numbers_at_hand_are_used() {
        for (solution, expected) in [
            ("3 - 8 = -5\n-5 + 21 = 16\n30 - 16 = 14", true),
            ("8 / 3 = 2\n2 + 21 = 23\n30 - 23 = 7", false),
            ("8 * 3 = 24\n21 + 30 = 51\n51 - 24 = 27", true),
            ("8 * 3 = 24\n8 + 30 = 38\n38 - 24 = 14", false),
            ("8 // 3 = 2\n2 + 21 = 23\n30 - 23 = 7", false),
            ("8 ** 3 = 512\n512 + 21 = 533\n30 + 533 = 563", false),
            ("8 + 3 = 11 = 11\n11 + 21 = 32\n30 + 32 = 62", false),
            ("3 / 0 = 0\n0 + 21 = 21\n30 + 21 = 51", false),
        ] {
            let end = solution.rsplit('=').next().unwrap().trim().parse();
            let found = solves(solution, &[3, 8, 21, 30], end.unwrap());
            assert_eq!(found, expected, "{solution}");
        }
    }

    #[test]
    fn the_last_result_is_all_that_is_left() {
        let steps = "1 + 2 = 3\n3 + 3 = 6\n6 + 4 = 10";
        assert!(solves(steps, &[1, 2, 3, 4], 10));
        assert!(!solves(steps, &[7, 1, 2, 3, 4], 7), "7 is no result");
        assert!(!solves(steps, &[7, 1, 2, 3, 4], 10), "7 is not used");
        let more = format!("{steps}\n7 + 10 = 17");
        assert!(solves(&more, &[7, 1, 2, 3, 4], 17));
        assert!(!solves("7 + 0 = 7", &[7], 7), "nothing to calculate");
    }

    /// A search for 24 as LongProc makes them, in other words.
    const SEARCH_OF_24: &str = "\
        |- Pick two numbers: 3 and 5; left: 2, 4\n\
        |- Try 5 + 3 = 8: now 8, 2, 4\n\
        ||- Pick two numbers: 8 and 2; left: 4\n\
        ||- Try 8 + 2 = 10: now 10, 4\n\
        |||- Try 10 + 4 = 14: not the target, drop this branch\n\
        |||- Try 10 - 4 = 6: not the target, drop this branch\n\
        |||- Try 10 * 4 = 40: not the target, drop this branch\n\
        |||- Try 10 / 4 = no whole number, drop this branch\n\
        ||- Try 8 - 2 = 6: now 6, 4\n\
        |||- Try 6 + 4 = 10: not the target, drop this branch\n\
        |||- Try 6 - 4 = 2: not the target, drop this branch\n\
        |||- Try 6 * 4 = 24: the target";

    #[test]
    fn partial_credit_is_that_of_the_python_scorer() {
        let gold = Gold::Countdown {
            numbers: vec![3, 5, 2, 4],
            target: 24,
            search: format!("# Search Procedure\n{SEARCH_OF_24}\n\n{FOUND}, as follows"),
        };
        for (from, to, num_lines) in [
            ("", "", 10.0),
            ("= 10: now 10", "= 11: now 11", 10.0),
            ("= 10: now 10, 4", "= 10: drop this branch", 2.0),
            ("8 and 2; left: 4", "8 and 4; left: 2", 1.0),
            ("8 - 2 = 6", "8 * 2 = 6", 7.0),
            ("3 and 5", "5 and 3", 0.0),
            ("24: the target", "24: the target\n|- Try 1 + 1 = 2", 10.0),
        ] {
            let search = SEARCH_OF_24.replacen(from, to, 1);
            let output = format!("First.\n# Search Procedure\n{search}\n<Solution>\n</Solution>");
            let metrics = serde_json::json!({
                "accuracy": 0.0, "partial_accuracy": num_lines / 11.0, "extraction_rate": 1.0,
            });
            assert_verdict(&output, &gold, &serde_json::json!({ "metrics": metrics }));
        }
        let cut: Vec<&str> = SEARCH_OF_24.split('\n').take(6).collect();
        let output = format!("# Search Procedure\n{}", cut.join("\n"));
        let metrics = serde_json::json!({
            "accuracy": 0.0, "partial_accuracy": 4.0 / 11.0, "extraction_rate": 0.0,
        });
        assert_verdict(&output, &gold, &serde_json::json!({ "metrics": metrics }));
    }

    #[test]
    fn searches_are_right_as_far_as_they_do_what_the_gold_does() {
        let gold = "# Search Procedure\nInitial\n |- Pick two numbers (1, 2). Try all.\n  |- Try 1 + 2 = 3. Add 3\
                    \n  |- Try 1 - 2 = -1. drop this branch.\n\nNow we have found the target, x";
        let start = "# Search Procedure\nInitial\n";
        let pick = " |- Pick two numbers (1, 2). Try all.\n";
        let (keep, drop) = (
            "  |- Try 1 + 2 = 3. Add\n",
            "  |- Try 1 - 2 = 9. drop this branch.\n",
        );
        for (output, compat, strict) in [
            (format!("{start}{pick}{keep}{drop}"), 2.0, 3.0),
            (
                format!("{start}{pick}{keep}  |- Try 1 - 2 = -1. Add"),
                2.0,
                2.0,
            ),
            (format!("{start}{pick}{keep}"), 1.0, 2.0),
            (
                format!("{start} |- Pick two numbers (1, 3). Try all.\n{keep}"),
                0.0,
                0.0,
            ),
            (format!("# Search Procedure\nx\n{start}{pick}"), 0.0, 1.0),
            (start.to_owned(), 0.0, 0.0),
            (format!("# Search Procedure\nInit\n{pick}"), 0.0, 0.0),
            (pick.to_owned(), 0.0, 0.0),
        ] {
            let found = judge(&output, &[1, 2, 4, 8], 5, gold).partial;
            let expected = Pair { compat, strict }.map(|lines: &f64| lines / 3.0);
            assert_eq!(found, expected, "{output}");
            assert_eq!(
                judge(&output, &[1, 2, 4, 8], 5, "").partial,
                Pair::both(0.0)
            );
        }
    }
}
