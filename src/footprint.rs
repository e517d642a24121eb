//! KV footprint and KV peak by formula: what a run with given lengths, chunks and mask should hold.
