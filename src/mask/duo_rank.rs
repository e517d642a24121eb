//! The DuoAttention directory with graded scores instead of a decision: any sparsity cuts it cleanly.
//!
//! ```text
//! full_attention_heads.tsv    1 - rank / (n - 1), shortest decimal, tabs; higher = retrieval, no two alike
//! config.json                 as in `duo`, without `threshold` and `sparsity`
//! ```
//!
//! Noise-and-quantile loaders keep their own count at a nominal sparsity (179 of 256 at 0.7), and the sidecar's mask at its exact
//! fraction; kvpress' ranking keeps the sidecar's order at every count.

use crate::mask::canonical;
use crate::mask::duo;
use crate::mask::error::MaskError;
use crate::mask::foreign::content::{Files, Foreign, Input, Reading};
use crate::mask::foreign::table;
use crate::mask::sidecar::content::Sidecar;
use serde_json::json;

/// The directory's files; `None` for a model of one kv head.
pub fn files(sidecar: &Sidecar) -> Option<Files> {
    Some(vec![
        (duo::TABLE_NAME, table_text(sidecar)?.into_bytes()),
        (duo::CONFIG_NAME, config_text(sidecar).into_bytes()),
    ])
}

/// The table; `None` for a model of one kv head, which has no order.
pub fn table_text(sidecar: &Sidecar) -> Option<String> {
    let ranks = &sidecar.ranks;
    if ranks.ranks().len() < 2 {
        return None;
    }
    Some(table::text(ranks.num_kv_heads(), &ranks.graded()))
}

/// The `config.json`.
pub fn config_text(sidecar: &Sidecar) -> String {
    let sizes = duo::deploy_sizes(sidecar);
    format!("{}\n", canonical::to_string(&json!(sizes)))
}

/// Reads the directory, always as scores: two heads have the scores 0 and 1, and are no decision.
///
/// # Errors
/// As [`duo::read`].
pub fn read(input: &Input, reading: &Reading) -> Result<Foreign, MaskError> {
    duo::sized(table::read_kv(input, reading)?.graded(), input)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mask::foreign::table::parse_table;
    use crate::mask::rounding::{Rounding, exact_sparsity, survives};
    use crate::mask::sidecar::cut::{Target, TrainedGates, recut, trained};
    use crate::random;
    use std::path::Path;

    fn sample(num_layers: usize, num_kv_heads: usize) -> Sidecar {
        let mut provenance = crate::mask::provenance::tests::published();
        provenance.arch.num_hidden_layers = num_layers;
        provenance.arch.num_key_value_heads = num_kv_heads;
        let log_alpha: Vec<f32> = (0..num_layers * num_kv_heads)
            .map(|i| f32::from(u16::try_from(i * 7 % 31).unwrap()) - 8.0)
            .collect();
        let gates = TrainedGates {
            log_alpha: &log_alpha,
            num_steps: 1000,
        };
        trained(gates, &provenance, Target::NumRetrieval(1)).unwrap()
    }

    fn scores(sidecar: &Sidecar) -> Vec<f64> {
        let text = table_text(sidecar).unwrap();
        parse_table(text.as_bytes(), Path::new("x")).unwrap().scores
    }

    #[test]
    fn the_directory_holds_the_documented_bytes() {
        let mut sidecar = sample(2, 3);
        let ranks = [2, 0, 1, 5, 3, 4];
        sidecar.ranks = crate::mask::rank::Ranks::from_ranks(2, 3, &ranks).unwrap();
        assert_eq!(
            table_text(&sidecar).unwrap(),
            "0.6\t1\t0.8\n0\t0.4\t0.19999999999999996\n"
        );
        let golden = "{\"deploy_recent_size\":1024,\"deploy_sink_size\":128,\
                      \"model_name\":\"meta-llama/Llama-3.1-8B-Instruct\",\"recent_size\":1024,\"sink_size\":128}\n";
        assert_eq!(config_text(&sidecar), golden);
        assert_eq!(table_text(&sample(1, 1)), None);
    }

    /// The loaders of `DuoAttention`'s family: noise, linear-interpolated quantile, keep `>=`; nothing kept at 1 and above.
    fn quantile_keeps(scores: &[f64], sparsity: f64, seed: u64) -> Vec<bool> {
        if sparsity <= 0.0 || sparsity >= 1.0 {
            return vec![sparsity <= 0.0; scores.len()];
        }
        let mut rng = random::stream("loader noise", &[seed]);
        let mut noise = || 1e-6 * random::uniform(&mut rng);
        let noisy: Vec<f64> = scores.iter().map(|score| score + noise()).collect();
        let mut sorted = noisy.clone();
        sorted.sort_by(f64::total_cmp);
        let position = sparsity * f64::from(u32::try_from(scores.len() - 1).unwrap());
        let below = (0..scores.len()).rfind(|i| f64::from(u32::try_from(*i).unwrap()) <= position);
        let (low, at) = (sorted[below.unwrap()], below.unwrap());
        let high = sorted[(at + 1).min(scores.len() - 1)];
        let share = position - f64::from(u32::try_from(at).unwrap());
        let quantile = low + (high - low) * share;
        noisy.iter().map(|score| *score >= quantile).collect()
    }

    /// kvpress: the `round(n * ratio)` lowest by argsort stream.
    fn argsort_keeps(scores: &[f64], ratio: f64) -> Vec<bool> {
        let num_heads = f64::from(u32::try_from(scores.len()).unwrap());
        let num_streaming = (num_heads * ratio).round_ties_even();
        let mut order: Vec<usize> = (0..scores.len()).collect();
        order.sort_by(|a, b| scores[*a].total_cmp(&scores[*b]));
        let mut keeps = vec![true; scores.len()];
        let streaming = order.into_iter().enumerate();
        for (place, index) in streaming {
            keeps[index] = f64::from(u32::try_from(place).unwrap()) >= num_streaming;
        }
        keeps
    }

    #[test]
    fn every_count_comes_back_through_a_quantile_loader_and_through_argsort() {
        for (num_layers, num_kv_heads) in [(32, 8), (1, 2), (3, 5), (16, 1)] {
            let sidecar = sample(num_layers, num_kv_heads);
            let scores = scores(&sidecar);
            let num_heads = scores.len();
            for num_streaming in 0..=num_heads {
                let kept = Target::NumRetrieval(num_heads - num_streaming);
                let mask = recut(&sidecar, kept).unwrap().mask;
                let exact = exact_sparsity(num_streaming, num_heads);
                let loader = quantile_keeps(&scores, exact, num_streaming as u64);
                assert_eq!(loader, mask.flags(), "{num_streaming} of {num_heads}");
                assert_eq!(argsort_keeps(&scores, exact), mask.flags());
                assert!(survives(num_streaming, num_heads, exact));
            }
        }
    }

    #[test]
    fn a_nominal_sparsity_gives_the_loaders_own_count() {
        let scores = scores(&sample(32, 8));
        let mut counts = Vec::new();
        for tenths in 1..10_u32 {
            let sparsity = f64::from(tenths) / 10.0;
            let kept = quantile_keeps(&scores, sparsity, 1);
            counts.push(kept.iter().filter(|kept| **kept).count());
            let duo = Rounding::DuoStable.num_retrieval(256, sparsity);
            assert_eq!(counts.last().copied(), duo);
        }
        assert_eq!(counts[6], 256 - 179);
    }
}
