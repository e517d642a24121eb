//! Which n-grams a text holds and how often, as sorted arrays.
//!
//! An n-gram is one integer, its oldest token in the highest bits, so that sorting groups n-grams by their context (all
//! tokens but the last) and dropping the oldest token is a mask.

/// Distinct n-grams of one length in ascending order, and how often each occurs.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Grams {
    /// Packed n-grams.
    pub(crate) keys: Vec<u128>,
    /// Their counts, at least 1.
    pub(crate) counts: Vec<u32>,
}

/// How tokens become integers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Packing {
    bits: u32,
}

impl Packing {
    /// Room for `order` tokens of a vocabulary; nothing if that is too much for 128 bits.
    pub(crate) fn new(vocab_size: usize, order: usize) -> Option<Self> {
        let bits = (usize::BITS - vocab_size.saturating_sub(1).leading_zeros()).max(1);
        let needed = u32::try_from(order).ok()?.checked_mul(bits)?;
        (order > 0 && needed <= u128::BITS).then_some(Self { bits })
    }

    /// The n-gram of `tokens`, oldest first.
    pub(crate) fn pack(self, tokens: impl IntoIterator<Item = u32>) -> u128 {
        let append = |key, token| (key << self.bits) | u128::from(token);
        tokens.into_iter().fold(0, append)
    }

    /// All tokens of an n-gram but the last.
    pub(crate) fn context(self, key: u128) -> u128 {
        key >> self.bits
    }

    /// All tokens of an n-gram of length `order` but the first.
    pub(crate) fn without_first(self, key: u128, order: usize) -> u128 {
        let kept = u32::try_from(order.saturating_sub(1)).map_or(0, |kept| kept * self.bits);
        key & ((1 << kept) - 1)
    }
}

impl Grams {
    /// The n-grams of length `order` that end at each token of `documents`; `begin` stands before a document as often as
    /// needed.
    pub(crate) fn of_documents<'a>(
        documents: impl Iterator<Item = &'a [u32]>,
        order: usize,
        begin: u32,
        packing: Packing,
    ) -> Self {
        let mut keys = Vec::new();
        for document in documents {
            let mut key = packing.pack(std::iter::repeat_n(begin, order));
            keys.extend(document.iter().map(|token| {
                key = packing.pack([*token]) | (packing.without_first(key, order) << packing.bits);
                key
            }));
        }
        Self::counted(keys)
    }

    /// One gram shorter: each n-gram without its first token, counted by how many different tokens stand in front of it.
    pub(crate) fn continuations(&self, order: usize, packing: Packing) -> Self {
        let shorter = self
            .keys
            .iter()
            .map(|key| packing.without_first(*key, order));
        Self::counted(shorter.collect())
    }

    fn counted(mut keys: Vec<u128>) -> Self {
        keys.sort_unstable();
        let mut counts = Vec::new();
        for run in keys.chunk_by(|left, right| left == right) {
            counts.push(u32::try_from(run.len()).unwrap_or(u32::MAX));
        }
        keys.dedup();
        keys.shrink_to_fit();
        Self { keys, counts }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grams_are_counted_from_each_document_s_start() {
        let packing = Packing::new(10, 2).unwrap();
        let documents: [&[u32]; 2] = [&[1, 2, 1, 2], &[2]];
        let pairs = Grams::of_documents(documents.into_iter(), 2, 9, packing);
        let keys = [[1, 2], [2, 1], [9, 1], [9, 2]].map(|pair| packing.pack(pair));
        assert_eq!(pairs.keys, keys);
        assert_eq!(pairs.counts, [2, 1, 1, 1]);
        let singles = pairs.continuations(2, packing);
        assert_eq!((singles.keys, singles.counts), (vec![1, 2], vec![2, 2]));
    }

    #[test]
    fn packing_holds_what_fits_into_128_bits() {
        assert_eq!(Packing::new(4096, 10).map(|packing| packing.bits), Some(12));
        assert_eq!(Packing::new(4097, 5).map(|packing| packing.bits), Some(13));
        assert_eq!(
            Packing::new(128_256, 7).map(|packing| packing.bits),
            Some(17)
        );
        assert_eq!(Packing::new(128_256, 8), None);
        assert_eq!(Packing::new(5, 0), None);
    }
}
