//! Branches under the real model, with gates that make them full attention.

use super::{LAYERS, cached_nll, model, tokens};
use crate::infer::cache::branches::Branches;
use crate::infer::policy::full::Full;
use crate::infer::policy::nsa::Nsa;
use crate::span::Span;
use tch::{Kind, Tensor};

#[test]
fn half_of_each_branch_that_sees_everything_is_the_plain_forward() {
    let (llama, ids) = (model(), tokens(61));
    let plain = cached_nll(&llama, &Full, &ids, 61);
    // Gates of 1/2: half of one block that holds all, half of a window that holds all, half of no mean at all.
    let gates: Vec<Tensor> = (0..LAYERS)
        .map(|_| Tensor::zeros([24, 16], (Kind::Double, tch::Device::Cpu)))
        .collect();
    let branches = |block_len| Branches {
        block_len,
        num_blocks: 64,
        window: Span::new(0, 61, 1).unwrap(),
    };
    for chunk_len in [1, 7, 61, 100] {
        let nll = |block_len| {
            let policy = Nsa::new(branches(block_len), &gates);
            cached_nll(&llama, &policy, &ids, chunk_len)
        };
        super::assert_near(nll(62), plain, "no block is complete");
        assert!((nll(8) - plain).abs() > 1e-3, "means are read too");
    }
}
