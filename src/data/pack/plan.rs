//! From document lengths to rows, in their final order.

use super::best_fit::{Candidate, best_fit};
use super::concat::concat;
use super::cut::cut;
use super::piece::{DropReason, Drops, Piece, PlannedRow, RowKind, drop_tokens};
use super::settings::{PackMode, PackSettings};
use crate::random;

/// What a plan needs to know of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DocumentLen {
    /// Its own tokens.
    pub len: u64,
    /// Orders pieces of equal length: [`tie`].
    pub tie: u64,
    /// Index of the source; documents of different sources never share a row.
    pub source: usize,
}

/// Rows in the order of the output, and what they leave out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The rows.
    pub rows: Vec<PlannedRow>,
    /// What was dropped.
    pub drops: Drops,
}

/// Seeded hash of a document's id.
pub fn tie(seed: u64, id: &str) -> u64 {
    let mut hasher = blake3::Hasher::new_derive_key("prulong pack order of equal pieces v1");
    hasher.update(&seed.to_le_bytes());
    hasher.update(id.as_bytes());
    let mut first = [0_u8; 8];
    first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    u64::from_le_bytes(first)
}

/// Plans the rows of `documents`.
pub fn plan(documents: &[DocumentLen], settings: &PackSettings) -> Plan {
    let mut drops = Drops::new();
    let num_sources = documents.iter().map(|document| document.source + 1).max();
    let mut rows = Vec::new();
    for source in 0..num_sources.unwrap_or(0) {
        let of_source = documents
            .iter()
            .enumerate()
            .filter(|(_, document)| document.source == source)
            .map(|(index, document)| (index, *document));
        rows.append(&mut match settings.mode {
            PackMode::Concat => {
                let lens = of_source.map(|(index, document)| (index, document.len));
                concat(lens, settings, &mut drops)
            }
            PackMode::LongFirst | PackMode::LongOnly => long_first(of_source, settings, &mut drops),
        });
    }
    let order = random::permutation("pack rows", &[settings.seed], rows.len());
    let mut slots: Vec<Option<PlannedRow>> = rows.into_iter().map(Some).collect();
    let rows = order.into_iter().filter_map(|from| slots[from].take());
    Plan {
        rows: rows.collect(),
        drops,
    }
}

fn long_first(
    documents: impl Iterator<Item = (usize, DocumentLen)>,
    settings: &PackSettings,
    drops: &mut Drops,
) -> Vec<PlannedRow> {
    let mut rows = Vec::new();
    let mut candidates = Vec::new();
    for (index, document) in documents {
        let mut cuts = cut(index, document.len, settings, drops);
        rows.append(&mut cuts.rows);
        candidates.extend(cuts.rest.map(|piece| Candidate {
            piece,
            tie: document.tie,
        }));
    }
    for pieces in best_fit(candidates, settings.row_len) {
        let row = PlannedRow {
            kind: RowKind::BestFit,
            pieces,
        };
        if fill(&row, settings.row_len) < settings.min_fill {
            for Piece { num_tokens, .. } in row.pieces {
                drop_tokens(drops, DropReason::LowFill, num_tokens);
            }
        } else {
            rows.push(row);
        }
    }
    rows
}

#[expect(clippy::cast_precision_loss, reason = "row lengths fit an f64 exactly")]
fn fill(row: &PlannedRow, row_len: u64) -> f64 {
    row.spanned_len() as f64 / row_len as f64
}

#[cfg(test)]
mod tests {
    use super::super::settings::BosMode;
    use super::*;
    use proptest::prelude::*;

    fn documents(lens: &[u64]) -> Vec<DocumentLen> {
        (0..)
            .zip(lens)
            .map(|(index, &len)| DocumentLen {
                len,
                tie: tie(1, &format!("doc-{index}")),
                source: index % 2,
            })
            .collect()
    }

    fn any_settings() -> impl Strategy<Value = PackSettings> {
        let mode = prop_oneof![
            Just(PackMode::LongFirst),
            Just(PackMode::LongOnly),
            Just(PackMode::Concat)
        ];
        let bos = prop_oneof![
            Just(BosMode::Span),
            Just(BosMode::Document),
            Just(BosMode::None)
        ];
        (
            8_u64..40,
            mode,
            0_u64..12,
            1_u64..5,
            bos,
            any::<bool>(),
            0.0..1.0,
            any::<u64>(),
        )
            .prop_map(
                |(row_len, mode, min_doc, max_rows_per_doc, bos, eos, min_fill, seed)| {
                    PackSettings {
                        row_len,
                        mode,
                        min_doc,
                        max_rows_per_doc,
                        bos,
                        eos,
                        min_fill,
                        seed,
                    }
                },
            )
    }

    proptest! {
        #[test]
        fn every_token_is_written_once_or_dropped_under_a_reason(
            lens in prop::collection::vec(0_u64..200, 0..60),
            settings in any_settings(),
        ) {
            let documents = documents(&lens);
            let plan = plan(&documents, &settings);
            let index = |token: u64| usize::try_from(token).unwrap();
            let mut is_used: Vec<Vec<bool>> = lens.iter().map(|&len| vec![false; index(len)]).collect();
            for row in &plan.rows {
                prop_assert!(row.spanned_len() <= settings.row_len);
                prop_assert!(row.kind != RowKind::Full || row.spanned_len() == settings.row_len);
                let source = documents[row.pieces[0].document].source;
                for piece in &row.pieces {
                    prop_assert!(piece.span_len() >= 2);
                    prop_assert_eq!(documents[piece.document].source, source);
                    let is_end = piece.start + piece.num_tokens == lens[piece.document];
                    prop_assert!(piece.num_eos == 0 || (is_end && settings.eos));
                    for token in piece.start..piece.start + piece.num_tokens {
                        let is_used = &mut is_used[piece.document][index(token)];
                        prop_assert!(!*is_used);
                        *is_used = true;
                    }
                }
            }
            let written = is_used.iter().flatten().filter(|is_used| **is_used).count() as u64;
            let dropped: u64 = plan.drops.values().map(|drop| drop.tokens).sum();
            prop_assert_eq!(written + dropped, lens.iter().sum::<u64>());
        }
    }

    #[test]
    fn the_seed_orders_rows() {
        let documents = documents(&[30; 40]);
        let with_seed = |seed| {
            let settings = PackSettings {
                min_doc: 1,
                seed,
                ..PackSettings::new(16)
            };
            plan(&documents, &settings).rows
        };
        assert_eq!(with_seed(3), with_seed(3));
        assert_ne!(with_seed(3), with_seed(4));
    }
}
