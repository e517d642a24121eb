//! One running buffer: documents end to end in their order, cut every row.

use super::cut::piece;
use super::piece::{DropReason, Drops, Piece, PlannedRow, RowKind, drop_tokens};
use super::settings::PackSettings;

/// Plans the rows of `documents` (index, tokens). The last, unfilled buffer is dropped.
pub fn concat(
    documents: impl Iterator<Item = (usize, u64)>,
    settings: &PackSettings,
    drops: &mut Drops,
) -> Vec<PlannedRow> {
    let mut buffer = Buffer {
        row_len: settings.row_len,
        pieces: Vec::new(),
        used: 0,
        rows: Vec::new(),
    };
    for (document, len) in documents {
        if len < settings.min_doc.max(1) {
            drop_tokens(drops, DropReason::Short, len);
        } else {
            append(&mut buffer, document, len, settings, drops);
        }
    }
    for left in &buffer.pieces {
        drop_tokens(drops, DropReason::Tail, left.num_tokens);
    }
    buffer.rows
}

struct Buffer {
    row_len: u64,
    pieces: Vec<Piece>,
    used: u64,
    rows: Vec<PlannedRow>,
}

impl Buffer {
    fn push(&mut self, piece: Piece) {
        self.used += piece.span_len();
        self.pieces.push(piece);
        if self.used == self.row_len {
            self.close();
        }
    }

    fn close(&mut self) {
        self.rows.push(PlannedRow {
            kind: RowKind::Concat,
            pieces: std::mem::take(&mut self.pieces),
        });
        self.used = 0;
    }
}

fn append(
    buffer: &mut Buffer,
    document: usize,
    len: u64,
    settings: &PackSettings,
    drops: &mut Drops,
) {
    let stream = len + u64::from(settings.eos);
    let mut at = 0;
    let mut num_filled = 0;
    while at < len {
        if at > 0 && len - at < settings.min_doc {
            drop_tokens(drops, DropReason::Tail, len - at);
            return;
        }
        if num_filled == settings.max_rows_per_doc {
            drop_tokens(drops, DropReason::Capped, len - at);
            return;
        }
        // A span of one token predicts nothing: the row's last place stays padding.
        if buffer.row_len - buffer.used < 2 {
            buffer.close();
        }
        let num_bos = settings.num_bos(at > 0);
        let room = buffer.row_len - buffer.used - num_bos;
        let end = stream.min(at + room);
        let next = piece(document, at, end, len, num_bos);
        if next.span_len() < 2 {
            drop_tokens(drops, DropReason::Tail, len - at);
            return;
        }
        num_filled += u64::from(next.span_len() == settings.row_len);
        buffer.push(next);
        at = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_run_on_and_the_last_buffer_is_dropped() {
        let settings = PackSettings {
            min_doc: 3,
            ..PackSettings::new(10)
        };
        let mut drops = Drops::new();
        let documents = [5, 9, 2, 4, 30].into_iter().enumerate();
        let rows = concat(documents, &settings, &mut drops);
        let spans: Vec<Vec<(usize, u64, u64)>> = rows
            .iter()
            .map(|row| {
                let show = |piece: &Piece| (piece.document, piece.start, piece.span_len());
                row.pieces.iter().map(show).collect()
            })
            .collect();
        let expected = [
            vec![(0, 0, 7), (1, 0, 3)],
            vec![(1, 2, 9)],
            vec![(3, 0, 6), (4, 0, 4)],
            vec![(4, 3, 10)],
            vec![(4, 12, 10)],
            vec![(4, 21, 10)],
        ];
        assert_eq!(spans, expected);
        let dropped: Vec<_> = drops
            .iter()
            .map(|(reason, drop)| (reason.name(), drop.tokens))
            .collect();
        assert_eq!(dropped, [("short", 2)]);
        let kept: u64 = rows
            .iter()
            .flat_map(|row| &row.pieces)
            .map(|piece| piece.num_tokens)
            .sum();
        assert_eq!(kept + 2, 50);
    }
}
