//! Traces of a story: one line with positions and beliefs per step, each beginning with `-`.

use super::verdict::{Verdict, num_leading, share};
use crate::eval::scoring::ScorePair;
use crate::eval::text::chars::{WORDS, split, trim};
use regex::Captures;

/// Words that say nothing about who is where.
const FILLERS: [&str; 18] = [
    "a", "an", "the", "on", "in", "at", "step", "thinks", "think", "believes", "believe", "is",
    "are", "of", "location", "know", "knows", "belief",
];

/// A trace is right if its steps are those of the gold but for case, punctuation and words without meaning. Else it is right
/// up to its first wrong step: compat leaves out steps behind the gold's, and all indented ones but the first; strict counts
/// of the longer trace, and wants one to be there at all.
pub fn judge(output: &str, gold: &str) -> Verdict {
    let compat = (steps(output), steps(gold));
    let strict = (every_step(output), every_step(gold));
    let accuracy = |(found, wanted): &(Vec<String>, Vec<String>)| f64::from(found == wanted);
    let num_right = |(found, wanted): &(Vec<String>, Vec<String>)| num_leading(found, wanted);
    let is_right = compat.0 == compat.1;
    Verdict {
        accuracy: ScorePair {
            compat: accuracy(&compat),
            strict: accuracy(&strict),
        },
        partial: ScorePair {
            compat: if is_right {
                1.0
            } else {
                share(num_right(&compat), compat.1.len())
            },
            strict: share(num_right(&strict), strict.0.len().max(strict.1.len())),
        },
        extraction: ScorePair {
            compat: 1.0,
            strict: f64::from(!strict.0.is_empty()),
        },
    }
}

/// Whether there is a step in `text` to compare a trace with.
pub fn has_steps(text: &str) -> bool {
    !every_step(text).is_empty()
}

/// The steps of `text` as the Python scorer reads them: it looks for indented ones, then loses all but the first.
fn steps(text: &str) -> Vec<String> {
    let marked: Vec<&str> = lines(text)
        .filter(|line| trim(line).starts_with('-'))
        .collect();
    let marked = marked.join("\n");
    contents(trim(&marked).split('\n'))
}

fn every_step(text: &str) -> Vec<String> {
    contents(lines(text).map(trim))
}

/// What stands behind the marks of those lines that begin with one.
fn contents<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<String> {
    let marked = lines.filter_map(|line| line.strip_prefix('-'));
    marked
        .map(content)
        .filter(|step| !step.is_empty())
        .collect()
}

fn content(step: &str) -> String {
    let is_mark = |c: &char| c.is_ascii_punctuation() || *c == '\u{2019}';
    let bare: String = step
        .to_lowercase()
        .chars()
        .filter(|c| !is_mark(c))
        .collect();
    let bare = WORDS.replace_all(&bare, |found: &Captures<'_>| match &found[0] {
        word if FILLERS.contains(&word) => " ".to_owned(),
        word => word.to_owned(),
    });
    split(&bare).collect::<Vec<_>>().join(" ")
}

/// Lines, at every character that Python takes for a line's end.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.split([
        '\n', '\r', '\u{b}', '\u{c}', '\u{1c}', '\u{1d}', '\u{1e}', '\u{85}', '\u{2028}',
        '\u{2029}',
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::gold::Gold;
    use crate::eval::goldens::goldens;
    use crate::eval::procedure::verdict::assert_verdict;

    #[test]
    fn compat_is_that_of_the_python_scorer() {
        for case in goldens("tom_tracking") {
            let gold = Gold::Trace {
                text: case["reference"].as_str().unwrap().to_owned(),
            };
            assert_verdict(case["prediction"].as_str().unwrap(), &gold, &case);
        }
    }

    #[test]
    fn strict_takes_indented_steps_and_counts_the_longer_trace() {
        let gold = "- 1: Ann is in the hall\n- 2: Ann is in the yard\nAnswer: yard";
        for (output, accuracy, partial) in [
            ("- 1: ann hall\n- 2: ann yard", (1.0, 1.0), (1.0, 1.0)),
            ("  - 1: ann hall\n  - 2: ann yard", (0.0, 1.0), (0.5, 1.0)),
            ("- 1: ann hall\r\n- 2: ann yard", (1.0, 1.0), (1.0, 1.0)),
            (
                "- 1: ann hall\n- 2: ann yard\n- 3\n- 4",
                (0.0, 0.0),
                (1.0, 0.5),
            ),
            ("- 1: ann hall\n- 2: ann hall", (0.0, 0.0), (0.5, 0.5)),
            ("- 1: ann hall\n-\n- the", (0.0, 0.0), (0.5, 0.5)),
            ("1: ann hall", (0.0, 0.0), (0.0, 0.0)),
        ] {
            let found = judge(output, gold);
            let pair = |(compat, strict)| ScorePair { compat, strict };
            assert_eq!(found.accuracy, pair(accuracy), "{output:?}");
            assert_eq!(found.partial, pair(partial), "{output:?}");
        }
        assert_eq!(
            judge("nothing", gold).extraction,
            ScorePair {
                compat: 1.0,
                strict: 0.0
            }
        );
    }
}
