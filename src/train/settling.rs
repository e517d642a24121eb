//! How a finished run's mask came about: which heads still changed sides, and when the last one did.

use super::error::TrainError;
use crate::checkpoint::state::decode;
use crate::checkpoint::store::CheckpointStore;
use crate::fault::AnyFault;
use crate::gate::bank::GateBank;
use crate::train::settled::rounded;

/// What orders heads in a checkpoint, `[layers, kv_heads]`: PruLong's parameters, DuoAttention's gates.
const READABLE: [&str; 2] = ["log_alpha", "gate"];

/// The rounded mask over the saved steps of a run.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Settling {
    /// Saved steps, rising.
    pub steps: Vec<u64>,
    /// Heads at each that changed sides since the saved step before; 0 at the first.
    pub flips: Vec<usize>,
    /// Heads at each that stand otherwise than at the end.
    pub from_end: Vec<usize>,
    /// First saved step from which on the mask is the last one's.
    pub settled: u64,
}

impl Settling {
    /// Of masks at rising steps; `None` without any.
    pub fn of(masks: &[(u64, Vec<bool>)]) -> Option<Self> {
        let (_, end) = masks.last()?;
        let pairs = masks.iter().skip(1).zip(masks);
        let flips = pairs.map(|((_, mask), (_, before))| num_changed(mask, before));
        let from_end: Vec<usize> = masks
            .iter()
            .map(|(_, mask)| num_changed(mask, end))
            .collect();
        let last_other = from_end.iter().rposition(|changed| *changed > 0);
        Some(Self {
            steps: masks.iter().map(|(step, _)| *step).collect(),
            flips: std::iter::once(0).chain(flips).collect(),
            settled: masks.get(last_other.map_or(0, |at| at + 1))?.0,
            from_end,
        })
    }

    /// Reads every checkpoint of a run, or those of its first steps; masks are rounded at `sparsity`. `None` without any.
    ///
    /// # Errors
    /// A checkpoint that cannot be read, or has no gates.
    pub fn read(
        store: &CheckpointStore,
        sparsity: f64,
        until: Option<u64>,
    ) -> Result<Option<Self>, AnyFault> {
        let mut masks = Vec::new();
        let steps = store.steps()?.into_iter();
        for step in steps.filter(|step| until.is_none_or(|until| *step <= until)) {
            let loaded = store.load(step)?;
            let tensors = decode(loaded.file("state.safetensors")?)?;
            let gates = READABLE.iter().find_map(|name| tensors.get(*name));
            let gates = gates.ok_or_else(|| TrainError::State {
                step,
                name: READABLE.join("` or `"),
            })?;
            let num_kv_heads = gates.shape.last().copied().unwrap_or(1).max(1);
            let log_alpha = gates.to_f32()?.into_iter().map(f64::from).collect();
            masks.push((
                step,
                rounded(&GateBank::new(num_kv_heads, log_alpha), sparsity),
            ));
        }
        masks.sort_by_key(|(step, _)| *step);
        Ok(Self::of(&masks))
    }
}

fn num_changed(mask: &[bool], other: &[bool]) -> usize {
    let pairs = mask.iter().zip(other);
    pairs.filter(|(mask, other)| mask != other).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_settles_at_the_first_step_after_its_last_change() {
        let masks = [
            (10, vec![true, true, false, false]),
            (20, vec![true, false, true, false]),
            (30, vec![true, true, false, false]),
            (40, vec![true, true, false, false]),
        ];
        let found = Settling::of(&masks).unwrap();
        assert_eq!(found.flips, [0, 2, 2, 0]);
        assert_eq!(found.from_end, [0, 2, 0, 0]);
        assert_eq!((found.settled, found.steps), (30, vec![10, 20, 30, 40]));
        assert_eq!(Settling::of(&masks[2..]).unwrap().settled, 30);
        assert!(Settling::of(&[]).is_none());
    }
}
