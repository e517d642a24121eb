//! One prompt, start to end: caches opened, prompt prefilled, answer decoded, cost counted.

use super::cache::RowSpec;
use super::counter::KvUsage;
use super::decode::{Finish, Limits, decode_greedy};
use super::error::InferError;
use super::memory;
use super::model_cache::ModelCache;
use super::policy::Policy;
use super::prefill::prefill;
use crate::attention::Backend;
use crate::fault::AnyFault;
use crate::model::llama::Llama;
use std::sync::Arc;
use std::time::Instant;

/// A model and the kernel its caches attend with.
pub struct Engine<'a> {
    /// The model; its kv heads stand in the order that the policy in use asks for.
    pub llama: &'a Llama,
    /// The attention kernel.
    pub backend: Arc<dyn Backend>,
    /// Tokens per prefill chunk.
    pub chunk_len: usize,
}

/// An answer and what it cost.
#[derive(Debug, Clone)]
pub struct Generation {
    /// Token ids, a stop token included.
    pub output: Vec<i64>,
    /// Why it ended.
    pub finish: Finish,
    /// Keys and values, counted from the caches.
    pub usage: KvUsage,
    /// Wall time of the prompt pass.
    pub prefill_ms: f64,
    /// Wall time of decoding.
    pub decode_ms: f64,
}

impl Engine<'_> {
    /// Empty caches for one sequence of about `expected_len` tokens under `policy`.
    ///
    /// # Errors
    /// Whatever `policy` finds wrong with the chunk length; [`InferError::Torch`] if memory runs out.
    pub fn open_cache(
        &self,
        policy: &dyn Policy,
        expected_len: usize,
    ) -> Result<ModelCache, AnyFault> {
        policy.check(self.chunk_len)?;
        let spec = RowSpec::of(self.llama, Arc::clone(&self.backend), expected_len);
        let num_layers = self.llama.config().shape.num_layers;
        Ok(ModelCache::open(policy, num_layers, spec)?)
    }

    /// Answers `prompt` greedily.
    ///
    /// # Errors
    /// [`InferError::EmptyPrompt`] for no tokens; else as [`prefill`] and [`decode_greedy`].
    pub fn generate(
        &self,
        policy: &dyn Policy,
        prompt: &[i64],
        limits: &Limits,
    ) -> Result<Generation, AnyFault> {
        let Some((last, head)) = prompt.split_last() else {
            return Err(InferError::EmptyPrompt.into());
        };
        memory::guard(|| self.answer(policy, head, *last, limits))
    }

    fn answer(
        &self,
        policy: &dyn Policy,
        head: &[i64],
        last: i64,
        limits: &Limits,
    ) -> Result<Generation, AnyFault> {
        let mut cache = self.open_cache(policy, head.len() + limits.max_new_tokens)?;
        let start = Instant::now();
        prefill(self.llama, &mut cache, head, self.chunk_len)?;
        let prefill_ms = milliseconds(start);
        let start = Instant::now();
        let (output, finish) = decode_greedy(self.llama, &mut cache, last, head.len(), limits)?;
        Ok(Generation {
            output,
            finish,
            usage: cache.usage(),
            prefill_ms,
            decode_ms: milliseconds(start),
        })
    }
}

fn milliseconds(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e3
}
