//! Adds up what the caches of all layers hold, call by call.
//!
//! **Invariant:** only numbers reported by caches enter; nothing is derived from sink, window or chunk.

/// Entries held and allocated over the forward calls of one sequence, summed over layers and kv heads; as large after a
/// million calls as after one.
#[derive(Debug, Clone, Default)]
pub struct Counter {
    /// The call that is running: its layers so far.
    running: Call,
    /// Largest of each number over the finished calls.
    peak: Call,
    /// Layer of the latest record.
    latest: Option<usize>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Call {
    held: u64,
    allocated: u64,
}

impl Call {
    fn max(self, other: Self) -> Self {
        Self {
            held: self.held.max(other.held),
            allocated: self.allocated.max(other.allocated),
        }
    }
}

impl Counter {
    /// Notes that `layer` finished a call in which `held` entries took part and `allocated` had memory.
    ///
    /// Layers come in ascending order within a call: one that does not come after the latest opens the next call.
    pub fn record(&mut self, layer: usize, held: u64, allocated: u64) {
        if self.latest.is_some_and(|latest| layer <= latest) {
            self.peak = self.peak.max(self.running);
            self.running = Call::default();
        }
        self.latest = Some(layer);
        self.running.held += held;
        self.running.allocated += allocated;
    }

    /// The largest number of entries held in one call: the maximum is taken after summing over layers and heads.
    pub fn peak_held(&self) -> u64 {
        self.peak.max(self.running).held
    }

    /// The largest number of entries that had memory in one call.
    pub fn peak_allocated(&self) -> u64 {
        self.peak.max(self.running).allocated
    }
}

/// What one sequence cost in keys and values, counted from the caches.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct KvUsage {
    /// Tokens taken in: prompt and decoded.
    pub num_tokens: u64,
    /// Kv heads of the whole model: layers x kv heads.
    pub num_heads: u64,
    /// (query, key) pairs whose entry was held for the query, summed over kv heads.
    pub pairs: u64,
    /// Query heads that share a kv head.
    pub group_size: u64,
    /// (query, key) pairs attended, summed over query heads; what it took to choose them is not among them.
    pub attended_pairs: u64,
    /// Largest number of entries held at once, summed over kv heads.
    pub peak_entries: u64,
    /// Entries kept after the last call.
    pub stored_entries: u64,
    /// Largest number of entries that had memory at once.
    pub peak_allocated_entries: u64,
    /// Bytes of one entry: one key and one value.
    pub entry_bytes: u64,
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of pairs stay below 2^53"
)]
impl KvUsage {
    /// Share of the full causal (query, key) pairs whose entry was held, in (0, 1]; 1 for no tokens.
    pub fn kv_footprint(&self) -> f64 {
        self.share(self.pairs, 1)
    }

    /// Share of the full causal (query, key) pairs that were attended; 1 for no tokens.
    ///
    /// Below the footprint where queries pass over entries that are held for them; above 1 where branches read entries twice.
    pub fn compute_share(&self) -> f64 {
        self.share(self.attended_pairs, self.group_size)
    }

    /// `pairs` of heads, `per_kv_head` for each kv head, as a share of all causal ones.
    fn share(&self, pairs: u64, per_kv_head: u64) -> f64 {
        let full = self.num_heads * per_kv_head * (self.num_tokens * (self.num_tokens + 1) / 2);
        if full == 0 {
            return 1.0;
        }
        pairs as f64 / full as f64
    }

    /// Largest number of entries held at once / all tokens, averaged over kv heads before the maximum.
    pub fn kv_peak(&self) -> f64 {
        if self.num_tokens == 0 {
            return 1.0;
        }
        self.peak_entries as f64 / (self.num_heads * self.num_tokens) as f64
    }

    /// [`Self::peak_entries`] in bytes.
    pub fn peak_bytes(&self) -> u64 {
        self.peak_entries * self.entry_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peaks_are_taken_over_calls_and_sums_over_layers() {
        let mut counter = Counter::default();
        assert_eq!((counter.peak_held(), counter.peak_allocated()), (0, 0));
        for (layer, held, allocated) in [(0, 5, 8), (1, 1, 8), (0, 2, 9), (1, 3, 9), (0, 4, 1)] {
            counter.record(layer, held, allocated);
        }
        // Calls held 6, 5 and, still running, 4.
        assert_eq!((counter.peak_held(), counter.peak_allocated()), (6, 18));
        counter.record(1, 3, 1);
        assert_eq!((counter.peak_held(), counter.peak_allocated()), (7, 18));
    }

    #[test]
    fn a_model_of_one_layer_opens_a_call_with_every_record() {
        let mut counter = Counter::default();
        for held in [3, 9, 4] {
            counter.record(0, held, held);
        }
        assert_eq!(counter.peak_held(), 9);
    }
}
