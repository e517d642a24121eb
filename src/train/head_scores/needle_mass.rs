//! Attention mass on needles: how much a head attends, where an answer is predicted, to the line that states it.
//!
//! ```text
//! <text> const KEY_red_lion_apple: u64 = 1234567; <text> assert_eq!(KEY_red_lion_apple, 1234567
//!        needle: the keys                                queries: where each digit is predicted
//! ```

use super::sums::HeadSums;
use crate::attention::Qkv;
use crate::attention::reference::Reference;
use crate::attention::{Backend, Visibility};
use crate::data::error::DataError;
use crate::data::generate::fact::{Fact, KeyClass};
use crate::data::generate::needle_form::NeedleForm;
use crate::data::generate::needle_tokens::{NeedleTokens, TokenOrigin};
use crate::model::llama::Llama;
use crate::model::train_pass::{Row, TrainPass};
use crate::random;
use std::ops::Range;
use tch::Tensor;

/// A text with one needle and the question about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// Tokens, the answer included.
    pub ids: Vec<i64>,
    /// Where the needle stands.
    pub needle: Range<usize>,
    /// Where the answer's tokens are predicted: each position before one.
    pub asked: Range<usize>,
}

/// Hides a needle in `text` at a random depth, so that `len` tokens result; `index` chooses needle, form and depth.
///
/// # Errors
/// [`DataError::GeneratorLength`] if `len` does not hold needle and question, [`DataError::Tokenize`].
pub fn probe(
    tokens: &NeedleTokens,
    text: &[u32],
    len: usize,
    (seed, index): (u64, u64),
) -> Result<Probe, DataError> {
    let mut rng = random::stream("needle probe", &[seed, index]);
    let form = NeedleForm::ALL[random::index_below(&mut rng, NeedleForm::ALL.len())];
    let fact = Fact::draw(&mut rng, KeyClass::Training);
    let definition = tokens.definition(form, &fact)?;
    let question = tokens.question(form, &fact)?;
    let frame_len = 1 + tokens.line_end().len();
    let needed = frame_len + definition.len() + question.cue.len() + question.answer.len();
    let text_len = len.saturating_sub(needed).min(text.len());
    if len <= needed || text_len == 0 {
        return Err(DataError::GeneratorLength {
            generator: "needle probe",
            len,
            min_len: needed + 1,
        });
    }
    let text = &text[..text_len];
    let place = tokens.draw_place(&mut rng, text, 1.0);
    let hidden = tokens.hide(text, &mut [(place, definition)]);
    let is_needle = |(_, origin): &(u32, TokenOrigin)| *origin == TokenOrigin::Needle;
    let start = 1 + hidden.iter().position(is_needle).unwrap_or(0);
    let needle = start..start + hidden.iter().filter(|token| is_needle(token)).count();
    let mut ids = vec![tokens.bos()];
    ids.extend(hidden.into_iter().map(|(id, _)| id));
    ids.extend(tokens.line_end());
    ids.extend(&question.cue);
    let first = ids.len() - 1;
    ids.extend(&question.answer);
    Ok(Probe {
        asked: first..first + question.answer.len(),
        ids: ids.into_iter().map(i64::from).collect(),
        needle,
    })
}

/// Mean mass of every kv head on the needles of `probes`; `None` without a probe.
pub fn needle_mass(pass: &TrainPass<'_>, probes: &[Probe]) -> Option<Vec<f64>> {
    let mut sums = HeadSums::new(pass.model.config().shape);
    for probe in probes {
        let row = row(pass.model, probe);
        pass.observe(&row, &mut |layer, qkv| {
            row.documents.visit(qkv, &mut |document| {
                sums.add(layer, &mass(document, probe));
            });
        });
    }
    sums.means()
}

fn row(model: &Llama, probe: &Probe) -> Row {
    Row::new(model, &probe.ids, &probe.ids, &[probe.ids.len()])
}

/// Mass of every head at every asked query, `[H, n]`.
///
/// The softmax over all keys is written out for these few queries alone: `exp(lse over the needle - lse over all)`.
fn mass(document: Qkv, probe: &Probe) -> Tensor {
    let part = |x: &Tensor, range: &Range<usize>| {
        let signed = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        x.narrow(1, signed(range.start), signed(range.len()))
    };
    let q = part(document.q, &probe.asked);
    let (all, needle) = (0..probe.asked.end, &probe.needle);
    // Causal aligned at the bottom right: the keys end with the last query. The needle lies before all of them.
    let over = |range: &Range<usize>, visibility| {
        let (k, v) = (part(document.k, range), part(document.v, range));
        let qkv = Qkv {
            q: &q,
            k: &k,
            v: &v,
        };
        Reference.forward(qkv, visibility).lse
    };
    let share = over(needle, Visibility::All) - over(&all, Visibility::Causal);
    share.exp().squeeze_dim(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attention::testing::{assert_close, normal};
    use crate::data::generate::corpus::tests::TOKENIZER;
    use tch::Kind;

    #[test]
    fn a_probe_holds_its_needle_and_asks_for_its_number() {
        let tokens = NeedleTokens::new(TOKENIZER.clone()).unwrap();
        let text = TOKENIZER.encode(&"let x = 3;\n".repeat(200)).unwrap();
        let mut starts = std::collections::BTreeSet::new();
        for index in 0..20 {
            let probe = probe(&tokens, &text, 256, (5, index)).unwrap();
            assert_eq!(probe.ids.len(), 256);
            let words = |range: Range<usize>| {
                let ids: Vec<u32> = probe.ids[range]
                    .iter()
                    .map(|id| u32::try_from(*id).unwrap())
                    .collect();
                TOKENIZER.decode(&ids).unwrap()
            };
            let answer = words(probe.asked.start + 1..probe.asked.end + 1);
            assert_eq!(answer.len(), 7, "{answer}");
            assert!(words(probe.needle.clone()).contains(&answer));
            assert!(!words(1..probe.needle.start).contains(&answer));
            starts.insert(probe.needle.start);
        }
        assert!(starts.len() > 5, "{starts:?}");
        let error = probe(&tokens, &text, 20, (5, 0)).unwrap_err();
        assert!(matches!(error, DataError::GeneratorLength { .. }));
    }

    #[test]
    fn the_mass_is_that_of_the_softmax_written_out() {
        let (num_heads, len) = (4, 30);
        let [q, k, v] =
            [4, 2, 2].map(|heads: i64| normal(heads.unsigned_abs(), &[1, len, heads, 8]));
        let probe = Probe {
            ids: vec![0; 30],
            needle: 5..9,
            asked: 24..28,
        };
        let qkv = Qkv {
            q: &q,
            k: &k,
            v: &v,
        };
        let found = mass(qkv, &probe);
        let repeated = k.repeat_interleave_self_int(2, 2, None);
        let (q, k) = (q.transpose(1, 2), repeated.transpose(1, 2));
        let causal = Tensor::ones([len, len], (Kind::Bool, tch::Device::Cpu)).tril(0);
        let scores = q.matmul(&k.transpose(-2, -1)) / 8.0_f64.sqrt();
        let shares = scores
            .masked_fill(&causal.logical_not(), f64::NEG_INFINITY)
            .softmax(-1, Kind::Double);
        let expected = shares.narrow(2, 24, 4).narrow(3, 5, 4).sum_dim_intlist(
            [-1_i64].as_slice(),
            false,
            Kind::Double,
        );
        assert_close(&found, &expected.view([num_heads, 4]), "mass");
    }
}
