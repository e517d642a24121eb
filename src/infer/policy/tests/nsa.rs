//! Native sparse attention against the same written out query by query, in f64.

use super::dense::{Dense, WIDTH, assert_close};
use crate::attention::testing::normal;
use crate::infer::cache::blocks::cut;
use crate::infer::cache::branches::Branches;
use crate::infer::policy::nsa::Nsa;
use crate::span::Span;
use std::ops::Range;
use tch::Tensor;

const BLOCK_LEN: usize = 4;
const NUM_BLOCKS: usize = 4;
const WINDOW_LEN: usize = 6;

fn branches() -> Branches {
    Branches {
        block_len: BLOCK_LEN,
        num_blocks: NUM_BLOCKS,
        window: Span::new(0, WINDOW_LEN, 1).unwrap(),
    }
}

type Row<'a> = &'a dyn Fn(usize) -> Vec<f64>;

fn mean(block: usize, row: Row) -> Vec<f64> {
    let rows: Vec<Vec<f64>> = (block * BLOCK_LEN..(block + 1) * BLOCK_LEN)
        .map(row)
        .collect();
    let sum = |i: usize| rows.iter().map(|row| row[i]).sum::<f64>();
    (0..rows[0].len()).map(|i| sum(i) / f64::from(4)).collect()
}

fn softmax(scores: &[f64]) -> Vec<f64> {
    let exp: Vec<f64> = scores.iter().map(|score| score.exp()).collect();
    let total: f64 = exp.iter().sum();
    exp.iter().map(|x| x / total).collect()
}

/// Weights of the complete blocks for one query of one head.
fn coarse(input: &Dense, head: usize, query: usize) -> Vec<f64> {
    let score = |block: usize| {
        let k = mean(block, &|row| input.key(row, head).to_vec());
        let pairs = input.query(query, head).iter().zip(&k);
        pairs.map(|(a, b)| a * b).sum::<f64>() / 3_f64.sqrt()
    };
    let scores: Vec<f64> = (0..(query + 1) / BLOCK_LEN).map(score).collect();
    softmax(&scores)
}

/// Keys of the own block and of those chosen, the same for all heads of a group.
fn chosen(input: &Dense, heads: Range<usize>, query: usize) -> Vec<usize> {
    let own = query / BLOCK_LEN;
    let weights: Vec<Vec<f64>> = heads.map(|head| coarse(input, head, query)).collect();
    let importance = |block: usize| -> f64 {
        if block == 0 || block + 1 == own {
            return f64::INFINITY;
        }
        weights.iter().map(|of_head| of_head[block]).sum()
    };
    let mut past: Vec<usize> = (0..own).collect();
    past.sort_by(|a, b| importance(*b).total_cmp(&importance(*a)));
    past.truncate(NUM_BLOCKS - 1);
    let keys = |block: &usize| block * BLOCK_LEN..(block + 1) * BLOCK_LEN;
    let past = past.iter().flat_map(keys);
    past.chain(own * BLOCK_LEN..=query).collect()
}

fn mixed(rows: &[(f64, Vec<f64>)]) -> Vec<f64> {
    let mut out = vec![0.0; 3];
    for (weight, row) in rows {
        out.iter_mut()
            .zip(row)
            .for_each(|(sum, x)| *sum += weight * x);
    }
    out
}

/// Outputs of all queries, and the pairs that were read.
fn oracle(input: &Dense, gates: &Tensor) -> (Vec<f64>, u64) {
    let logits: Vec<f64> = Vec::try_from(input.input().matmul(&gates.tr()).reshape([-1])).unwrap();
    let group_size = input.num_heads() / 2;
    let (mut out, mut pairs) = (Vec::new(), 0);
    for query in 0..input.len() {
        for head in 0..input.num_heads() {
            let value = |row: usize| input.value(row, head).to_vec();
            let attend = |keys: &[usize]| {
                let weights = input.weights(head, query, keys);
                let rows: Vec<_> = weights
                    .into_iter()
                    .zip(keys.iter().map(|key| value(*key)))
                    .collect();
                mixed(&rows)
            };
            let blocks = coarse(input, head, query).into_iter().enumerate();
            let blocks: Vec<_> = blocks
                .map(|(block, weight)| (weight, mean(block, &value)))
                .collect();
            let group = head / group_size * group_size;
            let fine = chosen(input, group..group + group_size, query);
            let near: Vec<usize> = ((query + 1).saturating_sub(WINDOW_LEN)..=query).collect();
            pairs += blocks.len() + fine.len() + near.len();
            let gate = |branch: usize| {
                let logit = logits[(query * input.num_heads() + head) * 3 + branch];
                1.0 / (1.0 + (-logit).exp())
            };
            let parts = [mixed(&blocks), attend(&fine), attend(&near)];
            let gated: Vec<_> = parts
                .into_iter()
                .enumerate()
                .map(|(at, part)| (gate(at), part))
                .collect();
            out.extend(mixed(&gated));
        }
    }
    (out, pairs as u64)
}

#[test]
fn branches_equal_the_same_written_out_for_any_chunking() {
    for (prefill_len, group_size) in [(45, 3), (33, 1), (3, 2), (0, 2)] {
        let input = Dense::new(prefill_len + 4, group_size);
        let gates = normal(15, &[3 * 2 * i64::try_from(group_size).unwrap(), WIDTH]);
        let (expected, pairs) = oracle(&input, &gates);
        for chunk_len in [1, 4, 7, 16, 45, 100] {
            let calls: Vec<Range<usize>> = cut(0..prefill_len, chunk_len).collect();
            let policy = Nsa::new(branches(), std::slice::from_ref(&gates));
            let (found, usage) = input.run(&policy, &calls);
            assert_close(&found, &expected, &(prefill_len, chunk_len));
            assert_eq!(usage.attended_pairs, pairs);
            assert_eq!(usage.kv_footprint().to_bits(), 1.0_f64.to_bits());
            assert_eq!(usage.kv_peak().to_bits(), 1.0_f64.to_bits());
        }
    }
}

#[test]
fn what_the_branches_lack_is_named() {
    let input = Dense::new(9, 2);
    let gates = normal(15, &[12, WIDTH]);
    let mut cache = Dense::open(&Nsa::new(branches(), std::slice::from_ref(&gates)));
    let error = input.attend(&mut cache, 0..4).unwrap_err();
    assert_eq!(error.code(), "infer.shape");
    assert!(error.to_string().contains("h [T, C]"), "{error}");
}
