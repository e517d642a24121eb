//! Golden sizes of the published recipe, and what policies and gates change.

use super::*;
use crate::config::dtype::Dtype;
use crate::config::loss::{LossSettings, MemorySettings, Offload};
use crate::estimate::known;
use crate::estimate::plan::Gates;
use crate::span::Span;

fn plan(num_tokens: usize, saving: Saving) -> Plan {
    Plan {
        model: known::sizes("llama-3.1-8b").unwrap(),
        num_tokens,
        span: Span::new(128, 1024, 128).unwrap(),
        dtype: Dtype::Bf16,
        memory: MemorySettings {
            saving,
            ..MemorySettings::default()
        },
        loss: LossSettings::default(),
        gates: Gates::Between,
        weights: WeightUpdates::Frozen,
    }
}

#[track_caller]
fn printed(bytes: f64, (expected, digits): (&str, usize)) {
    assert_eq!(format!("{:.digits$}", bytes / 1e9), expected);
}

/// GB at 8K, 64K and 128K tokens, with the digits behind the point that the table prints.
type Row = [(&'static str, usize); 3];

const WEIGHTS: Row = [("16.06", 2); 3];
const HIDDEN: Row = [("2.1", 1), ("17.2", 1), ("34.4", 1)];
const LSE: Row = [("0.03", 2), ("0.27", 2), ("0.54", 2)];
const KEYS: Row = [("1.1", 1), ("8.6", 1), ("17.2", 1)];
const GATE_AND_UP: Row = [("15", 0), ("120", 0), ("240.5", 1)];
const ONE_GATE_AND_UP: Row = [("0.5", 1), ("3.8", 1), ("7.5", 1)];
const ONE_QUERY_GRAD: Row = [("0.1", 1), ("1.1", 1), ("2.1", 1)];
const LOGITS: Row = [("4.2", 1), ("34", 0), ("67", 0)];

#[test]
fn the_published_recipe_needs_what_the_golden_table_says() {
    let lens = [8192, 65_536, 131_072];
    for (at, num_tokens) in lens.into_iter().enumerate() {
        let mut plan = plan(num_tokens, Saving::All);
        plan.loss.chunk_len = num_tokens;
        let (step, memory) = (Step::new(&plan), Memory::new(&plan));
        printed(memory.weights, WEIGHTS[at]);
        printed(memory.saved_inputs, HIDDEN[at]);
        printed(32.0 * step.queries, HIDDEN[at]);
        printed(32.0 * step.lse, LSE[at]);
        printed(32.0 * 2.0 * step.keys, KEYS[at]);
        printed(32.0 * 2.0 * step.inner, GATE_AND_UP[at]);
        printed(2.0 * step.inner, ONE_GATE_AND_UP[at]);
        printed(step.wide_queries, ONE_QUERY_GRAD[at]);
        printed(2.0 * step.queries, ONE_QUERY_GRAD[at]);
        // f32 logits, a second f32 and a bf16 copy.
        printed(memory.logits_chunk * 4.0 / 10.0, LOGITS[at]);
    }
}

#[test]
fn each_policy_keeps_more_than_the_one_before_and_holds_less_beside_it() {
    let policies = [Saving::Inputs, Saving::InputsAndAttention, Saving::All];
    let found = policies.map(|saving| Memory::new(&plan(65_536, saving)));
    let [inputs, attention, all] = found;
    assert!(inputs.saved_attention + inputs.saved_rest < 1.0);
    assert!(attention.saved_rest < 1.0);
    assert!(inputs.saved() < attention.saved() && attention.saved() < all.saved());
    assert!(inputs.backward > attention.backward && attention.backward > all.backward);
    assert!(inputs.peak() < attention.peak() && attention.peak() < all.peak());
}

#[test]
fn host_memory_takes_all_layers_but_one_whatever_they_keep() {
    for saving in [Saving::Inputs, Saving::InputsAndAttention, Saving::All] {
        let mut plan = plan(65_536, saving);
        let here = Memory::new(&plan);
        plan.memory.offload = Offload::Host;
        let away = Memory::new(&plan);
        assert!((away.saved() * 32.0 - here.saved()).abs() < 1.0);
        assert!((away.host + away.saved() - here.saved()).abs() < 1.0);
        assert!((here.peak() - away.peak() - away.host).abs() < 1.0);
        assert!(here.host.abs() < 1.0);
    }
}

#[test]
fn gates_at_their_ends_halve_what_attention_leaves_behind() {
    let both = Memory::new(&plan(65_536, Saving::InputsAndAttention));
    for sparsity in [0.0, 0.35, 1.0] {
        let mut plan = plan(65_536, Saving::InputsAndAttention);
        plan.gates = Gates::Ends { sparsity };
        let one = Memory::new(&plan);
        assert!((one.saved_attention * 2.0 - both.saved_attention).abs() < 1.0);
        assert!(one.peak() < both.peak());
    }
}

#[test]
fn training_weights_adds_gradients_masters_and_moments() {
    let mut plan = plan(8192, Saving::InputsAndAttention);
    plan.weights = WeightUpdates::AdamW;
    // f32 each: gradient, master, two moments.
    printed(Memory::new(&plan).optimizer, ("128.5", 1));
    plan.dtype = Dtype::F32;
    printed(Memory::new(&plan).optimizer, ("96.4", 1));
}
