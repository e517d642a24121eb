//! Routes: one step per line, between `<Route>` and `</Route>`.

use super::tag::tagged;
use super::verdict::{Verdict, num_leading, share};
use crate::eval::scoring::{Pair, ScorePair};
use crate::eval::text::chars::trim;

/// A route is right if it is the gold but for outer spaces. Else it is right up to its first wrong line: compat counts that
/// line too, and none behind the gold's; strict counts right lines, of those of the longer route.
pub fn judge(output: &str, gold: &str) -> Verdict {
    let Some(route) = tagged(output, "Route") else {
        return Verdict::default();
    };
    let gold = trim(gold);
    if route == gold {
        return Verdict::right();
    }
    let found: Vec<&str> = route.split('\n').collect();
    let wanted: Vec<&str> = gold.split('\n').collect();
    let num_right = num_leading(&found, &wanted);
    let num_compared = found.len().min(wanted.len());
    Verdict {
        accuracy: Pair::both(0.0),
        partial: ScorePair {
            compat: share((num_right + 1).min(num_compared), wanted.len()),
            strict: share(num_right, found.len().max(wanted.len())),
        },
        extraction: Pair::both(1.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::gold::Gold;
    use crate::eval::goldens::goldens;
    use crate::eval::procedure::verdict::assert_verdict;

    #[test]
    fn compat_is_that_of_the_python_scorer() {
        for case in goldens("path_traversal") {
            let gold = Gold::Route {
                text: case["reference"].as_str().unwrap().to_owned(),
            };
            assert_verdict(case["prediction"].as_str().unwrap(), &gold, &case);
        }
    }

    #[test]
    fn strict_counts_right_lines_of_the_longer_route() {
        for (route, compat, strict) in [
            ("a\nb\nc\nd", 1.0, 1.0),
            ("x", 0.25, 0.0),
            ("a\nb\nx\nd", 0.75, 0.5),
            ("a\nb", 0.5, 0.5),
            ("a\nb\nc\nd\ne", 1.0, 0.8),
            ("", 0.25, 0.0),
        ] {
            let found = judge(&format!("<Route>{route}</Route>"), "a\nb\nc\nd\n");
            let expected = ScorePair { compat, strict };
            assert_eq!(found.partial, expected, "{route:?}");
            assert!(found.accuracy.strict <= found.partial.strict);
        }
        assert_eq!(judge("a\nb\nc\nd", "a\nb\nc\nd"), Verdict::default());
    }
}
