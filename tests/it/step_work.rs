//! How much work a training step does: (query, key) pairs counted by a kernel that counts, against `prulong estimate`.
//!
//! A step that stops skipping heads, keeping outputs, or leaving out what no gate needs does more of it, on every machine alike.

use prulong::attention::cpu_flash::CpuFlash;
use prulong::attention::gated::GatedAttention;
use prulong::attention::{Attended, Backend, InputGrads, Qkv, Visibility};
use prulong::cli::run_setup::pass_settings;
use prulong::config::dtype::Dtype;
use prulong::config::loss::{LossSettings, MemorySettings, Saving};
use prulong::estimate::flops::Flops;
use prulong::estimate::plan::{Gates, Plan, WeightUpdates};
use prulong::model::block::pair::OpenEnd;
use prulong::model::config::ModelConfig;
use prulong::model::distill_pass::DistillPass;
use prulong::model::llama::Llama;
use prulong::model::random_weights::hashed_tensors;
use prulong::model::train_pass::{ModelGrads, Row, TrainPass};
use prulong::model::watch::Watch;
use prulong::span::Span;
use std::sync::atomic::{AtomicU64, Ordering};
use tch::{Device, Kind, Tensor};

const NUM_TOKENS: u64 = 480;
const NUM_LAYERS: u64 = 4;
const NUM_KV_HEADS: u64 = 4;
const NUM_HEADS: u64 = 8;
const HEAD_DIM: u64 = 8;
/// Sink, window and block; a tile of this span is one block, and its keys are sink and window.
const SPAN: [usize; 3] = [32, 64, 32];
const REACH: u64 = 96;

/// Twice the pairs that the kernel below was asked for: full and streaming attention, forward and backward.
#[derive(Debug, Default)]
struct Counts {
    full: [AtomicU64; 2],
    streaming: [AtomicU64; 2],
}

/// [`CpuFlash`] that counts.
struct Counting<'a>(&'a Counts);

impl Counting<'_> {
    fn count(&self, qkv: Qkv, visibility: Visibility, direction: usize) {
        let unsigned = |len: i64| u64::try_from(len).unwrap();
        let (b, t, h, _) = qkv.q.size4().unwrap();
        let (_, s, _, _) = qkv.k.size4().unwrap();
        let [b, t, h, s] = [b, t, h, s].map(unsigned);
        let (twice, is_full) = match visibility {
            Visibility::Causal => (b * h * t * s, t == NUM_TOKENS),
            _ => (2 * b * h * t * s, false),
        };
        let counts = if is_full {
            &self.0.full
        } else {
            &self.0.streaming
        };
        counts[direction].fetch_add(twice, Ordering::Relaxed);
    }
}

impl Backend for Counting<'_> {
    fn name(&self) -> &'static str {
        "counting"
    }

    fn forward(&self, qkv: Qkv, visibility: Visibility) -> Attended {
        self.count(qkv, visibility, 0);
        CpuFlash.forward(qkv, visibility)
    }

    fn backward(
        &self,
        dout: &Tensor,
        qkv: Qkv,
        attended: &Attended,
        visibility: Visibility,
    ) -> InputGrads {
        self.count(qkv, visibility, 1);
        CpuFlash.backward(dout, qkv, attended, visibility)
    }
}

fn model() -> Llama {
    let config = ModelConfig::parse(&format!(
        r#"{{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 64,
        "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": {NUM_LAYERS},
        "num_attention_heads": {NUM_HEADS}, "num_key_value_heads": {NUM_KV_HEADS}, "head_dim": {HEAD_DIM},
        "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "max_position_embeddings": 1024,
        "hidden_act": "silu", "tie_word_embeddings": false}}"#
    ));
    let config = config.unwrap();
    let tensors = hashed_tensors(&config, Kind::Float, Device::Cpu);
    Llama::from_tensors(config, tensors).unwrap()
}

fn span() -> Span {
    let [sink, window, block] = SPAN;
    Span::new(sink, window, block).unwrap()
}

/// Twice the pairs of one step: full forward and backward, streaming forward and backward.
fn work(z: f64, saving: Saving, with_weights: bool) -> [u64; 4] {
    // `z` is the share of gates at 1, or between where it is no multiple of one head.
    let gate = |head: u64| {
        let share = |count: u64| f64::from(u32::try_from(count).unwrap()) / 4.0;
        if z > share(NUM_KV_HEADS) {
            0.5
        } else if share(head) < z {
            1.0
        } else {
            0.0
        }
    };
    counted(saving, |pass, row| {
        let mut grads = with_weights.then(|| ModelGrads::zeros(pass.model));
        pass.run(row, &gates(gate), 1.0, grads.as_mut());
    })
}

/// The same of a distillation step whose first `open` kv heads have gates at 1.
fn distilled_work(open: u64, saving: Saving) -> [u64; 4] {
    let gate = |head| if head < open { 1.0 } else { 0.25 };
    counted(saving, |pass, row| {
        let pass = DistillPass {
            engine: *pass,
            open_end: OpenEnd::Teacher,
        };
        let (found, _) = pass.run(row, &gates(gate), 1.0, Watch::Off);
        assert!(found.dgates.iter().all(|dg| dg.abs() > 0.0) || open == NUM_KV_HEADS);
    })
}

fn gates(gate: impl Fn(u64) -> f64) -> Vec<Vec<f64>> {
    vec![(0..NUM_KV_HEADS).map(gate).collect(); usize::try_from(NUM_LAYERS).unwrap()]
}

fn counted(saving: Saving, run: impl FnOnce(&TrainPass, &Row)) -> [u64; 4] {
    let (model, span, counts) = (model(), span(), Counts::default());
    let memory = MemorySettings {
        saving,
        ..MemorySettings::default()
    };
    let pass = TrainPass {
        model: &model,
        attention: GatedAttention {
            backend: &Counting(&counts),
            span: Some(&span),
        },
        settings: pass_settings(&memory, &LossSettings::default(), Device::Cpu).unwrap(),
    };
    let ids: Vec<i64> = (0..64)
        .cycle()
        .take(usize::try_from(NUM_TOKENS).unwrap())
        .collect();
    let row = Row::new(&model, &ids, &ids, &[ids.len()]);
    run(&pass, &row);
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let [full, streaming] = [&counts.full, &counts.streaming];
    [&full[0], &full[1], &streaming[0], &streaming[1]].map(read)
}

/// All gates between 0 and 1.
const BETWEEN: f64 = 2.0;

const KEPT: Saving = Saving::InputsAndAttention;

/// Twice the pairs of one layer's full, and streaming, attention of all heads.
const FULL: u64 = NUM_HEADS * NUM_TOKENS * NUM_TOKENS;
const STREAMING: u64 = NUM_HEADS * (2 * NUM_TOKENS * REACH - REACH * REACH);

#[test]
fn heads_that_are_decided_run_one_branch_and_the_first_layer_goes_back_no_further_than_its_gates() {
    let back = NUM_LAYERS - 1;
    for (open, closed) in [(4, 0), (3, 1), (1, 3), (0, 4)] {
        let z = f64::from(u32::try_from(open).unwrap()) / 4.0;
        let expected = [
            NUM_LAYERS * FULL * open / 4,
            back * FULL * open / 4,
            NUM_LAYERS * STREAMING * closed / 4,
            back * STREAMING * closed / 4,
        ];
        assert_eq!(work(z, KEPT, false), expected, "{open} of 4 open");
    }
    let both = [
        NUM_LAYERS * FULL,
        back * FULL,
        NUM_LAYERS * STREAMING,
        back * STREAMING,
    ];
    assert_eq!(work(BETWEEN, KEPT, false), both);
}

#[test]
fn attention_runs_again_only_where_nothing_of_it_was_kept() {
    for (saving, forward) in [(Saving::Inputs, 2), (KEPT, 1), (Saving::All, 1)] {
        let [full, _, streaming, _] = work(BETWEEN, saving, false);
        assert_eq!(full, forward * NUM_LAYERS * FULL, "{saving:?}");
        assert_eq!(streaming, forward * NUM_LAYERS * STREAMING, "{saving:?}");
    }
}

/// The teacher and the first layer go back nowhere; heads whose gate is at 1 need their streaming output for its gradient alone.
#[test]
fn a_distillation_step_does_what_its_gates_need_and_no_more() {
    let back = NUM_LAYERS - 1;
    for open in 0..=NUM_KV_HEADS {
        let expected = [
            NUM_LAYERS * FULL,
            0,
            NUM_LAYERS * STREAMING,
            back * STREAMING * (NUM_KV_HEADS - open) / 4,
        ];
        assert_eq!(distilled_work(open, KEPT), expected, "{open} of 4 open");
    }
    let [full, _, streaming, _] = distilled_work(0, Saving::Inputs);
    assert_eq!(
        [full, streaming],
        [NUM_LAYERS * FULL, 2 * NUM_LAYERS * STREAMING]
    );
}

#[test]
fn weights_that_train_need_the_first_layers_gradients_too() {
    let [_, full, _, streaming] = work(BETWEEN, KEPT, true);
    assert_eq!(
        [full, streaming],
        [NUM_LAYERS * FULL, NUM_LAYERS * STREAMING]
    );
}

#[test]
fn the_estimate_counts_the_same_pairs() {
    let model = model();
    for (z, sparsity) in [(1.0, 0.0), (0.5, 0.5), (0.0, 1.0)] {
        let plan = Plan {
            model: model.config().sizes(),
            num_tokens: usize::try_from(NUM_TOKENS).unwrap(),
            span: span(),
            dtype: Dtype::F32,
            memory: MemorySettings::default(),
            loss: LossSettings::default(),
            gates: Gates::Ends { sparsity },
            weights: WeightUpdates::AdamW,
        };
        let flops = Flops::new(&plan);
        let [full, _, streaming, _] = work(z, KEPT, true);
        let number = |count: u64| f64::from(u32::try_from(count).unwrap());
        // 4 D for each pair, of which twice as many were counted.
        let per_count = 2.0 * number(HEAD_DIM);
        assert!((flops.full_forward - per_count * number(full)).abs() < 0.5);
        // The estimate gives the rows of the dense prefix as many keys as the others.
        let prefix = number(NUM_LAYERS * NUM_HEADS * REACH * REACH) * sparsity;
        let counted = per_count * (number(streaming) + prefix);
        assert!((flops.streaming_forward - counted).abs() < 0.5, "{z}");
    }
}
