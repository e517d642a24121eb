//! Red flags of a DuoAttention run: what to know before a mask is cut from its gates.
//!
//! All of them are about the last step, so an interrupted run raises the same ones.

use crate::real::real;

/// Share of the gates at their upper bound from which most masks cut through ties.
const TIED: f64 = 0.5;
/// A head whose gate is below this streams for the most part.
pub(super) const HALF: f64 = 0.5;

/// Way from its start below which no gate has moved in a whole run.
const STILL: f64 = 0.02;

/// A stable code, and one sentence with a way out.
type Flag = (&'static str, String);

/// What the gates of a run that ended tell, row-major, beside those that it started with.
pub(super) fn of_end((start, gates): (&[f64], &[f64]), num_kv_heads: usize) -> Vec<Flag> {
    let all = gates.len();
    let num_open = gates.iter().filter(|gate| **gate >= 1.0).count();
    let mut flags: Vec<Flag> = still(start, gates).into_iter().collect();
    if gates.iter().all(|gate| *gate > HALF) {
        flags.push((
            "duo.all_open",
            format!(
                "none of {all} gates ended below {HALF}: the penalty does not outweigh the distillation; raise `duo.penalty`, or \
                 give it more `optimizer.steps`"
            ),
        ));
    }
    if real(num_open) >= TIED * real(all) {
        flags.push((
            "duo.tied",
            format!(
                "{num_open} of {all} gates ended at 1: a mask that keeps fewer heads orders them by what the last update added"
            ),
        ));
    }
    let layers = gates.chunks(num_kv_heads).enumerate();
    let closed = layers.filter(|(_, gates)| gates.iter().all(|gate| *gate < HALF));
    let names: Vec<String> = closed.map(|(layer, _)| layer.to_string()).collect();
    if !names.is_empty() {
        flags.push((
            "gate.streaming_layer",
            format!(
                "every gate of layer {} is below {HALF}: legal, but some engines expect a retrieval head in every layer",
                names.join(", ")
            ),
        ));
    }
    flags
}

fn still(start: &[f64], gates: &[f64]) -> Option<Flag> {
    let ways = gates.iter().zip(start).map(|(end, start)| end - start);
    let furthest = ways.map(f64::abs).fold(0.0, f64::max);
    (furthest < STILL).then(|| {
        (
            "duo.still",
            format!(
                "no gate moved by more than {furthest:.4} in the whole run: raise `optimizer.gate_lr`, or give it more \
                 `optimizer.steps`"
            ),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_that_makes_a_mask_doubtful_is_flagged() {
        let codes = |gates: &[f64]| -> Vec<&str> {
            of_end((&[1.0; 4], gates), 2)
                .into_iter()
                .map(|(code, _)| code)
                .collect()
        };
        assert_eq!(codes(&[1.0, 0.2, 0.9, 0.1]), [""; 0]);
        assert_eq!(codes(&[1.0, 0.7, 0.9, 0.6]), ["duo.all_open"]);
        assert_eq!(codes(&[1.0, 0.2, 1.001, 0.1]), ["duo.tied"]);
        assert_eq!(codes(&[1.0, 0.9, 0.4, 0.1]), ["gate.streaming_layer"]);
        let asleep = [1.0, 0.99, 0.999, 0.985];
        assert_eq!(codes(&asleep), ["duo.still", "duo.all_open"]);
    }
}
