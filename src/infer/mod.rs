//! Chunked prefill and greedy decode over real per-head caches.
