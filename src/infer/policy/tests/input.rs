//! Random queries, keys and values, as numbers for the oracle and as tensors for the real caches.

use super::case::{Case, signed};
use super::{HEAD_DIM, KV_HEADS, NUM_LAYERS};
use crate::attention::choose;
use crate::attention::testing::normal;
use crate::infer::cache::RowSpec;
use crate::infer::counter::KvUsage;
use crate::infer::model_cache::ModelCache;
use crate::infer::policy::Policy;
use crate::model::kv::KvCache;
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

/// Queries, keys and values of all calls, as tensors and as numbers.
pub(super) struct Input {
    tensors: [Tensor; 3],
    numbers: [Vec<f64>; 3],
    group_size: usize,
}

impl Input {
    pub(super) fn new(case: &Case) -> Self {
        tch::set_num_threads(1);
        let last = *case.calls().last().unwrap();
        let num_rows = last.start + 1;
        let shape = |heads: usize| [num_rows, heads, HEAD_DIM].map(signed);
        let tensors = [
            normal(1, &shape(KV_HEADS * case.group_size)),
            normal(2, &shape(KV_HEADS)),
            normal(3, &shape(KV_HEADS)),
        ];
        let numbers = [0, 1, 2].map(|i| Vec::try_from(tensors[i].reshape([-1])).unwrap());
        Self {
            tensors,
            numbers,
            group_size: case.group_size,
        }
    }

    fn query(&self, row: usize, head: usize) -> &[f64] {
        let at = (row * KV_HEADS * self.group_size + head) * HEAD_DIM;
        &self.numbers[0][at..at + HEAD_DIM]
    }

    pub(super) fn key(&self, row: usize, kv_head: usize) -> &[f64] {
        let at = (row * KV_HEADS + kv_head) * HEAD_DIM;
        &self.numbers[1][at..at + HEAD_DIM]
    }

    pub(super) fn value(&self, row: usize, kv_head: usize) -> &[f64] {
        let at = (row * KV_HEADS + kv_head) * HEAD_DIM;
        &self.numbers[2][at..at + HEAD_DIM]
    }

    /// Attention weights of one query over `rows`.
    pub(super) fn weights(&self, query: usize, head: usize, rows: &[usize]) -> Vec<f64> {
        let scale = f64::from(u32::try_from(HEAD_DIM).unwrap()).sqrt();
        let exp = rows.iter().map(|row| {
            let key = self.key(*row, head / self.group_size);
            let dot: f64 = self
                .query(query, head)
                .iter()
                .zip(key)
                .map(|(a, b)| a * b)
                .sum();
            (dot / scale).exp()
        });
        let exp: Vec<f64> = exp.collect();
        let total: f64 = exp.iter().sum();
        exp.iter().map(|weight| weight / total).collect()
    }

    /// Runs the calls through real caches: outputs per layer, and the cost.
    pub(super) fn run(&self, case: &Case) -> (Vec<Vec<f64>>, KvUsage) {
        let mut cache = open(&case.policy());
        let mut outputs = vec![Vec::new(); NUM_LAYERS];
        let mut decoding = false;
        for call in case.calls() {
            if call.decodes && !decoding {
                cache.end_prefill().unwrap();
                decoding = true;
            }
            if call.patch_len > 0 {
                cache.expect_patch(call.patch_len).unwrap();
            }
            let [q, k, v] = [0, 1, 2].map(|i| call.rows(&self.tensors[i]));
            for (layer, outputs) in outputs.iter_mut().enumerate() {
                let out = cache.attend(layer, &q, &k, &v).unwrap();
                outputs.extend(Vec::<f64>::try_from(out.reshape([-1])).unwrap());
            }
        }
        (outputs, cache.usage())
    }
}

/// Empty caches of all layers.
pub(super) fn open(policy: &dyn Policy) -> ModelCache {
    let spec = RowSpec {
        num_kv_heads: KV_HEADS,
        head_dim: HEAD_DIM,
        kind: Kind::Double,
        device: Device::Cpu,
        expected_len: 1000,
        backend: Arc::from(
            choose::choose("auto", choose::Case::on_cpu(Kind::Double))
                .unwrap()
                .backend,
        ),
    };
    ModelCache::open(policy, NUM_LAYERS, spec).unwrap()
}
