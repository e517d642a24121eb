//! Streaming attention in O(T * (sink + window)): a dense prefix, then a batch of small window problems.
//!
//! Rows below `sink + window` see everything causal: one dense call. The rest is cut into tiles of queries; each tile
//! gets the sinks and its window of keys, gathered side by side, and all tiles share one small mask. Works for every block
//! size, because tiles start on block borders and the rule is the same relative to each of them.
//!
//! **Invariant:** which keys are visible is asked of [`Span`], never decided here.

use super::{Attended, Backend, InputGrads, Qkv, Visibility, wide};
use crate::span::Span;
use crate::torch::dims::dims;
use tch::{Kind, Tensor};

/// Tiles aim at this many queries: enough for the matrix products, little waste on masked keys.
const TILE_RANGE: std::ops::RangeInclusive<usize> = 32..=128;

/// Where the tiles of one document lie; all lengths in tokens.
#[derive(Debug, Clone, Copy)]
struct Tiling {
    /// First row that is not part of the dense prefix.
    start: i64,
    /// Queries per tile.
    tile: i64,
    /// Number of tiles; the last may be partial.
    count: i64,
    /// Window keys before a tile's first query.
    back: i64,
    /// Sink keys.
    sink: i64,
    /// Document length.
    len: i64,
}

impl Tiling {
    /// `None` if the whole document lies in the dense prefix.
    fn new(span: &Span, len: i64) -> Option<Self> {
        let signed = |x: usize| i64::try_from(x).unwrap_or(i64::MAX);
        let start = signed(span.dense_prefix());
        if start >= len {
            return None;
        }
        let wanted = (span.window_len() / 2).clamp(*TILE_RANGE.start(), *TILE_RANGE.end());
        let tile = signed(wanted.div_ceil(span.block_len()) * span.block_len());
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

    /// Keys of one window.
    fn window(&self) -> i64 {
        self.back + self.tile
    }

    /// Rows that pad the last tile.
    fn padding(&self) -> i64 {
        self.start + self.count * self.tile - self.len
    }

    /// Mask `[tile, sink + window]` shared by all tiles, true = visible.
    fn mask(&self, span: &Span, device: tch::Device) -> Tensor {
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
    fn query_tiles(&self, x: &Tensor) -> Tensor {
        let dims = x.size();
        let rows = x.narrow(1, self.start, self.len - self.start);
        let rows = rows.constant_pad_nd([0, 0, 0, 0, 0, self.padding()]);
        rows.reshape([dims[0] * self.count, self.tile, dims[2], dims[3]])
    }

    /// The inverse for outputs: `[B * count, tile, n, D] -> [B, len - start, n, D]`.
    fn rows_of_tiles(&self, x: &Tensor, batch: i64) -> Tensor {
        let dims = x.size();
        let rows = x.reshape([batch, self.count * self.tile, dims[2], dims[3]]);
        rows.narrow(1, 0, self.len - self.start)
    }

    /// lse of the tiled rows: `[B, H, T] -> [B * count, H, tile]`.
    fn lse_tiles(&self, lse: &Tensor) -> Tensor {
        let dims = lse.size();
        let rows = lse.narrow(2, self.start, self.len - self.start);
        let rows = rows.constant_pad_nd([0, self.padding()]);
        let tiles = rows.reshape([dims[0], dims[1], self.count, self.tile]);
        tiles
            .transpose(1, 2)
            .reshape([dims[0] * self.count, dims[1], self.tile])
    }

    /// The inverse of [`Self::lse_tiles`]: `[B * count, H, tile] -> [B, H, len - start]`.
    fn rows_of_lse(&self, lse: &Tensor, batch: i64) -> Tensor {
        let [_, heads, _] = dims(lse);
        let tiles = lse
            .view([batch, self.count, heads, self.tile])
            .transpose(1, 2);
        let rows = tiles.reshape([batch, heads, self.count * self.tile]);
        rows.narrow(2, 0, self.len - self.start)
    }

    /// Sinks and window of every tile: `[B, T, K, D] -> [B * count, sink + window, K, D]`.
    fn key_tiles(&self, x: &Tensor) -> Tensor {
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
    fn fold_key_grads(&self, tiles: &Tensor, grad: &Tensor) {
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

/// Streaming attention of whole documents.
///
/// # Shapes
/// `q` `[B, T, H, D]`, `k`, `v` `[B, T, K, D]`: every batch entry is one document from its first token on.
///
/// # Precision
/// That of `backend`.
pub fn forward(backend: &dyn Backend, qkv: Qkv, span: &Span) -> Attended {
    let [batch, len, _, _] = dims(qkv.q);
    let Some(tiling) = Tiling::new(span, len) else {
        return backend.forward(qkv, Visibility::Causal);
    };
    let (q, k, v) = prefix(qkv, tiling.start);
    let dense = backend.forward(
        Qkv {
            q: &q,
            k: &k,
            v: &v,
        },
        Visibility::Causal,
    );
    let (q, k, v) = tiles(qkv, &tiling);
    let mask = tiling.mask(span, q.device());
    let tiled = backend.forward(
        Qkv {
            q: &q,
            k: &k,
            v: &v,
        },
        Visibility::Masked(&mask),
    );
    Attended {
        out: Tensor::cat(&[dense.out, tiling.rows_of_tiles(&tiled.out, batch)], 1),
        lse: Tensor::cat(&[dense.lse, tiling.rows_of_lse(&tiled.lse, batch)], 2),
    }
}

/// Gradients of [`forward`] for an output gradient `dout` `[B, T, H, D]`.
///
/// # Shapes
/// As [`forward`].
///
/// # Precision
/// Gradients of keys shared by several tiles are summed in f32 (f64 for f64 inputs).
pub fn backward(
    backend: &dyn Backend,
    dout: &Tensor,
    qkv: Qkv,
    attended: &Attended,
    span: &Span,
) -> InputGrads {
    let [batch, len, _, _] = dims(qkv.q);
    let Some(tiling) = Tiling::new(span, len) else {
        return backend.backward(dout, qkv, attended, Visibility::Causal);
    };
    let dense = backward_prefix(backend, dout, qkv, attended, tiling.start);
    let (q, k, v) = tiles(qkv, &tiling);
    let mask = tiling.mask(span, q.device());
    let saved = Attended {
        out: tiling.query_tiles(&attended.out),
        lse: tiling.lse_tiles(&attended.lse),
    };
    let grads = backend.backward(
        &tiling.query_tiles(dout),
        Qkv {
            q: &q,
            k: &k,
            v: &v,
        },
        &saved,
        Visibility::Masked(&mask),
    );
    InputGrads {
        dq: Tensor::cat(&[dense.dq, tiling.rows_of_tiles(&grads.dq, batch)], 1),
        dk: key_grads(qkv.k, &dense.dk, &grads.dk, &tiling),
        dv: key_grads(qkv.v, &dense.dv, &grads.dv, &tiling),
    }
}

fn backward_prefix(
    backend: &dyn Backend,
    dout: &Tensor,
    qkv: Qkv,
    attended: &Attended,
    start: i64,
) -> InputGrads {
    let (q, k, v) = prefix(qkv, start);
    let saved = Attended {
        out: attended.out.narrow(1, 0, start),
        lse: attended.lse.narrow(2, 0, start).contiguous(),
    };
    let dout = dout.narrow(1, 0, start);
    backend.backward(
        &dout,
        Qkv {
            q: &q,
            k: &k,
            v: &v,
        },
        &saved,
        Visibility::Causal,
    )
}

/// Gradient of all keys from the prefix's and the tiles' parts, in the dtype of `keys`.
fn key_grads(keys: &Tensor, prefix: &Tensor, tiles: &Tensor, tiling: &Tiling) -> Tensor {
    let grad = Tensor::zeros(keys.size(), (wide(keys.kind()), keys.device()));
    let _ = grad
        .narrow(1, 0, tiling.start)
        .g_add_(&prefix.to_kind(grad.kind()));
    tiling.fold_key_grads(tiles, &grad);
    grad.to_kind(keys.kind())
}

fn prefix(qkv: Qkv, start: i64) -> (Tensor, Tensor, Tensor) {
    // Batch strides differ from a fresh tensor's, so the copies keep `view` legal in every backend.
    let head = |x: &Tensor| x.narrow(1, 0, start).contiguous();
    (head(qkv.q), head(qkv.k), head(qkv.v))
}

fn tiles(qkv: Qkv, tiling: &Tiling) -> (Tensor, Tensor, Tensor) {
    (
        tiling.query_tiles(qkv.q),
        tiling.key_tiles(qkv.k),
        tiling.key_tiles(qkv.v),
    )
}

/// The dense mask of `span` for one document of `len` tokens, `[len, len]`: for oracles only.
///
/// # Shapes
/// Returns `[len, len]`.
pub fn dense_mask(span: &Span, len: usize) -> Tensor {
    let seen: Vec<bool> = (0..len)
        .flat_map(|q| (0..len).map(move |k| span.sees(q, k)))
        .collect();
    let side = i64::try_from(len).unwrap_or(i64::MAX);
    Tensor::from_slice(&seen)
        .view([side, side])
        .to_kind(Kind::Bool)
}
