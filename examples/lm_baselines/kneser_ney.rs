//! An interpolated n-gram model with modified Kneser-Ney smoothing.
//!
//! ```text
//! P_n(w | c) = (N(c w) - D(N(c w))) / N(c) + B(c) P_{n-1}(w | c')
//! B(c)       = (D1 N_1(c) + D2 N_2(c) + D3 N_3+(c)) / N(c)
//! ```
//!
//! `c'` is `c` without its oldest token, `N(c) = sum_w N(c w)`, `N_i(c)` the number of words after `c` with count `i`,
//! `P_0` uniform over the vocabulary. At the highest order `N` counts occurrences; below, it counts the different tokens
//! that stand in front. `Y = n_1 / (n_1 + 2 n_2)` and `D_i = i - (i + 1) Y n_{i+1} / n_i`, where `n_i` n-grams of an order
//! have count `i` (Chen and Goodman, 1998). Where counts of counts give no discount in `0..=i`, the order takes 0.5, 1 and
//! 1.5. A context that was never seen leaves the lower order as it is.

use super::grams::{Grams, Packing};

/// Discounts of an order whose counts of counts give none.
const FALLBACK: [f64; 3] = [0.5, 1.0, 1.5];

/// A trained model.
pub(crate) struct KneserNey {
    packing: Packing,
    begin: u32,
    vocab_size: usize,
    /// Orders 1, 2, ...
    levels: Vec<Level>,
}

/// The n-grams of one order.
struct Level {
    grams: Grams,
    discounts: [f64; 3],
    contexts: Vec<Context>,
}

/// A context and what follows it: `grams.keys[start..end]`.
#[derive(Clone, Copy)]
struct Context {
    key: u128,
    start: usize,
    end: usize,
    total: f64,
    backoff: f64,
}

impl KneserNey {
    /// Counts `documents`; nothing if `order` n-grams of the vocabulary do not fit into 128 bits.
    pub(crate) fn train<'a>(
        documents: impl Iterator<Item = &'a [u32]>,
        order: usize,
        begin: u32,
        vocab_size: usize,
    ) -> Option<Self> {
        let packing = Packing::new(vocab_size, order)?;
        let mut grams = Grams::of_documents(documents, order, begin, packing);
        let mut levels = Vec::with_capacity(order);
        for length in (1..=order).rev() {
            let shorter = grams.continuations(length, packing);
            levels.push(Level::new(grams, packing));
            grams = shorter;
        }
        levels.reverse();
        Some(Self {
            packing,
            begin,
            vocab_size,
            levels,
        })
    }

    /// Tokens that an n-gram spans.
    pub(crate) fn order(&self) -> usize {
        self.levels.len()
    }

    /// Different n-grams of each order, shortest first.
    pub(crate) fn num_grams(&self) -> Vec<usize> {
        self.levels
            .iter()
            .map(|level| level.grams.keys.len())
            .collect()
    }

    /// D1, D2, D3+ of each order, shortest first.
    pub(crate) fn discounts(&self) -> Vec<[f64; 3]> {
        self.levels.iter().map(|level| level.discounts).collect()
    }

    /// Natural-log loss of each token of a document given those before it.
    pub(crate) fn losses(&self, document: &[u32]) -> Vec<f64> {
        let context_len = self.order() - 1;
        let mut tokens = vec![self.begin; context_len];
        tokens.extend(document);
        tokens
            .windows(context_len + 1)
            .map(|gram| -self.probability(gram).ln())
            .collect()
    }

    /// Probability of the last token of `gram` given the others, which are as many as the order has before it.
    pub(crate) fn probability(&self, gram: &[u32]) -> f64 {
        let mut probability = 1.0 / real(self.vocab_size);
        for (level, length) in self.levels.iter().zip(1..) {
            let Some(start) = gram.len().checked_sub(length) else {
                break;
            };
            let key = self.packing.pack(gram[start..].iter().copied());
            let Some(context) = level.context(self.packing.context(key)) else {
                break;
            };
            let own = level.discounted(level.count(context, key)) / context.total;
            probability = own + context.backoff * probability;
        }
        probability
    }
}

impl Level {
    fn new(grams: Grams, packing: Packing) -> Self {
        let mut level = Self {
            discounts: discounts(&grams.counts),
            contexts: Vec::new(),
            grams,
        };
        let same_context =
            |left: &u128, right: &u128| packing.context(*left) == packing.context(*right);
        let mut start = 0;
        let mut contexts = Vec::new();
        for run in level.grams.keys.chunk_by(same_context) {
            let end = start + run.len();
            let counts = &level.grams.counts[start..end];
            let total: f64 = counts.iter().map(|count| f64::from(*count)).sum();
            let kept: f64 = counts.iter().map(|count| level.discounted(*count)).sum();
            contexts.push(Context {
                key: packing.context(run[0]),
                start,
                end,
                total,
                backoff: (total - kept) / total,
            });
            start = end;
        }
        level.contexts = contexts;
        level
    }

    fn context(&self, key: u128) -> Option<Context> {
        let found = self
            .contexts
            .binary_search_by_key(&key, |context| context.key);
        found.ok().map(|at| self.contexts[at])
    }

    fn count(&self, context: Context, key: u128) -> u32 {
        let Context { start, end, .. } = context;
        let found = self.grams.keys[start..end].binary_search(&key);
        found.map_or(0, |at| self.grams.counts[start + at])
    }

    fn discounted(&self, count: u32) -> f64 {
        let discount = match count {
            0 => 0.0,
            1 => self.discounts[0],
            2 => self.discounts[1],
            _ => self.discounts[2],
        };
        f64::from(count) - discount
    }
}

fn discounts(counts: &[u32]) -> [f64; 3] {
    let with = |wanted| real(counts.iter().filter(|count| **count == wanted).count());
    let n = [1, 2, 3, 4].map(with);
    let y = n[0] / (n[0] + 2.0 * n[1]);
    let discount = |i: usize| real(i) - real(i + 1) * y * n[i] / n[i - 1];
    let found = [1, 2, 3].map(discount);
    let is_sound = (1..)
        .zip(found)
        .all(|(i, discount)| (0.0..=real(i)).contains(&discount));
    if is_sound { found } else { FALLBACK }
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn real(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use prulong::random;
    use std::collections::{BTreeMap, BTreeSet};

    const VOCAB: u32 = 7;
    const BEGIN: u32 = 0;

    /// The formulas word for word, over maps from n-grams to counts; shares nothing with the model but the discounts.
    struct Slow {
        counts: Vec<BTreeMap<Vec<u32>, u32>>,
    }

    impl Slow {
        fn train(documents: &[Vec<u32>], order: usize) -> Self {
            let mut top = BTreeMap::new();
            for document in documents {
                let mut padded = vec![BEGIN; order - 1];
                padded.extend(document);
                for gram in padded.windows(order) {
                    *top.entry(gram.to_vec()).or_insert(0) += 1;
                }
            }
            let mut counts = vec![top];
            for _ in 1..order {
                let longer = counts.last().unwrap();
                let mut fronts: BTreeMap<Vec<u32>, BTreeSet<u32>> = BTreeMap::new();
                for gram in longer.keys() {
                    fronts
                        .entry(gram[1..].to_vec())
                        .or_default()
                        .insert(gram[0]);
                }
                let sizes = fronts
                    .into_iter()
                    .map(|(gram, fronts)| (gram, u32::try_from(fronts.len()).unwrap()));
                counts.push(sizes.collect());
            }
            counts.reverse();
            Self { counts }
        }

        fn probability(&self, context: &[u32], word: u32) -> f64 {
            let level = &self.counts[context.len()];
            let lower = match context.split_first() {
                None => 1.0 / f64::from(VOCAB),
                Some((_, rest)) => self.probability(rest, word),
            };
            let values: Vec<u32> = level.values().copied().collect();
            let d = discounts(&values);
            let discount = |count: u32| {
                if count == 0 {
                    0.0
                } else {
                    d[count.min(3) as usize - 1]
                }
            };
            let follow = |word: u32| {
                let gram: Vec<u32> = context.iter().copied().chain([word]).collect();
                level.get(&gram).copied().unwrap_or(0)
            };
            let total: u32 = (0..VOCAB).map(follow).sum();
            if total == 0 {
                return lower;
            }
            let spared: f64 = (0..VOCAB).map(|word| discount(follow(word))).sum();
            let own = f64::from(follow(word)) - discount(follow(word));
            (own + spared * lower) / f64::from(total)
        }
    }

    /// Documents of tokens that depend on the two before them, so that all kinds of counts occur.
    fn documents(num: u64, len: usize) -> Vec<Vec<u32>> {
        let document = |index| {
            let mut rng = random::stream("kneser-ney-test", &[index]);
            let mut tokens = vec![1, 2];
            for at in 2..len {
                let noise = u32::try_from(random::below(&mut rng, 3)).unwrap();
                let next = (tokens[at - 1] * 2 + tokens[at - 2] + noise * noise) % (VOCAB - 2) + 1;
                tokens.push(next);
            }
            tokens
        };
        (0..num).map(document).collect()
    }

    fn train(documents: &[Vec<u32>], order: usize) -> KneserNey {
        let parts = documents.iter().map(Vec::as_slice);
        KneserNey::train(parts, order, BEGIN, VOCAB as usize).unwrap()
    }

    /// Every context of `len` tokens.
    fn contexts(len: usize) -> Vec<Vec<u32>> {
        let mut all = vec![Vec::new()];
        for _ in 0..len {
            let longer = all.iter().flat_map(|context: &Vec<u32>| {
                (0..VOCAB).map(move |token| context.iter().copied().chain([token]).collect())
            });
            all = longer.collect();
        }
        all
    }

    #[test]
    fn probabilities_equal_the_slow_formula_and_add_up_to_one() {
        for (num, len, order) in [(1, 5, 1), (3, 40, 2), (5, 200, 3), (40, 300, 4)] {
            let documents = documents(num, len);
            let (model, slow) = (train(&documents, order), Slow::train(&documents, order));
            for context in contexts(order - 1) {
                let mut sum = 0.0;
                for word in 0..VOCAB {
                    let gram: Vec<u32> = context.iter().copied().chain([word]).collect();
                    let found = model.probability(&gram);
                    let expected = slow.probability(&context, word);
                    assert!(
                        (found - expected).abs() < 1e-12,
                        "{gram:?}: {found} {expected}"
                    );
                    assert!(found > 0.0);
                    sum += found;
                }
                assert!((sum - 1.0).abs() < 1e-12, "{context:?}: {sum}");
            }
        }
    }

    #[test]
    fn discounts_come_from_counts_of_counts_or_are_the_usual_ones() {
        let counts = [1, 1, 1, 1, 1, 1, 2, 2, 2, 3, 3, 4, 4, 9];
        // Y = 6 / 12; D1 = 1 - 2 Y 3/6, D2 = 2 - 3 Y 2/3, D3 = 3 - 4 Y 2/2.
        let check = |counts: &[u32], expected: [f64; 3]| {
            let found = discounts(counts);
            let pairs = found.iter().zip(expected);
            assert!(
                pairs.into_iter().all(|(a, b)| (a - b).abs() < 1e-15),
                "{found:?}"
            );
        };
        check(&counts, [0.5, 1.0, 1.0]);
        check(&[1, 1, 5], FALLBACK);
        check(&[], FALLBACK);
    }

    #[test]
    fn losses_reach_the_entropy_of_the_text_once_the_order_holds_its_rule() {
        let documents = documents(30, 400);
        let (seen, unseen) = documents.split_at(25);
        let loss = |order| {
            let model = train(seen, order);
            let losses: Vec<f64> = unseen.iter().flat_map(|text| model.losses(text)).collect();
            assert_eq!(losses.len(), 5 * 400);
            losses.iter().sum::<f64>() / 2000.0
        };
        let (one, two, three) = (loss(1), loss(2), loss(3));
        // A token is one of three that the two before it leave, and one of five to whoever sees fewer.
        let (five, three_left) = (5.0_f64.ln(), 3.0_f64.ln());
        assert!((one - five).abs() < 0.01, "{one} {five}");
        assert!((two - five).abs() < 0.01, "{two} {five}");
        assert!((three - three_left).abs() < 0.01, "{three} {three_left}");
    }
}
