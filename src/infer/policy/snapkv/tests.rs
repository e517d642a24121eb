//! The golden example of inference.md section 7, and scores against the definition.

use super::*;
use crate::attention::testing::{assert_close, normal};
use crate::infer::cache::ranking::top;

const NUM_TOKENS: usize = 24;

fn real(x: usize) -> f64 {
    f64::from(u32::try_from(x).unwrap())
}

/// Queries `[24, 2, 2]` and keys `[24, 1, 2]` of the golden example, f32.
fn golden_input() -> (Tensor, Tensor) {
    let queries = (0..NUM_TOKENS).flat_map(|i| {
        [0.0, 1.0]
            .into_iter()
            .flat_map(move |g: f64| [2.0 * (real(i) + g).cos(), 2.0 * (3.0 * real(i) - g).sin()])
    });
    let keys = (0..NUM_TOKENS).flat_map(|i| [2.0 * real(i).sin(), 2.0 * (2.0 * real(i)).cos()]);
    let tensor = |values: Vec<f64>, heads| {
        let shape = [to_i64(NUM_TOKENS), heads, 2];
        Tensor::from_slice(&values).view(shape).to_kind(Kind::Float)
    };
    (tensor(queries.collect(), 2), tensor(keys.collect(), 1))
}

fn golden_scores(pooling: Pooling) -> Tensor {
    let (q_thd, k_tkd) = golden_input();
    let smoothing = Smoothing { pooling, reach: 2 };
    let chunk = Chunk {
        q_thd: &q_thd,
        k_tkd: &k_tkd,
        start: 0,
        window_len: 4,
    };
    SnapKv::new(smoothing).scores(&chunk).unwrap()
}

fn positions(scores: &Tensor, count: usize) -> Vec<i64> {
    Vec::try_from(top(scores, count)).unwrap()
}

#[test]
fn scores_and_choices_match_the_golden_example() {
    let scores_kgm = golden_scores(Pooling::Average);
    let shared = scores_kgm.mean_dim(1, false, Kind::Float).squeeze_dim(0);
    let golden = [
        0.076_258, 0.101_856, 0.141_857, 0.181_867, 0.205_109, 0.189_162, 0.209_970, 0.182_583,
        0.146_349, 0.198_323, 0.225_873, 0.191_831, 0.226_104, 0.198_576, 0.146_588, 0.183_671,
        0.211_008, 0.189_214, 0.179_587, 0.139_119,
    ];
    let difference = (&shared - Tensor::from_slice(&golden).to_kind(Kind::Float)).abs();
    assert!(difference.max().double_value(&[]) < 1e-6, "{shared}");
    let heads = |head| scores_kgm.get(0).get(head);
    assert_eq!(positions(&shared, 2), [10, 12]);
    assert_eq!(positions(&shared, 4), [6, 10, 12, 16]);
    assert_eq!(positions(&shared, 8), [4, 6, 9, 10, 11, 12, 13, 16]);
    for (head, two, four, eight) in [
        (0, [10, 12], [6, 10, 12, 16], [3, 4, 5, 6, 9, 10, 12, 16]),
        (1, [10, 12], [10, 12, 13, 16], [4, 6, 9, 10, 12, 13, 15, 16]),
    ] {
        assert_eq!(positions(&heads(head), 2), two, "head {head}");
        assert_eq!(positions(&heads(head), 4), four, "head {head}");
        assert_eq!(positions(&heads(head), 8), eight, "head {head}");
    }
    assert!(positions(&shared, 0).is_empty());
}

#[test]
fn equal_scores_go_to_the_lower_position() {
    let scores = Tensor::from_slice(&[1.0, 3.0, 2.0, 3.0, 2.0, 2.0, 0.0]);
    assert_eq!(positions(&scores, 3), [1, 2, 3]);
    assert_eq!(positions(&scores, 4), [1, 2, 3, 4]);
    let level = Tensor::ones([5000], (Kind::Float, tch::Device::Cpu));
    assert_eq!(positions(&level, 40), (0..40).collect::<Vec<_>>());
    let pooled = golden_scores(Pooling::Max).get(0).get(0);
    let values = Vec::<f32>::try_from(&pooled).unwrap();
    assert!(
        values
            .windows(2)
            .any(|pair| pair[0].to_bits() == pair[1].to_bits()),
        "pooling by the largest makes ties"
    );
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*b].total_cmp(&values[*a]));
    for count in 0..=values.len() {
        let mut best: Vec<i64> = order[..count].iter().map(|at| to_i64(*at)).collect();
        best.sort_unstable();
        assert_eq!(positions(&pooled, count), best);
    }
}

/// All scores at once: softmax over every key under the causal mask, rows of the window summed.
fn received_slowly(q_thd: &Tensor, k_tkd: &Tensor, window_len: i64) -> Tensor {
    let [num_tokens, num_heads, head_dim] = dims(q_thd);
    let [_, num_kv_heads, _] = dims(k_tkd);
    let mask = Tensor::ones([num_tokens, num_tokens], (Kind::Bool, tch::Device::Cpu)).triu(1);
    let group_size = num_heads / num_kv_heads;
    let of_head = |head: i64| {
        let keys = k_tkd.select(1, head / group_size);
        let scores = q_thd.select(1, head).matmul(&keys.transpose(0, 1)) * scale(head_dim);
        let probabilities = scores
            .masked_fill(&mask, f64::NEG_INFINITY)
            .softmax(-1, Kind::Double);
        let window = probabilities.narrow(0, num_tokens - window_len, window_len);
        let sums = window.sum_dim_intlist(0, false, Kind::Double);
        sums.narrow(0, 0, num_tokens - window_len)
    };
    let heads: Vec<Tensor> = (0..num_heads).map(of_head).collect();
    Tensor::stack(&heads, 0).view([num_kv_heads, group_size, -1])
}

#[test]
fn key_blocks_of_any_length_give_the_attention_received() {
    tch::set_num_threads(1);
    for (seed, num_tokens, num_kv_heads, group_size, window_len) in
        [(1, 40, 2, 3, 7), (2, 113, 1, 8, 1), (3, 9, 4, 1, 8)]
    {
        let q_thd = normal(seed, &[num_tokens, num_kv_heads * group_size, 5]);
        let k_tkd = normal(seed + 10, &[num_tokens, num_kv_heads, 5]);
        let chunk = Chunk {
            q_thd: &q_thd,
            k_tkd: &k_tkd,
            start: 0,
            window_len: to_usize(window_len),
        };
        let expected = received_slowly(&q_thd, &k_tkd, window_len);
        for key_block in [1, 3, 16, KEY_BLOCK] {
            let found = Observer::new(&chunk).received(key_block);
            assert_close(&found, &expected, &format!("block {key_block}"));
        }
    }
}
