//! What a streaming head may see: sink tokens, a recent window, and the block granularity of both.
//!
//! The one rule, for every block size (integer division; PruLong's training kernel at block 128, token-exact at 1):
//! query `q` sees key `k` iff `k <= q` and (`k / block < sink / block` or `q / block - k / block < window / block`).
//!
//! **Invariant:** this module is the only home of every off-by-one about sinks, windows, blocks and cache lengths.
//! Positions count from the start of a document, never of a packed row.

use crate::fault::{Coded, Kind};
use std::ops::Range;

/// Sink, window and block of a streaming head, all in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, schemars::JsonSchema)]
pub struct Span {
    sink_len: usize,
    window_len: usize,
    block_len: usize,
}

/// What a streaming head sees of a chunk during chunked inference.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum StreamingRule {
    /// Sink and window from before the chunk, then the whole chunk causally: what the published numbers use.
    DuoChunk,
    /// Token-exact: sink and the last `window_len` tokens including the query's own.
    Sliding,
    /// Dense prefill; then the prompt is cut once to sink and window, and every decoded token is kept.
    FrozenPrompt,
}

impl StreamingRule {
    /// The rule's name in settings, results and mask files.
    pub fn name(self) -> &'static str {
        match self {
            Self::DuoChunk => "duo-chunk",
            Self::Sliding => "sliding",
            Self::FrozenPrompt => "frozen-prompt",
        }
    }
}

/// Tiles aim at this many queries.
const TILE_RANGE: std::ops::RangeInclusive<usize> = 32..=128;

/// Queries whose tiles are gathered together.
pub const SEGMENT_LEN: usize = 8192;

/// Longest sink, window or block, in tokens: sums of two of them stay exact everywhere.
pub const MAX_LEN: usize = 1 << 30;

/// Why a [`Span`] was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpanError {
    /// A window or block of zero tokens.
    #[error("{field} must be at least 1 token")]
    Zero {
        /// The offending field.
        field: &'static str,
    },
    /// A length is not a multiple of the block.
    #[error("{field} = {len} is not a multiple of block_len = {block_len}")]
    Block {
        /// The offending field.
        field: &'static str,
        /// Its value in tokens.
        len: usize,
        /// Block granularity in tokens.
        block_len: usize,
    },
    /// A length beyond [`MAX_LEN`].
    #[error("{field} = {len} is longer than any context: at most {MAX_LEN} tokens")]
    Long {
        /// The offending field.
        field: &'static str,
        /// Its value in tokens.
        len: usize,
    },
}

impl Coded for SpanError {
    fn code(&self) -> &'static str {
        match self {
            Self::Zero { .. } | Self::Long { .. } => "config.span",
            Self::Block { .. } => "config.block",
        }
    }
    fn kind(&self) -> Kind {
        Kind::Input
    }
    fn hint(&self) -> Option<String> {
        match self {
            Self::Zero { .. } => None,
            Self::Long { field, .. } => {
                Some(format!("use a {field} that is shorter than the prompts"))
            }
            Self::Block {
                field,
                len,
                block_len,
            } => {
                let rounded = len.div_ceil(*block_len) * block_len;
                Some(format!(
                    "use {field} = {rounded}, or block_len = 1 for the token-exact pattern"
                ))
            }
        }
    }
}

impl Span {
    /// Checks the three lengths. `sink_len` may be 0.
    ///
    /// # Errors
    /// [`SpanError::Zero`] for an empty window or block, [`SpanError::Long`] for a length above [`MAX_LEN`],
    /// [`SpanError::Block`] if a length is not a multiple of the block.
    pub fn new(sink_len: usize, window_len: usize, block_len: usize) -> Result<Self, SpanError> {
        for (field, len) in [("window_len", window_len), ("block_len", block_len)] {
            if len == 0 {
                return Err(SpanError::Zero { field });
            }
        }
        let lens = [("sink_len", sink_len), ("window_len", window_len)];
        for (field, len) in lens.into_iter().chain([("block_len", block_len)]) {
            if len > MAX_LEN {
                return Err(SpanError::Long { field, len });
            }
        }
        for (field, len) in lens {
            if !len.is_multiple_of(block_len) {
                return Err(SpanError::Block {
                    field,
                    len,
                    block_len,
                });
            }
        }
        Ok(Self {
            sink_len,
            window_len,
            block_len,
        })
    }

    /// Leading tokens always kept.
    pub fn sink_len(&self) -> usize {
        self.sink_len
    }

    /// Most recent tokens kept, including the query's own.
    pub fn window_len(&self) -> usize {
        self.window_len
    }

    /// Granularity of the pattern; 1 is token-exact.
    pub fn block_len(&self) -> usize {
        self.block_len
    }

    /// Whether query `q` sees key `k`, both counted from the start of the document.
    pub fn sees(&self, q: usize, k: usize) -> bool {
        let Self {
            sink_len,
            window_len,
            block_len,
        } = *self;
        k <= q
            && (k / block_len < sink_len / block_len
                || q / block_len - k / block_len < window_len / block_len)
    }

    /// First key of the window of query `q`, before the sinks are taken into account.
    pub fn window_start(&self, q: usize) -> usize {
        let blocks_back = self.window_len / self.block_len - 1;
        (q / self.block_len).saturating_sub(blocks_back) * self.block_len
    }

    /// The keys query `q` sees, as sinks and window; the two ranges never overlap, and the sinks may be empty.
    pub fn keys(&self, q: usize) -> (Range<usize>, Range<usize>) {
        let window_start = self.window_start(q);
        if window_start <= self.sink_len {
            (0..0, 0..q + 1)
        } else {
            (0..self.sink_len, window_start..q + 1)
        }
    }

    /// Number of keys query `q` sees.
    pub fn num_visible(&self, q: usize) -> usize {
        let (sinks, window) = self.keys(q);
        sinks.len() + window.len()
    }

    /// Queries below this position see everything causal: streaming equals full attention there.
    pub fn dense_prefix(&self) -> usize {
        self.sink_len + self.window_len
    }

    /// Queries that are solved together behind the dense prefix: enough for the matrix products, little waste on masked keys.
    pub fn tile_len(&self) -> usize {
        let wanted = (self.window_len / 2).clamp(*TILE_RANGE.start(), *TILE_RANGE.end());
        wanted.div_ceil(self.block_len) * self.block_len
    }

    /// Keys that each tile is given: the sinks, and what the windows of its queries cover.
    pub fn tile_keys(&self) -> usize {
        let first = self.dense_prefix();
        self.sink_len + first - self.window_start(first) + self.tile_len()
    }

    /// Tiles that are gathered at one time: about 8,192 queries, so that what long documents gather stays small.
    pub fn segment_tiles(&self) -> usize {
        (SEGMENT_LEN / self.tile_len()).max(1)
    }

    /// (query, key) pairs seen in one document of `len` tokens.
    pub fn num_pairs(&self, len: usize) -> u64 {
        (0..len).map(|q| self.num_visible(q) as u64).sum()
    }

    /// Rows a streaming head's cache holds between calls after `seen` tokens, under `rule`.
    ///
    /// `sliding` needs one row less than the window, because the next query brings its own.
    pub fn cached_len(&self, rule: StreamingRule, seen: usize) -> usize {
        match rule {
            StreamingRule::DuoChunk => seen.min(self.sink_len + self.window_len),
            StreamingRule::Sliding => seen.min(self.sink_len + self.window_len - 1),
            StreamingRule::FrozenPrompt => seen,
        }
    }

    /// Rows left of a prompt of `prompt_len` prefilled tokens once `frozen-prompt` has cut it.
    pub fn frozen_len(&self, prompt_len: usize) -> usize {
        prompt_len.min(self.sink_len + self.window_len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference() -> Span {
        Span::new(128, 1024, 128).unwrap()
    }

    fn exact() -> Span {
        Span::new(128, 1024, 1).unwrap()
    }

    #[test]
    fn visible_keys_match_the_golden_table() {
        let queries = [0, 127, 128, 1023, 1151, 1152, 1279, 1280, 4095, 8191];
        let block = [1, 128, 129, 1024, 1152, 1025, 1152, 1025, 1152, 1152];
        let token = [1, 128, 129, 1024, 1152, 1152, 1152, 1152, 1152, 1152];
        for ((q, expected_block), expected_token) in queries.into_iter().zip(block).zip(token) {
            assert_eq!(
                reference().num_visible(q),
                expected_block,
                "block 128, q = {q}"
            );
            assert_eq!(
                exact().num_visible(q),
                expected_token,
                "token-exact, q = {q}"
            );
        }
    }

    #[test]
    fn pairs_match_the_golden_counts() {
        for (len, block, token) in [
            (8192, 8_327_168, 8_774_208),
            (32768, 35_078_144, 37_085_760),
            (65536, 70_746_112, 74_834_496),
        ] {
            assert_eq!(reference().num_pairs(len), block);
            assert_eq!(exact().num_pairs(len), token);
        }
    }

    #[test]
    fn a_tile_is_given_every_key_that_its_queries_see() {
        for span in [reference(), exact(), Span::new(3, 5, 1).unwrap()] {
            let first = span.dense_prefix();
            let rows = first..first + span.tile_len();
            let seen = (0..rows.end).filter(|k| rows.clone().any(|q| span.sees(q, *k)));
            assert_eq!(seen.count(), span.tile_keys(), "{span:?}");
        }
        assert_eq!(
            (reference().tile_len(), reference().tile_keys()),
            (128, 1152)
        );
    }

    #[test]
    fn the_small_block_case_sees_the_documented_keys() {
        let span = Span::new(4, 8, 4).unwrap();
        for (q, sinks, window) in [(12, 0..4, 8..13), (15, 0..4, 8..16), (16, 0..4, 12..17)] {
            assert_eq!(span.keys(q), (sinks, window));
        }
    }

    #[test]
    fn ranges_agree_with_the_rule_for_many_spans() {
        for block in [1, 2, 4] {
            for (sink, window) in [(0, 1), (0, 3), (1, 1), (1, 4), (3, 2), (5, 5)] {
                let span = Span::new(sink * block, window * block, block).unwrap();
                for q in 0..60 {
                    let (sinks, recent) = span.keys(q);
                    for k in 0..60 {
                        let listed = sinks.contains(&k) || recent.contains(&k);
                        assert_eq!(listed, span.sees(q, k), "{span:?} q = {q} k = {k}");
                    }
                }
            }
        }
    }

    #[test]
    fn rows_below_the_dense_prefix_see_everything_and_the_next_one_does_not() {
        for span in [reference(), exact(), Span::new(0, 5, 1).unwrap()] {
            let prefix = span.dense_prefix();
            assert!((0..prefix).all(|q| span.num_visible(q) == q + 1));
            assert!(span.num_visible(prefix) < prefix + 1);
        }
    }

    #[test]
    fn lengths_that_could_overflow_a_sum_are_refused() {
        for (sink, window, block) in [(usize::MAX, 1, 1), (0, usize::MAX, 1), (0, 1, usize::MAX)] {
            let error = Span::new(sink, window, block).unwrap_err();
            assert!(matches!(error, SpanError::Long { .. }), "{error}");
        }
        assert!(Span::new(MAX_LEN, MAX_LEN, 1).is_ok());
    }

    #[test]
    fn unrounded_lengths_are_refused_with_the_rounded_value() {
        let error = Span::new(100, 1024, 128).unwrap_err();
        assert_eq!(error.code(), "config.block");
        assert!(error.hint().unwrap().contains("sink_len = 128"));
        assert!(Span::new(0, 0, 1).is_err());
    }
}
