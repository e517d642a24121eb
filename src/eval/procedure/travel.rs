//! Tours through cities: a plan between `<Plan>` and `</Plan>`, after the procedure that found it.

use super::plan::{Stop, stops};
use super::tag::tagged;
use super::verdict::{Verdict, share};
use crate::eval::scoring::{Pair, ScorePair};
use crate::eval::text::chars::trim;
use crate::eval::text::normalise::normalise;

/// What a procedure begins with; it ends before a second one.
const PROCEDURE: &str = "<Solving Procedure>";

/// Says nothing.
const CALL: &str = "Output the plan in the required format:";

/// A plan is right if it begins with the gold's `cities` and their `days`. Else its procedure is right up to the first line
/// without what stands in the gold's: compat counts the lines before the last one reached, strict all that are right.
/// Without a gold procedure there is no partial credit.
pub fn judge(output: &str, (cities, days): (&[String], &[i64]), procedure: &str) -> Verdict {
    let plan = tagged(output, "Plan");
    let is_right = |plan: &str| stops(plan).is_some_and(|stops| begins(&stops, cities, days));
    if plan.is_some_and(is_right) {
        return Verdict::right();
    }
    let (found, wanted) = (lines(output), lines(procedure));
    let pairs = found.iter().zip(&wanted);
    let num_right = pairs
        .take_while(|(found, wanted)| found.contains(*wanted))
        .count();
    let num_compared = found.len().min(wanted.len());
    Verdict {
        accuracy: Pair::both(0.0),
        partial: ScorePair {
            compat: share(num_right.min(num_compared.saturating_sub(1)), wanted.len()),
            strict: share(num_right, wanted.len()),
        },
        extraction: Pair::both(f64::from(plan.is_some())),
    }
}

fn begins(stops: &[Stop], cities: &[String], days: &[i64]) -> bool {
    let wanted = cities.iter().zip(days);
    let num_same = wanted
        .zip(stops)
        .take_while(|((city, days), stop)| **city == stop.0 && **days == stop.1)
        .count();
    !cities.is_empty() && num_same == cities.len()
}

/// The lines of a procedure that are not blank, in their normal form; of a text without one, all lines.
fn lines(text: &str) -> Vec<String> {
    let text = text.replace(CALL, "");
    let mut parts = text.split(PROCEDURE);
    let before = parts.next().unwrap_or_default();
    let text = parts.next().map_or_else(
        || before.to_owned(),
        |inside| format!("{PROCEDURE}{inside}"),
    );
    let lines = text.split('\n').filter(|line| !trim(line).is_empty());
    lines.map(normalise).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::gold::Gold;
    use crate::eval::goldens::goldens;
    use crate::eval::procedure::verdict::assert_verdict;

    /// The parts of `A**B**C`.
    fn parts(text: &serde_json::Value) -> impl Iterator<Item = &str> {
        let parts = text.as_str().unwrap().split("**");
        parts.filter(|part| !part.is_empty())
    }

    #[test]
    fn compat_is_that_of_the_python_scorer() {
        for case in goldens("travel_planning") {
            let days = parts(&case["gt"]["ground_truth_durations"]);
            let cities = parts(&case["gt"]["ground_truth_cities"]);
            let gold = Gold::Travel {
                cities: cities.map(str::to_owned).collect(),
                durations: days.map(|days| days.parse().unwrap()).collect(),
                procedure: case["reference"].as_str().unwrap().to_owned(),
            };
            assert_verdict(case["prediction"].as_str().unwrap(), &gold, &case);
        }
    }

    #[test]
    fn strict_counts_right_lines() {
        let cities = ["Oslo".to_owned(), "Porto".to_owned()];
        let gold = "<Solving Procedure>\nOslo first\nthen Porto\n</Solving Procedure>";
        for (output, compat, strict) in [
            (
                "Well. <Solving Procedure>\nAt once: Oslo, first\n\nThen Porto.\n</Solving Procedure>",
                3.0,
                4.0,
            ),
            ("<Solving Procedure>\nOslo first\nthen Riga", 2.0, 2.0),
            ("<Solving Procedure>\nOslo first", 1.0, 2.0),
            ("Oslo first", 0.0, 0.0),
            ("", 0.0, 0.0),
        ] {
            let found = judge(output, (&cities, &[4, 3]), gold).partial;
            let expected = Pair { compat, strict }.map(|lines: &f64| lines / 4.0);
            assert_eq!(found, expected, "{output}");
            let without = judge(output, (&cities, &[4, 3]), "").partial;
            assert_eq!(without, Pair::both(0.0));
        }
    }
}
