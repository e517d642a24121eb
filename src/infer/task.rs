//! One prompt read and answered, again and again: how long prefill and decode take, and what is held meanwhile.

use super::counter::KvUsage;
use super::decode::{Limits, decode_greedy};
use super::error::InferError;
use super::generate::Engine;
use super::policy::Policy;
use super::prefill::prefill;
use crate::fault::AnyFault;
use crate::profile::measure::{self, Samples};
use crate::torch::{device, host};
use tch::Tensor;

/// Tokens of the prompt that are read before anything is timed: enough to meet every kernel, little of a long prompt.
const WARM_UP_LEN: usize = 2048;

/// What is run.
pub struct Task<'a> {
    /// Model, kernel and chunk.
    pub engine: Engine<'a>,
    /// What is kept.
    pub policy: &'a dyn Policy,
    /// Tokens, at least one; all but the last are prefilled.
    pub prompt: &'a [i64],
    /// Tokens decoded, whatever they are.
    pub num_new_tokens: usize,
}

/// What was answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Token ids.
    pub output: Vec<i64>,
    /// What the first of them was chosen by.
    pub first_logits: Vec<f32>,
    /// Keys and values, counted from the caches.
    pub usage: KvUsage,
    /// The same before the first token was decoded.
    pub prefill_usage: KvUsage,
    /// How much more memory was resident after the prefill than before the caches were opened.
    pub prefill_rss_bytes: Option<u64>,
}

/// Every answer's times.
#[derive(Debug, Default)]
pub struct Times {
    /// Of reading the prompt.
    pub prefill: Samples,
    /// Of decoding the answer.
    pub decode: Samples,
}

/// What an answer cost; the JSON of a report.
#[derive(Debug, serde::Serialize)]
pub struct Cost {
    /// Wall time of each prefill.
    pub prefill_ms: Vec<f64>,
    /// CPU time of each prefill.
    pub prefill_cpu_ms: Vec<f64>,
    /// Wall time of each decode.
    pub decode_ms: Vec<f64>,
    /// CPU time of each decode.
    pub decode_cpu_ms: Vec<f64>,
    /// By the median wall time.
    pub prefill_tokens_per_s: f64,
    /// By the median wall time.
    pub decode_tokens_per_s: f64,
    /// Resident memory after the first prefill less that before it.
    pub prefill_rss_bytes: Option<u64>,
    /// Keys and values kept at the end.
    pub kv_bytes: u64,
    /// Most keys and values that took part in one call, its own among them.
    pub kv_peak_bytes: u64,
    /// Most memory that caches had at once.
    pub kv_allocated_bytes: u64,
    /// Share of the full causal (query, key) pairs whose entry was held.
    pub kv_footprint: f64,
    /// Tokens of the prompt.
    pub num_prompt_tokens: usize,
    /// Tokens decoded.
    pub num_new_tokens: usize,
}

impl Task<'_> {
    /// Answers the beginning of the prompt, untimed, then the prompt `repeat` times, at least once.
    ///
    /// # Errors
    /// As [`Self::answer`].
    pub fn measure(&self, repeat: usize) -> Result<(Answer, Cost), AnyFault> {
        self.warm_up()?;
        let mut times = Times::default();
        let first = self.answer(&mut times)?;
        for _ in 1..repeat {
            self.answer(&mut times)?;
        }
        let cost = self.cost(&first, times);
        Ok((first, cost))
    }

    /// Answers the beginning of the prompt, untimed.
    ///
    /// # Errors
    /// As [`Self::answer`].
    pub fn warm_up(&self) -> Result<(), AnyFault> {
        let beginning = Self {
            engine: Engine {
                backend: self.engine.backend.clone(),
                ..self.engine
            },
            prompt: &self.prompt[..self.prompt.len().min(WARM_UP_LEN)],
            num_new_tokens: self.num_new_tokens.min(8),
            ..*self
        };
        beginning.answer(&mut Times::default())?;
        Ok(())
    }

    /// Answers the prompt once; a device is waited for before the clock is read.
    ///
    /// # Errors
    /// Whatever the model or a cache cannot do; [`InferError::NotFinite`] for logits that are not numbers.
    pub fn answer(&self, times: &mut Times) -> Result<Answer, AnyFault> {
        let llama = self.engine.llama;
        let position = self.prompt.len() - 1;
        let before = measure::rss_bytes();
        let expected_len = position + self.num_new_tokens;
        let mut cache = self.engine.open_cache(self.policy, expected_len)?;
        let head = &self.prompt[..position];
        device::wait(llama.device());
        times.prefill.time(|| {
            let read = prefill(llama, &mut cache, head, self.engine.chunk_len);
            device::wait(llama.device());
            read
        })?;
        let prefill_rss_bytes = before.zip(measure::rss_bytes());
        let prefill_usage = cache.usage();
        let decode = || -> Result<(Vec<i64>, Tensor), AnyFault> {
            let hidden = llama.forward_cached(&self.prompt[position..], position, &mut cache)?;
            let logits = llama.logits(&hidden).reshape([-1]);
            let first = logits.argmax(0, false).int64_value(&[]);
            let limits = Limits {
                max_new_tokens: self.num_new_tokens - 1,
                stop_tokens: Vec::new(),
            };
            let (rest, _) = decode_greedy(llama, &mut cache, first, position + 1, &limits)?;
            Ok(([vec![first], rest].concat(), logits))
        };
        let (output, logits) = times.decode.time(decode)?;
        let first_logits = host::to_f32(&logits);
        if !first_logits.iter().all(|logit| logit.is_finite()) {
            return Err(InferError::NotFinite { position }.into());
        }
        Ok(Answer {
            output,
            first_logits,
            usage: cache.usage(),
            prefill_usage,
            prefill_rss_bytes: prefill_rss_bytes
                .map(|(before, after)| after.saturating_sub(before)),
        })
    }

    /// What `answer` cost, by the times of it and its repetitions.
    pub fn cost(&self, answer: &Answer, times: Times) -> Cost {
        let (usage, Times { prefill, decode }) = (&answer.usage, times);
        Cost {
            prefill_tokens_per_s: prefill.per_s(self.prompt.len() - 1),
            decode_tokens_per_s: decode.per_s(self.num_new_tokens),
            prefill_ms: prefill.wall_ms,
            prefill_cpu_ms: prefill.cpu_ms,
            decode_ms: decode.wall_ms,
            decode_cpu_ms: decode.cpu_ms,
            prefill_rss_bytes: answer.prefill_rss_bytes,
            kv_bytes: usage.stored_entries * usage.entry_bytes,
            kv_peak_bytes: usage.peak_bytes(),
            kv_allocated_bytes: usage.peak_allocated_entries * usage.entry_bytes,
            kv_footprint: usage.kv_footprint(),
            num_prompt_tokens: self.prompt.len(),
            num_new_tokens: self.num_new_tokens,
        }
    }
}
