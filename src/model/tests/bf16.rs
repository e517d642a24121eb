//! Gate gradients of a bf16 step: how far each attention kernel is from the same weights in f64.

use super::{CPU, Kind, Llama, ModelConfig, Offload, PassSettings, Row, Saving, TrainPass};
use crate::attention::Backend;
use crate::attention::cpu_flash::CpuFlash;
use crate::attention::fused::CpuFused;
use crate::attention::gated::GatedAttention;
use crate::attention::reference::Reference;
use crate::attention::testing::assert_no_worse;
use crate::model::init::{Init, Outputs, fresh_tensors};
use crate::random;
use crate::span::Span;
use tch::Tensor;

const NUM_LAYERS: usize = 3;
const NUM_KV_HEADS: usize = 4;
const NUM_TOKENS: usize = 400;

fn config() -> ModelConfig {
    let text = format!(
        r#"{{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 61, "hidden_size": 64,
        "intermediate_size": 96, "num_hidden_layers": {NUM_LAYERS}, "num_attention_heads": 8,
        "num_key_value_heads": {NUM_KV_HEADS}, "head_dim": 16, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
        "max_position_embeddings": 512, "hidden_act": "silu", "tie_word_embeddings": false}}"#
    );
    ModelConfig::parse(&text).unwrap()
}

/// dz of one row with every gate inside (0, 1), weights that bf16 holds.
fn dz(backend: &dyn Backend, kind: Kind) -> Tensor {
    let init = Init {
        embedding_std: 1.0,
        outputs: Outputs::Drawn,
        seed: 7,
    };
    let rounded = fresh_tensors(&config(), init, CPU).into_iter();
    let rounded = rounded.map(|(name, x)| (name, x.to_kind(Kind::BFloat16).to_kind(kind)));
    let model = Llama::from_tensors(config(), rounded.collect()).unwrap();
    // A window that holds most of what a head looks at: the branches' outputs differ little.
    let span = Span::new(4, 128, 1).unwrap();
    let pass = TrainPass {
        model: &model,
        attention: GatedAttention {
            backend,
            span: Some(&span),
        },
        settings: PassSettings {
            offload: Offload::None,
            saving: Saving::InputsAndAttention,
            mlp_chunk_len: 1024,
            loss_chunk_len: 1024,
        },
    };
    let mut rng = random::stream("bf16 gates", &[]);
    let ids: Vec<i64> = (0..NUM_TOKENS)
        .map(|_| i64::try_from(random::below(&mut rng, 61)).unwrap())
        .collect();
    let mut labels = ids.clone();
    labels[0] = -100;
    let z: Vec<Vec<f64>> = (0..NUM_LAYERS)
        .map(|_| {
            (0..NUM_KV_HEADS)
                .map(|_| 0.05 + 0.9 * random::uniform(&mut rng))
                .collect()
        })
        .collect();
    let row = Row::new(&model, &ids, &labels, &[NUM_TOKENS]);
    Tensor::from_slice(&pass.run(&row, &z, 1.0, None).dz)
}

#[test]
fn the_fused_kernels_gate_gradients_in_bf16_are_no_worse_than_libtorchs() {
    let oracle = dz(&Reference, Kind::Double);
    for kind in [Kind::BFloat16, Kind::Float] {
        let (found, flash) = (dz(&CpuFused::default(), kind), dz(&CpuFlash, kind));
        assert_no_worse(&found, &flash, &oracle, &format!("{kind:?}"));
    }
}
