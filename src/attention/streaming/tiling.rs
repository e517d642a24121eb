//! Queries in tiles of equal length, the sinks and the window of keys that each tile can see, and the way back.

use crate::span::Span;
use crate::torch::dims::dims;
use tch::Tensor;

/// Where the tiles of one document lie; all lengths in tokens.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tiling {
    /// First row that is not part of the dense prefix.
    pub(super) start: i64,
    /// Queries per tile.
    tile: i64,
    /// Number of tiles; the last may be partial.
    count: i64,
    /// Window keys before a tile's first query.
    back: i64,
    /// Sink keys.
    sink: i64,
    /// First row behind the tiles: the document's length, or where the next segment begins.
    len: i64,
}

impl Tiling {
    /// `None` if the whole document lies in the dense prefix.
    pub(super) fn new(span: &Span, len: i64) -> Option<Self> {
        let signed = |x: usize| i64::try_from(x).unwrap_or(i64::MAX);
        let start = signed(span.dense_prefix());
        if start >= len {
            return None;
        }
        let tile = signed(span.tile_len());
        let back = start - signed(span.window_start(span.dense_prefix()));
        let count = (len - start + tile - 1) / tile;
        Some(Self {
            start,
            tile,
            count,
            back,
            sink: signed(span.sink_len()),
            len,
        })
    }

    /// The same rows in tiles of one block.
    pub(super) fn in_blocks(self, span: &Span) -> Self {
        let tile = i64::try_from(span.block_len()).unwrap_or(i64::MAX);
        Self {
            tile,
            count: (self.len - self.start + tile - 1) / tile,
            ..self
        }
    }

    /// Consecutive parts of about `segment_len` queries, each a tiling of its own.
    pub(super) fn segments(self, segment_len: usize) -> impl Iterator<Item = Self> {
        let segment_len = i64::try_from(segment_len).unwrap_or(i64::MAX);
        let tiles = (segment_len / self.tile).max(1);
        let firsts = (0..self.count).step_by(usize::try_from(tiles).unwrap_or(1));
        firsts.map(move |first| {
            let count = tiles.min(self.count - first);
            let start = self.start + first * self.tile;
            Self {
                start,
                count,
                len: self.len.min(start + count * self.tile),
                ..self
            }
        })
    }

    /// Keys of one window.
    fn window(&self) -> i64 {
        self.back + self.tile
    }

    /// Rows that pad the last tile.
    fn padding(&self) -> i64 {
        self.start + self.count * self.tile - self.len
    }

    /// Mask `[tile, sink + window]` shared by all tiles, true = visible.
    pub(super) fn mask(&self, span: &Span, device: tch::Device) -> Tensor {
        let unsigned = |x: i64| usize::try_from(x).unwrap_or(0);
        let first = unsigned(self.start);
        let keys: Vec<usize> = (0..unsigned(self.sink))
            .chain(first - unsigned(self.back)..first + unsigned(self.tile))
            .collect();
        let rows = first..first + unsigned(self.tile);
        let seen: Vec<bool> = rows
            .flat_map(|q| keys.iter().map(move |k| span.sees(q, *k)))
            .collect();
        Tensor::from_slice(&seen)
            .view([self.tile, self.sink + self.window()])
            .to_device(device)
    }

    /// Query rows of all tiles: `[B, T, n, D] -> [B * count, tile, n, D]`.
    pub(super) fn query_tiles(&self, x: &Tensor) -> Tensor {
        let dims = x.size();
        let rows = x.narrow(1, self.start, self.len - self.start);
        let rows = rows.constant_pad_nd([0, 0, 0, 0, 0, self.padding()]);
        rows.reshape([dims[0] * self.count, self.tile, dims[2], dims[3]])
    }

    /// The inverse for outputs: `[B * count, tile, n, D] -> [B, len - start, n, D]`.
    pub(super) fn rows_of_tiles(&self, x: &Tensor, batch: i64) -> Tensor {
        let dims = x.size();
        let rows = x.reshape([batch, self.count * self.tile, dims[2], dims[3]]);
        rows.narrow(1, 0, self.len - self.start)
    }

    /// lse of the tiled rows: `[B, H, T] -> [B * count, H, tile]`.
    pub(super) fn lse_tiles(&self, lse: &Tensor) -> Tensor {
        let dims = lse.size();
        let rows = lse.narrow(2, self.start, self.len - self.start);
        let rows = rows.constant_pad_nd([0, self.padding()]);
        let tiles = rows.reshape([dims[0], dims[1], self.count, self.tile]);
        tiles
            .transpose(1, 2)
            .reshape([dims[0] * self.count, dims[1], self.tile])
    }

    /// The inverse of [`Self::lse_tiles`]: `[B * count, H, tile] -> [B, H, len - start]`.
    pub(super) fn rows_of_lse(&self, lse: &Tensor, batch: i64) -> Tensor {
        let [_, heads, _] = dims(lse);
        let tiles = lse
            .view([batch, self.count, heads, self.tile])
            .transpose(1, 2);
        let rows = tiles.reshape([batch, heads, self.count * self.tile]);
        rows.narrow(2, 0, self.len - self.start)
    }

    /// Sinks and window of every tile: `[B, T, K, D] -> [B * count, sink + window, K, D]`.
    pub(super) fn key_tiles(&self, x: &Tensor) -> Tensor {
        let dims = x.size();
        let first = self.start - self.back;
        let recent = x.narrow(1, first, self.len - first);
        let recent = recent.constant_pad_nd([0, 0, 0, 0, 0, self.padding()]);
        // [B, count, K, D, window] -> [B, count, window, K, D]
        let windows = recent
            .unfold(1, self.window(), self.tile)
            .permute([0, 1, 4, 2, 3]);
        let sinks = x.narrow(1, 0, self.sink).unsqueeze(1);
        let sinks = sinks.expand([-1, self.count, -1, -1, -1], false);
        Tensor::cat(&[sinks, windows], 2).view([
            dims[0] * self.count,
            self.sink + self.window(),
            dims[2],
            dims[3],
        ])
    }

    /// Adds the gradients of all tiles' keys `[B * count, sink + window, K, D]` to `grad` `[B, T, K, D]` (wide dtype).
    pub(super) fn fold_key_grads(&self, tiles: &Tensor, grad: &Tensor) {
        let dims = grad.size();
        let (batch, heads, width) = (dims[0], dims[2], dims[3]);
        let tiles = tiles.to_kind(grad.kind());
        let tiles = tiles.view([batch, self.count, self.sink + self.window(), heads, width]);
        let sinks = tiles
            .narrow(2, 0, self.sink)
            .sum_dim_intlist(1, false, None);
        let _ = grad.narrow(1, 0, self.sink).g_add_(&sinks);
        let windows = tiles
            .narrow(2, self.sink, self.window())
            .permute([0, 1, 3, 4, 2]);
        let first = self.start - self.back;
        let padded = self.len - first + self.padding();
        let folded = Tensor::unfold_backward(
            &windows.contiguous(),
            [batch, padded, heads, width],
            1,
            self.window(),
            self.tile,
        );
        let recent = folded.narrow(1, 0, self.len - first);
        let _ = grad.narrow(1, first, self.len - first).g_add_(&recent);
    }
}
