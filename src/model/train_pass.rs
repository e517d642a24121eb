//! One training pass over a packed row: forward, loss, and a backward pass written by hand.
//!
//! ```text
//! x_0 = embed(ids);  x_{l+1} = block_l(x_l, z_l);  loss = cross-entropy(norm(x_L) W_head^T)
//! ```
//!
//! The same engine serves masks-only, masks and weights, weights-only and pretraining: weight gradients are optional, and
//! everything below the lowest trainable tensor is skipped.

use super::block::{self, BlockContext, LayerGrads, PerLayer, SavedBlock, Saving};
use super::llama::Llama;
use super::loss::{Head, Targets};
use super::mlp::MlpSettings;
use super::norm;
use super::rotation::Rotation;
use super::watch::{BadGrad, Watch};
use crate::attention::gated::{GatedAttention, Wanted};
use crate::attention::head_mix::HeadMix;
use crate::attention::packed::Documents;
use crate::attention::wide;
use crate::profile::recorder;
use crate::profile::span::{Part, Pass};
use crate::torch::dims::dims;
use crate::torch::offload::Offload;
use tch::{Kind, Tensor};

/// Tokens of one micro-batch.
#[derive(Debug)]
pub struct Row {
    /// Token ids `[T]`, i64.
    pub ids: Tensor,
    /// What must be predicted.
    pub targets: Targets,
    /// Document boundaries; attention never crosses them.
    pub documents: Documents,
    /// cos and sin of every token.
    pub rotation: Rotation,
}

/// Settings that hold for a whole run.
#[derive(Debug, Clone, Copy)]
pub struct PassSettings {
    /// What the forward pass keeps.
    pub saving: Saving,
    /// Where that waits; the last layer's stays, for it is needed first.
    pub offload: Offload,
    /// Tokens per chunk of the feed-forward.
    pub mlp_chunk_len: i64,
    /// Positions per chunk of the loss.
    pub loss_chunk_len: i64,
}

/// Gradients of every weight, f32 or wider.
#[derive(Debug)]
pub struct ModelGrads {
    /// `[V, C]`; also the head's when tied.
    pub embedding: Tensor,
    /// One per layer.
    pub layers: Vec<LayerGrads>,
    /// `[C]`.
    pub final_norm: Tensor,
    /// `[V, C]`, unless tied.
    pub head: Option<Tensor>,
}

impl ModelGrads {
    /// Zeros in the wide dtype of the model.
    pub fn zeros(model: &Llama) -> Self {
        let zeros = |x: &Tensor| Tensor::zeros(x.size(), (wide(x.kind()), x.device()));
        Self {
            embedding: zeros(&model.embedding),
            layers: model
                .layers
                .iter()
                .map(|w| zeros_like_layer(w, &zeros))
                .collect(),
            final_norm: zeros(&model.final_norm),
            head: (!model.is_tied()).then(|| zeros(&model.head)),
        }
    }

    /// In the order of [`Llama::named_tensors`].
    ///
    /// # Shapes
    /// Each gradient has the shape of its weight.
    pub fn tensors(&self) -> Vec<&Tensor> {
        let layers = self
            .layers
            .iter()
            .flat_map(super::block::PerLayer::as_array);
        let mut tensors: Vec<&Tensor> = std::iter::once(&self.embedding).chain(layers).collect();
        tensors.push(&self.final_norm);
        tensors.extend(&self.head);
        tensors
    }
}

fn zeros_like_layer(weights: &PerLayer<Tensor>, zeros: &impl Fn(&Tensor) -> Tensor) -> LayerGrads {
    PerLayer {
        attn_norm: zeros(&weights.attn_norm),
        q: zeros(&weights.q),
        k: zeros(&weights.k),
        v: zeros(&weights.v),
        o: zeros(&weights.o),
        mlp_norm: zeros(&weights.mlp_norm),
        gate: zeros(&weights.gate),
        up: zeros(&weights.up),
        down: zeros(&weights.down),
    }
}

/// What a pass found.
#[derive(Debug, Clone, PartialEq)]
pub struct PassResult {
    /// Sum of the cross-entropy over all targets, in nats.
    pub loss_sum: f64,
    /// dL/dz of every gate, row-major, with `L = token_weight * loss_sum`.
    pub dz: Vec<f64>,
}

/// A model, its attention and settings: everything but the data.
#[derive(Clone, Copy)]
pub struct TrainPass<'a> {
    /// The model.
    pub model: &'a Llama,
    /// Backend and span.
    pub attention: GatedAttention<'a>,
    /// Settings.
    pub settings: PassSettings,
}

impl TrainPass<'_> {
    pub(super) fn context<'b>(&'b self, row: &'b Row) -> BlockContext<'b> {
        let config = self.model.config();
        BlockContext {
            shape: config.shape,
            mlp: MlpSettings {
                eps: config.rms_norm_eps,
                chunk_len: self.settings.mlp_chunk_len,
            },
            rotation: &row.rotation,
            documents: &row.documents,
            attention: self.attention,
            saving: self.settings.saving,
            watch: Watch::Off,
        }
    }

    fn head(&self) -> Head<'_> {
        Head {
            weight: &self.model.head,
            chunk_len: self.settings.loss_chunk_len,
        }
    }

    /// Sum of the cross-entropy of `row` under gates `z[layer]`, without gradients.
    pub fn evaluate(&self, row: &Row, z: &[Vec<f64>]) -> f64 {
        let _guard = tch::no_grad_guard();
        let context = BlockContext {
            saving: Saving::Inputs,
            ..self.context(row)
        };
        let mut x = self.model.embed(&row.ids);
        for (weights, z) in self.model.layers.iter().zip(z) {
            x = block::forward(weights, &context, &x, HeadMix::Gated(z)).0;
        }
        let hidden = norm::forward(&x, &self.model.final_norm, context.mlp.eps);
        self.head().loss(&hidden, &row.targets)
    }

    /// Loss and gradients of `row` under gates `z[layer]`.
    ///
    /// `token_weight` multiplies every target's loss in the gradients. Weight gradients are added to `grads`, if weights
    /// train.
    pub fn run(
        &self,
        row: &Row,
        z: &[Vec<f64>],
        token_weight: f64,
        grads: Option<&mut ModelGrads>,
    ) -> PassResult {
        self.run_watched(row, z, token_weight, grads, Watch::Off).0
    }

    /// [`Self::run`], and the topmost gradient of attention that is not finite, if `watch` looks.
    pub fn run_watched(
        &self,
        row: &Row,
        z: &[Vec<f64>],
        token_weight: f64,
        mut grads: Option<&mut ModelGrads>,
        watch: Watch,
    ) -> (PassResult, Option<BadGrad>) {
        let _guard = tch::no_grad_guard();
        let context = BlockContext {
            watch,
            ..self.context(row)
        };
        let (x, saved) = self.forward(&context, row, z);
        let (loss_sum, dx) = self.top(&x, row, token_weight, grads.as_deref_mut());
        // Room for the layers' backward passes, the largest moment of a step.
        drop(x);
        let mixes: Vec<HeadMix> = z.iter().map(|z| HeadMix::Gated(z)).collect();
        let (dz, bad) = self.backward(&context, (row, &mixes), saved, dx, grads);
        (PassResult { loss_sum, dz }, bad)
    }

    /// Loss, and the gradient of the last layer's output `x`: what the loss needed is free again before the layers go back.
    fn top(
        &self,
        x: &Tensor,
        row: &Row,
        token_weight: f64,
        mut grads: Option<&mut ModelGrads>,
    ) -> (f64, Tensor) {
        let eps = self.model.config().rms_norm_eps;
        let hidden = recorder::forward(Part::Norm, &[x], || {
            norm::forward(x, &self.model.final_norm, eps)
        });
        let head_grad = grads.as_deref_mut().map(|grads| match &mut grads.head {
            Some(head) => head,
            None => &mut grads.embedding,
        });
        let (loss_sum, dhidden) = recorder::timed(Part::Loss, Pass::Both, &[&hidden], || {
            self.head()
                .loss_and_grad(&hidden, &row.targets, token_weight, head_grad)
        });
        let dnorm = grads.map(|grads| &mut grads.final_norm);
        let dx = recorder::backward(Part::Norm, &[&dhidden], || {
            norm::backward(&dhidden, (x, &self.model.final_norm), eps, None, dnorm)
        });
        (loss_sum, dx)
    }

    fn forward(
        &self,
        context: &BlockContext,
        row: &Row,
        z: &[Vec<f64>],
    ) -> (Tensor, Vec<SavedBlock>) {
        let mut x = recorder::forward(Part::Embed, &[&row.ids], || self.model.embed(&row.ids));
        let mut saved = Vec::with_capacity(self.model.layers.len());
        for ((layer, weights), z) in (0_u64..).zip(&self.model.layers).zip(z) {
            let (y, kept) = recorder::frame(Part::Layer, Pass::Forward, layer, || {
                let (y, kept) = block::forward(weights, context, &x, HeadMix::Gated(z));
                (y, self.away(layer, kept))
            });
            saved.push(kept);
            x = y;
        }
        (x, saved)
    }

    /// What a layer keeps, where it waits.
    pub(super) fn away(&self, layer: u64, kept: SavedBlock) -> SavedBlock {
        let offload = self.offload(layer);
        if offload == Offload::None {
            return kept;
        }
        recorder::forward(Part::Offload, &[], || kept.map(&|x| offload.away(x)))
    }

    /// What a layer kept, on the device again.
    fn back(&self, layer: u64, kept: SavedBlock) -> SavedBlock {
        let offload = self.offload(layer);
        if offload == Offload::None {
            return kept;
        }
        let device = self.model.device();
        recorder::backward(Part::Offload, &[], || {
            kept.map(&|x| offload.back(x, device))
        })
    }

    fn offload(&self, layer: u64) -> Offload {
        let is_last = layer + 1 == self.model.layers.len() as u64;
        if is_last {
            Offload::None
        } else {
            self.settings.offload
        }
    }

    /// Layers from the top down; returns dz of every gate, row-major, and the first gradient found not to be finite.
    pub(super) fn backward(
        &self,
        context: &BlockContext,
        (row, mixes): (&Row, &[HeadMix]),
        saved: Vec<SavedBlock>,
        top: Tensor,
        mut grads: Option<&mut ModelGrads>,
    ) -> (Vec<f64>, Option<BadGrad>) {
        let mut dy = top;
        let mut bad = None;
        let mut dz = vec![Vec::new(); saved.len()];
        for (layer, kept) in saved.into_iter().enumerate().rev() {
            // With frozen weights nothing below the first layer's gates trains.
            let is_bottom = layer == 0 && grads.is_none();
            let wanted = if is_bottom {
                Wanted::Gates
            } else {
                Wanted::GatesAndInputs
            };
            let found = recorder::frame(Part::Layer, Pass::Backward, layer as u64, || {
                let saved = self.back(layer as u64, kept);
                block::backward(
                    &self.model.layers[layer],
                    context,
                    (&saved, mixes[layer]),
                    &dy,
                    wanted,
                    grads.as_deref_mut().map(|grads| &mut grads.layers[layer]),
                )
            });
            dz[layer] = found.dz;
            bad = bad.or(found.bad.map(|(tensor, shape)| BadGrad {
                layer,
                tensor,
                shape,
            }));
            if let Some(dx) = found.dx {
                dy = dx;
            }
        }
        if let Some(grads) = grads {
            add_embedding_grad(&mut grads.embedding, &dy, &row.ids);
        }
        (dz.concat(), bad)
    }
}

/// Adds the rows of `dx` `[T, C]` to the embeddings of `ids` `[T]`.
fn add_embedding_grad(grad: &mut Tensor, dx: &Tensor, ids: &Tensor) {
    let dx = dx.to_kind(grad.kind());
    let [vocab_size, _] = dims(grad);
    let rows = Tensor::embedding_dense_backward(&dx, ids, vocab_size, -1, false);
    let _ = grad.g_add_(&rows);
}

/// Positions `0 ..` of a packed row; they run on over documents, since rotary attention depends on differences only.
pub fn running_positions(num_tokens: usize) -> Vec<i64> {
    (0..).take(num_tokens).collect()
}

impl Row {
    /// Tensors of a row of tokens with aligned labels and document lengths.
    pub fn new(model: &Llama, ids: &[i64], labels: &[i64], doc_lens: &[usize]) -> Self {
        let device = model.device();
        Self {
            ids: Tensor::from_slice(ids)
                .to_kind(Kind::Int64)
                .to_device(device),
            targets: Targets::from_labels(labels, device),
            documents: Documents::new(doc_lens),
            rotation: model.rotation(&running_positions(ids.len())),
        }
    }
}
