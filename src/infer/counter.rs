//! Adds up what the caches of all layers hold, call by call.
//!
//! **Invariant:** only numbers reported by caches enter; nothing is derived from sink, window or chunk.

/// Entries held and allocated over the forward calls of one sequence, summed over layers and kv heads.
#[derive(Debug, Clone, Default)]
pub struct Counter {
    calls_per_layer: Vec<usize>,
    calls: Vec<Call>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Call {
    held: u64,
    allocated: u64,
}

impl Counter {
    /// Starts with no calls.
    pub fn new(num_layers: usize) -> Self {
        Self {
            calls_per_layer: vec![0; num_layers],
            calls: Vec::new(),
        }
    }

    /// Notes that `layer` finished a call in which `held` entries took part and `allocated` had memory.
    pub fn record(&mut self, layer: usize, held: u64, allocated: u64) {
        let index = self.calls_per_layer[layer];
        self.calls_per_layer[layer] += 1;
        if index == self.calls.len() {
            self.calls.push(Call::default());
        }
        self.calls[index].held += held;
        self.calls[index].allocated += allocated;
    }

    /// The largest number of entries held in one call: the maximum is taken after summing over layers and heads.
    pub fn peak_held(&self) -> u64 {
        self.calls.iter().map(|call| call.held).max().unwrap_or(0)
    }

    /// The largest number of entries that had memory in one call.
    pub fn peak_allocated(&self) -> u64 {
        self.calls
            .iter()
            .map(|call| call.allocated)
            .max()
            .unwrap_or(0)
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

    /// Share of the full causal (query, key) pairs that were attended, in (0, 1]; 1 for no tokens.
    ///
    /// Below the footprint where queries pass over entries that are held for them.
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
