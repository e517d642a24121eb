//! What is generated: a prompt prefilled in chunks, then tokens decoded one by one.

use crate::fault::{Coded, Kind};
use std::ops::Range;

/// Longest prompt plus output accepted; keeps every pair count within 64 bits.
const MAX_TOTAL_LEN: usize = 1 << 31;

/// Most chunks of one prompt: each has an entry in the accounts of every kv head.
const MAX_NUM_CHUNKS: usize = 1 << 18;

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
    convention: Convention,
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
    /// More chunks than are counted one by one.
    #[error(
        "a prompt of {prompt_len} tokens in chunks of {chunk_len} makes more than {MAX_NUM_CHUNKS} chunks"
    )]
    ManyChunks {
        /// Prompt tokens.
        prompt_len: usize,
        /// Tokens per chunk.
        chunk_len: usize,
    },
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
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Empty { .. } => "a prompt has at least 1 token, and its last one is decoded",
            Self::NoChunk => "use chunks of 1 token or more",
            Self::ManyChunks { .. } => "use longer chunks",
            Self::TooLong { .. } => "use a shorter prompt or output",
        };
        Some(hint.to_owned())
    }
}

impl Workload {
    /// Checks the lengths, all in tokens; `output_len` includes the end-of-text token.
    ///
    /// # Errors
    /// [`WorkloadError`] if nothing is queried, chunks are empty, or their number or the total is absurd.
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
        if prompt_len.div_ceil(chunk_len) > MAX_NUM_CHUNKS {
            return Err(WorkloadError::ManyChunks {
                prompt_len,
                chunk_len,
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
                convention,
            }),
            _ => Err(WorkloadError::Empty {
                prompt_len,
                output_len,
            }),
        }
    }

    /// A prompt whose last `asked_len` tokens are read one by one after the first `context_len` were prefilled and
    /// compressed, as the caches count it.
    ///
    /// # Errors
    /// As [`Self::new`].
    ///
    /// # Decisions
    /// What is asked is read token by token, as the output is, so that every rule of keeping counts it as it counts an
    /// output: the last token of the prompt is the first decode query either way, the others are decode queries of their own.
    pub fn query_agnostic(
        context_len: usize,
        asked_len: usize,
        output_len: usize,
        chunk_len: usize,
    ) -> Result<Self, WorkloadError> {
        let Some(read_len) = asked_len.checked_sub(1) else {
            return Err(WorkloadError::Empty {
                prompt_len: 0,
                output_len,
            });
        };
        let (prompt_len, output_len) = (context_len + 1, read_len + output_len);
        Self::new(prompt_len, output_len, chunk_len, Convention::Counted)
    }

    /// Whose rules count.
    pub fn convention(&self) -> Convention {
        self.convention
    }

    /// The same generation as the caches count it; nothing if no query remains.
    pub fn counted(&self) -> Option<Self> {
        let one_less = match self.convention {
            Convention::Counted => self.prefill_len,
            Convention::Reference => self.prefill_len.checked_sub(1)?,
        };
        (one_less + self.output_len > 0).then_some(Self {
            prefill_len: one_less,
            convention: Convention::Counted,
            ..*self
        })
    }

    /// Tokens per prefill chunk.
    pub fn chunk_len(&self) -> u64 {
        self.chunk_len
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
        assert_eq!(reference.counted(), Some(counted));
        assert_eq!(counted.counted(), Some(counted));
        let one = Workload::new(1, 0, 4, Convention::Reference).unwrap();
        assert_eq!(one.counted(), None);
    }

    #[test]
    fn what_is_asked_after_compression_counts_like_output() {
        let known = Workload::new(8, 2, 4, Convention::Counted).unwrap();
        let after = |context_len, asked_len| Workload::query_agnostic(context_len, asked_len, 2, 4);
        assert_eq!(after(7, 1).unwrap(), known);
        let late = after(5, 3).unwrap();
        assert_eq!((late.prefill_len(), late.output_len()), (5, 4));
        assert_eq!(late.total_len(), known.total_len());
        assert_eq!(late.chunks(), [0..4, 4..5]);
        assert!(after(5, 0).is_err());
    }

    #[test]
    fn workloads_without_a_query_are_refused() {
        for (prompt_len, output_len, chunk_len) in [(0, 0, 4), (0, 3, 4), (1, 0, 4), (8, 2, 0)] {
            let workload = Workload::new(prompt_len, output_len, chunk_len, Convention::Counted);
            assert!(workload.is_err(), "{prompt_len} {output_len} {chunk_len}");
        }
        assert!(Workload::new(usize::MAX, 1, 4, Convention::Reference).is_err());
        let many = Workload::new(1 << 19, 1, 1, Convention::Counted).unwrap_err();
        assert!(matches!(many, WorkloadError::ManyChunks { .. }), "{many}");
        assert!(Workload::new(1 << 19, 1, 2, Convention::Counted).is_ok());
        let shortest = Workload::new(1, 1, usize::MAX, Convention::Counted).unwrap();
        assert!(shortest.chunks().is_empty());
    }
}
