//! Every cache against dense attention under an explicit mask, in f64.

use crate::attention::choose;
use crate::footprint::holdings::{Holdings, StreamingHeads};
use crate::footprint::workload::{Convention, Workload};
use crate::infer::cache::RowSpec;
use crate::infer::counter::KvUsage;
use crate::infer::model_cache::ModelCache;
use crate::infer::policy::Policy;
use crate::infer::policy::full::Full;
use crate::infer::policy::head_mask::{HeadMaskPolicy, inverse};
use crate::mask::head_mask::HeadMask;
use crate::model::kv::KvCache;
use crate::random;
use crate::span::{Span, StreamingRule};
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

const RULES: [StreamingRule; 3] = [
    StreamingRule::DuoChunk,
    StreamingRule::Sliding,
    StreamingRule::FrozenPrompt,
];

/// One prompt and its decoding.
#[derive(Debug, Clone, Copy)]
struct Case {
    prefill_len: usize,
    decode_len: usize,
    chunk_len: usize,
    sink_len: usize,
    window_len: usize,
    rule: StreamingRule,
}

impl Case {
    fn len(&self) -> usize {
        self.prefill_len + self.decode_len
    }

    fn span(&self) -> Span {
        Span::new(self.sink_len, self.window_len, 1).unwrap()
    }

    /// The calls of prefill and decode, as token ranges.
    fn calls(&self) -> Vec<(usize, usize)> {
        let chunks = (0..self.prefill_len)
            .step_by(self.chunk_len)
            .map(|start| (start, (start + self.chunk_len).min(self.prefill_len)));
        let steps = (self.prefill_len..self.len()).map(|start| (start, start + 1));
        chunks.chain(steps).collect()
    }

    /// The rule as the page states it: does a streaming head's query `q` see key `k`?
    fn sees(&self, q: usize, k: usize) -> bool {
        let prefilling = q < self.prefill_len;
        let sink = k < self.sink_len;
        k <= q
            && match self.rule {
                StreamingRule::DuoChunk => {
                    let start = if prefilling {
                        q / self.chunk_len * self.chunk_len
                    } else {
                        q
                    };
                    sink || k + self.window_len >= start
                }
                StreamingRule::Sliding => sink || q - k < self.window_len,
                StreamingRule::FrozenPrompt => {
                    prefilling
                        || sink
                        || k >= self.prefill_len
                        || k + self.window_len >= self.prefill_len
                }
            }
    }
}

fn normal(rng: &mut ChaCha8Rng, shape: [usize; 3]) -> Tensor {
    let count = shape.iter().product::<usize>();
    let values: Vec<f64> = (0..count)
        .map(|_| 4.0 * random::uniform(rng) - 2.0)
        .collect();
    Tensor::from_slice(&values).view(shape.map(|size| i64::try_from(size).unwrap()))
}

struct Input {
    q: Tensor,
    k: Tensor,
    v: Tensor,
    num_heads: usize,
    num_kv_heads: usize,
    head_dim: usize,
}

impl Input {
    fn new(at: u64, len: usize, num_heads: usize, num_kv_heads: usize, head_dim: usize) -> Self {
        // Threads that wait by spinning cost more than these shapes.
        tch::set_num_threads(1);
        let mut rng = random::stream("infer cache test", &[at]);
        Self {
            q: normal(&mut rng, [len, num_heads, head_dim]),
            k: normal(&mut rng, [len, num_kv_heads, head_dim]),
            v: normal(&mut rng, [len, num_kv_heads, head_dim]),
            num_heads,
            num_kv_heads,
            head_dim,
        }
    }

    fn spec(&self, expected_len: usize) -> RowSpec {
        RowSpec {
            num_kv_heads: self.num_kv_heads,
            head_dim: self.head_dim,
            kind: Kind::Double,
            device: Device::Cpu,
            expected_len,
            backend: Arc::from(
                choose::choose("auto", choose::Case::on_cpu(Kind::Double))
                    .unwrap()
                    .backend,
            ),
        }
    }

    /// The obvious loop over heads, queries and keys.
    fn oracle(&self, sees: impl Fn(usize, usize, usize) -> bool) -> Vec<f64> {
        let read = |tensor: &Tensor| Vec::<f64>::try_from(tensor.reshape([-1])).unwrap();
        let (q, k, v) = (read(&self.q), read(&self.k), read(&self.v));
        let len = q.len() / self.num_heads / self.head_dim;
        let scale = f64::from(u32::try_from(self.head_dim).unwrap()).sqrt();
        let (dim, group) = (self.head_dim, self.num_heads / self.num_kv_heads);
        let mut out = vec![0.0; q.len()];
        for query in 0..len {
            for head in 0..self.num_heads {
                let q_row = (query * self.num_heads + head) * dim;
                let kv_head = head / group;
                let kv_row = |key: usize| (key * self.num_kv_heads + kv_head) * dim;
                let keys: Vec<usize> = (0..len).filter(|key| sees(kv_head, query, *key)).collect();
                let weights: Vec<f64> = keys
                    .iter()
                    .map(|key| {
                        let dot: f64 = (0..dim).map(|i| q[q_row + i] * k[kv_row(*key) + i]).sum();
                        (dot / scale).exp()
                    })
                    .collect();
                let total: f64 = weights.iter().sum();
                for (key, weight) in keys.iter().zip(&weights) {
                    for i in 0..dim {
                        out[q_row + i] += weight / total * v[kv_row(*key) + i];
                    }
                }
            }
        }
        out
    }

    /// Runs the calls through real caches.
    fn run(&self, policy: &dyn Policy, calls: &[(usize, usize)], prefill_len: usize) -> Ran {
        let mut cache = ModelCache::open(policy, 1, self.spec(0)).unwrap();
        let mut outputs = Vec::new();
        let mut longest = 0;
        for (start, end) in calls {
            if *start == prefill_len {
                cache.end_prefill().unwrap();
            }
            let rows = |tensor: &Tensor| {
                tensor.narrow(
                    0,
                    i64::try_from(*start).unwrap(),
                    i64::try_from(end - start).unwrap(),
                )
            };
            let out = cache
                .attend(0, &rows(&self.q), &rows(&self.k), &rows(&self.v))
                .unwrap();
            outputs.push(out);
            longest = longest.max(cache.usage().peak_allocated_entries);
        }
        Ran {
            out: Vec::<f64>::try_from(Tensor::cat(&outputs, 0).reshape([-1])).unwrap(),
            usage: cache.usage(),
        }
    }
}

struct Ran {
    out: Vec<f64>,
    usage: KvUsage,
}

fn assert_close(found: &[f64], expected: &[f64], what: &dyn std::fmt::Debug) {
    let largest = expected.iter().fold(0.0_f64, |max, x| max.max(x.abs()));
    let worst = found
        .iter()
        .zip(expected)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0_f64, f64::max);
    assert_eq!(found.len(), expected.len());
    assert!(worst <= 1e-10 * largest, "{what:?}: differs by {worst}");
}

fn all_streaming(case: &Case, num_kv_heads: usize) -> HeadMaskPolicy {
    let mask = HeadMask::new(1, num_kv_heads, vec![false; num_kv_heads]).unwrap();
    HeadMaskPolicy::new(&mask, case.span(), case.rule)
}

fn check_streaming(case: Case, input: &Input) {
    let ran = input.run(
        &all_streaming(&case, input.num_kv_heads),
        &case.calls(),
        case.prefill_len,
    );
    assert_close(&ran.out, &input.oracle(|_, q, k| case.sees(q, k)), &case);
    let visible = (0..case.len()).flat_map(|q| (0..=q).map(move |k| (q, k)));
    let pairs = visible.filter(|(q, k)| case.sees(*q, *k)).count() * input.num_kv_heads;
    assert_eq!(ran.usage.pairs, pairs as u64, "{case:?}");
    assert_eq!(ran.usage.num_tokens, case.len() as u64);
    assert_formula(&case, &ran.usage, input.num_kv_heads, input.num_kv_heads);
}

/// What the caches counted is what the closed formula says.
fn assert_formula(case: &Case, usage: &KvUsage, num_streaming: usize, num_heads: usize) {
    let workload = Workload::new(
        case.prefill_len + 1,
        case.decode_len,
        case.chunk_len,
        Convention::Counted,
    )
    .unwrap();
    let holdings = Holdings::Heads {
        streaming: StreamingHeads::Counted {
            per_layer: vec![num_streaming],
            num_kv_heads: num_heads,
        },
        span: case.span(),
        rule: case.rule,
    };
    let bill = holdings.bill(&workload);
    let predicted = bill.model.figures;
    let near = |counted: f64, formula: f64| (counted - formula).abs() < 1e-12;
    assert!(
        near(usage.kv_footprint(), predicted.kv_footprint),
        "{case:?} {usage:?} {predicted:?}"
    );
    assert!(
        near(usage.kv_peak(), predicted.kv_peak),
        "{case:?} {usage:?} {predicted:?}"
    );
    let stored = real(usage.stored_entries) / real(usage.num_heads);
    assert!(
        near(stored, bill.model.end_entries),
        "{case:?} {usage:?} {bill:?}"
    );
}

#[expect(clippy::cast_precision_loss, reason = "small counts")]
fn real(count: u64) -> f64 {
    count as f64
}

#[test]
fn each_rule_equals_its_dense_mask_for_every_small_case() {
    for prefill_len in 0..=12 {
        let decode_len = 2;
        let len = prefill_len + decode_len;
        let input = Input::new(prefill_len as u64, len, 1, 1, 2);
        for chunk_len in 1..=prefill_len.max(1) {
            for sink_len in 0..=len.min(12) {
                for window_len in 1..=len.min(12) {
                    for rule in RULES {
                        let case = Case {
                            prefill_len,
                            decode_len,
                            chunk_len,
                            sink_len,
                            window_len,
                            rule,
                        };
                        check_streaming(case, &input);
                    }
                }
            }
        }
    }
}

#[test]
fn grouped_heads_and_odd_shapes_equal_their_dense_mask() {
    let mut rng = random::stream("infer cache shapes", &[]);
    let mut draw = |bound: u64| usize::try_from(random::below(&mut rng, bound)).unwrap();
    for at in 0..40 {
        let case = Case {
            prefill_len: draw(300),
            decode_len: 1 + draw(20),
            chunk_len: 1 + draw(200),
            sink_len: draw(40),
            window_len: 1 + draw(90),
            rule: RULES[draw(3)],
        };
        let (kv_heads, group) = (1 + draw(3), [1, 2, 4][draw(3)]);
        let input = Input::new(at, case.len(), kv_heads * group, kv_heads, 1 + draw(5));
        check_streaming(case, &input);
    }
}

#[test]
fn visible_keys_match_the_golden_table() {
    let golden = [
        (StreamingRule::DuoChunk, 33, 6),
        (StreamingRule::Sliding, 24, 5),
        (StreamingRule::FrozenPrompt, 37, 7),
    ];
    for (rule, pairs, peak) in golden {
        let case = Case {
            prefill_len: 7,
            decode_len: 2,
            chunk_len: 3,
            sink_len: 1,
            window_len: 2,
            rule,
        };
        let input = Input::new(0, 9, 2, 1, 3);
        let usage = input.run(&all_streaming(&case, 1), &case.calls(), 7).usage;
        assert_eq!((usage.pairs, usage.peak_entries), (pairs, peak), "{rule:?}");
    }
}

#[test]
fn duo_chunk_token_by_token_is_sliding_with_one_more() {
    let duo = Case {
        prefill_len: 20,
        decode_len: 5,
        chunk_len: 1,
        sink_len: 2,
        window_len: 6,
        rule: StreamingRule::DuoChunk,
    };
    let sliding = Case {
        window_len: 7,
        chunk_len: 8,
        rule: StreamingRule::Sliding,
        ..duo
    };
    let input = Input::new(7, 25, 4, 2, 3);
    let run = |case: &Case| input.run(&all_streaming(case, 2), &case.calls(), 20);
    let (duo, sliding) = (run(&duo), run(&sliding));
    assert_close(&duo.out, &sliding.out, &"identity");
    assert_eq!(duo.usage.pairs, sliding.usage.pairs);
}

#[test]
fn full_attention_is_causal_and_costs_exactly_one() {
    let input = Input::new(3, 50, 4, 2, 3);
    for chunk_len in [1, 7, 16, 49, 64] {
        let case = Case {
            prefill_len: 49,
            decode_len: 1,
            chunk_len,
            sink_len: 0,
            window_len: 1,
            rule: StreamingRule::Sliding,
        };
        let ran = input.run(&Full, &case.calls(), 49);
        assert_close(&ran.out, &input.oracle(|_, q, k| k <= q), &chunk_len);
        assert_eq!(ran.usage.kv_footprint().to_bits(), 1.0_f64.to_bits());
        assert_eq!(ran.usage.kv_peak().to_bits(), 1.0_f64.to_bits());
    }
}

#[test]
fn mixed_layers_equal_a_per_head_mask_once_heads_are_permuted() {
    for flags in [
        [true, false, true, false],
        [false; 4],
        [true; 4],
        [false, false, false, true],
    ] {
        for rule in RULES {
            let case = Case {
                prefill_len: 40,
                decode_len: 4,
                chunk_len: 16,
                sink_len: 2,
                window_len: 5,
                rule,
            };
            let mask = HeadMask::new(1, 4, flags.to_vec()).unwrap();
            let policy = HeadMaskPolicy::new(&mask, case.span(), rule);
            let input = Input::new(11, case.len(), 8, 4, 3);
            let order = &policy.order()[0];
            let kv = |tensor: &Tensor, order: &[usize]| {
                let picks: Vec<i64> = order.iter().map(|h| i64::try_from(*h).unwrap()).collect();
                tensor.index_select(1, &Tensor::from_slice(&picks))
            };
            let heads = |order: &[usize]| -> Vec<usize> {
                order.iter().flat_map(|h| [2 * h, 2 * h + 1]).collect()
            };
            let permuted = Input {
                q: kv(&input.q, &heads(order)),
                k: kv(&input.k, order),
                v: kv(&input.v, order),
                ..Input::new(11, 1, 8, 4, 3)
            };
            let ran = permuted.run(&policy, &case.calls(), case.prefill_len);
            let out = Tensor::from_slice(&ran.out).view([44, 8, 3]);
            let back = kv(&out, &heads(&inverse(policy.order())[0]));
            let found = Vec::<f64>::try_from(back.reshape([-1])).unwrap();
            let sees = |head: usize, q, k| {
                if flags[head] { k <= q } else { case.sees(q, k) }
            };
            assert_close(&found, &input.oracle(sees), &(flags, rule));
            assert_formula(&case, &ran.usage, mask.num_streaming(), 4);
        }
    }
}

#[test]
fn streaming_caches_stay_bounded() {
    for rule in [StreamingRule::DuoChunk, StreamingRule::Sliding] {
        let case = Case {
            prefill_len: 2000,
            decode_len: 50,
            chunk_len: 64,
            sink_len: 4,
            window_len: 16,
            rule,
        };
        let input = Input::new(5, case.len(), 1, 1, 2);
        let usage = input
            .run(&all_streaming(&case, 1), &case.calls(), case.prefill_len)
            .usage;
        assert!(usage.peak_entries <= 4 + 16 + 64, "{rule:?}: {usage:?}");
        assert!(usage.peak_allocated_entries <= 4 + 16 + 1, "{rule:?}");
        assert!(usage.stored_entries <= 4 + 16, "{rule:?}");
    }
}

#[test]
fn wrong_shapes_and_layers_are_refused() {
    let input = Input::new(0, 3, 2, 2, 4);
    let mut cache = ModelCache::open(&Full, 1, input.spec(3)).unwrap();
    let wrong = Input::new(0, 3, 2, 1, 4);
    for (layer, kv, code) in [(0, &wrong, "infer.shape"), (1, &input, "infer.layer")] {
        let error = cache.attend(layer, &input.q, &kv.k, &kv.v).unwrap_err();
        assert_eq!(error.code(), code);
    }
    let error = cache.attend(0, &input.q, &input.k, &wrong.v).unwrap_err();
    assert!(error.to_string().starts_with("v [T, K, D]"), "{error}");
}
