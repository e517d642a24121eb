//! How much Locret keeps: its own chunks, and a budget that grows with the tokens seen (inference.md section 12).

use super::eviction::TokenSparsity;
use super::tally::{self, Eviction, HeadTally};
use super::workload::{Convention, Workload};
use std::ops::Range;

/// Budgets are whole multiples of this.
const BUDGET_STEP: u64 = 64;

/// The published tail of the prompt that is a chunk of its own, in tokens.
pub const LOCAL_LEN: u64 = 100;

/// The published number of trailing entries that are kept unconditionally.
pub const STABILIZERS_LEN: u64 = 2500;

/// What decides how much Locret keeps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Locret {
    /// Share of the tokens seen that is evicted.
    pub sparsity: TokenSparsity,
    /// Tokens at the end of the prefilled prompt that form their own chunk.
    pub local_len: u64,
    /// Trailing entries kept unconditionally: the least that is kept.
    pub stabilizers_len: u64,
}

impl Locret {
    /// The published lengths.
    pub fn published(sparsity: TokenSparsity) -> Self {
        Self {
            sparsity,
            local_len: LOCAL_LEN,
            stabilizers_len: STABILIZERS_LEN,
        }
    }

    /// The chunks of `workload`: its own up to the last `local_len` tokens, which stand alone.
    pub fn chunks(&self, workload: &Workload) -> Vec<Range<u64>> {
        let prefill_len = workload.prefill_len();
        let main_len = prefill_len.saturating_sub(self.local_len);
        let cut = |chunk: Range<u64>| chunk.start..chunk.end.min(main_len);
        let chunks = workload.chunks().into_iter().map(cut);
        let mut chunks: Vec<_> = chunks.filter(|chunk| !chunk.is_empty()).collect();
        if main_len < prefill_len {
            chunks.push(main_len..prefill_len);
        }
        chunks
    }

    /// Entries cached of a prompt of which `seen` tokens were seen, if there are as many.
    pub fn budget(&self, seen: u64) -> u64 {
        let share = self.kept_share(seen);
        (share.div_ceil(BUDGET_STEP) * BUDGET_STEP).max(self.stabilizers_len)
    }

    /// What one kv head holds, by the rules of the workload's convention.
    ///
    /// The reference's script adds the stabilizers to the share of every chunk, although the real budget is global.
    pub fn tally(&self, workload: &Workload) -> HeadTally {
        let chunks = self.chunks(workload);
        tally::evicting(&chunks, workload.output_len(), |chunk, past| {
            let call_len = chunk.end - chunk.start;
            let num_kept = match workload.convention() {
                Convention::Counted => (past + call_len).min(self.budget(chunk.end)),
                Convention::Reference => {
                    let share = self.sparsity.nearest_kept(call_len) + self.stabilizers_len;
                    past + share.min(call_len)
                }
            };
            Eviction { call_len, num_kept }
        })
    }

    fn kept_share(&self, seen: u64) -> u64 {
        self.sparsity
            .num_kept(usize::try_from(seen).unwrap_or(usize::MAX)) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn published(k: f64) -> Locret {
        Locret::published(TokenSparsity::new(k).unwrap())
    }

    #[test]
    fn entries_after_each_chunk_match_the_golden_table() {
        let workload = Workload::new(131_052, 20, 32_768, Convention::Counted).unwrap();
        let ends = [32_768, 65_536, 98_304, 130_951, 131_051];
        for (k, golden) in [
            (0.7, [9856, 19_712, 29_504, 39_296, 39_360]),
            (0.5, [16_384, 32_768, 49_152, 65_536, 65_536]),
            (0.9, [3328, 6592, 9856, 13_120, 13_120]),
            (0.2, [26_240, 52_480, 78_656, 104_768, 104_868]),
        ] {
            let locret = published(k);
            let chunks = locret.chunks(&workload);
            assert_eq!(
                chunks.iter().map(|chunk| chunk.end).collect::<Vec<_>>(),
                ends
            );
            let mut past = 0;
            for (chunk, golden) in chunks.iter().zip(golden) {
                past = (past + chunk.end - chunk.start).min(locret.budget(chunk.end));
                assert_eq!(past, golden, "k = {k}, end {}", chunk.end);
            }
            assert_eq!(locret.tally(&workload).stored, past + 20);
        }
    }

    #[test]
    fn prompts_no_longer_than_the_tail_are_one_chunk() {
        for (prompt_len, ends) in [(101, vec![100]), (1, vec![]), (102, vec![1, 101])] {
            let workload = Workload::new(prompt_len, 1, 64, Convention::Counted).unwrap();
            let chunks = published(0.5).chunks(&workload);
            let found: Vec<u64> = chunks.iter().map(|chunk| chunk.end).collect();
            assert_eq!(found, ends);
        }
        let short = Workload::new(2000, 1, 64, Convention::Counted).unwrap();
        assert_eq!(published(0.9).tally(&short).stored, 2000);
    }
}
