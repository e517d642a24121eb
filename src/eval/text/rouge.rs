//! What two texts have in common as ROUGE counts it: stems in the order of a longest common subsequence.
//!
//! As in the package `rouge_score` with its stemmer on.

use super::stem::stem;
use std::collections::BTreeMap;

/// Longer words are compared by their stems.
const MAX_WHOLE_LEN: usize = 3;

/// How much of two texts is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overlap {
    /// Words in common.
    hits: usize,
    /// Words of the text written.
    num_found: usize,
    /// Words of the right text.
    num_wanted: usize,
}

/// Words of both texts as numbers.
#[derive(Debug, Default)]
struct Numbering(BTreeMap<String, usize>);

/// Steps back from the end of a table of common subsequences.
#[derive(Debug, Clone, Copy)]
enum Step {
    Both,
    Found,
    Wanted,
}

/// A longest common subsequence of both texts.
pub fn whole(found: &str, wanted: &str) -> Overlap {
    let mut numbering = Numbering::default();
    let (found, wanted) = (numbering.words(found), numbering.words(wanted));
    Overlap {
        hits: common_len(&wanted, &found),
        num_found: found.len(),
        num_wanted: wanted.len(),
    }
}

/// Of each line of the right text the words that stand in a longest common subsequence with any line written; a word counts
/// at most as often as it stands in either text.
pub fn by_lines(found: &str, wanted: &str) -> Overlap {
    let mut numbering = Numbering::default();
    let (found, wanted) = (numbering.lines(found), numbering.lines(wanted));
    let num_words = numbering.0.len();
    let mut left = [counts(&found, num_words), counts(&wanted, num_words)];
    let mut hits = 0;
    for line in &wanted {
        let mut covered = vec![false; line.len()];
        for other in &found {
            cover(line, other, &mut covered);
        }
        for (word, _) in line.iter().zip(covered).filter(|(_, covered)| *covered) {
            if left.iter().all(|left| left[*word] > 0) {
                for left in &mut left {
                    left[*word] -= 1;
                }
                hits += 1;
            }
        }
    }
    let len = |lines: &[Vec<usize>]| lines.iter().map(Vec::len).sum();
    Overlap {
        hits,
        num_found: len(&found),
        num_wanted: len(&wanted),
    }
}

#[expect(clippy::cast_precision_loss, reason = "texts have few words")]
impl Overlap {
    /// Share of the right text's words that were written, in [0, 1].
    pub fn recall(&self) -> f64 {
        if self.hits == 0 {
            return 0.0;
        }
        self.hits as f64 / self.num_wanted as f64
    }

    /// F1 over words, in [0, 1].
    pub fn f1(&self) -> f64 {
        if self.hits == 0 {
            return 0.0;
        }
        2.0 * self.hits as f64 / (self.num_found + self.num_wanted) as f64
    }
}

impl Numbering {
    /// The lines of `text` that are not empty.
    fn lines(&mut self, text: &str) -> Vec<Vec<usize>> {
        let lines = text.split('\n').filter(|line| !line.is_empty());
        lines.map(|line| self.words(line)).collect()
    }

    /// Stems of the runs of ASCII letters and digits.
    fn words(&mut self, text: &str) -> Vec<usize> {
        let lower = text.to_lowercase();
        let words = lower.split(|c: char| !c.is_ascii_alphanumeric());
        let words = words.filter(|word| !word.is_empty());
        words.map(|word| self.number(word)).collect()
    }

    fn number(&mut self, word: &str) -> usize {
        let word = if word.len() > MAX_WHOLE_LEN {
            stem(word)
        } else {
            word.to_owned()
        };
        let next = self.0.len();
        *self.0.entry(word).or_insert(next)
    }
}

fn counts(lines: &[Vec<usize>], num_words: usize) -> Vec<usize> {
    let mut counts = vec![0; num_words];
    for word in lines.iter().flatten() {
        counts[*word] += 1;
    }
    counts
}

/// Length of a longest common subsequence.
fn common_len(wanted: &[usize], found: &[usize]) -> usize {
    let mut row = vec![0; found.len() + 1];
    for word in wanted {
        next_row(&mut row, *word, found, |_| {});
    }
    row[found.len()]
}

/// Marks the words of `wanted` in one longest common subsequence with `found`: the one that is met going back from the
/// ends of both, where a step back in `wanted` is preferred.
fn cover(wanted: &[usize], found: &[usize], covered: &mut [bool]) {
    let mut row = vec![0; found.len() + 1];
    let mut steps = Vec::with_capacity(wanted.len() * found.len());
    for word in wanted {
        next_row(&mut row, *word, found, |step| steps.push(step));
    }
    let (mut i, mut j) = (wanted.len(), found.len());
    while i > 0 && j > 0 {
        match steps[(i - 1) * found.len() + j - 1] {
            Step::Both => {
                covered[i - 1] = true;
                (i, j) = (i - 1, j - 1);
            }
            Step::Found => j -= 1,
            Step::Wanted => i -= 1,
        }
    }
}

/// Turns the lengths of common subsequences with the words so far into those with `word` too; tells the step back from
/// each cell.
fn next_row(row: &mut [usize], word: usize, found: &[usize], mut tell: impl FnMut(Step)) {
    let mut diagonal = 0;
    for (j, other) in found.iter().enumerate() {
        let (left, above) = (row[j], row[j + 1]);
        row[j + 1] = if *other == word {
            tell(Step::Both);
            diagonal + 1
        } else if left > above {
            tell(Step::Found);
            left
        } else {
            tell(Step::Wanted);
            above
        };
        diagonal = above;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{below, stream};

    fn shares(overlap: Overlap) -> [usize; 3] {
        [overlap.hits, overlap.num_found, overlap.num_wanted]
    }

    #[test]
    fn the_order_of_words_counts() {
        assert_eq!(shares(whole("the cats sat", "The cat sat down")), [3, 3, 4]);
        assert_eq!(shares(whole("down sat cat", "cat sat down")), [1, 3, 3]);
        assert_eq!(shares(whole("...", "cat")), [0, 0, 1]);
        assert!(whole("", "").f1().abs() < 1e-12);
    }

    #[test]
    fn a_line_is_covered_by_all_lines_and_words_count_once() {
        assert_eq!(
            shares(by_lines("one two\nfour\n\n", "one two three four")),
            [3, 3, 4]
        );
        assert_eq!(shares(by_lines("a b\na b", "a b")), [2, 4, 2]);
        // Of equal ways back the one that leaves a word of the right line: `a b` covers another `a` than `a a`.
        assert_eq!(shares(by_lines("a a\na b", "a a a")), [3, 4, 3]);
        assert_eq!(shares(by_lines("a b", "a b\na b")), [2, 2, 4]);
        assert_eq!(shares(whole("a b", "a b\na b")), [2, 2, 4]);
    }

    /// Longest common subsequence by trying both ways at every word.
    fn slow(a: &[usize], b: &[usize]) -> usize {
        match (a, b) {
            ([first, a @ ..], [other, b @ ..]) if first == other => 1 + slow(a, b),
            ([_, rest_a @ ..], [_, rest_b @ ..]) => slow(rest_a, b).max(slow(a, rest_b)),
            _ => 0,
        }
    }

    #[test]
    fn common_subsequences_are_longest() {
        let mut rng = stream("rouge", &[]);
        for _ in 0..300 {
            let mut words = || -> Vec<usize> {
                let len = below(&mut rng, 8);
                let word = |_| usize::try_from(below(&mut rng, 3)).unwrap();
                (0..len).map(word).collect()
            };
            let (a, b) = (words(), words());
            let expected = slow(&a, &b);
            assert_eq!(common_len(&a, &b), expected, "{a:?} {b:?}");
            assert_eq!(common_len(&b, &a), expected, "{a:?} {b:?}");
            let mut covered = vec![false; a.len()];
            cover(&a, &b, &mut covered);
            let num_covered = covered.iter().filter(|covered| **covered).count();
            assert_eq!(num_covered, expected, "{a:?} {b:?}");
        }
    }
}
