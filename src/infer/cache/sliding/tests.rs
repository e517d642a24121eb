//! Positions inside the cache against keys rotated by their index, query by query.

use crate::attention::choose;
use crate::attention::testing::{normal, relative_error};
use crate::infer::cache::RowSpec;
use crate::infer::counter::KvUsage;
use crate::infer::model_cache::ModelCache;
use crate::infer::policy::Policy;
use crate::infer::policy::streaming_llm::StreamingLlm;
use crate::model::kv::KvCache;
use crate::model::rope::RopeTable;
use crate::model::rope_config::RopeConfig;
use crate::model::rotation::Rotation;
use crate::span::Span;
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

const HEAD_DIM: usize = 4;
/// Cosines and sines are rounded to f32, and the cache turns a query twice.
const TOLERANCE: f64 = 1e-6;

struct Input {
    /// `[T, 2, D]`, `[T, 1, D]`, `[T, 1, D]`, not rotated.
    raw: [Tensor; 3],
    rope: RopeTable,
    len: usize,
}

fn signed(x: usize) -> i64 {
    i64::try_from(x).unwrap()
}

impl Input {
    fn new(len: usize) -> Self {
        tch::set_num_threads(1);
        let shape = |heads| [len, heads, HEAD_DIM].map(signed);
        Self {
            raw: [
                normal(1, &shape(2)),
                normal(2, &shape(1)),
                normal(3, &shape(1)),
            ],
            rope: RopeTable::new(&RopeConfig::unscaled(100.0), HEAD_DIM),
            len,
        }
    }

    fn rotated(&self, rows: &Tensor, positions: &[i64]) -> Tensor {
        Rotation::new(&self.rope, positions, Device::Cpu).apply(rows)
    }

    /// Each query over its own little cache, everything rotated by its index in it.
    fn oracle(&self, span: &Span) -> Tensor {
        let [q, k, v] = &self.raw;
        let attend = |query: usize| {
            let keys: Vec<i64> = (0..=query)
                .filter(|key| *key < span.sink_len() || query - key < span.window_len())
                .map(signed)
                .collect();
            let places: Vec<i64> = (0..signed(keys.len())).collect();
            let picked = Tensor::from_slice(&keys);
            let k_sd = self
                .rotated(&k.index_select(0, &picked), &places)
                .squeeze_dim(1);
            let v_sd = v.index_select(0, &picked).squeeze_dim(1);
            let own = q.narrow(0, signed(query), 1);
            let q_hd = self
                .rotated(&own, &places[places.len() - 1..])
                .squeeze_dim(0);
            let scores = q_hd.matmul(&k_sd.transpose(0, 1)) / 2.0;
            scores.softmax(-1, Kind::Double).matmul(&v_sd)
        };
        Tensor::stack(&(0..self.len).map(attend).collect::<Vec<_>>(), 0)
    }

    /// Through the real cache: prefill in chunks, the last tokens one by one.
    fn run(&self, policy: &dyn Policy, chunk_len: usize, decode_len: usize) -> (Tensor, KvUsage) {
        let spec = RowSpec {
            num_kv_heads: 1,
            head_dim: HEAD_DIM,
            kind: Kind::Double,
            device: Device::Cpu,
            expected_len: 1,
            backend: Arc::from(
                choose::choose("auto", choose::Case::on_cpu(Kind::Double))
                    .unwrap()
                    .backend,
            ),
        };
        let mut cache = ModelCache::open(policy, 1, spec).unwrap();
        let positions: Vec<i64> = (0..signed(self.len)).collect();
        let [q, k, v] = &self.raw;
        let rotated = [
            &self.rotated(q, &positions),
            &self.rotated(k, &positions),
            v,
        ];
        let prefill_len = self.len - decode_len;
        let chunks = (0..prefill_len)
            .step_by(chunk_len)
            .map(|at| (at, chunk_len.min(prefill_len - at)));
        let steps = (prefill_len..self.len).map(|at| (at, 1));
        let outputs: Vec<Tensor> = chunks
            .chain(steps)
            .map(|(at, len)| {
                let [q, k, v] = rotated.map(|rows| rows.narrow(0, signed(at), signed(len)));
                cache.attend(0, &q, &k, &v).unwrap()
            })
            .collect();
        (Tensor::cat(&outputs, 0), cache.usage())
    }
}

#[test]
fn every_small_case_equals_keys_rotated_by_their_index() {
    let input = Input::new(17);
    for sink_len in 0..=5 {
        for window_len in 1..=7 {
            let span = Span::new(sink_len, window_len, 1).unwrap();
            let policy = StreamingLlm::new(span, input.rope.clone());
            let expected = input.oracle(&span);
            let pairs = (0..17).map(|query| span.num_visible(query)).sum::<usize>() as u64;
            for chunk_len in 1..=13 {
                let (found, usage) = input.run(&policy, chunk_len, 4);
                let error = relative_error(&found, &expected);
                assert!(
                    error < TOLERANCE,
                    "{span:?} in chunks of {chunk_len}: {error}"
                );
                assert_eq!(usage.pairs, pairs, "{span:?} in chunks of {chunk_len}");
            }
        }
    }
}

#[test]
fn long_texts_in_blocks_equal_keys_rotated_by_their_index() {
    let input = Input::new(400);
    let span = Span::new(4, 30, 1).unwrap();
    let policy = StreamingLlm::new(span, input.rope.clone());
    let expected = input.oracle(&span);
    for chunk_len in [33, 128, 390] {
        let (found, _) = input.run(&policy, chunk_len, 9);
        assert!(relative_error(&found, &expected) < TOLERANCE, "{chunk_len}");
    }
}
