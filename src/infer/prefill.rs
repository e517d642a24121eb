//! The prompt pass: everything but the last prompt token, chunk by chunk.

use super::error::InferError;
use super::model_cache::ModelCache;
use crate::fault::AnyFault;
use crate::model::llama::Llama;

/// Takes in `tokens` at positions `0..` in chunks that start at `0, c, 2c, ...`, the last one shorter.
///
/// Where the cache wants a patch, the last tokens of `tokens` are appended to every chunk but the last, at the positions right
/// after it; they are forgotten and positions go on as if they had not been there. No logits are computed. Without tokens (a
/// prompt of one) nothing is run.
///
/// # Errors
/// [`InferError::ChunkLen`] for chunks of no tokens; whatever the model or a cache cannot do.
pub fn prefill(
    llama: &Llama,
    cache: &mut ModelCache,
    tokens: &[i64],
    chunk_len: usize,
) -> Result<(), AnyFault> {
    if chunk_len == 0 {
        return Err(InferError::ChunkLen.into());
    }
    let patch = &tokens[tokens.len().saturating_sub(cache.patch_len())..];
    let mut position = 0;
    for chunk in tokens.chunks(chunk_len) {
        let is_last = position + chunk.len() == tokens.len();
        if is_last || patch.is_empty() {
            let _ = llama.forward_cached(chunk, position, cache)?;
        } else {
            cache.expect_patch(patch.len())?;
            let _ = llama.forward_cached(&[chunk, patch].concat(), position, cache)?;
        }
        position += chunk.len();
    }
    cache.end_prefill()?;
    Ok(())
}
