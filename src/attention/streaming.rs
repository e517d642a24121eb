//! Streaming attention in O(T * (sink + window)): a dense prefix, then a batch of small window problems.
//!
//! Rows below `sink + window` see everything causal: one dense call. The rest is cut into tiles of queries; each tile
//! gets the sinks and its window of keys, gathered side by side, and all tiles share one small mask. Works for every block
//! size, because tiles start on block borders and the rule is the same relative to each of them. Gathered keys are several
//! times as large as the keys, so long documents are worked through in segments of tiles.
//!
//! A backend without masks gets the same rows in its own form ([`StreamingForm::Causal`]): tiles of exactly one block, whose
//! last keys are the diagonal block, so that causality aligned at the bottom right is the whole rule; or, token-exact, one
//! window over all rows and one problem for the sinks (`streaming/window.rs`).
//!
//! **Invariant:** which keys are visible is asked of [`Span`], never decided here.

use super::{Attended, Backend, InputGrads, Qkv, StreamingForm, Visibility, wide};
use crate::span::{SEGMENT_LEN, Span};
use crate::torch::dims::dims;
use tch::{Kind, Tensor};

mod tiling;
mod window;

use tiling::Tiling;

/// Streaming attention of whole documents.
///
/// # Shapes
/// `q` `[B, T, H, D]`, `k`, `v` `[B, T, K, D]`: every batch entry is one document from its first token on.
///
/// # Precision
/// That of `backend`.
pub fn forward(backend: &dyn Backend, qkv: Qkv, span: &Span) -> Attended {
    forward_in(backend, qkv, span, SEGMENT_LEN)
}

/// [`forward`] in segments of about `segment_len` queries.
fn forward_in(backend: &dyn Backend, qkv: Qkv, span: &Span, segment_len: usize) -> Attended {
    let [_, len, _, _] = dims(qkv.q);
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
    let mut parts = vec![dense];
    match Form::new(backend, span, tiling, qkv.q.device()) {
        Form::Tiles { tiling, mask } => {
            let visibility = tile_visibility(mask.as_ref());
            let segments = tiling.segments(segment_len);
            parts.extend(segments.map(|part| forward_tiles(backend, qkv, part, visibility)));
        }
        Form::Window(window) => parts.push(window.forward(backend, qkv)),
    }
    let (out, lse): (Vec<_>, Vec<_>) = parts.into_iter().map(|part| (part.out, part.lse)).unzip();
    Attended {
        out: Tensor::cat(&out, 1),
        lse: Tensor::cat(&lse, 2),
    }
}

/// How the rows behind the dense prefix are solved.
enum Form {
    Tiles {
        tiling: Tiling,
        /// None where the tiles are causal.
        mask: Option<Tensor>,
    },
    Window(window::Window),
}

impl Form {
    fn new(backend: &dyn Backend, span: &Span, tiling: Tiling, device: tch::Device) -> Self {
        match (backend.streaming_form(), span.block_len()) {
            (StreamingForm::MaskedTiles, _) => Self::Tiles {
                tiling,
                mask: Some(tiling.mask(span, device)),
            },
            (StreamingForm::Causal, 1) => Self::Window(window::Window::new(span, tiling.start)),
            (StreamingForm::Causal, _) => Self::Tiles {
                tiling: tiling.in_blocks(span),
                mask: None,
            },
        }
    }
}

fn tile_visibility(mask: Option<&Tensor>) -> Visibility<'_> {
    mask.map_or(Visibility::Causal, Visibility::Masked)
}

/// The rows of `tiling`.
fn forward_tiles(
    backend: &dyn Backend,
    qkv: Qkv,
    tiling: Tiling,
    visibility: Visibility,
) -> Attended {
    let [batch, _, _, _] = dims(qkv.q);
    let (q, k, v) = tiles(qkv, &tiling);
    let tiled = backend.forward(
        Qkv {
            q: &q,
            k: &k,
            v: &v,
        },
        visibility,
    );
    Attended {
        out: tiling.rows_of_tiles(&tiled.out, batch),
        lse: tiling.rows_of_lse(&tiled.lse, batch),
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
    backward_in(backend, dout, qkv, attended, (span, SEGMENT_LEN))
}

/// [`backward`] in segments of about `segment_len` queries.
fn backward_in(
    backend: &dyn Backend,
    dout: &Tensor,
    qkv: Qkv,
    attended: &Attended,
    (span, segment_len): (&Span, usize),
) -> InputGrads {
    let [_, len, _, _] = dims(qkv.q);
    let Some(tiling) = Tiling::new(span, len) else {
        return backend.backward(dout, qkv, attended, Visibility::Causal);
    };
    let dense = backward_prefix(backend, dout, qkv, attended, tiling.start);
    let grads = KeyGrads::new(qkv, &dense, tiling.start);
    let mut dq = vec![dense.dq];
    let problem = Backward {
        backend,
        dout,
        qkv,
        attended,
    };
    match Form::new(backend, span, tiling, dout.device()) {
        Form::Tiles { tiling, mask } => {
            for part in tiling.segments(segment_len) {
                dq.push(problem.tiles(part, tile_visibility(mask.as_ref()), &grads));
            }
        }
        Form::Window(window) => dq.push(window.backward(&problem, &grads)),
    }
    InputGrads {
        dq: Tensor::cat(&dq, 1),
        dk: grads.dk.to_kind(qkv.k.kind()),
        dv: grads.dv.to_kind(qkv.v.kind()),
    }
}

/// What a backward pass is given.
#[derive(Clone, Copy)]
struct Backward<'a> {
    backend: &'a dyn Backend,
    dout: &'a Tensor,
    qkv: Qkv<'a>,
    attended: &'a Attended,
}

impl Backward<'_> {
    /// dq of the rows of `tiling`; adds what their keys get to `grads`.
    fn tiles(&self, tiling: Tiling, visibility: Visibility, grads: &KeyGrads) -> Tensor {
        let [batch, _, _, _] = dims(self.qkv.q);
        let (q, k, v) = tiles(self.qkv, &tiling);
        let saved = Attended {
            out: tiling.query_tiles(&self.attended.out),
            lse: tiling.lse_tiles(&self.attended.lse),
        };
        let found = self.backend.backward(
            &tiling.query_tiles(self.dout),
            Qkv {
                q: &q,
                k: &k,
                v: &v,
            },
            &saved,
            visibility,
        );
        tiling.fold_key_grads(&found.dk, &grads.dk);
        tiling.fold_key_grads(&found.dv, &grads.dv);
        tiling.rows_of_tiles(&found.dq, batch)
    }
}

/// Sums of the gradients of all keys and values, in the wide dtype.
struct KeyGrads {
    dk: Tensor,
    dv: Tensor,
}

impl KeyGrads {
    /// Begins with those of the dense prefix's rows and keys.
    fn new(qkv: Qkv, prefix: &InputGrads, start: i64) -> Self {
        let sum = |keys: &Tensor, part: &Tensor| {
            let grad = Tensor::zeros(keys.size(), (wide(keys.kind()), keys.device()));
            add_rows(&grad, 0, start, part);
            grad
        };
        Self {
            dk: sum(qkv.k, &prefix.dk),
            dv: sum(qkv.v, &prefix.dv),
        }
    }
}

/// Adds `part` `[B, len, n, D]` to rows `first .. first + len` of `grad`.
fn add_rows(grad: &Tensor, first: i64, len: i64, part: &Tensor) {
    let _ = grad
        .narrow(1, first, len)
        .g_add_(&part.to_kind(grad.kind()));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attention::reference::Reference;
    use crate::attention::testing::{assert_close, normal};

    #[test]
    fn segments_give_what_the_whole_gives() {
        let span = Span::new(2, 5, 1).unwrap();
        // Two whole segments of two tiles, and a third whose only tile is partial.
        let len = 7 + 4 * i64::try_from(span.tile_len()).unwrap() + 3;
        let [q, dout] = [1, 2].map(|seed| normal(seed, &[2, len, 4, 3]));
        let [k, v] = [3, 4].map(|seed| normal(seed, &[2, len, 2, 3]));
        let qkv = Qkv {
            q: &q,
            k: &k,
            v: &v,
        };
        let whole = forward_in(&Reference, qkv, &span, usize::MAX);
        let grads = backward_in(&Reference, &dout, qkv, &whole, (&span, usize::MAX));
        for num_tiles in [1, 2, 3, 5] {
            let segment_len = num_tiles * span.tile_len();
            let parts = forward_in(&Reference, qkv, &span, segment_len);
            assert_close(&parts.out, &whole.out, "out");
            assert_close(&parts.lse, &whole.lse, "lse");
            let found = backward_in(&Reference, &dout, qkv, &whole, (&span, segment_len));
            assert_close(&found.dq, &grads.dq, "dq");
            assert_close(&found.dk, &grads.dk, "dk");
            assert_close(&found.dv, &grads.dv, "dv");
        }
    }
}
