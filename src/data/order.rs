//! Which row comes at which position: a pure function of the seed and the shape of the data.
//!
//! A position counts the rows consumed since the run began, over all ranks. Restoring any position costs one permutation
//! of an epoch and one of each stream in use, and no replay. A stream is read completely before any of its rows repeats,
//! across epochs too. Ranks, workers, prefetch, shard sizes and compression change nothing.

use crate::random;

/// How rows follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderKind {
    /// Streams are mixed, and each stream's rows permuted in every pass. With `block_rows` > 0 shards are permuted
    /// instead, and rows only inside blocks of that many, which bounds the shards in use at a time.
    Shuffled {
        /// Rows per block; 0 for the whole stream.
        block_rows: u64,
    },
    /// Streams one after the other, rows as stored.
    Sequential,
}

/// One stream as the order sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamShape {
    /// Rows in each of its shards.
    pub shard_rows: Vec<u64>,
    /// Rows of it in one epoch.
    pub epoch_rows: u64,
}

impl StreamShape {
    fn num_rows(&self) -> u64 {
        self.shard_rows.iter().sum()
    }
}

/// A row of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowRef {
    /// Index of the stream.
    pub stream: usize,
    /// Row of its dataset.
    pub row: u64,
}

/// The order, with the tables of the epoch and passes that were asked for last.
#[derive(Debug, Clone)]
pub struct Order {
    seed: u64,
    kind: OrderKind,
    streams: Vec<StreamShape>,
    epoch_rows: u64,
    epoch: Option<(u64, Vec<Slot>)>,
    passes: Vec<Option<(u64, Vec<u64>)>>,
}

/// What stands at one place of an epoch: a stream, and how many earlier places hold the same stream.
#[derive(Debug, Clone, Copy)]
struct Slot {
    stream: u32,
    earlier: u64,
}

impl Order {
    /// An order over `streams`; nothing if no epoch row exists, or an epoch takes rows of an empty stream.
    pub fn new(seed: u64, kind: OrderKind, streams: Vec<StreamShape>) -> Option<Self> {
        let epoch_rows = streams
            .iter()
            .try_fold(0_u64, |total, stream| total.checked_add(stream.epoch_rows))?;
        let is_sound = streams
            .iter()
            .all(|stream| stream.num_rows() > 0 || stream.epoch_rows == 0);
        (epoch_rows > 0 && is_sound).then(|| Self {
            seed,
            kind,
            passes: vec![None; streams.len()],
            streams,
            epoch_rows,
            epoch: None,
        })
    }

    /// Rows in one epoch, over all streams.
    pub fn epoch_rows(&self) -> u64 {
        self.epoch_rows
    }

    /// The row at `position`.
    pub fn at(&mut self, position: u64) -> RowRef {
        let epoch = position / self.epoch_rows;
        let slot = self.slot(epoch, position % self.epoch_rows);
        let stream = slot.stream as usize;
        let shape = &self.streams[stream];
        let num_rows = shape.num_rows();
        let nth = epoch * shape.epoch_rows + slot.earlier;
        let row = match self.kind {
            OrderKind::Sequential => nth % num_rows,
            OrderKind::Shuffled { block_rows } => {
                self.pass(stream, nth / num_rows, block_rows)[index(nth % num_rows)]
            }
        };
        RowRef { stream, row }
    }

    fn slot(&mut self, epoch: u64, at: u64) -> Slot {
        let is_current = self.epoch.as_ref().is_some_and(|table| table.0 == epoch);
        if !is_current {
            let table = self.epoch_table(epoch);
            self.epoch = Some((epoch, table));
        }
        self.epoch.as_ref().map_or(
            Slot {
                stream: 0,
                earlier: 0,
            },
            |table| table.1[index(at)],
        )
    }

    fn epoch_table(&self, epoch: u64) -> Vec<Slot> {
        let len = index(self.epoch_rows);
        let places = match self.kind {
            OrderKind::Sequential => (0..len).collect(),
            OrderKind::Shuffled { .. } => random::permutation("epoch", &[self.seed, epoch], len),
        };
        let ends: Vec<u64> = self
            .streams
            .iter()
            .scan(0, |end, stream| {
                *end += stream.epoch_rows;
                Some(*end)
            })
            .collect();
        let mut seen = vec![0_u64; self.streams.len()];
        places
            .into_iter()
            .map(|place| {
                let stream = ends.partition_point(|&end| end <= place as u64);
                let earlier = seen[stream];
                seen[stream] += 1;
                let stream = u32::try_from(stream).unwrap_or(u32::MAX);
                Slot { stream, earlier }
            })
            .collect()
    }

    fn pass(&mut self, stream: usize, pass: u64, block_rows: u64) -> &[u64] {
        let is_current = self.passes[stream]
            .as_ref()
            .is_some_and(|table| table.0 == pass);
        if !is_current {
            let at = [self.seed, stream as u64, pass];
            let table = pass_table(&self.streams[stream], at, block_rows);
            self.passes[stream] = Some((pass, table));
        }
        self.passes[stream].as_ref().map_or(&[], |table| &table.1)
    }
}

/// The rows of one stream in the order of one pass; `at` is (seed, stream, pass).
fn pass_table(shape: &StreamShape, at: [u64; 3], block_rows: u64) -> Vec<u64> {
    if block_rows == 0 {
        return random::permutation("stream", &at, index(shape.num_rows()))
            .into_iter()
            .map(|row| row as u64)
            .collect();
    }
    let starts: Vec<u64> = shape
        .shard_rows
        .iter()
        .scan(0, |start, rows| {
            Some(std::mem::replace(start, *start + rows))
        })
        .collect();
    let mut rows: Vec<u64> = random::permutation("shards", &at, starts.len())
        .into_iter()
        .flat_map(|shard| starts[shard]..starts[shard] + shape.shard_rows[shard])
        .collect();
    for (block, rows) in (0_u64..).zip(rows.chunks_mut(index(block_rows))) {
        let at = [at[0], at[1], at[2], block];
        random::shuffle(&mut random::stream("block", &at), rows);
    }
    rows
}

fn index(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn streams(shapes: &[(&[u64], u64)]) -> Vec<StreamShape> {
        shapes
            .iter()
            .map(|&(shard_rows, epoch_rows)| StreamShape {
                shard_rows: shard_rows.to_vec(),
                epoch_rows,
            })
            .collect()
    }

    fn rows(order: &mut Order, positions: std::ops::Range<u64>) -> Vec<RowRef> {
        positions.map(|position| order.at(position)).collect()
    }

    #[test]
    fn the_order_is_pinned() {
        let shuffled = OrderKind::Shuffled { block_rows: 0 };
        let mut order = Order::new(7, shuffled, streams(&[(&[3, 2], 5), (&[4], 2)])).unwrap();
        let found: Vec<_> = rows(&mut order, 0..14)
            .into_iter()
            .map(|at| (at.stream, at.row))
            .collect();
        let expected = [
            (0, 0),
            (1, 0),
            (0, 4),
            (1, 2),
            (0, 3),
            (0, 1),
            (0, 2),
            (1, 1),
            (0, 1),
            (0, 4),
            (0, 2),
            (1, 3),
            (0, 3),
            (0, 0),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn sequential_reads_streams_as_stored() {
        let shapes = streams(&[(&[2, 1], 3), (&[4], 2)]);
        let mut order = Order::new(0, OrderKind::Sequential, shapes).unwrap();
        let found: Vec<_> = rows(&mut order, 0..10)
            .into_iter()
            .map(|at| (at.stream, at.row))
            .collect();
        let expected = [
            (0, 0),
            (0, 1),
            (0, 2),
            (1, 0),
            (1, 1),
            (0, 0),
            (0, 1),
            (0, 2),
            (1, 2),
            (1, 3),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn empty_orders_do_not_exist() {
        let kind = OrderKind::Sequential;
        assert!(Order::new(0, kind, Vec::new()).is_none());
        assert!(Order::new(0, kind, streams(&[(&[4], 0)])).is_none());
        assert!(Order::new(0, kind, streams(&[(&[0], 1)])).is_none());
    }

    #[test]
    fn blocks_bound_the_shards_in_use() {
        let kind = OrderKind::Shuffled { block_rows: 8 };
        let shapes = streams(&[(&[4; 25], 100)]);
        let mut order = Order::new(3, kind, shapes).unwrap();
        for block in 0..12 {
            let shards: std::collections::BTreeSet<u64> =
                rows(&mut order, block * 8..block * 8 + 8)
                    .into_iter()
                    .map(|at| at.row / 4)
                    .collect();
            assert!(shards.len() <= 3, "block {block}: {shards:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn every_row_comes_once_per_pass_and_seeking_is_replaying(
            seed: u64,
            shapes in prop::collection::vec((prop::collection::vec(1_u64..6, 1..4), 1_u64..12), 1..4),
            block_rows in 0_u64..7,
        ) {
            let shapes: Vec<StreamShape> = shapes
                .into_iter()
                .map(|(shard_rows, epoch_rows)| StreamShape { shard_rows, epoch_rows })
                .collect();
            let kind = OrderKind::Shuffled { block_rows };
            let mut order = Order::new(seed, kind, shapes.clone()).unwrap();
            let positions = order.epoch_rows() * 5;
            let replayed = rows(&mut order, 0..positions);
            for (stream, shape) in shapes.iter().enumerate() {
                let read: Vec<u64> = replayed.iter().filter(|at| at.stream == stream).map(|at| at.row).collect();
                prop_assert_eq!(read.len() as u64, 5 * shape.epoch_rows);
                for pass in read.chunks_exact(usize::try_from(shape.num_rows()).unwrap()) {
                    let mut pass = pass.to_vec();
                    pass.sort_unstable();
                    prop_assert_eq!(pass, (0..shape.num_rows()).collect::<Vec<_>>());
                }
            }
            for position in (0..positions).rev() {
                prop_assert_eq!(order.at(position), replayed[usize::try_from(position).unwrap()]);
            }
        }
    }
}
