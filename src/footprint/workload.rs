//! What is generated: a prompt prefilled in chunks, then tokens decoded one by one.

use crate::fault::{Coded, Kind};
use std::ops::Range;

/// Longest prompt plus output accepted; keeps every pair count within 64 bits.
const MAX_TOTAL_LEN: usize = 1 << 31;

/// Whose rules count.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Convention {
    /// As the generation loop runs and the caches count: the last prompt token is the first decode query.
    Counted,
    /// As the reference's script counts, one query more; only for comparison with published numbers.
    Reference,
}

/// One generation: the lengths that decide how many KV entries are held for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Workload {
    prefill_len: u64,
    output_len: u64,
    chunk_len: u64,
}

/// Why a workload has no footprint.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkloadError {
    /// No query is ever made.
    #[error("a prompt of {prompt_len} tokens with {output_len} output tokens makes no query")]
    Empty {
        /// Prompt tokens.
        prompt_len: usize,
        /// Output tokens.
        output_len: usize,
    },
    /// Chunks without tokens.
    #[error("chunk_len must be at least 1 token")]
    NoChunk,
    /// Longer than the counts can hold.
    #[error(
        "{prompt_len} prompt and {output_len} output tokens exceed the limit of {MAX_TOTAL_LEN}"
    )]
    TooLong {
        /// Prompt tokens.
        prompt_len: usize,
        /// Output tokens.
        output_len: usize,
    },
}

impl Coded for WorkloadError {
    fn code(&self) -> &'static str {
        "eval.lengths"
    }
    fn kind(&self) -> Kind {
        Kind::Input
    }
}

impl Workload {
    /// Checks the lengths, all in tokens; `output_len` includes the end-of-text token.
    ///
    /// # Errors
    /// [`WorkloadError`] if nothing is queried, chunks are empty, or the total is absurd.
    pub fn new(
        prompt_len: usize,
        output_len: usize,
        chunk_len: usize,
        convention: Convention,
    ) -> Result<Self, WorkloadError> {
        if chunk_len == 0 {
            return Err(WorkloadError::NoChunk);
        }
        if prompt_len.saturating_add(output_len) > MAX_TOTAL_LEN {
            return Err(WorkloadError::TooLong {
                prompt_len,
                output_len,
            });
        }
        let prefill_len = match convention {
            Convention::Counted => prompt_len.checked_sub(1),
            Convention::Reference => Some(prompt_len),
        };
        match prefill_len {
            Some(prefill_len) if prefill_len + output_len > 0 => Ok(Self {
                prefill_len: prefill_len as u64,
                output_len: output_len as u64,
                chunk_len: chunk_len.min(MAX_TOTAL_LEN) as u64,
            }),
            _ => Err(WorkloadError::Empty {
                prompt_len,
                output_len,
            }),
        }
    }

    /// Tokens prefilled before the first decode query.
    pub fn prefill_len(&self) -> u64 {
        self.prefill_len
    }

    /// Decode queries.
    pub fn output_len(&self) -> u64 {
        self.output_len
    }

    /// Queries of prefill and decode together.
    pub fn total_len(&self) -> u64 {
        self.prefill_len + self.output_len
    }

    /// (query, key) pairs of full causal attention.
    pub fn num_full_pairs(&self) -> u64 {
        triangle(self.total_len())
    }

    /// The prefill's chunks as positions: boundaries 0, c, 2c, ..., and a shorter last one.
    pub fn chunks(&self) -> Vec<Range<u64>> {
        let mut chunks = Vec::new();
        let mut start = 0;
        while start < self.prefill_len {
            let end = (start + self.chunk_len).min(self.prefill_len);
            chunks.push(start..end);
            start = end;
        }
        chunks
    }
}

/// Causal pairs among `len` tokens.
pub(super) fn triangle(len: u64) -> u64 {
    len * (len + 1) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conventions_differ_by_one_query() {
        let counted = Workload::new(8, 2, 4, Convention::Counted).unwrap();
        assert_eq!((counted.prefill_len(), counted.total_len()), (7, 9));
        assert_eq!(counted.chunks(), [0..4, 4..7]);
        let reference = Workload::new(8, 2, 4, Convention::Reference).unwrap();
        assert_eq!((reference.prefill_len(), reference.total_len()), (8, 10));
        assert_eq!(reference.chunks(), [0..4, 4..8]);
        assert_eq!(reference.num_full_pairs(), 55);
    }

    #[test]
    fn workloads_without_a_query_are_refused() {
        for (prompt_len, output_len, chunk_len) in [(0, 0, 4), (0, 3, 4), (1, 0, 4), (8, 2, 0)] {
            let workload = Workload::new(prompt_len, output_len, chunk_len, Convention::Counted);
            assert!(workload.is_err(), "{prompt_len} {output_len} {chunk_len}");
        }
        assert!(Workload::new(usize::MAX, 1, 4, Convention::Reference).is_err());
        let shortest = Workload::new(1, 1, usize::MAX, Convention::Counted).unwrap();
        assert!(shortest.chunks().is_empty());
    }
}
