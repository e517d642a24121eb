//! One prompt, start to end: caches opened, prompt prefilled, answer decoded, cost counted.

use super::cache::RowSpec;
use super::counter::KvUsage;
use super::decode::{Finish, Hear, Limits, decode_heard, read};
use super::error::InferError;
use super::model_cache::ModelCache;
use super::policy::Policy;
use super::prefill::prefill;
use crate::attention::Backend;
use crate::fault::AnyFault;
use crate::model::llama::Llama;
use crate::torch::memory;
use std::ops::ControlFlow;
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
    /// Wall time of the prompt pass: prefill, and what is read after it.
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

    /// Answers `prompt` greedily; all of it but the last token is prefilled.
    ///
    /// # Errors
    /// [`InferError::EmptyPrompt`] for no tokens; else as [`prefill`] and [`decode_heard`].
    pub fn generate(
        &self,
        policy: &dyn Policy,
        prompt: &[i64],
        limits: &Limits,
    ) -> Result<Generation, AnyFault> {
        let prefill_len = prompt.len().checked_sub(1);
        let prefill_len = prefill_len.ok_or(InferError::EmptyPrompt)?;
        self.generate_after(policy, prompt, prefill_len, limits)
    }

    /// Answers `prompt` greedily; its first `prefill_len` tokens are prefilled, and `policy` compresses without having seen
    /// the others, which are read one by one like the output.
    ///
    /// # Errors
    /// [`InferError::WholePrompt`] if no tokens follow; else as [`prefill`] and [`decode_heard`].
    pub fn generate_after(
        &self,
        policy: &dyn Policy,
        prompt: &[i64],
        prefill_len: usize,
        limits: &Limits,
    ) -> Result<Generation, AnyFault> {
        let mut hear = |_| Ok(ControlFlow::Continue(()));
        self.generate_heard(policy, prompt, prefill_len, limits, &mut hear)
    }

    /// As [`Self::generate_after`]; `hear` has every token as it is decoded.
    ///
    /// # Errors
    /// As there, and the errors of `hear`.
    pub fn generate_heard(
        &self,
        policy: &dyn Policy,
        prompt: &[i64],
        prefill_len: usize,
        limits: &Limits,
        hear: &mut Hear<'_>,
    ) -> Result<Generation, AnyFault> {
        let Some((head, [asked @ .., last])) = prompt.split_at_checked(prefill_len) else {
            return Err(InferError::WholePrompt {
                prefill_len,
                prompt_len: prompt.len(),
            }
            .into());
        };
        let exhausted = |detail| InferError::OutOfMemory { detail };
        memory::guard(exhausted, || {
            let mut cache = self.open_cache(policy, prompt.len() - 1 + limits.max_new_tokens)?;
            let start = Instant::now();
            prefill(self.llama, &mut cache, head, self.chunk_len)?;
            read(self.llama, &mut cache, asked, prefill_len)?;
            let prefill_ms = milliseconds(start);
            let (start, position) = (Instant::now(), prompt.len() - 1);
            let (output, finish) =
                decode_heard(self.llama, &mut cache, *last, position, limits, hear)?;
            Ok(Generation {
                output,
                finish,
                usage: cache.usage(),
                prefill_ms,
                decode_ms: milliseconds(start),
            })
        })
    }
}

fn milliseconds(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e3
}
