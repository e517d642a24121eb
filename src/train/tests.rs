//! Whole steps on a tiny random model.

use super::gate_step::{StepSettings, Trainer, Weights};
use super::gate_trainer::{GateRates, GateTrainer, LinearTerm};
use super::method::Method;
use super::method::duo_attention::{DuoAttention, DuoConstants};
use super::method::frozen::Frozen;
use super::method::prulong::{PruLong, PruLongSettings};
use super::optimizer::host_adamw::{AdamSettings, Rate};
use super::optimizer::muon::MuonSettings;
use super::pretrain_step::{Pretrainer, Sample};
use super::reduction::Reduction;
use super::weight_trainer::{Rules, WeightSettings, WeightTrainer};
use crate::attention::cpu_flash::CpuFlash;
use crate::attention::{Attended, Backend, InputGrads, Qkv, Visibility};
use crate::config::stage::Stage;
use crate::fault::Coded;
use crate::gate::bank::GateBank;
use crate::gate::lagrangian::Constraint;
use crate::gate::noise::Coupling;
use crate::model::block::Saving;
use crate::model::block::pair::OpenEnd;
use crate::model::config::ModelConfig;
use crate::model::init::{Init, Outputs, fresh_tensors};
use crate::model::llama::Llama;
use crate::model::train_pass::{PassSettings, Row};
use crate::schedule::course::SparsityCourse;
use crate::schedule::{LrSchedule, LrShape, SparsitySchedule, SparsityShape};
use crate::span::Span;
use crate::torch::offload::Offload;
use tch::{Device, Kind, Tensor};

mod validation;

const ADAM: AdamSettings = AdamSettings {
    betas: [0.9, 0.95],
    eps: 1e-8,
};

fn model(kind: Kind) -> Llama {
    let config = ModelConfig::parse(
        r#"{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 23, "hidden_size": 16,
        "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
        "head_dim": 8, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "max_position_embeddings": 64,
        "hidden_act": "silu", "tie_word_embeddings": false}"#,
    )
    .unwrap();
    let init = Init {
        embedding_std: 1.0,
        outputs: Outputs::Drawn,
        seed: 3,
    };
    let tensors = fresh_tensors(&config, init, Device::Cpu);
    let tensors = tensors
        .into_iter()
        .map(|(name, tensor)| (name, tensor.to_kind(kind)))
        .collect();
    Llama::from_tensors(config, tensors).unwrap()
}

fn weights(model: &Llama, rules: Rules) -> WeightTrainer {
    let muon = MuonSettings {
        momentum: 0.95,
        iterations: 5,
    };
    WeightTrainer::new(model, rules, WeightSettings { adam: ADAM, muon })
}

/// HardConcrete gates on their way to half of the heads.
fn prulong() -> Box<dyn Method> {
    let rate = Rate {
        lr: 0.3,
        weight_decay: 0.1,
    };
    let settings = PruLongSettings {
        rates: GateRates {
            gates: rate,
            lambdas: rate,
        },
        constraint: Constraint::Expected,
        target: SparsityCourse::new(
            SparsitySchedule {
                num_steps: 20,
                start: 0.0,
                end: 0.5,
                warmup_ratio: 0.5,
                shape: SparsityShape::Linear,
            },
            &[],
        )
        .unwrap(),
        coupling: Coupling::Independent,
        settled_after: None,
    };
    let bank = GateBank::reset(2, 2, (1.0, 0.5), 7);
    let trainer = GateTrainer::new(bank, LinearTerm::On);
    Box::new(PruLong::new(trainer, settings))
}

/// Gates that distil, one of them at each bound.
fn duo_attention() -> Box<dyn Method> {
    let constants = DuoConstants {
        rate: Rate {
            lr: 0.05,
            weight_decay: 0.0,
        },
        penalty: 0.05,
        open_end: OpenEnd::Teacher,
        num_steps: 40,
    };
    Box::new(DuoAttention::new(2, vec![1.0, 0.4, 0.0, 0.8], constants))
}

fn trainer(kind: Kind, gates: Option<Vec<Vec<f64>>>, train_weights: bool) -> Trainer {
    let method = gates.map_or_else(prulong, |z| Box::new(Frozen(z)));
    trainer_of(kind, method, train_weights)
}

fn trainer_of(kind: Kind, method: Box<dyn Method>, train_weights: bool) -> Trainer {
    let model = model(kind);
    let weights = train_weights.then(|| Weights {
        trainer: weights(&model, Rules::AdamW),
        rate: Rate {
            lr: 0.01,
            weight_decay: 0.0,
        },
    });
    Trainer {
        model,
        backend: Box::new(CpuFlash),
        span: Span::new(1, 4, 1).unwrap(),
        method,
        weights,
        reduction: Reduction::ExactTokens,
        settings: StepSettings {
            seed: 11,
            pass: PassSettings {
                saving: Saving::InputsAndAttention,
                offload: Offload::None,
                mlp_chunk_len: 16,
                loss_chunk_len: 8,
            },
            lr: LrSchedule {
                num_steps: 20,
                warmup_ratio: 0.1,
                min_ratio: 0.1,
                shape: LrShape::Cosine,
            },
            adam: ADAM,
            clip_norm: 1.0,
        },
    }
}

fn rows(model: &Llama, step: i64) -> Vec<Row> {
    [0, 1]
        .map(|row| {
            let ids: Vec<i64> = (0..30).map(|i| (i * 5 + row * 7 + step) % 23).collect();
            let mut labels = ids.clone();
            labels[0] = -100;
            labels[20] = -100;
            Row::new(model, &ids, &labels, &[20, 10])
        })
        .into()
}

/// Every number that training changed, for bitwise comparison.
fn fingerprint(trainer: &Trainer) -> Vec<f64> {
    let gates = trainer.method.state().exact.into_iter();
    let gates = gates.flat_map(|(_, values)| values);
    let weights = trainer
        .weights
        .as_ref()
        .map(|weights| weights.trainer.state());
    let weights = weights.into_iter().flatten().flat_map(|part| part.values);
    gates.chain(weights.map(f64::from)).collect()
}

#[test]
fn every_mode_lowers_what_it_trains_on_and_touches_nothing_else() {
    let frozen = Some(vec![vec![1.0, 0.0]; 2]);
    for (gates, train_weights) in [(None, false), (None, true), (frozen, true)] {
        let mut trainer = trainer(Kind::Float, gates.clone(), train_weights);
        let before = crate::torch::host::to_f32(trainer.model.head());
        let z = vec![vec![1.0, 0.0]; 2];
        let loss = trainer.evaluate(&rows(&trainer.model, 0), &z);
        for step in 0..10 {
            let rows = rows(&trainer.model, 0);
            trainer.step(&rows, step).unwrap();
        }
        assert_eq!(trainer.method.picture().is_some(), gates.is_none());
        let after = crate::torch::host::to_f32(trainer.model.head());
        assert_eq!(before == after, !train_weights);
        let trained = trainer.evaluate(&rows(&trainer.model, 0), &z);
        assert_eq!(trained < loss - 0.05, train_weights, "{loss} -> {trained}");
    }
}

#[test]
fn a_resumed_run_is_bit_identical_at_every_step() {
    resumes(&|| trainer(Kind::Float, None, true));
    resumes(&|| trainer_of(Kind::Float, duo_attention(), false));
}

#[track_caller]
fn resumes(trainer: &dyn Fn() -> Trainer) {
    let steps = 6;
    let (mut straight, mut resumed) = (trainer(), trainer());
    let start = fingerprint(&straight);
    for step in 0..steps {
        let batch = rows(&straight.model, step);
        straight.step(&batch, step as u64).unwrap();
        // Everything a checkpoint holds, carried into a trainer that has seen nothing.
        let mut fresh = trainer();
        let state = resumed.method.state().exact;
        let get = |name: &str| {
            let found = state.iter().find(|(known, _)| *known == name);
            found.map(|(_, values)| values.clone())
        };
        fresh.method.restore(&get).unwrap();
        if let (Some(from), Some(to)) = (&resumed.weights, &mut fresh.weights) {
            let state = from.trainer.state();
            let get = |name: &str| {
                let found = state.iter().find(|part| part.name == name);
                found.map(|part| part.values.clone())
            };
            to.trainer.restore(get).unwrap();
        }
        fresh.step(&batch, step as u64).unwrap();
        resumed = fresh;
        assert_eq!(fingerprint(&resumed), fingerprint(&straight), "step {step}");
    }
    assert_ne!(fingerprint(&straight), start);
}

#[test]
fn an_interrupted_step_changes_nothing() {
    let trainers = [
        trainer(Kind::Float, None, true),
        trainer_of(Kind::Float, duo_attention(), false),
    ];
    for mut trainer in trainers {
        let before = fingerprint(&trainer);
        let calls = std::cell::Cell::new(0);
        let second_micro_batch = || {
            calls.set(calls.get() + 1);
            calls.get() == 2
        };
        let batch = rows(&trainer.model, 0);
        let stopped = trainer.step_unless(&batch, 0, &second_micro_batch).unwrap();
        assert!(stopped.is_none());
        assert_eq!(fingerprint(&trainer), before);
    }
}

#[test]
fn a_loss_that_is_not_finite_stops_before_the_update() {
    let mut trainer = trainer(Kind::Float, None, true);
    let poisoned = {
        let _guard = tch::no_grad_guard();
        let mut row = trainer.model.head().get(3);
        let _ = row.fill_(f64::NAN);
        fingerprint(&trainer)
    };
    let batch = rows(&trainer.model, 0);
    let error = trainer.step(&batch, 4).unwrap_err();
    assert_eq!(
        (error.code(), error.kind().exit_code()),
        ("num.not_finite", 5)
    );
    let same = fingerprint(&trainer)
        .iter()
        .zip(&poisoned)
        .all(|(a, b)| a.to_bits() == b.to_bits());
    assert!(same, "something was updated");
}

#[test]
fn bf16_gates_follow_f32_gates_within_the_rounding_of_their_activations() {
    let mut runs = [Kind::Float, Kind::BFloat16].map(|kind| trainer(kind, None, false));
    let losses = [0, 1].map(|run: usize| {
        let trainer = &mut runs[run];
        let batch = rows(&trainer.model, 0);
        trainer.step(&batch, 3).unwrap().loss
    });
    assert!(
        (losses[0] - losses[1]).abs() < 0.02 * losses[0],
        "{losses:?}"
    );
}

#[test]
fn pretraining_learns_a_repeating_pattern_with_both_optimizers() {
    for rules in [Rules::AdamW, Rules::MuonInLayers] {
        let model = model(Kind::Float);
        let trainer = weights(&model, rules);
        let mut pretrainer = Pretrainer::new(model, trainer, Box::new(CpuFlash), 0.0, Some(1.0));
        let stage = Stage {
            name: "only".to_owned(),
            steps: 40,
            seq_len: 12,
            batch_len: 3,
            muon_lr: 0.02,
            muon_lr_end: 0.02,
            adam_lr: 0.02,
            warmup_steps: 0,
            mix: Vec::new(),
        };
        let sample = |start: i64| Sample {
            ids: (0..12).map(|i| (start + 3 * i) % 23).collect(),
            weights: vec![1.0; 12],
        };
        let samples = [sample(0), sample(5), sample(9)];
        let first = pretrainer.evaluate(&samples);
        for step in 0..40 {
            pretrainer.step(&samples, &stage, (step, step)).unwrap();
        }
        let last = pretrainer.evaluate(&samples);
        assert!(last < 0.5 * first, "{rules:?}: {first} -> {last}");
    }
}

#[test]
fn tokens_without_weight_are_not_trained_on() {
    let model = model(Kind::Float);
    let trainer = weights(&model, Rules::AdamW);
    let pretrainer = Pretrainer::new(model, trainer, Box::new(CpuFlash), 0.0, None);
    let ids: Vec<i64> = (0..10).collect();
    let only = |position: usize| Sample {
        ids: ids.clone(),
        weights: (0..10)
            .map(|i| f32::from(u8::from(i == position)))
            .collect(),
    };
    let mean: f64 = (1..10)
        .map(|p| pretrainer.evaluate(&[only(p)]))
        .sum::<f64>()
        / 9.0;
    let all = Sample {
        ids: ids.clone(),
        weights: vec![1.0; 10],
    };
    assert!((pretrainer.evaluate(&[all]) - mean).abs() < 1e-5);
}

/// A kernel with the defect that cuDNN has had: gradients of keys that are not finite.
struct Defective;

impl Backend for Defective {
    fn name(&self) -> &'static str {
        "cudnn"
    }
    fn is_watched(&self) -> bool {
        true
    }
    fn forward(&self, qkv: Qkv, visibility: Visibility) -> Attended {
        CpuFlash.forward(qkv, visibility)
    }
    fn backward(
        &self,
        dout: &Tensor,
        qkv: Qkv,
        attended: &Attended,
        visibility: Visibility,
    ) -> InputGrads {
        let grads = CpuFlash.backward(dout, qkv, attended, visibility);
        let _ = grads.dk.get(0).get(3).fill_(f64::NAN);
        grads
    }
}

#[test]
fn a_kernel_that_computes_nan_stops_the_run_and_is_named_with_layer_and_shape() {
    for gates in [None, Some(vec![vec![0.5, 0.5], vec![1.0, 0.0]])] {
        let mut trainer = trainer(Kind::Float, gates, true);
        trainer.backend = Box::new(Defective);
        let before = fingerprint(&trainer);
        let rows = rows(&trainer.model, 0);
        let error = trainer.step(&rows, 3).unwrap_err();
        assert_eq!(
            (error.code(), error.kind().exit_code()),
            ("num.attention_grad", 5)
        );
        let text = error.to_string();
        let expected = "dk of layer 1, shape [30, 2, 8] is not finite at step 3: \
                        computed by attention backend `cudnn`";
        assert_eq!(text, expected);
        assert!(error.hint().unwrap().contains("attention.backend=flash"));
        assert_eq!(fingerprint(&trainer), before, "nothing is updated");
        // Between the steps that look, the gradient's norm still stops the run.
        let error = trainer.step(&rows, 11).unwrap_err();
        assert_eq!(error.code(), "num.not_finite");
    }
}
