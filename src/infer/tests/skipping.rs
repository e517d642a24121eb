//! Patterns that skip work under the real model.

use super::{LAYERS, engine, model, tokens};
use crate::infer::cache::RowSpec;
use crate::infer::decode::Limits;
use crate::infer::model_cache::ModelCache;
use crate::infer::policy::Policy;
use crate::infer::policy::a_shape::AShape;
use crate::infer::policy::block_sparse::BlockSparse;
use crate::infer::policy::full::Full;
use crate::infer::policy::moba::Moba;
use crate::infer::policy::skipping::SkippingMethod;
use crate::infer::policy::vertical_slash::VerticalSlash;
use crate::model::llama::Llama;
use crate::span::Span;
use tch::Tensor;

/// Every pattern, attending to everything in prompts of `len` tokens, or to little.
fn methods(len: usize, little: bool) -> [SkippingMethod; 4] {
    let or = |few: usize| if little { few } else { len };
    [
        SkippingMethod::AShape(AShape::new(Span::new(0, or(9), 1).unwrap())),
        SkippingMethod::VerticalSlash(VerticalSlash {
            num_columns: or(30),
            num_slashes: or(50),
        }),
        SkippingMethod::BlockSparse(BlockSparse {
            num_blocks: or(2),
            block_len: 16,
        }),
        SkippingMethod::Moba(Moba {
            num_blocks: or(2),
            block_len: 16,
        }),
    ]
}

/// Hidden states of `len` prompt tokens in chunks.
fn hidden(llama: &Llama, policy: &dyn Policy, len: usize, chunk_len: usize) -> Tensor {
    let spec = RowSpec::of(llama, engine(llama, 1).backend, 1);
    let mut cache = ModelCache::open(policy, LAYERS, spec).unwrap();
    let ids = tokens(len);
    let starts = (0..len).step_by(chunk_len);
    let chunks: Vec<Tensor> = starts
        .map(|at| {
            let chunk = &ids[at..(at + chunk_len).min(len)];
            llama.forward_cached(chunk, at, &mut cache).unwrap()
        })
        .collect();
    Tensor::cat(&chunks, 0)
}

fn difference(a: &Tensor, b: &Tensor) -> f64 {
    (a - b).abs().max().double_value(&[]) / b.abs().max().double_value(&[])
}

#[test]
fn everything_attended_equals_the_plain_forward_for_any_chunking() {
    let llama = model();
    let plain = hidden(&llama, &Full, 70, 70);
    for method in methods(70, false) {
        for chunk_len in [1, 3, 16, 63, 64, 65, 69, 70, 100] {
            let error = difference(&hidden(&llama, &method, 70, chunk_len), &plain);
            assert!(
                error < 1e-10,
                "{method:?} in chunks of {chunk_len}: {error}"
            );
        }
    }
}

#[test]
fn work_is_skipped_in_prefill_alone_and_memory_is_not_saved() {
    let llama = model();
    let limits = Limits {
        max_new_tokens: 3,
        stop_tokens: Vec::new(),
    };
    let plain = hidden(&llama, &Full, 249, 100);
    for method in methods(250, true) {
        let run = engine(&llama, 100).generate(&method, &tokens(250), &limits);
        let usage = run.unwrap().usage;
        assert_eq!(usage.kv_footprint().to_bits(), 1.0_f64.to_bits());
        assert_eq!(usage.kv_peak().to_bits(), 1.0_f64.to_bits());
        assert!(usage.compute_share() < 0.9, "{method:?}: {usage:?}");
        assert!(difference(&hidden(&llama, &method, 249, 100), &plain) > 1e-6);
        let run = engine(&llama, 100).generate(&method, &tokens(1), &limits);
        let share = run.unwrap().usage.compute_share();
        assert_eq!(share.to_bits(), 1.0_f64.to_bits(), "{method:?}");
    }
}
