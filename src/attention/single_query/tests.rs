//! One query against the reference, in every layout that caches hand out.

use super::*;
use crate::attention::reference::Reference;
use crate::attention::testing::{CPU, Naive, normal};
use crate::attention::{Attended, Backend, Visibility};
use crate::torch::threads::set_threads;
use tch::Kind;

/// Queries, keys and values of `S` rows, `K` kv heads, groups of `G`, width `D`.
fn inputs([num_keys, kv_heads, group, head_dim]: [i64; 4]) -> [Tensor; 3] {
    let rows = |seed| normal(seed, &[1, num_keys, kv_heads, head_dim]);
    [
        normal(1, &[1, 1, kv_heads * group, head_dim]),
        rows(2),
        rows(3),
    ]
}

fn of(x: &[Tensor; 3]) -> Qkv<'_> {
    let [q, k, v] = x;
    Qkv { q, k, v }
}

/// The rule: no worse than twice what the reference in f32 is off from itself in f64, both from the same f32 numbers.
#[track_caller]
fn assert_matches(exact: &[Tensor; 3], stored: &[Tensor; 3], what: &str) {
    let naive = Naive::new(exact, Kind::Float, CPU, |x| {
        let Attended { out, lse } = Reference.forward(of(x), Visibility::All);
        [out, lse]
    });
    let found = attend(of(stored)).unwrap();
    naive.assert_no_worse(0, &found.out, &format!("{what}, out"));
    naive.assert_no_worse(1, &found.lse, &format!("{what}, lse"));
}

#[test]
fn it_equals_the_reference_for_every_shape_and_layout() {
    for shape in [
        [1, 1, 1, 1],
        [5, 2, 3, 7],
        [127, 3, 2, 32],
        [128, 1, 4, 40],
        [129, 2, 1, 64],
        [1000, 8, 2, 32],
        [300, 2, 4, 128],
    ] {
        let exact = inputs(shape);
        let stored = exact.each_ref().map(|x| x.to_kind(Kind::Float));
        assert_matches(&exact, &stored, &format!("token by token {shape:?}"));
        let [q, k, v] = &stored;
        // As the caches hold them: head by head, with room behind the last row.
        let by_head = |rows: &Tensor| {
            let room = Tensor::zeros([1, 9, shape[1], shape[3]], (Kind::Float, rows.device()));
            let grown = Tensor::cat(&[rows, &room], 1).transpose(1, 2).contiguous();
            grown.transpose(1, 2).narrow(1, 0, shape[0])
        };
        let stored = [q.shallow_clone(), by_head(k), by_head(v)];
        assert_matches(&exact, &stored, &format!("head by head {shape:?}"));
    }
}

#[test]
fn threads_share_the_kv_heads() {
    let exact = inputs([20_000, 5, 2, 16]);
    let stored = exact.each_ref().map(|x| x.to_kind(Kind::Float));
    for count in [1, 2, 4] {
        set_threads(count).unwrap();
        assert_matches(&exact, &stored, &format!("{count} threads"));
    }
    set_threads(1).unwrap();
}

#[test]
fn large_scores_neither_overflow_nor_vanish_and_what_is_no_number_stays_none() {
    let [q, k, v] = inputs([200, 1, 2, 8]);
    let exact = [q * 300.0, k, v];
    let stored = exact.each_ref().map(|x| x.to_kind(Kind::Float));
    assert_matches(&exact, &stored, "large scores");
    for poison in [f64::NAN, f64::INFINITY] {
        let [q, k, v] = &stored;
        let mut bad = k.copy();
        let _ = bad.narrow(1, 7, 1).fill_(poison);
        let out = attend(Qkv { q, k: &bad, v }).unwrap().out;
        assert!(bool::try_from(out.isnan().all()).unwrap(), "{poison}");
        bad.copy_(k);
    }
}

#[test]
fn what_it_cannot_attend_is_left_to_others() {
    let x = inputs([4, 1, 2, 8]);
    assert!(attend(of(&x)).is_none());
    let [q, k, v] = x.each_ref().map(|x| x.to_kind(Kind::Float));
    let two = Tensor::cat(&[&q, &q], 1);
    let of = |q, k, v| attend(Qkv { q, k, v }).is_some();
    assert!(of(&q, &k, &v));
    assert!(!of(&two, &k, &v));
    let rows = k.narrow(1, 0, 0);
    assert!(!of(&q, &rows, &v.narrow(1, 0, 0)));
}
