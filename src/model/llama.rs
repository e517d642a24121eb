//! A Llama: its weights by checkpoint name, the inference forward pass, and logits.
//!
//! Training passes are in `train_pass`; both run the same arithmetic of [`super::block`].

use super::block::{LayerWeights, PerLayer, project};
use super::config::ModelConfig;
use super::kv::KvCache;
use super::mlp::{self, MlpSettings};
use super::rope::RopeTable;
use super::rotation::Rotation;
use super::{linear, norm, tensor_names};
use crate::fault::{AnyFault, Coded};
use std::collections::BTreeMap;
use tch::{Device, Kind, Tensor};

/// Tokens per chunk of norm and feed-forward, unless a run says otherwise.
pub const DEFAULT_MLP_CHUNK: i64 = 8192;

/// A tensor that the configuration calls for is not there.
#[derive(Debug, thiserror::Error)]
#[error("tensor `{name}` is missing")]
pub struct MissingTensor {
    name: String,
}

impl MissingTensor {
    /// Its checkpoint name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Coded for MissingTensor {
    fn code(&self) -> &'static str {
        "model.tensor_missing"
    }
    fn kind(&self) -> crate::fault::Kind {
        crate::fault::Kind::Input
    }
}

/// A model in memory.
#[derive(Debug)]
pub struct Llama {
    config: ModelConfig,
    /// `[V, C]`.
    pub(super) embedding: Tensor,
    /// Decoder blocks.
    pub(super) layers: Vec<LayerWeights>,
    /// `[C]`.
    pub(super) final_norm: Tensor,
    /// `[V, C]`; the embedding itself when tied.
    pub(super) head: Tensor,
    /// `[3 H, C]` per layer; none in a plain Llama.
    branch_gates: Vec<Tensor>,
    rope: RopeTable,
}

/// Checkpoint names of a layer's weights.
fn layer_names(layer: usize) -> PerLayer<String> {
    let name = |suffix: &str| format!("model.layers.{layer}.{suffix}.weight");
    PerLayer {
        attn_norm: name("input_layernorm"),
        q: name("self_attn.q_proj"),
        k: name("self_attn.k_proj"),
        v: name("self_attn.v_proj"),
        o: name("self_attn.o_proj"),
        mlp_norm: name("post_attention_layernorm"),
        gate: name("mlp.gate_proj"),
        up: name("mlp.up_proj"),
        down: name("mlp.down_proj"),
    }
}

impl<T> PerLayer<T> {
    /// The values in checkpoint order.
    pub fn as_array(&self) -> [&T; 9] {
        let Self {
            attn_norm,
            q,
            k,
            v,
            o,
            mlp_norm,
            gate,
            up,
            down,
        } = self;
        [attn_norm, q, k, v, o, mlp_norm, gate, up, down]
    }

    /// Applies `f` to every value.
    ///
    /// # Errors
    /// The first error of `f`.
    pub fn try_map<U, E>(self, mut f: impl FnMut(T) -> Result<U, E>) -> Result<PerLayer<U>, E> {
        Ok(PerLayer {
            attn_norm: f(self.attn_norm)?,
            q: f(self.q)?,
            k: f(self.k)?,
            v: f(self.v)?,
            o: f(self.o)?,
            mlp_norm: f(self.mlp_norm)?,
            gate: f(self.gate)?,
            up: f(self.up)?,
            down: f(self.down)?,
        })
    }
}

impl Llama {
    /// Assembles a model from tensors by checkpoint name.
    ///
    /// # Shapes
    /// Each tensor has the shape of its checkpoint name; matrices are `[out, in]`.
    ///
    /// # Errors
    /// [`MissingTensor`] if a name is absent; of the gates of branches all or none.
    pub fn from_tensors(
        config: ModelConfig,
        mut tensors: BTreeMap<String, Tensor>,
    ) -> Result<Self, MissingTensor> {
        let mut gates = tensor_names::branch_gates(&config);
        if !gates.iter().any(|(name, _)| tensors.contains_key(name)) {
            gates.clear();
        }
        let mut take = |name: String| tensors.remove(&name).ok_or(MissingTensor { name });
        let embedding = take("model.embed_tokens.weight".to_owned())?;
        let layers = (0..config.shape.num_layers)
            .map(|layer| layer_names(layer).try_map(&mut take))
            .collect::<Result<Vec<_>, _>>()?;
        let final_norm = take("model.norm.weight".to_owned())?;
        let head = if config.tie_word_embeddings {
            embedding.shallow_clone()
        } else {
            take("lm_head.weight".to_owned())?
        };
        let gates = gates.into_iter().map(|(name, _)| take(name));
        let branch_gates = gates.collect::<Result<Vec<_>, _>>()?;
        let rope = RopeTable::new(&config.rope, config.shape.head_dim);
        Ok(Self {
            config,
            embedding,
            layers,
            final_norm,
            head,
            branch_gates,
            rope,
        })
    }

    /// The model's configuration.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Dtype of activations and norms; matrices may lie in fewer bits where a model only infers.
    pub fn kind(&self) -> Kind {
        self.final_norm.kind()
    }

    /// Where the weights are.
    pub fn device(&self) -> Device {
        self.embedding.device()
    }

    /// Whether the head is the embedding.
    pub fn is_tied(&self) -> bool {
        self.config.tie_word_embeddings
    }

    /// Every stored tensor by checkpoint name, in checkpoint order.
    ///
    /// # Shapes
    /// Each tensor has the shape of its checkpoint name.
    pub fn named_tensors(&self) -> Vec<(String, &Tensor)> {
        let mut named = vec![("model.embed_tokens.weight".to_owned(), &self.embedding)];
        for (layer, weights) in self.layers.iter().enumerate() {
            let names = layer_names(layer);
            let names = names.as_array().map(String::clone);
            named.extend(names.into_iter().zip(weights.as_array()));
        }
        named.push(("model.norm.weight".to_owned(), &self.final_norm));
        if !self.is_tied() {
            named.push(("lm_head.weight".to_owned(), &self.head));
        }
        named
    }

    /// The gates of native sparse attention's branches, one tensor per layer; none where the checkpoint carries none. They are
    /// part of no other tensor list: training knows nothing of them.
    ///
    /// # Shapes
    /// `[3 H, C]` each.
    pub fn branch_gates(&self) -> &[Tensor] {
        &self.branch_gates
    }

    /// The frequencies that queries and keys are rotated by.
    pub fn rope(&self) -> &RopeTable {
        &self.rope
    }

    /// cos and sin for tokens at `positions`.
    pub fn rotation(&self, positions: &[i64]) -> Rotation {
        Rotation::new(&self.rope, positions, self.device())
    }

    /// Embeddings of tokens: `[T]` -> `[T, C]`.
    ///
    /// # Shapes
    /// `ids` `[T]`, i64.
    pub fn embed(&self, ids: &Tensor) -> Tensor {
        self.embedding.index_select(0, ids).to_kind(self.kind())
    }

    /// Hidden states after the final norm of one chunk of tokens, whose keys and values go through `cache`.
    ///
    /// # Shapes
    /// `tokens`: `T` ids at positions `start_position ..`; returns `[T, C]`.
    ///
    /// # Errors
    /// Whatever the cache cannot do.
    pub fn forward_cached(
        &self,
        tokens: &[i64],
        start_position: usize,
        cache: &mut dyn KvCache,
    ) -> Result<Tensor, AnyFault> {
        let _guard = tch::no_grad_guard();
        let start = i64::try_from(start_position).unwrap_or(i64::MAX);
        let positions: Vec<i64> = (start..).take(tokens.len()).collect();
        let rotation = self.rotation(&positions);
        let settings = MlpSettings {
            eps: self.config.rms_norm_eps,
            chunk_len: DEFAULT_MLP_CHUNK,
        };
        let mut x = self.embed(&Tensor::from_slice(tokens).to_device(self.device()));
        for (layer, weights) in self.layers.iter().enumerate() {
            let h = norm::forward(&x, &weights.attn_norm, settings.eps);
            let (q, k, v) = project(weights, &self.config.shape, &h);
            cache.see_input(layer, &h);
            let attended = cache.attend(layer, &rotation.apply(&q), &rotation.apply(&k), &v)?;
            let update = linear::forward(&attended.flatten(1, 2), &weights.o);
            x = mlp::forward(weights, settings, &x, &update);
        }
        Ok(norm::forward(&x, &self.final_norm, settings.eps))
    }

    /// Logits in f32 (f64 for f64 models).
    ///
    /// # Shapes
    /// `hidden` `[.., C]`, after the final norm -> `[.., V]`.
    pub fn logits(&self, hidden: &Tensor) -> Tensor {
        let logits = linear::forward(hidden, &self.head);
        logits.to_kind(crate::attention::wide(logits.kind()))
    }

    /// The head `[V, C]`, for chunked losses.
    ///
    /// # Shapes
    /// Returns `[V, C]`.
    pub fn head(&self) -> &Tensor {
        &self.head
    }

    /// Reorders the kv heads of every layer: `order[layer][i]` is the checkpoint's head that becomes head `i`.
    ///
    /// Rows of q, k, v and columns of o follow, so outputs do not change; retrieval heads can so be made contiguous.
    pub fn permute_kv_heads(&mut self, order: &[Vec<usize>]) {
        let _guard = tch::no_grad_guard();
        let shape = self.config.shape;
        for (weights, order) in self.layers.iter_mut().zip(order) {
            let queries = rows_of(
                order,
                shape.group_size() * shape.head_dim,
                weights.q.device(),
            );
            let keys = rows_of(order, shape.head_dim, weights.q.device());
            weights.q = weights.q.index_select(0, &queries);
            weights.k = weights.k.index_select(0, &keys);
            weights.v = weights.v.index_select(0, &keys);
            weights.o = weights.o.index_select(1, &queries);
        }
    }
}

/// Row numbers when blocks of `width` rows are taken in `order`.
fn rows_of(order: &[usize], width: usize, device: Device) -> Tensor {
    let rows: Vec<i64> = order
        .iter()
        .flat_map(|head| head * width..(head + 1) * width)
        .filter_map(|row| i64::try_from(row).ok())
        .collect();
    Tensor::from_slice(&rows).to_device(device)
}
