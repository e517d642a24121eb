//! A forward pass with full attention that shows what each layer's attention works on.

use super::block::{self, BlockContext, Projected, Saving};
use super::mlp::MlpSettings;
use super::train_pass::{Row, TrainPass};
use super::watch::Watch;
use crate::attention::Qkv;
use crate::attention::gated::GatedAttention;
use crate::attention::head_mix::HeadMix;

impl TrainPass<'_> {
    /// Runs `row` with every head a retrieval head, and gives `visit` each layer's rotated queries and keys, and values.
    ///
    /// # Shapes
    /// `visit` is given a layer and `[T, H | K, D]`.
    ///
    /// # Decisions
    /// Queries, keys and values are projected twice, here and by the block itself: a pass that is run a few times buys a block
    /// that knows no observer.
    pub fn observe(&self, row: &Row, visit: &mut dyn FnMut(usize, Qkv)) {
        let _guard = tch::no_grad_guard();
        let config = self.model.config();
        let context = BlockContext {
            shape: config.shape,
            mlp: MlpSettings {
                eps: config.rms_norm_eps,
                chunk_len: self.settings.mlp_chunk_len,
            },
            rotation: &row.rotation,
            documents: &row.documents,
            attention: GatedAttention {
                backend: self.attention.backend,
                span: None,
            },
            saving: Saving::Inputs,
            watch: Watch::Off,
        };
        let open = vec![1.0; config.shape.num_kv_heads];
        let mut x = self.model.embed(&row.ids);
        for (layer, weights) in self.model.layers.iter().enumerate() {
            visit(layer, Projected::new(weights, &context, &x).qkv());
            x = block::forward(weights, &context, &x, HeadMix::Gated(&open)).0;
        }
    }
}
