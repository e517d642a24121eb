//! What packing read, wrote and dropped.

use super::piece::{Dropped, RowKind};
use std::collections::BTreeMap;

/// Spans of at least `from` and less than twice as many tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LenBucket {
    /// Shortest length in the bucket, a power of two.
    pub from: u64,
    /// Number of spans.
    pub spans: u64,
    /// Their tokens.
    pub tokens: u64,
}

/// Rows by how they came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RowCounts {
    /// All rows.
    pub total: u64,
    /// Rows that one document fills.
    pub full: u64,
    /// Rows packed best-fit.
    pub best_fit: u64,
    /// Cuts of the running buffer.
    pub concat: u64,
    /// Rows of a generated document; absent where there are none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub generated: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// Counts of one packed dataset. Tokens unless the name says otherwise.
#[derive(Debug, Clone, PartialEq, Default, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackReport {
    /// Documents read.
    pub documents_read: u64,
    /// Bytes of their text.
    pub bytes_read: u64,
    /// Their tokens, without begin and end tokens.
    pub tokens_read: u64,
    /// Documents with at least one span in the output.
    pub documents_kept: u64,
    /// Tokens in spans, begin and end tokens included.
    pub tokens_written: u64,
    /// Begin tokens added.
    pub bos_added: u64,
    /// End tokens added inside spans.
    pub eos_added: u64,
    /// Tokens outside spans.
    pub padding: u64,
    /// Share of the rows' tokens that is padding.
    pub padding_share: f64,
    /// Share of the tokens read that are in documents of at least a row.
    pub long_share: f64,
    /// Length of the longest document.
    pub longest_document: u64,
    /// Rows.
    pub rows: RowCounts,
    /// Documents and their tokens that were left out, by reason.
    pub dropped: BTreeMap<String, Dropped>,
    /// Files and crates left out before tokenizing, by source and reason.
    pub dropped_files: BTreeMap<String, BTreeMap<String, u64>>,
    /// Lengths of the spans written.
    pub span_lens: Vec<LenBucket>,
}

impl PackReport {
    /// Counts one row.
    pub fn count_row(&mut self, kind: RowKind, padding: u64) {
        self.rows.total += 1;
        match kind {
            RowKind::Full => self.rows.full += 1,
            RowKind::BestFit => self.rows.best_fit += 1,
            RowKind::Concat => self.rows.concat += 1,
            RowKind::Generated => self.rows.generated += 1,
        }
        self.padding += padding;
    }

    /// Counts one span.
    pub fn count_span(&mut self, len: u64, num_bos: u64, num_eos: u64) {
        self.tokens_written += len;
        self.bos_added += num_bos;
        self.eos_added += num_eos;
        count_len(&mut self.span_lens, len);
    }

    /// Tokens dropped under any reason.
    pub fn tokens_dropped(&self) -> u64 {
        self.dropped.values().map(|dropped| dropped.tokens).sum()
    }

    /// # Panics
    /// If tokens read plus begin and end tokens are not tokens written plus tokens dropped: rows would be wrong.
    pub fn assert_conserved(&self) {
        assert_eq!(
            self.tokens_read + self.bos_added + self.eos_added,
            self.tokens_written + self.tokens_dropped(),
            "packing must neither lose nor invent tokens"
        );
    }
}

/// Counts a span of `len` tokens in its bucket; buckets are ascending.
pub fn count_len(buckets: &mut Vec<LenBucket>, len: u64) {
    let from = 1_u64 << len.max(1).ilog2();
    let at = buckets.partition_point(|bucket| bucket.from < from);
    if buckets.get(at).is_none_or(|bucket| bucket.from != from) {
        let (spans, tokens) = (0, 0);
        buckets.insert(
            at,
            LenBucket {
                from,
                spans,
                tokens,
            },
        );
    }
    buckets[at].spans += 1;
    buckets[at].tokens += len;
}

/// `part / whole`, 0 of nothing.
#[expect(clippy::cast_precision_loss, reason = "shares are for reading")]
pub fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}
