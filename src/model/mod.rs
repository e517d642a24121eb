//! Llama from a Hugging Face folder: configuration, weights, block forward and backward.
//!
//! Start reading at [`config`] (what a model is), [`weights`] (where its tensors come from) and [`block`] (one layer,
//! both ways).

pub mod block;
pub mod config;
pub mod distill_pass;
pub mod error;
mod features;
pub mod fingerprint;
pub mod init;
mod json;
pub mod kv;
pub mod linear;
pub mod llama;
mod load;
pub mod loss;
pub mod mlp;
pub mod norm;
pub mod observe;
pub mod random_weights;
pub mod rope;
pub mod rope_config;
pub mod rotation;
pub mod save;
mod shard_index;
pub mod st_header;
mod st_json;
pub mod swiglu;
pub mod tensor_names;
pub mod train_pass;
pub mod watch;
pub mod weight_files;
pub mod weights;
pub mod weights_error;

#[cfg(test)]
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_wrap,
    reason = "tiny test shapes"
)]
mod tests;
