//! Patterns that skip work, against dense attention under an explicit mask of the same choice, in f64.

use super::dense::{Dense, Sees};
use crate::infer::policy::a_shape::AShape;
use crate::infer::policy::block_sparse::BlockSparse;
use crate::infer::policy::moba::Moba;
use crate::infer::policy::skipping::SkippingMethod;
use crate::infer::policy::vertical_slash::VerticalSlash;
use crate::span::Span;
use std::ops::Range;

const DECODE_LEN: usize = 2;

/// What the queries of one prefill call see, written down obviously: marks of `[head][query of the call][key]`.
fn choice(method: SkippingMethod, input: &Dense, call: &Range<usize>) -> Sees {
    match method {
        SkippingMethod::AShape(of) => input.mark(call, |_, q, k| of.span().sees(q, k)),
        SkippingMethod::VerticalSlash(of) => vertical_slash(of, input, call),
        SkippingMethod::BlockSparse(of) => block_sparse(of, input, call),
        SkippingMethod::Moba(of) => moba(of, input, call),
    }
}

/// Places of the highest scores, the first of equal ones.
fn best(scores: &[f64], count: usize) -> Vec<usize> {
    let mut places: Vec<usize> = (0..scores.len()).collect();
    places.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
    places.truncate(count);
    places
}

fn vertical_slash(of: VerticalSlash, input: &Dense, call: &Range<usize>) -> Sees {
    let num_keys = call.end;
    let lines = |head: usize| {
        let (mut columns, mut slashes) = (vec![0.0; num_keys], vec![0.0; num_keys]);
        for query in call.end - call.len().min(64)..call.end {
            let keys: Vec<usize> = (0..=query).collect();
            for (key, weight) in input.weights(head, query, &keys).into_iter().enumerate() {
                columns[key] += weight;
                slashes[query - key] += weight;
            }
        }
        columns.iter_mut().take(30).for_each(|score| *score = 1e9);
        slashes.iter_mut().take(100).for_each(|score| *score = 1e9);
        let columns = best(&columns, of.num_columns.max(30));
        (columns, best(&slashes, of.num_slashes.max(50)))
    };
    let lines: Vec<_> = (0..input.num_heads()).map(lines).collect();
    input.mark(call, |head, q, k| {
        let (columns, slashes) = &lines[head];
        let start = q - (q - call.start) % 64;
        let on_slash = |distance: &usize| {
            let end = (start + 64).saturating_sub(*distance).max(64);
            *distance <= start + 63 && (end - 64..end).contains(&k)
        };
        call.len() == 1 || columns.contains(&k) || slashes.iter().any(on_slash)
    })
}

fn mean(rows: Range<usize>, row: &dyn Fn(usize) -> Vec<f64>) -> Vec<f64> {
    let count = f64::from(u32::try_from(rows.len()).unwrap());
    let rows: Vec<Vec<f64>> = rows.map(row).collect();
    let column = |i: usize| rows.iter().map(|row| row[i]).sum::<f64>() / count;
    (0..rows[0].len()).map(column).collect()
}

fn moba(of: Moba, input: &Dense, call: &Range<usize>) -> Sees {
    let len = of.block_len;
    let chosen = |head: usize, query: usize| {
        let score = |block: usize| {
            let keys = block * len..block * len + len;
            let k = mean(keys, &|row| input.key(row, head).to_vec());
            input
                .query(query, head)
                .iter()
                .zip(&k)
                .map(|(a, b)| a * b)
                .sum()
        };
        let scores: Vec<f64> = (0..query / len).map(score).collect();
        best(&scores, of.num_blocks - 1)
    };
    let table: Vec<Vec<Vec<usize>>> = (0..input.num_heads())
        .map(|head| call.clone().map(|query| chosen(head, query)).collect())
        .collect();
    input.mark(call, |head, q, k| {
        k / len == q / len || table[head][q - call.start].contains(&(k / len))
    })
}

fn block_sparse(of: BlockSparse, input: &Dense, call: &Range<usize>) -> Sees {
    let len = of.block_len;
    let chosen = |head: usize, block: usize| {
        let queries = (block * len).max(call.start)..(block * len + len).min(call.end);
        let q = mean(queries, &|row| input.query(row, head).to_vec());
        let score = |other: usize| {
            let keys = other * len..(other * len + len).min(call.end);
            let k = mean(keys, &|row| input.key(row, head).to_vec());
            q.iter().zip(&k).map(|(a, b)| a * b).sum()
        };
        let scores: Vec<f64> = (0..=block).map(score).collect();
        best(&scores, of.num_blocks)
    };
    let blocks = call.start / len..call.end.div_ceil(len);
    let table: Vec<Vec<Vec<usize>>> = (0..input.num_heads())
        .map(|head| blocks.clone().map(|block| chosen(head, block)).collect())
        .collect();
    input.mark(call, |head, q, k| {
        table[head][q / len - blocks.start].contains(&(k / len))
    })
}

#[track_caller]
fn check(method: SkippingMethod, prefill_len: usize, chunk_len: usize, group_size: usize) -> f64 {
    let input = Dense::new(prefill_len + DECODE_LEN, group_size);
    let calls: Vec<Range<usize>> =
        crate::infer::cache::blocks::cut(0..prefill_len, chunk_len).collect();
    let mut sees: Sees = vec![Vec::new(); input.num_heads()];
    for call in &calls {
        for (all, new) in sees.iter_mut().zip(choice(method, &input, call)) {
            all.extend(new);
        }
    }
    for (all, new) in sees
        .iter_mut()
        .zip(input.mark(&(prefill_len..input.len()), |_, _, _| true))
    {
        all.extend(new);
    }
    let what = format!("{method:?}, {prefill_len} in chunks of {chunk_len}, group {group_size}");
    let usage = input.assert_equal(&method, &calls, &sees, &what);
    assert_eq!(usage.kv_footprint().to_bits(), 1.0_f64.to_bits(), "{what}");
    assert_eq!(usage.kv_peak().to_bits(), 1.0_f64.to_bits(), "{what}");
    usage.compute_share()
}

fn a_shape(sink_len: usize, window_len: usize) -> SkippingMethod {
    SkippingMethod::AShape(AShape::new(Span::new(sink_len, window_len, 1).unwrap()))
}

fn lines(num_columns: usize, num_slashes: usize) -> SkippingMethod {
    SkippingMethod::VerticalSlash(VerticalSlash {
        num_columns,
        num_slashes,
    })
}

fn blocks(num_blocks: usize, block_len: usize) -> SkippingMethod {
    SkippingMethod::BlockSparse(BlockSparse {
        num_blocks,
        block_len,
    })
}

fn gated(num_blocks: usize, block_len: usize) -> SkippingMethod {
    SkippingMethod::Moba(Moba {
        num_blocks,
        block_len,
    })
}

#[test]
fn every_pattern_equals_dense_attention_under_its_mask() {
    for (prefill_len, chunk_len, group_size) in [
        (0, 5, 1),
        (1, 5, 2),
        (97, 97, 3),
        (150, 64, 2),
        (129, 40, 1),
    ] {
        for method in [
            a_shape(3, 20),
            a_shape(0, 1),
            blocks(2, 16),
            blocks(1, 7),
            blocks(3, 64),
            gated(2, 16),
            gated(1, 7),
            gated(4, 10),
            lines(1, 1),
        ] {
            check(method, prefill_len, chunk_len, group_size);
        }
    }
}

#[test]
fn columns_and_slashes_of_each_head_equal_their_mask() {
    for chunk_len in [420, 256, 103] {
        let share = check(lines(40, 60), 420, chunk_len, 2);
        assert!(share < 0.95, "{chunk_len}: {share}");
    }
    let shares = [(30, 50), (120, 50), (30, 200)].map(|(v, d)| check(lines(v, d), 420, 420, 1));
    assert!(shares[0] < shares[1] && shares[0] < shares[2], "{shares:?}");
}

#[test]
fn last_chunks_of_every_length_equal_their_mask() {
    for last in [1, 15, 16, 17, 63, 64, 65] {
        for method in [a_shape(2, 16), blocks(2, 16), lines(30, 50), gated(3, 16)] {
            check(method, 128 + last, 128, 2);
        }
    }
}

#[test]
fn patterns_that_choose_everything_compute_everything() {
    for method in [
        lines(150, 1),
        lines(1, 150),
        blocks(10, 16),
        gated(10, 16),
        a_shape(0, 150),
        a_shape(150, 1),
    ] {
        for chunk_len in [150, 64, 37] {
            let share = check(method, 150, chunk_len, 2);
            assert_eq!(share.to_bits(), 1.0_f64.to_bits(), "{method:?}");
        }
    }
}

#[test]
fn chunks_of_whole_blocks_give_what_one_piece_gives() {
    let input = Dense::new(160, 2);
    for method in [blocks(2, 16), gated(3, 16)] {
        let run = |chunk_len| {
            let calls: Vec<Range<usize>> =
                crate::infer::cache::blocks::cut(0..160, chunk_len).collect();
            input.run(&method, &calls).0
        };
        let whole = run(160);
        for chunk_len in [16, 48, 80] {
            super::dense::assert_close(&run(chunk_len), &whole, &(method, chunk_len));
        }
    }
}
