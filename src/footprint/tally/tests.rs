//! The three rules against caches simulated row by row.

use super::*;
use crate::footprint::workload::Convention;

const RULES: [StreamingRule; 3] = [
    StreamingRule::DuoChunk,
    StreamingRule::Sliding,
    StreamingRule::FrozenPrompt,
];

/// Runs a generation on explicit row positions; slow and obvious.
struct Simulated {
    cache: Vec<u64>,
    /// Keys that every query sees.
    visible: Vec<Vec<u64>>,
    held: Vec<u64>,
}

impl Simulated {
    fn run(workload: &Workload, span: &Span, rule: StreamingRule) -> Self {
        let mut run = Self {
            cache: Vec::new(),
            visible: Vec::new(),
            held: Vec::new(),
        };
        for chunk in workload.chunks() {
            run.call(chunk, span, rule);
        }
        if rule == StreamingRule::FrozenPrompt {
            run.cut(span.sink_len(), span.window_len());
        }
        for query in workload.prefill_len()..workload.total_len() {
            run.call(query..query + 1, span, rule);
        }
        run
    }

    fn call(&mut self, rows: Range<u64>, span: &Span, rule: StreamingRule) {
        let held: Vec<u64> = self.cache.iter().copied().chain(rows.clone()).collect();
        self.held.push(held.len() as u64);
        for query in rows {
            let sees = |key: u64| match rule {
                StreamingRule::Sliding => {
                    key < span.sink_len() as u64 || key + span.window_len() as u64 > query
                }
                StreamingRule::DuoChunk | StreamingRule::FrozenPrompt => true,
            };
            let keys = held
                .iter()
                .copied()
                .filter(|&key| key <= query && sees(key));
            self.visible.push(keys.collect());
        }
        self.cache = held;
        match rule {
            StreamingRule::DuoChunk => self.cut(span.sink_len(), span.window_len()),
            StreamingRule::Sliding => self.cut(span.sink_len(), span.window_len() - 1),
            StreamingRule::FrozenPrompt => {}
        }
    }

    fn cut(&mut self, sink_len: usize, window_len: usize) {
        if self.cache.len() > sink_len + window_len {
            let first_recent = self.cache.len() - window_len;
            self.cache.drain(sink_len..first_recent);
        }
    }

    /// Compares itself with an account, decode folded into its largest call.
    fn check(&self, workload: &Workload, tally: &HeadTally, what: &str) {
        let num_chunks = workload.chunks().len();
        let mut held = self.held[..num_chunks].to_vec();
        held.extend(self.held[num_chunks..].iter().copied().max());
        assert_eq!(tally.held, held, "{what}");
        assert_eq!(tally.stored, self.cache.len() as u64, "{what}");
        let seen: Vec<u64> = self.visible.iter().map(|keys| keys.len() as u64).collect();
        assert_eq!(tally.num_pairs, seen.iter().sum::<u64>(), "{what}");
        let queries = 0..workload.total_len();
        let paid: Vec<u64> = queries.map(|query| rent::at(&tally.steps, query)).collect();
        assert_eq!(paid, seen, "{what}");
    }
}

fn workload(prefill_len: usize, output_len: usize, chunk_len: usize) -> Workload {
    Workload::new(prefill_len, output_len, chunk_len, Convention::Reference).unwrap()
}

#[test]
fn every_rule_equals_its_simulated_cache() {
    for prefill_len in 0..=12 {
        for chunk_len in 1..=12 {
            for (sink_len, window_len) in (0..=12).flat_map(|s| (1..=12).map(move |w| (s, w))) {
                let span = Span::new(sink_len, window_len, 1).unwrap();
                for output_len in [1, 4] {
                    let workload = workload(prefill_len, output_len, chunk_len);
                    for rule in RULES {
                        let tally = streaming(&workload, &span, rule);
                        let what = format!("{rule:?} {span:?} {workload:?}");
                        Simulated::run(&workload, &span, rule).check(&workload, &tally, &what);
                    }
                }
            }
        }
    }
}

#[test]
fn a_workload_that_decodes_nothing_holds_what_prefill_holds() {
    let span = Span::new(1, 2, 1).unwrap();
    for rule in RULES {
        let workload = workload(7, 0, 3);
        let tally = streaming(&workload, &span, rule);
        Simulated::run(&workload, &span, rule).check(&workload, &tally, rule.name());
    }
}

#[test]
fn visible_keys_match_the_golden_table() {
    let span = Span::new(1, 2, 1).unwrap();
    let workload = workload(7, 2, 3);
    let keys = |sink: &[u64], recent: Range<u64>| -> Vec<u64> {
        sink.iter().copied().chain(recent).collect()
    };
    let golden = [
        (keys(&[0], 4..7), keys(&[0], 5..8), keys(&[0], 6..9), 33, 6),
        (keys(&[0], 5..7), keys(&[0], 6..8), keys(&[0], 7..9), 24, 5),
        (keys(&[], 0..7), keys(&[0], 5..8), keys(&[0], 5..9), 37, 7),
    ];
    for (rule, (q6, q7, q8, num_pairs, peak)) in RULES.into_iter().zip(golden) {
        let run = Simulated::run(&workload, &span, rule);
        assert_eq!(run.visible[6..], [q6, q7, q8], "{rule:?}");
        let tally = streaming(&workload, &span, rule);
        assert_eq!(tally.num_pairs, num_pairs, "{rule:?}");
        assert_eq!(tally.held.iter().max(), Some(&peak), "{rule:?}");
    }
    assert_eq!(retrieval(&workload).num_pairs, 45);
}

#[test]
fn chunks_of_one_under_duo_chunk_equal_a_sliding_window_one_wider() {
    for (prefill_len, sink_len, window_len) in [(9, 0, 1), (20, 2, 3), (31, 4, 8), (5, 4, 8)] {
        let workload = workload(prefill_len, 3, 1);
        let duo = Span::new(sink_len, window_len, 1).unwrap();
        let wider = Span::new(sink_len, window_len + 1, 1).unwrap();
        assert_eq!(
            streaming(&workload, &duo, StreamingRule::DuoChunk).num_pairs,
            streaming(&workload, &wider, StreamingRule::Sliding).num_pairs,
        );
    }
}

#[test]
fn a_prompt_in_one_chunk_is_dense_until_decode() {
    let workload = workload(40, 5, 64);
    let span = Span::new(2, 3, 1).unwrap();
    let tally = streaming(&workload, &span, StreamingRule::DuoChunk);
    assert_eq!(tally.num_pairs, triangle(40) + 5 * (1 + 5));
    assert_eq!(tally.held, [40, 6]);
}

#[test]
fn retrieval_and_streaming_tallies_match_the_worked_example() {
    let workload = workload(10, 3, 4);
    let span = Span::new(1, 2, 1).unwrap();
    let tally = streaming(&workload, &span, StreamingRule::DuoChunk);
    assert_eq!((tally.num_pairs, tally.held), (53, vec![4, 7, 5, 4]));
    let full = retrieval(&workload);
    assert_eq!((full.num_pairs, full.held), (91, vec![4, 8, 10, 13]));
}
