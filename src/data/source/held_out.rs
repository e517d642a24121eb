//! Which documents are kept out of every training set: a rule on the document's id alone.
//!
//! **Invariant:** tokenizer training, packing, pretraining and evaluation all ask this one function, so that a document is
//! held out everywhere or nowhere.

/// Share of documents that are held out unless a command says otherwise.
pub const DEFAULT_SHARE: f64 = 0.05;

/// Tells whether the thing called `id` belongs to the held-out `share` (0 = nothing, 1 = everything).
///
/// The first eight bytes of blake3(`id`), as a little-endian fraction of 2^64, are compared with `share`: the held-out
/// sets of two shares are nested, and adding or removing documents moves no other.
pub fn is_held_out(id: &str, share: f64) -> bool {
    hash_fraction(id) < share
}

/// Maps `id` to a number in [0, 1) that is uniform over ids.
#[expect(
    clippy::cast_precision_loss,
    reason = "53 bits of a hash are plenty and fit an f64 exactly"
)]
fn hash_fraction(id: &str) -> f64 {
    let hash = blake3::hash(id.as_bytes());
    let hash = hash.as_bytes()[..8]
        .iter()
        .rev()
        .fold(0_u64, |hash, byte| (hash << 8) | u64::from(*byte));
    (hash >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_met_and_larger_shares_contain_smaller_ones() {
        let ids: Vec<String> = (0..10_000).map(|i| format!("crate-{i}.0.0")).collect();
        let held_out = |share| ids.iter().filter(|id| is_held_out(id, share)).count();
        assert_eq!(held_out(0.0), 0);
        assert_eq!(held_out(1.0), ids.len());
        assert!((430..570).contains(&held_out(0.05)), "{}", held_out(0.05));
        assert!(
            ids.iter()
                .all(|id| !is_held_out(id, 0.05) || is_held_out(id, 0.1))
        );
    }

    #[test]
    fn the_rule_is_pinned() {
        let hash = blake3::hash(b"serde-1.0.228");
        let expected = u64::from_le_bytes(hash.as_bytes()[..8].try_into().unwrap());
        #[expect(clippy::cast_precision_loss, reason = "test")]
        let expected = expected as f64 / 2.0_f64.powi(64);
        assert!((hash_fraction("serde-1.0.228") - expected).abs() < 1e-15);
        assert_eq!(
            (0..80)
                .filter(|i| is_held_out(&format!("doc{i}"), 0.05))
                .collect::<Vec<u32>>(),
            [3]
        );
    }
}
