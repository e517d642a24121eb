//! From rows to what a model is trained on: flat ids, labels and document lengths.
//!
//! Labels are the ids with the first token of every document ignored, since nothing before it predicts it. They are not
//! shifted: the loss compares the logits at position t with the label at t + 1 and never crosses a document.

use super::rows::TokenRow;
use std::ops::Range;

/// The label of a token that no loss is computed for.
pub const IGNORED: i64 = -100;

/// How rows are cut and joined.
#[derive(Debug, Clone, Copy, Default)]
pub struct CollateSettings {
    /// Tokens that fit, or no limit. Documents are clipped at it, in order.
    pub budget: Option<usize>,
    /// Treat each row as one document.
    pub single_document: bool,
}

/// Documents joined end to end, without padding.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Collated {
    /// Token ids.
    pub ids: Vec<i64>,
    /// The same ids, or [`IGNORED`].
    pub labels: Vec<i64>,
    /// Tokens of each document; their sum is the number of ids.
    pub doc_lens: Vec<usize>,
    /// Tokens of documents that did not fit into the budget.
    pub num_clipped: usize,
}

impl Collated {
    /// Number of labels that are not ignored.
    pub fn num_trained(&self) -> usize {
        self.labels
            .iter()
            .filter(|&&label| label != IGNORED)
            .count()
    }
}

/// Joins `rows`. Documents of one token, and tokens outside documents, are left out: no token predicts them.
pub fn collate(rows: &[TokenRow], settings: CollateSettings) -> Collated {
    let mut joined = Collated::default();
    for row in rows {
        let whole = std::iter::once(0..row.ids.len()).collect::<Vec<_>>();
        let spans = if settings.single_document {
            &whole
        } else {
            &row.spans
        };
        for span in spans {
            append(&mut joined, row, span, settings.budget);
        }
    }
    joined
}

fn append(joined: &mut Collated, row: &TokenRow, span: &Range<usize>, budget: Option<usize>) {
    let room = budget.map_or(usize::MAX, |budget| budget - joined.ids.len());
    let used = span.len().min(room);
    let used = if used > 1 { used } else { 0 };
    if span.len() > 1 {
        joined.num_clipped += span.len() - used;
    }
    if used == 0 {
        return;
    }
    let span = span.start..span.start + used;
    let first = joined.labels.len();
    joined.ids.extend_from_slice(&row.ids[span.clone()]);
    joined.labels.extend_from_slice(&row.ids[span.clone()]);
    if let Some(mask) = &row.mask {
        for (label, is_trained) in joined.labels[first..].iter_mut().zip(&mask[span]) {
            if !is_trained {
                *label = IGNORED;
            }
        }
    }
    joined.labels[first] = IGNORED;
    joined.doc_lens.push(used);
}
