//! One sequence's caches over all layers, behind the trait the model calls.

use super::cache::RowSpec;
use super::counter::{Counter, KvUsage};
use super::error::InferError;
use super::int::{to_i64, to_u64, to_usize};
use super::policy::{HeadGroup, Policy};
use crate::fault::AnyFault;
use crate::model::kv::KvCache;
use crate::torch::dims::dims;
use tch::Tensor;

/// The caches of one sequence under one policy.
pub struct ModelCache {
    layers: Vec<LayerCaches>,
    patch_len: usize,
    spec: RowSpec,
    /// Query heads per kv head, as the calls bring them.
    group_size: usize,
    counter: Counter,
}

/// One layer's caches and what they have taken in.
struct LayerCaches {
    groups: Vec<HeadGroup>,
    /// Tokens of the sequence so far, patches not among them.
    seen: usize,
    /// Trailing tokens of the next call that are forgotten after it.
    patch_len: usize,
}

impl ModelCache {
    /// Opens empty caches for `num_layers` layers of `spec.num_kv_heads` kv heads each.
    ///
    /// # Errors
    /// [`InferError::Torch`] if memory runs out.
    pub fn open(policy: &dyn Policy, num_layers: usize, spec: RowSpec) -> Result<Self, InferError> {
        let open = |layer| {
            Ok(LayerCaches {
                groups: policy.open(layer, &spec)?,
                seen: 0,
                patch_len: 0,
            })
        };
        let layers = (0..num_layers).map(open).collect::<Result<_, _>>()?;
        Ok(Self {
            layers,
            patch_len: policy.patch_len(),
            spec,
            group_size: 1,
            counter: Counter::default(),
        })
    }

    /// Tokens that the policy wants appended to every chunk but the last.
    pub fn patch_len(&self) -> usize {
        self.patch_len
    }

    /// Says that the last `patch_len` tokens of the next call only observe it and are forgotten after it.
    ///
    /// # Errors
    /// [`InferError::Patch`] from a cache whose rule of keeping knows no patch.
    pub fn expect_patch(&mut self, patch_len: usize) -> Result<(), InferError> {
        for layer in &mut self.layers {
            layer.patch_len = patch_len;
            for group in &mut layer.groups {
                group.cache.expect_patch(patch_len)?;
            }
        }
        Ok(())
    }

    /// Says that the prompt has been prefilled and decoding begins.
    ///
    /// # Errors
    /// [`InferError::Torch`] if memory runs out while rows are moved.
    pub fn end_prefill(&mut self) -> Result<(), InferError> {
        for group in self.layers.iter_mut().flat_map(|layer| &mut layer.groups) {
            group.cache.end_prefill()?;
        }
        Ok(())
    }

    /// What the sequence has cost so far.
    pub fn usage(&self) -> KvUsage {
        let groups = || self.layers.iter().flat_map(|layer| &layer.groups);
        let caches = || groups().map(|group| &group.cache);
        let group_size = to_u64(self.group_size);
        let entry = 2 * self.spec.head_dim * self.spec.kind.elt_size_in_bytes();
        KvUsage {
            num_tokens: to_u64(self.layers.first().map_or(0, |layer| layer.seen)),
            num_heads: to_u64(self.layers.len() * self.spec.num_kv_heads),
            pairs: caches().map(|cache| cache.pairs()).sum(),
            group_size,
            attended_pairs: caches().map(|cache| cache.attended_pairs(group_size)).sum(),
            peak_entries: self.counter.peak_held(),
            stored_entries: caches().map(|cache| cache.stored()).sum(),
            peak_allocated_entries: self.counter.peak_allocated(),
            entry_bytes: to_u64(entry),
        }
    }

    fn check(
        &self,
        layer: usize,
        q_thd: &Tensor,
        k_tkd: &Tensor,
        v_tkd: &Tensor,
    ) -> Result<(), InferError> {
        let layers = self.layers.len();
        if layer >= layers {
            return Err(InferError::Layer { layer, layers });
        }
        let kv_heads = self.spec.num_kv_heads;
        let head_dim = to_i64(self.spec.head_dim);
        let bad = |tensor, expected: String, found: &Tensor| {
            Err(InferError::Shape {
                tensor,
                expected,
                found: found.size(),
            })
        };
        let k_shape = k_tkd.size();
        if k_shape.len() != 3 || k_shape[1..] != [to_i64(kv_heads), head_dim] {
            return bad("k [T, K, D]", format!("[T, {kv_heads}, {head_dim}]"), k_tkd);
        }
        if v_tkd.size() != k_shape {
            return bad("v [T, K, D]", format!("{k_shape:?}"), v_tkd);
        }
        let q_shape = q_thd.size();
        let fits = q_shape.len() == 3
            && q_shape[0] == k_shape[0]
            && q_shape[2] == head_dim
            && to_usize(q_shape[1]).is_multiple_of(kv_heads);
        if !fits {
            let expected = format!("[{}, a multiple of {kv_heads}, {head_dim}]", k_shape[0]);
            return bad("q [T, H, D]", expected, q_thd);
        }
        Ok(())
    }
}

impl KvCache for ModelCache {
    fn see_input(&mut self, layer: usize, h_tc: &Tensor) {
        // A layer that is not there is what `attend` complains of.
        let layer = self.layers.get_mut(layer);
        for group in layer.into_iter().flat_map(|of| &mut of.groups) {
            group.cache.see_input(h_tc);
        }
    }

    fn attend(
        &mut self,
        layer: usize,
        q_thd: &Tensor,
        k_tkd: &Tensor,
        v_tkd: &Tensor,
    ) -> Result<Tensor, AnyFault> {
        self.check(layer, q_thd, k_tkd, v_tkd)?;
        let [num_rows, num_heads, _] = dims(q_thd);
        let group_size = to_usize(num_heads) / self.spec.num_kv_heads;
        self.group_size = group_size;
        let mut first = 0;
        let mut outputs = Vec::new();
        let (mut held, mut allocated) = (0, 0);
        let caches = &mut self.layers[layer];
        for group in &mut caches.groups {
            let kv_heads =
                |rows: &Tensor| rows.narrow(1, to_i64(first), to_i64(group.num_kv_heads));
            let heads = q_thd.narrow(
                1,
                to_i64(first * group_size),
                to_i64(group.num_kv_heads * group_size),
            );
            outputs.push(
                group
                    .cache
                    .attend(&heads, &kv_heads(k_tkd), &kv_heads(v_tkd))?,
            );
            held += group.cache.held();
            allocated += group.cache.allocated();
            first += group.num_kv_heads;
        }
        caches.seen += to_usize(num_rows) - std::mem::take(&mut caches.patch_len);
        self.counter.record(layer, held, allocated);
        if outputs.len() == 1 {
            return Ok(outputs.swap_remove(0));
        }
        Ok(Tensor::f_cat(&outputs, 1).map_err(InferError::torch("join the heads' outputs"))?)
    }
}
