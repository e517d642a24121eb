//! Best-fit decreasing: longest piece first, each into the fullest row that still has room.

use super::piece::Piece;
use std::collections::BTreeSet;

/// A piece, and the hash that orders it among pieces of equal length.
#[derive(Debug, Clone, Copy)]
pub struct Candidate {
    /// The piece, at most a row long.
    pub piece: Piece,
    /// Seeded hash of its document.
    pub tie: u64,
}

/// Packs `candidates` into rows of at most `row_len` tokens, in O(n log n). Pieces are never split.
pub fn best_fit(mut candidates: Vec<Candidate>, row_len: u64) -> Vec<Vec<Piece>> {
    candidates.sort_by_key(|candidate| {
        let Piece {
            document, start, ..
        } = candidate.piece;
        let len = std::cmp::Reverse(candidate.piece.span_len());
        (len, candidate.tie, document, start)
    });
    let mut rows: Vec<Vec<Piece>> = Vec::new();
    // (free tokens, row): the first entry at or above a length is the fullest row with room, ties to the older row.
    let mut open: BTreeSet<(u64, usize)> = BTreeSet::new();
    for Candidate { piece, .. } in candidates {
        let fullest = open.range((piece.span_len(), 0)..).next().copied();
        let (free, row) = fullest.unwrap_or((row_len, rows.len()));
        if fullest.is_some() {
            open.remove(&(free, row));
            rows[row].push(piece);
        } else {
            rows.push(vec![piece]);
        }
        open.insert((free - piece.span_len(), row));
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn candidates(lens: &[u64]) -> Vec<Candidate> {
        lens.iter()
            .enumerate()
            .map(|(document, &num_tokens)| Candidate {
                piece: Piece {
                    document,
                    start: 0,
                    num_tokens,
                    num_bos: 0,
                    num_eos: 0,
                },
                tie: (document as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15),
            })
            .collect()
    }

    /// The same rule, written as a search over all rows for every piece.
    fn obvious(mut candidates: Vec<Candidate>, row_len: u64) -> Vec<Vec<Piece>> {
        candidates.sort_by(|a, b| {
            b.piece
                .span_len()
                .cmp(&a.piece.span_len())
                .then(a.tie.cmp(&b.tie))
        });
        let mut rows: Vec<Vec<Piece>> = Vec::new();
        for Candidate { piece, .. } in candidates {
            let mut best: Option<(u64, usize)> = None;
            for (index, row) in rows.iter().enumerate() {
                let used: u64 = row.iter().map(Piece::span_len).sum();
                let is_fuller = best.is_none_or(|(most, _)| used > most);
                if used + piece.span_len() <= row_len && is_fuller {
                    best = Some((used, index));
                }
            }
            match best {
                Some((_, row)) => rows[row].push(piece),
                None => rows.push(vec![piece]),
            }
        }
        rows
    }

    #[test]
    fn the_fullest_row_with_room_wins() {
        let lens: Vec<Vec<u64>> = best_fit(candidates(&[3, 7, 4, 6, 2, 5]), 10)
            .iter()
            .map(|row| row.iter().map(Piece::span_len).collect())
            .collect();
        assert_eq!(lens, [vec![7, 3], vec![6, 4], vec![5, 2]]);
    }

    proptest! {
        #[test]
        fn equals_the_obvious_version(lens in prop::collection::vec(1_u64..=40, 0..120)) {
            prop_assert_eq!(best_fit(candidates(&lens), 40), obvious(candidates(&lens), 40));
        }
    }
}
