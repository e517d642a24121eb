//! Attention, forward and backward: full, streaming, gated mix.
