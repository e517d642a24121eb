//! Pieces of documents, rows made of them, and what was dropped.

use std::collections::BTreeMap;

/// A part of a document that becomes one span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Index of the document.
    pub document: usize,
    /// First of the document's own tokens.
    pub start: u64,
    /// Number of the document's own tokens.
    pub num_tokens: u64,
    /// Begin tokens before them: 1 or 0.
    pub num_bos: u64,
    /// End tokens after them: 1 or 0.
    pub num_eos: u64,
}

impl Piece {
    /// Length of the span in tokens.
    pub fn span_len(&self) -> u64 {
        self.num_bos + self.num_tokens + self.num_eos
    }
}

/// How a row came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RowKind {
    /// One document fills it.
    Full,
    /// Pieces packed best-fit.
    BestFit,
    /// A cut of the running buffer.
    Concat,
    /// One document made by rules.
    Generated,
}

/// One planned row: spans in order, less than or exactly a row long together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedRow {
    /// How it came about.
    pub kind: RowKind,
    /// Its spans, from the row's start on, without gaps.
    pub pieces: Vec<Piece>,
}

impl PlannedRow {
    /// Tokens in spans.
    pub fn spanned_len(&self) -> u64 {
        self.pieces.iter().map(Piece::span_len).sum()
    }
}

/// Why tokens were dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DropReason {
    /// The document is shorter than asked for.
    Short,
    /// What remained of a document after its rows is too short.
    Tail,
    /// The document filled its share of rows.
    Capped,
    /// The best-fit row would have been mostly padding.
    LowFill,
}

impl DropReason {
    /// The word in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Short => "short",
            Self::Tail => "tail",
            Self::Capped => "capped",
            Self::LowFill => "low-fill",
        }
    }
}

/// Documents (or pieces of them) and tokens dropped under one reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dropped {
    /// Documents concerned.
    pub documents: u64,
    /// Their own tokens that were dropped.
    pub tokens: u64,
}

/// Everything dropped, by reason.
pub type Drops = BTreeMap<DropReason, Dropped>;

/// Counts `tokens` of one document as dropped.
pub fn drop_tokens(drops: &mut Drops, reason: DropReason, tokens: u64) {
    let entry = drops.entry(reason).or_default();
    entry.documents += 1;
    entry.tokens += tokens;
}
