//! Dense attention under an explicit mask of every head, written out in f64, beside the real caches of one layer.

use crate::attention::choose;
use crate::attention::testing::normal;
use crate::fault::AnyFault;
use crate::infer::cache::RowSpec;
use crate::infer::counter::KvUsage;
use crate::infer::model_cache::ModelCache;
use crate::infer::policy::Policy;
use crate::model::kv::KvCache;
use std::ops::Range;
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

const KV_HEADS: usize = 2;
const HEAD_DIM: usize = 3;
/// Width of the layer's input.
pub(super) const WIDTH: i64 = 5;

/// Marks of `[head][query][key]`.
pub(super) type Sees = Vec<Vec<Vec<bool>>>;

/// Random queries, keys and values of one layer, as tensors and as numbers.
pub(super) struct Dense {
    tensors: [Tensor; 3],
    /// The layer's input, for caches that read it.
    input: Tensor,
    numbers: [Vec<f64>; 3],
    group_size: usize,
    len: usize,
}

fn signed(x: usize) -> i64 {
    i64::try_from(x).unwrap()
}

impl Dense {
    pub(super) fn new(len: usize, group_size: usize) -> Self {
        tch::set_num_threads(1);
        let shape = |heads: usize| [len, heads, HEAD_DIM].map(signed);
        let tensors = [
            normal(11, &shape(KV_HEADS * group_size)),
            normal(12, &shape(KV_HEADS)),
            normal(13, &shape(KV_HEADS)),
        ];
        let numbers = [0, 1, 2].map(|i| Vec::try_from(tensors[i].reshape([-1])).unwrap());
        Self {
            tensors,
            input: normal(14, &[signed(len), WIDTH]),
            numbers,
            group_size,
            len,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn num_heads(&self) -> usize {
        KV_HEADS * self.group_size
    }

    pub(super) fn query(&self, row: usize, head: usize) -> &[f64] {
        let at = (row * self.num_heads() + head) * HEAD_DIM;
        &self.numbers[0][at..at + HEAD_DIM]
    }

    /// The key that `head` reads.
    pub(super) fn key(&self, row: usize, head: usize) -> &[f64] {
        let at = (row * KV_HEADS + head / self.group_size) * HEAD_DIM;
        &self.numbers[1][at..at + HEAD_DIM]
    }

    pub(super) fn value(&self, row: usize, head: usize) -> &[f64] {
        let at = (row * KV_HEADS + head / self.group_size) * HEAD_DIM;
        &self.numbers[2][at..at + HEAD_DIM]
    }

    /// The layer's input: `[T, 5]`.
    pub(super) fn input(&self) -> &Tensor {
        &self.input
    }

    /// Attention weights of one query over `keys`.
    pub(super) fn weights(&self, head: usize, query: usize, keys: &[usize]) -> Vec<f64> {
        let scale = f64::from(u32::try_from(HEAD_DIM).unwrap()).sqrt();
        let exp = keys.iter().map(|key| {
            let pairs = self.query(query, head).iter().zip(self.key(*key, head));
            (pairs.map(|(a, b)| a * b).sum::<f64>() / scale).exp()
        });
        let exp: Vec<f64> = exp.collect();
        let total: f64 = exp.iter().sum();
        exp.iter().map(|weight| weight / total).collect()
    }

    /// Marks what `sees` says of every head, query of `queries` and key at or before it.
    pub(super) fn mark(
        &self,
        queries: &Range<usize>,
        sees: impl Fn(usize, usize, usize) -> bool,
    ) -> Sees {
        let row = |head, q| (0..=q).map(|k| sees(head, q, k)).collect();
        let head = |head| queries.clone().map(|q| row(head, q)).collect();
        (0..self.num_heads()).map(head).collect()
    }

    fn oracle(&self, sees: &Sees) -> Vec<f64> {
        let mut out = Vec::new();
        for query in 0..self.len {
            for (head, sees) in sees.iter().enumerate() {
                let keys: Vec<usize> = (0..=query).filter(|key| sees[query][*key]).collect();
                let mut row = [0.0; HEAD_DIM];
                for (key, weight) in keys.iter().zip(self.weights(head, query, &keys)) {
                    for (sum, x) in row.iter_mut().zip(self.value(*key, head)) {
                        *sum += weight * x;
                    }
                }
                out.extend(row);
            }
        }
        out
    }

    /// Empty caches.
    pub(super) fn open(policy: &dyn Policy) -> ModelCache {
        let spec = RowSpec {
            num_kv_heads: KV_HEADS,
            head_dim: HEAD_DIM,
            kind: Kind::Double,
            device: Device::Cpu,
            expected_len: 4,
            backend: Arc::from(
                choose::choose("auto", choose::Case::on_cpu(Kind::Double))
                    .unwrap()
                    .backend,
            ),
        };
        ModelCache::open(policy, 1, spec).unwrap()
    }

    /// One call.
    pub(super) fn attend(
        &self,
        cache: &mut ModelCache,
        rows: Range<usize>,
    ) -> Result<Tensor, AnyFault> {
        let [q, k, v] =
            [0, 1, 2].map(|i| self.tensors[i].narrow(0, signed(rows.start), signed(rows.len())));
        cache.attend(0, &q, &k, &v)
    }

    /// Runs prefill `calls` and decodes the rest through real caches.
    pub(super) fn run(&self, policy: &dyn Policy, calls: &[Range<usize>]) -> (Vec<f64>, KvUsage) {
        let mut cache = Self::open(policy);
        let mut outputs = Vec::new();
        let mut attend = |cache: &mut ModelCache, rows: Range<usize>| {
            let h = &self.input;
            cache.see_input(0, &h.narrow(0, signed(rows.start), signed(rows.len())));
            let out = self.attend(cache, rows).unwrap();
            outputs.extend(Vec::<f64>::try_from(out.reshape([-1])).unwrap());
        };
        for call in calls {
            attend(&mut cache, call.clone());
        }
        cache.end_prefill().unwrap();
        for token in calls.last().map_or(0, |call| call.end)..self.len {
            attend(&mut cache, token..token + 1);
        }
        let usage = cache.usage();
        (outputs, usage)
    }

    /// Asserts that real caches give what the mask gives and count the pairs it marks.
    #[track_caller]
    pub(super) fn assert_equal(
        &self,
        policy: &dyn Policy,
        calls: &[Range<usize>],
        sees: &Sees,
        what: &str,
    ) -> KvUsage {
        let (found, usage) = self.run(policy, calls);
        assert_close(&found, &self.oracle(sees), &what);
        let marks = sees.iter().flatten().flatten();
        let pairs = marks.filter(|mark| **mark).count();
        assert_eq!(usage.attended_pairs, pairs as u64, "{what}");
        usage
    }
}

#[track_caller]
pub(super) fn assert_close(found: &[f64], expected: &[f64], what: &dyn std::fmt::Debug) {
    let largest = expected.iter().fold(0.0_f64, |max, x| max.max(x.abs()));
    let pairs = found.iter().zip(expected);
    let worst = pairs.map(|(a, b)| (a - b).abs()).fold(0.0_f64, f64::max);
    assert_eq!(found.len(), expected.len(), "{what:?}");
    assert!(worst <= 1e-10 * largest, "{what:?}: differs by {worst}");
}
