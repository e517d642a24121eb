//! Cutting one document: full rows, then at most one shorter piece.

use super::piece::{DropReason, Drops, Piece, PlannedRow, RowKind, drop_tokens};
use super::settings::{PackMode, PackSettings};

/// What one document yields.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cuts {
    /// Rows it fills alone.
    pub rows: Vec<PlannedRow>,
    /// What is left, to be packed with others.
    pub rest: Option<Piece>,
}

/// Cuts a document of `len` tokens. Its stream is its tokens, then an end token; a span takes a begin token and the next
/// tokens of that stream.
pub fn cut(document: usize, len: u64, settings: &PackSettings, drops: &mut Drops) -> Cuts {
    let mut cuts = Cuts::default();
    if len < settings.min_doc.max(1) {
        drop_tokens(drops, DropReason::Short, len);
        return cuts;
    }
    let stream = len + u64::from(settings.eos);
    let mut at = 0;
    let mut num_rows = 0;
    let num_bos = |num_rows: u64| settings.num_bos(num_rows > 0);
    while stream - at >= settings.row_len - num_bos(num_rows) {
        if num_rows == settings.max_rows_per_doc {
            drop_tokens(drops, DropReason::Capped, len.saturating_sub(at));
            return cuts;
        }
        let end = at + settings.row_len - num_bos(num_rows);
        let piece = piece(document, at, end, len, num_bos(num_rows));
        cuts.rows.push(PlannedRow {
            kind: RowKind::Full,
            pieces: vec![piece],
        });
        at = end;
        num_rows += 1;
    }
    let rest = len.saturating_sub(at);
    let rest_piece = piece(document, at.min(len), stream, len, num_bos(num_rows));
    let is_kept = settings.mode == PackMode::LongFirst
        && rest >= settings.min_doc.max(1)
        && rest_piece.span_len() >= 2;
    if is_kept {
        cuts.rest = Some(rest_piece);
    } else if num_rows == 0 {
        drop_tokens(drops, DropReason::Short, rest);
    } else if rest > 0 {
        drop_tokens(drops, DropReason::Tail, rest);
    }
    cuts
}

/// The piece that holds `at..end` of the stream of a document of `len` tokens.
pub fn piece(document: usize, at: u64, end: u64, len: u64, num_bos: u64) -> Piece {
    Piece {
        document,
        start: at,
        num_tokens: end.min(len) - at,
        num_bos,
        num_eos: u64::from(end > len),
    }
}

#[cfg(test)]
mod tests {
    use super::super::settings::BosMode;
    use super::*;

    fn settings() -> PackSettings {
        PackSettings {
            min_doc: 3,
            max_rows_per_doc: 2,
            ..PackSettings::new(10)
        }
    }

    /// Spans as (start, tokens, begin, end) of rows and rest, and drops as (reason, tokens).
    fn check(
        len: u64,
        settings: &PackSettings,
        rows: &[[u64; 4]],
        rest: Option<[u64; 4]>,
        dropped: &[(&str, u64)],
    ) {
        let mut drops = Drops::new();
        let cuts = cut(0, len, settings, &mut drops);
        let show = |piece: &Piece| [piece.start, piece.num_tokens, piece.num_bos, piece.num_eos];
        let found: Vec<_> = cuts.rows.iter().map(|row| show(&row.pieces[0])).collect();
        assert_eq!(found, rows, "len {len}");
        assert!(
            cuts.rows
                .iter()
                .all(|row| row.spanned_len() == settings.row_len)
        );
        assert_eq!(cuts.rest.as_ref().map(show), rest, "len {len}");
        let found: Vec<_> = drops
            .iter()
            .map(|(reason, drop)| (reason.name(), drop.tokens))
            .collect();
        assert_eq!(found, dropped, "len {len}");
    }

    #[test]
    fn documents_are_cut_at_rows() {
        let s = settings();
        check(2, &s, &[], None, &[("short", 2)]);
        check(3, &s, &[], Some([0, 3, 1, 1]), &[]);
        check(7, &s, &[], Some([0, 7, 1, 1]), &[]);
        check(8, &s, &[[0, 8, 1, 1]], None, &[]);
        check(9, &s, &[[0, 9, 1, 0]], None, &[]);
        check(11, &s, &[[0, 9, 1, 0]], None, &[("tail", 2)]);
        check(12, &s, &[[0, 9, 1, 0]], Some([9, 3, 1, 1]), &[]);
        check(17, &s, &[[0, 9, 1, 0], [9, 8, 1, 1]], None, &[]);
        check(
            21,
            &s,
            &[[0, 9, 1, 0], [9, 9, 1, 0]],
            Some([18, 3, 1, 1]),
            &[],
        );
        check(
            26,
            &s,
            &[[0, 9, 1, 0], [9, 9, 1, 0]],
            None,
            &[("capped", 8)],
        );
    }

    #[test]
    fn begin_and_end_tokens_follow_the_settings() {
        let document = PackSettings {
            bos: BosMode::Document,
            ..settings()
        };
        check(
            23,
            &document,
            &[[0, 9, 1, 0], [9, 10, 0, 0]],
            Some([19, 4, 0, 1]),
            &[],
        );
        let none = PackSettings {
            bos: BosMode::None,
            eos: false,
            ..settings()
        };
        check(
            23,
            &none,
            &[[0, 10, 0, 0], [10, 10, 0, 0]],
            Some([20, 3, 0, 0]),
            &[],
        );
        let single = PackSettings { min_doc: 0, ..none };
        check(1, &single, &[], None, &[("short", 1)]);
        check(0, &single, &[], None, &[("short", 0)]);
    }

    #[test]
    fn long_only_keeps_full_rows() {
        let s = PackSettings {
            mode: PackMode::LongOnly,
            ..settings()
        };
        check(7, &s, &[], None, &[("short", 7)]);
        check(15, &s, &[[0, 9, 1, 0]], None, &[("tail", 6)]);
    }
}
