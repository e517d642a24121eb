//! The DuoAttention directory as its training writes it: the gates themselves.
//!
//! ```text
//! full_attention_heads.tsv    the gates as the last update left them, `%.18e`, tabs; higher = retrieval
//! config.json                 as in `duo_rank`
//! ```
//!
//! # Decisions
//! - Heads are ordered by the gates as they are stored, which the last update may have moved out of [0, 1], ties by (layer, kv head):
//!   of gates at a bound, those are first that were pushed towards it most. Loaders clip, and order them at random.
//! - Only a mask of our own DuoAttention training has it. `duo/` stays the mask: every printed command reads that.

use crate::mask::duo;
use crate::mask::duo_rank;
use crate::mask::error::{MaskError, MaskWarning};
use crate::mask::foreign::content::{Files, Foreign, Input, Reading};
use crate::mask::foreign::{import, table};
use crate::mask::gate_method::GateMethod;
use crate::mask::sidecar::content::Sidecar;

/// The directory's files; `None` for a mask of other gates.
pub fn files(sidecar: &Sidecar) -> Option<Files> {
    Some(vec![
        (duo::TABLE_NAME, table_text(sidecar)?.into_bytes()),
        (
            duo::CONFIG_NAME,
            duo_rank::config_text(sidecar).into_bytes(),
        ),
    ])
}

/// The table; `None` for a mask of other gates.
pub fn table_text(sidecar: &Sidecar) -> Option<String> {
    let training = sidecar.training.as_ref()?;
    let gates = sidecar.gate_score.as_ref()?;
    let is_ours = training.method == GateMethod::DuoAttention;
    let numbers: Vec<String> = gates.iter().map(|gate| scientific(*gate)).collect();
    is_ours.then(|| table::text(sidecar.mask.num_kv_heads(), &numbers))
}

/// What loaders of the table, which clip it to [0, 1], cannot tell apart at the cut; `None` for a mask of other gates.
pub fn ties(sidecar: &Sidecar) -> Option<MaskWarning> {
    let training = sidecar.training.as_ref()?;
    let gates = sidecar.gate_score.as_ref()?;
    let clipped = gates.iter().map(|gate| f64::from(gate.clamp(0.0, 1.0)));
    let clipped: Vec<f64> = clipped.collect();
    if training.method != GateMethod::DuoAttention {
        return None;
    }
    let found = import::ties((&sidecar.mask, &sidecar.ranks), &clipped)?;
    let MaskWarning::TiesAtCut {
        num_tied, num_kept, ..
    } = found
    else {
        return Some(found);
    };
    Some(MaskWarning::ClippedAtCut(num_tied, num_kept))
}

/// Reads the directory, always as scores.
///
/// # Errors
/// As [`duo::read`].
pub fn read(input: &Input, reading: &Reading) -> Result<Foreign, MaskError> {
    duo_rank::read(input, reading)
}

/// C's `%.18e`: 18 decimals, a sign and at least two digits in the exponent.
fn scientific(value: f32) -> String {
    let text = format!("{:.18e}", f64::from(value));
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, digits) = match exponent.strip_prefix('-') {
        Some(digits) => ('-', digits),
        None => ('+', exponent),
    };
    format!("{mantissa}e{sign}{digits:0>2}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mask::provenance::tests::published;
    use crate::mask::sidecar::cut::{Target, TrainedGates, distilled, trained};
    use crate::mask::sidecar::read;
    use crate::mask::sidecar::write::to_bytes;
    use std::path::Path;

    fn provenance() -> crate::mask::provenance::Provenance {
        let mut provenance = published();
        provenance.arch.num_hidden_layers = 2;
        provenance.arch.num_key_value_heads = 2;
        provenance.method = GateMethod::DuoAttention;
        provenance.target_sparsity = None;
        provenance
    }

    #[test]
    fn gates_are_written_as_numpy_does_and_the_mask_says_where_they_come_from() {
        let gates = [1.0, -0.0014, 0.5, 1.0];
        let target = Target::NumRetrieval(2);
        let sidecar = distilled(&gates, 50, &provenance(), target).unwrap();
        assert_eq!(
            table_text(&sidecar).unwrap(),
            "1.000000000000000000e+00\t-1.399999950081110001e-03\n5.000000000000000000e-01\t1.000000000000000000e+00\n"
        );
        assert_eq!(sidecar.mask.flags(), [true, false, false, true]);
        let checked = read::parse(&to_bytes(&sidecar), Path::new("x")).unwrap();
        assert_eq!(checked.sidecar, sidecar);
        let training = checked.sidecar.training.unwrap();
        assert_eq!(
            (
                training.method,
                training.num_steps,
                training.target_sparsity
            ),
            (GateMethod::DuoAttention, 50, None)
        );
        assert_eq!(checked.sidecar.rank_source.name(), "score");
        assert_eq!(
            (sidecar.log_alpha.as_ref(), &sidecar.source[..]),
            (None, "trained")
        );
    }

    #[test]
    fn ties_are_cut_by_layer_and_kv_head_and_other_gates_have_no_such_table() {
        let sidecar = |kept| {
            let target = Target::NumRetrieval(kept);
            distilled(&[0.5, 1.0, 1.0, 1.0], 50, &provenance(), target).unwrap()
        };
        assert_eq!(sidecar(2).mask.flags(), [false, true, true, false]);
        assert_eq!(ties(&sidecar(2)).unwrap().code(), "mask.clipped_at_cut");
        assert_eq!(ties(&sidecar(3)), None);
        assert_eq!(sidecar(3).mask.flags(), [false, true, true, true]);
        let gates = TrainedGates {
            log_alpha: &[1.0, 2.0, 3.0, 4.0],
            num_steps: 3,
        };
        let mut other = provenance();
        other.method = GateMethod::PruLong;
        other.target_sparsity = Some(0.5);
        let prulong = trained(gates, &other, Target::NumRetrieval(1)).unwrap();
        assert_eq!(files(&prulong), None);
    }
}
