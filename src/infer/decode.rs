//! Decoding, one token per forward call: greedy, or of tokens that are known.

use super::error::InferError;
use super::model_cache::ModelCache;
use crate::fault::AnyFault;
use crate::model::llama::Llama;
use std::ops::ControlFlow;

/// Why decoding ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Finish {
    /// A stop token came; it is part of the output.
    Stop,
    /// The limit of new tokens was reached.
    Length,
    /// Whoever hears the tokens wanted no more; the last one is part of the output.
    Heard,
}

/// Hears every token as it is decoded, and may end the output with it.
pub type Hear<'a> = dyn FnMut(i64) -> Result<ControlFlow<()>, AnyFault> + 'a;

/// How long to decode.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Most tokens to produce.
    pub max_new_tokens: usize,
    /// Tokens that end the output.
    pub stop_tokens: Vec<i64>,
}

/// Takes in prompt tokens from `position` on one by one, as decoded ones are: after the prefill, when methods have compressed.
///
/// # Errors
/// Whatever the model or a cache cannot do.
pub fn read(
    llama: &Llama,
    cache: &mut ModelCache,
    tokens: &[i64],
    position: usize,
) -> Result<(), AnyFault> {
    for (offset, token) in tokens.iter().enumerate() {
        let _ = llama.forward_cached(&[*token], position + offset, cache)?;
    }
    Ok(())
}

/// Decodes from `query`, the last prompt token, at `position`; `n` output tokens take `n` forward calls.
///
/// Ties go to the lower token id. Positions are counted here and never read off the cache.
///
/// # Errors
/// [`InferError::NotFinite`] if the logits are not numbers; whatever the model or a cache cannot do.
pub fn decode_greedy(
    llama: &Llama,
    cache: &mut ModelCache,
    query: i64,
    position: usize,
    limits: &Limits,
) -> Result<(Vec<i64>, Finish), AnyFault> {
    let mut hear = |_| Ok(ControlFlow::Continue(()));
    decode_heard(llama, cache, query, position, limits, &mut hear)
}

/// As [`decode_greedy`]; `hear` has each token as it is decoded, a stop token too.
///
/// # Errors
/// As there, and the errors of `hear`.
pub fn decode_heard(
    llama: &Llama,
    cache: &mut ModelCache,
    query: i64,
    position: usize,
    limits: &Limits,
    hear: &mut Hear<'_>,
) -> Result<(Vec<i64>, Finish), AnyFault> {
    let mut output = Vec::new();
    let mut query = query;
    while output.len() < limits.max_new_tokens {
        let at = position + output.len();
        let hidden = llama.forward_cached(&[query], at, cache)?;
        let logits = llama.logits(&hidden).reshape([-1]);
        if !logits.max().double_value(&[]).is_finite() {
            return Err(InferError::NotFinite { position: at }.into());
        }
        query = logits.argmax(0, false).int64_value(&[]);
        output.push(query);
        let heard = hear(query)?;
        if limits.stop_tokens.contains(&query) {
            return Ok((output, Finish::Stop));
        }
        if heard.is_break() {
            return Ok((output, Finish::Heard));
        }
    }
    Ok((output, Finish::Length))
}
