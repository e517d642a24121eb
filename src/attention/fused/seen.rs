//! Which keys the rows of a tile see: every row sees keys `0..head` and `from..to`.
//!
//! ```text
//! full       head = 0       from = 0              to = query + 1 (+ keys before the first query)
//! streaming  head = sinks   from = window start   to = query + 1
//! the rest   head = 0       from = sinks          to = window start       (full without streaming; none if to <= from)
//! ```
//!
//! **Invariant:** which keys a streaming head sees is asked of [`Span`].

use crate::span::Span;
use pulp::Simd;
use std::ops::Range;

/// The keys of one query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    head: usize,
    from: usize,
    to: usize,
}

impl Seen {
    /// Keys `0..to`.
    pub(super) fn first(to: usize) -> Self {
        Self {
            head: 0,
            from: 0,
            to,
        }
    }

    /// The last `len` of keys `0..to`.
    pub(super) fn last(len: usize, to: usize) -> Self {
        let from = to.saturating_sub(len);
        Self { head: 0, from, to }
    }

    /// What a streaming head sees of query `q`.
    pub(super) fn streaming(span: &Span, q: usize) -> Self {
        let (sinks, window) = span.keys(q);
        Self {
            head: sinks.end,
            from: window.start,
            to: window.end,
        }
    }

    /// What a streaming head does not see of query `q`, and a retrieval head does.
    pub(super) fn rest(span: &Span, q: usize) -> Self {
        let (_, window) = span.keys(q);
        Self {
            head: 0,
            from: span.sink_len(),
            to: window.start,
        }
    }
}

/// How much of a tile of keys is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Share {
    /// No row sees any key.
    None,
    /// Some rows see some keys.
    Some,
    /// Every row sees every key.
    All,
}

/// What the rows of a tile see.
#[derive(Debug, Clone)]
pub(super) struct TileSeen {
    head: Vec<u32>,
    from: Vec<u32>,
    to: Vec<u32>,
    heads: Range<usize>,
    froms: Range<usize>,
    tos: Range<usize>,
}

impl TileSeen {
    /// `group` rows for each query, then the last query's again up to `num_rows` rows.
    ///
    /// # Panics
    /// Without a query: our bug.
    pub(super) fn new(queries: &[Seen], group: usize, num_rows: usize) -> Self {
        let row = |row: usize| queries[(row / group).min(queries.len() - 1)];
        let column = |pick: fn(Seen) -> usize| -> Vec<u32> {
            let keys = (0..num_rows).map(|index| pick(row(index)));
            keys.map(|key| u32::try_from(key).unwrap_or(u32::MAX))
                .collect()
        };
        let bounds = |pick: fn(Seen) -> usize| {
            let keys = || queries.iter().map(|seen| pick(*seen));
            keys().min().unwrap_or(0)..keys().max().unwrap_or(0)
        };
        Self {
            head: column(|seen| seen.head),
            from: column(|seen| seen.from),
            to: column(|seen| seen.to),
            heads: bounds(|seen| seen.head),
            froms: bounds(|seen| seen.from),
            tos: bounds(|seen| seen.to),
        }
    }

    /// How much is seen of `keys`.
    pub(super) fn share(&self, keys: &Range<usize>) -> Share {
        let Self {
            heads, froms, tos, ..
        } = self;
        let is_outside = keys.start >= tos.end || keys.end <= froms.start || tos.end <= froms.start;
        let is_hidden = is_outside && keys.start >= heads.end;
        let is_window = keys.start >= froms.end && keys.end <= tos.start;
        if is_hidden {
            Share::None
        } else if is_window || keys.end <= self.heads.start {
            Share::All
        } else {
            Share::Some
        }
    }

    /// Of `keys`, those from the first to the last that some row sees, filled up on both sides to a multiple of `unit` from the
    /// first of `keys`; something is seen of them.
    pub(super) fn hull(&self, keys: &Range<usize>, unit: usize) -> Range<usize> {
        let is_windowed = keys.end > self.froms.start && self.tos.end > self.froms.start;
        let end = self
            .heads
            .end
            .max(if is_windowed { self.tos.end } else { 0 });
        let start = if keys.start < self.heads.end {
            keys.start
        } else {
            self.froms.start.max(keys.start)
        };
        let start = (start - keys.start) / unit * unit;
        let end = (end.min(keys.end) - keys.start).next_multiple_of(unit);
        keys.start + start..keys.end.min(keys.start + end)
    }

    /// The tiles of `len` keys of which something is seen, ascending.
    pub(super) fn tiles(
        &self,
        num_keys: usize,
        len: usize,
    ) -> impl Iterator<Item = (usize, Share)> {
        let end = num_keys.min(self.tos.end.max(self.heads.end));
        let shares = (0..end)
            .step_by(len)
            .map(move |start| (start, self.share(&(start..start + len))));
        shares.filter(|(_, share)| *share != Share::None)
    }

    /// The tile of `len` keys before the one at `start` of which something is seen too; something is seen of that one.
    pub(super) fn before(&self, start: usize, len: usize) -> Option<usize> {
        let before = start.checked_sub(len)?;
        if self.share(&(before..start)) != Share::None {
            return Some(before);
        }
        // The window begins at `start`; before it are sinks.
        self.heads.end.checked_sub(1).map(|key| key / len * len)
    }

    /// What one row sees, for [`visible`].
    pub(super) fn row(&self, row: usize) -> [u32; 3] {
        [self.head[row], self.from[row], self.to[row]]
    }

    /// What the rows of register `index` see, for [`visible`].
    #[expect(clippy::inline_always, reason = "the caller chooses instructions")]
    #[inline(always)]
    pub(super) fn register<S: Simd>(&self, index: usize) -> [S::u32s; 3] {
        let of = |column: &[u32]| S::as_simd_u32s(column).0[index];
        [of(&self.head), of(&self.from), of(&self.to)]
    }
}

/// Whether keys are seen, lane by lane.
#[expect(clippy::inline_always, reason = "the caller chooses instructions")]
#[inline(always)]
pub(super) fn visible<S: Simd>(simd: S, keys: S::u32s, [head, from, to]: [S::u32s; 3]) -> S::m32s {
    let in_window = simd.and_m32s(
        simd.greater_than_or_equal_u32s(keys, from),
        simd.less_than_u32s(keys, to),
    );
    simd.or_m32s(simd.less_than_u32s(keys, head), in_window)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pulp::{Arch, WithSimd};

    /// Whether row `row` sees key `key`, as the registers say.
    struct Asked<'a>(&'a TileSeen, usize, usize);

    impl WithSimd for Asked<'_> {
        type Output = bool;

        fn with_simd<S: Simd>(self, simd: S) -> bool {
            let Self(seen, row, key) = self;
            let key = simd.splat_u32s(u32::try_from(key).unwrap());
            let bounds = seen.row(row).map(|bound| simd.splat_u32s(bound));
            let by_row = visible(simd, key, bounds);
            let by_lane = visible(simd, key, seen.register::<S>(row / S::F32_LANES));
            let [one, zero] = [1, 0].map(|number| simd.splat_u32s(number));
            let read = |mask, lane: usize| {
                let mut lanes = vec![0; S::F32_LANES];
                S::as_mut_simd_u32s(&mut lanes).0[0] = simd.select_u32s(mask, one, zero);
                lanes[lane] == 1
            };
            let answers = [read(by_row, 0), read(by_lane, row % S::F32_LANES)];
            assert_eq!(answers[0], answers[1]);
            answers[0]
        }
    }

    /// The hull of `tile` holds the keys that are seen and no unit more.
    #[track_caller]
    fn assert_hull(seen: &TileSeen, tile: Range<usize>, keys: &[usize]) {
        const UNIT: usize = 4;
        let (Some(first), Some(last)) = (keys.iter().min(), keys.iter().max()) else {
            return;
        };
        let hull = seen.hull(&tile, UNIT);
        assert_eq!(
            hull,
            *first / UNIT * UNIT..(last + 1).next_multiple_of(UNIT)
        );
    }

    #[test]
    fn tiles_and_registers_agree_with_the_span() {
        const ROWS: usize = 32;
        const KEYS: usize = 16;
        for (sink, window, block) in [(0, 4, 1), (3, 8, 1), (4, 12, 4), (40, 8, 8), (64, 64, 64)] {
            let span = Span::new(sink, window, block).unwrap();
            for first in [0, 7, 60] {
                let queries = first..first + ROWS / 2 - 1;
                let seen = |of: fn(&Span, usize) -> Seen| {
                    let queries: Vec<Seen> = queries.clone().map(|q| of(&span, q)).collect();
                    TileSeen::new(&queries, 2, ROWS)
                };
                let full = seen(|_, q| Seen::first(q + 1));
                let (streaming, rest) = (seen(Seen::streaming), seen(Seen::rest));
                for seen in [&full, &streaming, &rest] {
                    let tiles: Vec<usize> = seen.tiles(96, KEYS).map(|(start, _)| start).collect();
                    let before = tiles.iter().map(|start| seen.before(*start, KEYS));
                    let expected = [None].into_iter().chain(tiles.iter().copied().map(Some));
                    assert!(before.eq(expected.take(tiles.len())), "{span:?} {first}");
                }
                for start in (0..96).step_by(KEYS) {
                    let mut counts = [0; 3];
                    let mut visible = [const { Vec::new() }; 3];
                    for (row, key) in (0..2 * queries.len())
                        .flat_map(|row| (start..start + KEYS).map(move |key| (row, key)))
                    {
                        let q = first + row / 2;
                        let answers = [&full, &streaming, &rest]
                            .map(|seen| Arch::new().dispatch(Asked(seen, row, key)));
                        let expected =
                            [key <= q, span.sees(q, key), key <= q && !span.sees(q, key)];
                        assert_eq!(answers, expected, "{span:?} {q} {key}");
                        for (count, answer) in counts.iter_mut().zip(answers) {
                            *count += usize::from(answer);
                        }
                        for (keys, answer) in visible.iter_mut().zip(answers) {
                            keys.extend(answer.then_some(key));
                        }
                    }
                    for (seen, keys) in [&full, &streaming, &rest].into_iter().zip(&visible) {
                        assert_hull(seen, start..start + KEYS, keys);
                    }
                    for (seen, count) in [&full, &streaming, &rest].into_iter().zip(counts) {
                        let all = 2 * queries.len() * KEYS;
                        match seen.share(&(start..start + KEYS)) {
                            Share::None => assert_eq!(count, 0, "{span:?} {first} {start}"),
                            Share::All => assert_eq!(count, all, "{span:?} {first} {start}"),
                            Share::Some => {}
                        }
                        if count == 0 {
                            assert_eq!(
                                seen.share(&(start..start + KEYS)),
                                Share::None,
                                "{span:?} {first} {start}"
                            );
                        }
                    }
                }
            }
        }
    }
}
