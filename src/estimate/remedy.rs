//! What to change so that a step fits into a device's memory, with what each change leaves.

use super::memory::Memory;
use super::plan::Plan;
use crate::config::loss::{Offload, Saving};
use crate::real::real;

/// Rows are shortened by multiples of this many tokens.
const LEN_STEP: usize = 1024;
/// Chunks below this cost more time than they save memory.
const SMALL_CHUNK: usize = 512;

/// One change of a plan.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Change {
    /// Keep less.
    Saving(Saving),
    /// Keep it in host memory.
    Offload,
    /// Shorter chunks of feed-forward and loss.
    Chunks(usize),
    /// Shorter rows, keeping no more than each layer's input.
    NumTokens(usize),
}

/// A change, and what the step would need then.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Remedy {
    /// What to change.
    pub change: Change,
    /// Peak after it and the changes listed before it.
    pub peak_bytes: f64,
    /// Whether that fits.
    pub fits: bool,
}

impl Change {
    /// The plan after it.
    pub fn apply(self, plan: &Plan) -> Plan {
        let mut plan = plan.clone();
        match self {
            Self::Saving(saving) => plan.memory.saving = saving,
            Self::Offload => plan.memory.offload = Offload::Host,
            Self::Chunks(len) => {
                plan.memory.mlp_chunk_len = plan.memory.mlp_chunk_len.min(len);
                plan.loss.chunk_len = plan.loss.chunk_len.min(len);
            }
            Self::NumTokens(num_tokens) => plan.num_tokens = num_tokens,
        }
        plan
    }

    /// The setting that makes it.
    pub fn setting(self) -> String {
        match self {
            Self::Saving(Saving::Inputs) => "memory.saving = \"x\"".to_owned(),
            Self::Saving(Saving::InputsAndAttention) => {
                "memory.saving = \"x+attention\"".to_owned()
            }
            Self::Saving(Saving::All) => "memory.saving = \"all\"".to_owned(),
            Self::Offload => "memory.offload = \"host\"".to_owned(),
            Self::Chunks(len) => format!("memory.mlp_chunk_len and loss.chunk_len = {len}"),
            Self::NumTokens(len) => format!("rows of {len} tokens"),
        }
    }
}

/// Changes in the order in which they are worth trying, each on top of those before it, up to the first that fits.
pub fn remedies(plan: &Plan, limit_bytes: f64) -> Vec<Remedy> {
    let mut remedies = Vec::new();
    let mut now = plan.clone();
    let saving = plan.memory.saving;
    let smaller = [Saving::InputsAndAttention, Saving::Inputs]
        .into_iter()
        .filter(|other| keeps_less(*other, saving));
    let chunks = (plan.memory.mlp_chunk_len.max(plan.loss.chunk_len) > SMALL_CHUNK)
        .then_some(Change::Chunks(SMALL_CHUNK));
    for change in smaller.map(Change::Saving).chain(chunks) {
        now = change.apply(&now);
        let peak_bytes = Memory::new(&now).peak();
        let fits = peak_bytes <= limit_bytes;
        remedies.push(Remedy {
            change,
            peak_bytes,
            fits,
        });
        if fits {
            return remedies;
        }
    }
    if let Some(num_tokens) = longest(&now, limit_bytes) {
        let change = Change::NumTokens(num_tokens);
        let peak_bytes = Memory::new(&change.apply(&now)).peak();
        remedies.push(Remedy {
            change,
            peak_bytes,
            fits: true,
        });
    }
    remedies
}

/// What a step needs with its saved activations in host memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Offloaded {
    /// What to change, in this order.
    pub changes: Vec<Change>,
    /// Peak on the device then.
    pub peak_bytes: f64,
    /// Held in host memory then.
    pub host_bytes: f64,
}

/// The fewest changes with which `plan` fits once what it keeps waits in host memory, for a device that has a memory of its own;
/// `None` if it does not fit so either, or keeps it there already.
///
/// What costs less to compute again than to copy is not kept then: everything but attention.
pub fn offloaded(plan: &Plan, limit_bytes: f64) -> Option<Offloaded> {
    if plan.memory.offload == Offload::Host {
        return None;
    }
    let attention = Change::Saving(Saving::InputsAndAttention);
    let saving = (plan.memory.saving == Saving::All).then_some(attention);
    let mut changes: Vec<Change> = saving.into_iter().chain([Change::Offload]).collect();
    loop {
        let then = changes
            .iter()
            .fold(plan.clone(), |plan, change| change.apply(&plan));
        let memory = Memory::new(&then);
        if memory.peak() <= limit_bytes {
            return Some(Offloaded {
                changes,
                peak_bytes: memory.peak(),
                host_bytes: memory.host,
            });
        }
        if changes.contains(&Change::Chunks(SMALL_CHUNK)) {
            return None;
        }
        changes.push(Change::Chunks(SMALL_CHUNK));
    }
}

fn keeps_less(one: Saving, other: Saving) -> bool {
    let rank = |saving| match saving {
        Saving::Inputs => 0,
        Saving::InputsAndAttention => 1,
        Saving::All => 2,
    };
    rank(one) < rank(other)
}

/// The longest row, a multiple of 1,024 tokens, with which `plan` fits; `None` if not even one of them does.
pub fn longest(plan: &Plan, limit_bytes: f64) -> Option<usize> {
    let fits = |steps: usize| {
        let plan = Change::NumTokens(steps * LEN_STEP).apply(plan);
        Memory::new(&plan).peak() <= limit_bytes
    };
    // A million tokens for every GB would be a model of a few hundred weights.
    let mut unfit = (limit_bytes / real(LEN_STEP)).min(1e6);
    let mut fit = 0.0;
    while unfit - fit > 1.0 {
        let middle = f64::midpoint(fit, unfit).floor();
        if fits(whole(middle)) {
            fit = middle;
        } else {
            unfit = middle;
        }
    }
    (fit >= 1.0).then(|| whole(fit) * LEN_STEP)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "between 0 and a million"
)]
fn whole(count: f64) -> usize {
    count as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::dtype::Dtype;
    use crate::config::loss::{LossSettings, MemorySettings};
    use crate::estimate::known;
    use crate::estimate::plan::{Gates, WeightUpdates};
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

    #[test]
    fn the_last_remedy_fits_and_none_before_it_does() {
        for gigabytes in [24.0, 48.0, 80.0, 141.0] {
            let limit = gigabytes * 1e9;
            let remedies = remedies(&plan(131_072, Saving::All), limit);
            let (last, before) = remedies.split_last().unwrap();
            assert!(
                last.fits && last.peak_bytes <= limit,
                "{gigabytes}: {last:?}"
            );
            assert!(
                before
                    .iter()
                    .all(|remedy| !remedy.fits && remedy.peak_bytes > limit)
            );
            assert_eq!(
                remedies[0].change,
                Change::Saving(Saving::InputsAndAttention)
            );
        }
    }

    #[test]
    fn host_memory_makes_the_published_row_fit_into_80_gb_with_what_attention_left() {
        let plan = plan(131_072, Saving::All);
        let found = offloaded(&plan, 80e9).unwrap();
        assert_eq!(
            found.changes,
            [Change::Saving(Saving::InputsAndAttention), Change::Offload]
        );
        // 31 of 32 layers: an input and two branches of 2^30 bytes each, and two times 2^24 of lse.
        let layer = 3.0 * 2_f64.powi(30) + 2.0 * 2_f64.powi(24);
        assert!((found.host_bytes - 31.0 * layer).abs() < 1.0);
        assert!(found.peak_bytes <= 80e9);
        // Where chunks are what is large, they shrink too, and at last nothing helps.
        let mut wide = plan.clone();
        wide.memory.mlp_chunk_len = 131_072;
        let tight = offloaded(&wide, found.peak_bytes).unwrap();
        assert_eq!(tight.changes.last(), Some(&Change::Chunks(SMALL_CHUNK)));
        assert_eq!(offloaded(&plan, 20e9), None);
        let there = Change::Offload.apply(&plan);
        assert_eq!(offloaded(&there, 80e9), None);
    }

    #[test]
    fn the_longest_row_fits_and_the_next_one_does_not() {
        let limit = 80e9;
        let plan = plan(131_072, Saving::InputsAndAttention);
        let longest = longest(&plan, limit).unwrap();
        let peak = |len| Memory::new(&Change::NumTokens(len).apply(&plan)).peak();
        assert!(
            peak(longest) <= limit && peak(longest + LEN_STEP) > limit,
            "{longest}"
        );
        // The weights alone are larger.
        assert_eq!(super::longest(&plan, 10e9), None);
    }
}
