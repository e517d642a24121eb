//! Mask files that nobody trained: the order of the heads is drawn, everything else chosen by the test.

use prulong::mask::arch::{ArchFacts, RopeFacts};
use prulong::mask::rank::Ranks;
use prulong::mask::rounding::Rounding;
use prulong::mask::sidecar::content::{Base, RankSource, Sidecar};
use prulong::random;
use prulong::span::Span;
use std::collections::BTreeMap;

/// The layout of a model: layers, kv heads, query heads per kv head.
pub(crate) fn arch(num_layers: usize, num_kv_heads: usize, group: usize) -> ArchFacts {
    ArchFacts {
        model_type: "llama".to_owned(),
        num_hidden_layers: num_layers,
        num_attention_heads: num_kv_heads * group,
        num_key_value_heads: num_kv_heads,
        head_dim: 128,
        hidden_size: 4096,
        vocab_size: 128_256,
        max_position_embeddings: 131_072,
        rope_parameters: RopeFacts {
            rope_type: "default".to_owned(),
            rope_theta: 500_000.0,
            factor: None,
            low_freq_factor: None,
            high_freq_factor: None,
            original_max_position_embeddings: None,
        },
    }
}

/// A mask of `num_retrieval` retrieval heads in a drawn order.
pub(crate) fn sidecar(arch: ArchFacts, span: Span, seed: u64, num_retrieval: usize) -> Sidecar {
    let (num_layers, num_kv_heads) = (arch.num_hidden_layers, arch.num_key_value_heads);
    let ranks = random::permutation("hand-made mask", &[seed], num_layers * num_kv_heads);
    let ranks = Ranks::from_ranks(num_layers, num_kv_heads, &ranks).unwrap();
    Sidecar {
        mask: ranks.cut(num_retrieval),
        ranks,
        log_alpha: None,
        gate_score: None,
        rounding: Rounding::Count,
        target_sparsity: None,
        rank_source: RankSource::Score,
        source: "hand-made".to_owned(),
        program_version: "1.0.0".to_owned(),
        span,
        streaming_rule: None,
        chunk_len: None,
        training: None,
        base: Base {
            model: "hand-made".to_owned(),
            revision: None,
            arch,
            weights_sha256: None,
            weights_modified: false,
            rebased_from: None,
        },
        other: BTreeMap::new(),
    }
}
