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
    layers: Vec<Vec<HeadGroup>>,
    seen: Vec<usize>,
    spec: RowSpec,
    counter: Counter,
}

impl ModelCache {
    /// Opens empty caches for `num_layers` layers of `spec.num_kv_heads` kv heads each.
    ///
    /// # Errors
    /// [`InferError::Torch`] if memory runs out.
    pub fn open(policy: &dyn Policy, num_layers: usize, spec: RowSpec) -> Result<Self, InferError> {
        let layers = (0..num_layers)
            .map(|layer| policy.open(layer, &spec))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            layers,
            seen: vec![0; num_layers],
            spec,
            counter: Counter::new(num_layers),
        })
    }

    /// Says that the prompt has been prefilled and decoding begins.
    ///
    /// # Errors
    /// [`InferError::Torch`] if memory runs out while rows are moved.
    pub fn end_prefill(&mut self) -> Result<(), InferError> {
        for group in self.layers.iter_mut().flatten() {
            group.cache.end_prefill()?;
        }
        Ok(())
    }

    /// What the sequence has cost so far.
    pub fn usage(&self) -> KvUsage {
        let caches = || self.layers.iter().flatten().map(|group| &group.cache);
        let entry = 2 * self.spec.head_dim * self.spec.kind.elt_size_in_bytes();
        KvUsage {
            num_tokens: to_u64(self.seen.first().copied().unwrap_or(0)),
            num_heads: to_u64(self.layers.len() * self.spec.num_kv_heads),
            pairs: caches().map(|cache| cache.pairs()).sum(),
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
        let mut first = 0;
        let mut outputs = Vec::new();
        let (mut held, mut allocated) = (0, 0);
        for group in &mut self.layers[layer] {
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
        self.seen[layer] += to_usize(num_rows);
        self.counter.record(layer, held, allocated);
        if outputs.len() == 1 {
            return Ok(outputs.swap_remove(0));
        }
        Ok(Tensor::f_cat(&outputs, 1).map_err(InferError::torch("join the heads' outputs"))?)
    }
}
