//! The accounts of one kv head: pairs held over the whole generation, and entries held in every forward call.

use super::rent::{self, Step};
use super::workload::{Workload, triangle};
use crate::span::{Span, StreamingRule};
use std::ops::Range;

/// What one kv head holds during a generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadTally {
    /// (query, key) pairs whose entry is held and not excluded by the streaming rule.
    pub num_pairs: u64,
    /// Entries held at once (cache and the call's own tokens): one value per prefill chunk, then the largest of decode.
    pub held: Vec<u64>,
    /// Entries left after the last call.
    pub stored: u64,
    /// The pairs by their queries; those of a patch's queries, which stand for no token, are not among them.
    pub steps: Vec<Step>,
}

/// What an eviction method does to one chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Eviction {
    /// Tokens of the forward call: the chunk's, and those of a patch appended to it.
    pub call_len: u64,
    /// Entries in the cache after the call, all chunks so far included.
    pub num_kept: u64,
}

/// Accounts of a retrieval head: everything is kept.
pub fn retrieval(workload: &Workload) -> HeadTally {
    evicting(&workload.chunks(), workload.output_len(), |chunk, past| {
        let call_len = chunk.end - chunk.start;
        Eviction {
            call_len,
            num_kept: past + call_len,
        }
    })
}

/// Accounts of a head whose cache `evict` cuts after every chunk, and which decodes `output_len` tokens without evicting.
///
/// `evict` gets a chunk's positions and the entries cached before it. Chunks are given explicitly because some methods choose
/// their own.
pub fn evicting(
    chunks: &[Range<u64>],
    output_len: u64,
    mut evict: impl FnMut(&Range<u64>, u64) -> Eviction,
) -> HeadTally {
    let mut tally = HeadTally::empty();
    let mut past = 0;
    for chunk in chunks {
        let Eviction { call_len, num_kept } = evict(chunk, past);
        tally.add_call(call_len, past);
        tally.add_growing(chunk.start, past);
        past = num_kept;
    }
    let prefill_len = chunks.last().map_or(0, |chunk| chunk.end);
    tally.add_decode(
        triangle(output_len) + past * output_len,
        past + output_len,
        output_len,
    );
    tally.add_growing(prefill_len, past);
    tally.stored = past + output_len;
    tally
}

/// Accounts of a streaming head under `rule`.
pub fn streaming(workload: &Workload, span: &Span, rule: StreamingRule) -> HeadTally {
    match rule {
        StreamingRule::DuoChunk => duo_chunk(workload, span),
        StreamingRule::Sliding => sliding(workload, span),
        StreamingRule::FrozenPrompt => frozen_prompt(workload, span),
    }
}

fn duo_chunk(workload: &Workload, span: &Span) -> HeadTally {
    let cached = |seen| cached_len(span, StreamingRule::DuoChunk, seen);
    let mut tally = HeadTally::empty();
    for chunk in workload.chunks() {
        tally.add_call(chunk.end - chunk.start, cached(chunk.start));
        tally.add_growing(chunk.start, cached(chunk.start));
    }
    let total_len = workload.total_len();
    // A query sees itself and what is cached before it: one more with every query until the cache is full.
    let full = cached(total_len).clamp(workload.prefill_len(), total_len);
    let num_filling = triangle(full) - triangle(workload.prefill_len());
    let num_pairs = num_filling + (total_len - full) * (1 + cached(total_len));
    tally.add_decode(num_pairs, 1 + cached(total_len - 1), workload.output_len());
    tally.stored = cached(total_len);
    tally.add_growing(workload.prefill_len(), cached(workload.prefill_len()));
    tally.add_level(full, 1 + cached(total_len));
    tally
}

fn sliding(workload: &Workload, span: &Span) -> HeadTally {
    let cached = |seen| cached_len(span, StreamingRule::Sliding, seen);
    let total_len = workload.total_len();
    let held = workload
        .chunks()
        .iter()
        .map(|chunk| chunk.end - chunk.start + cached(chunk.start))
        .collect();
    let mut tally = HeadTally {
        held,
        stored: cached(total_len),
        ..HeadTally::empty()
    };
    tally.add_decode(0, 1 + cached(total_len - 1), workload.output_len());
    // A query sees what is cached before it and itself: 1, 2, ..., then the same number for ever.
    let full_len = 1 + cached(total_len - 1);
    tally.num_pairs = triangle(full_len) + (total_len - full_len) * full_len;
    tally.add_growing(0, 0);
    tally.add_level(full_len, full_len);
    tally
}

fn frozen_prompt(workload: &Workload, span: &Span) -> HeadTally {
    let held = workload.chunks().iter().map(|chunk| chunk.end).collect();
    let (prefill_len, output_len) = (workload.prefill_len(), workload.output_len());
    let frozen_len = narrow(|len| span.frozen_len(len), prefill_len);
    let mut tally = HeadTally {
        num_pairs: triangle(prefill_len),
        held,
        stored: frozen_len + output_len,
        steps: Vec::new(),
    };
    tally.add_growing(0, 0);
    tally.add_growing(prefill_len, frozen_len);
    let num_pairs = frozen_len * output_len + triangle(output_len);
    tally.add_decode(num_pairs, frozen_len + output_len, output_len);
    tally
}

impl HeadTally {
    fn empty() -> Self {
        Self {
            num_pairs: 0,
            held: Vec::new(),
            stored: 0,
            steps: Vec::new(),
        }
    }

    /// Queries from `start` on see `past` entries, and each itself and those from `start` to it.
    fn add_growing(&mut self, start: u64, past: u64) {
        let step = Step {
            start,
            held: past + 1,
            growth: 1,
        };
        rent::push(&mut self.steps, step);
    }

    /// Queries from `start` on see `held` entries each.
    fn add_level(&mut self, start: u64, held: u64) {
        let step = Step {
            start,
            held,
            growth: 0,
        };
        rent::push(&mut self.steps, step);
    }

    /// A causal call of `call_len` tokens that also sees `past` cached entries.
    fn add_call(&mut self, call_len: u64, past: u64) {
        self.num_pairs += triangle(call_len) + past * call_len;
        self.held.push(past + call_len);
    }

    /// All of decode: entries held only grow there, so the last call holds the most.
    fn add_decode(&mut self, num_pairs: u64, last_held: u64, output_len: u64) {
        if output_len > 0 {
            self.num_pairs += num_pairs;
            self.held.push(last_held);
        }
    }
}

fn cached_len(span: &Span, rule: StreamingRule, seen: u64) -> u64 {
    narrow(|len| span.cached_len(rule, len), seen)
}

/// Applies a function of lengths; a workload's lengths fit every platform's `usize`.
fn narrow(f: impl Fn(usize) -> usize, len: u64) -> u64 {
    f(usize::try_from(len).unwrap_or(usize::MAX)) as u64
}

#[cfg(test)]
mod tests;
