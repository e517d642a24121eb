//! Llama from a Hugging Face folder: configuration, weights, block forward and backward.
