//! What a packed dataset holds: rows, documents, tokens and their lengths.

use super::mds::dataset::Dataset;
use super::mds::error::MdsError;
use super::pack::report::{LenBucket, count_len};
use super::rows::{RowNeeds, read_row};
use std::collections::BTreeMap;

/// Rows, documents and tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Counts {
    /// Rows.
    pub rows: u64,
    /// Spans.
    pub documents: u64,
    /// Tokens inside spans.
    pub tokens: u64,
}

/// Counts of one dataset.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct DatasetStats {
    /// All rows.
    pub total: Counts,
    /// Tokens outside every span.
    pub padding: u64,
    /// Tokens of the shortest row, padding included.
    pub shortest_row: u64,
    /// Tokens of the longest row, padding included.
    pub longest_row: u64,
    /// Tokens of the longest span.
    pub longest_document: u64,
    /// Counts by domain; rows without one are under the empty name.
    pub domains: BTreeMap<String, Counts>,
    /// Lengths of spans.
    pub document_lens: Vec<LenBucket>,
}

/// Reads every row of `dataset` and counts.
///
/// # Errors
/// The first row that is not sound.
pub fn count(dataset: &Dataset) -> Result<DatasetStats, MdsError> {
    dataset.require_column("input_ids")?;
    let mut stats = DatasetStats {
        shortest_row: u64::MAX,
        ..DatasetStats::default()
    };
    for row in 0..dataset.num_rows() {
        let row = read_row(dataset, row, RowNeeds::default())?;
        let row_len = row.ids.len() as u64;
        let mut counts = Counts {
            rows: 1,
            ..Counts::default()
        };
        for span in &row.spans {
            let len = span.len() as u64;
            counts.documents += 1;
            counts.tokens += len;
            count_len(&mut stats.document_lens, len);
            stats.longest_document = stats.longest_document.max(len);
        }
        stats.padding += row_len - counts.tokens;
        stats.shortest_row = stats.shortest_row.min(row_len);
        stats.longest_row = stats.longest_row.max(row_len);
        stats.total.add(counts);
        let domain = row.domain.unwrap_or_default();
        stats.domains.entry(domain).or_default().add(counts);
    }
    stats.shortest_row = stats.shortest_row.min(stats.longest_row);
    Ok(stats)
}

impl Counts {
    fn add(&mut self, other: Self) {
        self.rows += other.rows;
        self.documents += other.documents;
        self.tokens += other.tokens;
    }
}
