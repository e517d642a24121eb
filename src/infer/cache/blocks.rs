//! Consecutive tokens cut into blocks, and the means of blocks.

use super::attend::slice;
use crate::attention::wide;
use std::ops::Range;
use tch::Tensor;

/// `tokens` in blocks of `block_len` from its first one, the last one shorter.
pub(in crate::infer) fn cut(
    tokens: Range<usize>,
    block_len: usize,
) -> impl Iterator<Item = Range<usize>> {
    let end = tokens.end;
    let starts = tokens.step_by(block_len);
    starts.map(move |start| start..(start + block_len).min(end))
}

/// `tokens` cut at the multiples of `block_len`: the first block may be shorter as well.
pub(in crate::infer) fn aligned(
    tokens: Range<usize>,
    block_len: usize,
) -> impl Iterator<Item = Range<usize>> {
    let border = tokens.start.next_multiple_of(block_len).min(tokens.end);
    let first = Some(tokens.start..border).filter(|block| !block.is_empty());
    first.into_iter().chain(cut(border..tokens.end, block_len))
}

/// Means over blocks of tokens.
///
/// # Shapes
/// `rows`: `[T, K, D]`, the first row being token `origin`. Returns `[blocks, K, D]`.
///
/// # Precision
/// f32 (f64 for f64 rows).
pub(in crate::infer) fn means(rows: &Tensor, origin: usize, blocks: &[Range<usize>]) -> Tensor {
    let kind = wide(rows.kind());
    let mean = |block: &Range<usize>| {
        let rows = slice(rows, block.start - origin, block.len());
        rows.mean_dim(0, false, kind)
    };
    Tensor::stack(&blocks.iter().map(mean).collect::<Vec<_>>(), 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_cover_their_tokens_in_order() {
        let list = |blocks: &mut dyn Iterator<Item = Range<usize>>| blocks.collect::<Vec<_>>();
        assert_eq!(list(&mut cut(3..12, 4)), [3..7, 7..11, 11..12]);
        assert_eq!(list(&mut aligned(3..12, 4)), [3..4, 4..8, 8..12]);
        assert!(aligned(4..6, 4).eq(std::iter::once(4..6)));
        assert!(aligned(5..7, 4).eq(std::iter::once(5..7)));
        assert!(list(&mut aligned(5..5, 4)).is_empty());
        let rows = Tensor::from_slice(&[1.0, 3.0, 5.0, 8.0]).view([4, 1, 1]);
        let found = means(&rows, 2, &[2..4, 4..5, 5..6]).view([3]);
        assert_eq!(Vec::<f64>::try_from(found).unwrap(), [2.0, 5.0, 8.0]);
    }
}
