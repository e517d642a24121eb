//! Seeds made from an item's text, so that one item is drawn the same way whatever else is drawn.

use sha2::{Digest, Sha256};

/// Seeds are integers below 2^31.
const SEED_MASK: u32 = (1 << 31) - 1;

/// SHA-256 of `text` modulo 2^31.
pub fn of_text(text: &str) -> u32 {
    last_word(text) & SEED_MASK
}

/// (SHA-256 of `text` + `offset`) modulo 2^31.
pub fn of_text_with(text: &str, offset: u32) -> u32 {
    last_word(text).wrapping_add(offset) & SEED_MASK
}

/// The least significant 32 bits of the hash read as one large integer.
fn last_word(text: &str) -> u32 {
    let hash = Sha256::digest(text.as_bytes());
    let last = hash.iter().skip(hash.len() - 4);
    last.fold(0, |word, byte| word << 8 | u32::from(*byte))
}
