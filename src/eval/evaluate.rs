//! Runs every method on the same items and scores the answers.

use super::agreement;
use super::answered::{Answered, Tokens};
use super::error::EvalError;
use super::item::Item;
use super::method::Method;
use super::metric::registry::{Metric, Scores};
use super::reading::Reading;
use super::results::{EvictionIdentity, ItemResult, KvCounts, MethodResult, Timing};
use super::scoring::ScorePair;
use super::summary::summarise;
use crate::attention::Backend;
use crate::data::tokenizer::Tokenizer;
use crate::fault::AnyFault;
use crate::footprint::holdings::Holdings;
use crate::footprint::predict::Prediction;
use crate::footprint::workload::{Convention, Workload};
use crate::infer::decode::{Finish, Limits};
use crate::infer::generate::{Engine, Generation};
use crate::infer::policy::head_mask::inverse;
use crate::model::llama::Llama;
use std::sync::Arc;

/// What is run.
pub struct Evaluation<'a> {
    /// Prompts with answers, all of one task.
    pub items: &'a [Item],
    /// How answers are scored.
    pub metrics: Vec<Metric>,
    /// Where in an output the answer stands.
    pub reading: Reading<'a>,
    /// Turns answers into text for the metrics that read text.
    pub tokenizer: &'a Tokenizer,
    /// Ways to keep keys and values, each run on all items.
    pub methods: &'a [Method],
    /// Tokens per prefill chunk.
    pub chunk_len: usize,
    /// The attention kernel.
    pub backend: Arc<dyn Backend>,
}

impl Evaluation<'_> {
    /// Answers all items with every method; `on_item` hears the method and its finished items after each one.
    ///
    /// The model's kv heads are permuted for each mask and put back afterwards.
    ///
    /// # Errors
    /// [`EvalError::Footprint`] if caches and formula disagree; whatever the model cannot do.
    pub fn run(
        &self,
        llama: &mut Llama,
        on_item: &mut dyn FnMut(&Method, usize),
    ) -> Result<Vec<MethodResult>, AnyFault> {
        self.methods
            .iter()
            .map(|method| self.run_method(llama, method, on_item))
            .collect()
    }

    fn run_method(
        &self,
        llama: &mut Llama,
        method: &Method,
        on_item: &mut dyn FnMut(&Method, usize),
    ) -> Result<MethodResult, AnyFault> {
        let (policy, order) = method.policy(llama);
        if let Some(order) = &order {
            llama.permute_kv_heads(order);
        }
        let engine = Engine {
            llama,
            backend: Arc::clone(&self.backend),
            chunk_len: self.chunk_len,
        };
        let holdings = method.keeps.holdings(llama.config().shape.group_size());
        let stop_tokens = llama.config().eos_ids.clone();
        let answered = self.items.iter().enumerate().map(|(done, item)| {
            let limits = Limits {
                max_new_tokens: item.answer.len(),
                stop_tokens: stop_tokens.clone(),
            };
            let generation = engine.generate(&*policy, &item.prompt, &limits)?;
            let result = self.score(method, item, &holdings, &generation)?;
            on_item(method, done + 1);
            Ok(result)
        });
        let items: Result<Vec<ItemResult>, AnyFault> = answered.collect();
        if let Some(order) = &order {
            llama.permute_kv_heads(&inverse(order));
        }
        let items = items?;
        Ok(MethodResult {
            kind: method.kind,
            name: method.name.clone(),
            retrieval_mask: method.mask().map(rows),
            eviction: EvictionIdentity::of(&method.keeps),
            skipping: method.skipping(),
            summary: summarise(&items),
            items,
        })
    }

    fn score(
        &self,
        method: &Method,
        item: &Item,
        holdings: &Holdings,
        generation: &Generation,
    ) -> Result<ItemResult, AnyFault> {
        let usage = &generation.usage;
        let (prompt_len, output_len) = (item.prompt.len(), generation.output.len());
        let workload = Workload::new(prompt_len, output_len, self.chunk_len, Convention::Counted)?;
        let counted = Prediction {
            kv_footprint: usage.kv_footprint(),
            kv_peak: usage.kv_peak(),
        };
        let formula = agreement::check(&method.name, holdings, &workload, counted)?;
        Ok(ItemResult {
            length: item.length,
            depth_index: item.depth_index,
            index: item.index,
            depth: item.depth,
            needle_distance: item.needle_distance,
            prompt_len: item.prompt.len(),
            prompt_blake3: prompt_hash(&item.prompt),
            answer: item.answer.clone(),
            output: generation.output.clone(),
            finish: generation.finish,
            scores: self.scores(item, generation)?,
            kv: KvCounts {
                counted,
                formula,
                compute_share: usage.compute_share(),
                peak_bytes: usage.peak_bytes(),
                allocated_bytes: usage.peak_allocated_entries * usage.entry_bytes,
                stored_bytes: usage.stored_entries * usage.entry_bytes,
            },
            timing: Timing {
                prefill_ms: generation.prefill_ms,
                decode_ms: generation.decode_ms,
            },
        })
    }

    fn scores(&self, item: &Item, generation: &Generation) -> Result<Scores<ScorePair>, EvalError> {
        let output = match (generation.finish, generation.output.split_last()) {
            (Finish::Stop, Some((_, before))) => before,
            _ => &generation.output,
        };
        let text = text_of(self.tokenizer, output);
        let answer = &item.answer;
        let answered = Answered::new(&item.cue, &text, self.reading, &item.gold)
            .with_tokens(Tokens { output, answer });
        answered.scores(&self.metrics)
    }
}

/// The text of `ids`. A model may have rows for ids that its tokenizer lacks: they become the replacement character.
fn text_of(tokenizer: &Tokenizer, ids: &[i64]) -> String {
    let ids: Vec<u32> = ids
        .iter()
        .map(|id| u32::try_from(*id).unwrap_or(u32::MAX))
        .collect();
    let replaced = |id: &u32| {
        tokenizer
            .decode(&[*id])
            .unwrap_or_else(|_| "\u{fffd}".into())
    };
    tokenizer
        .decode(&ids)
        .unwrap_or_else(|_| ids.iter().map(replaced).collect())
}

/// One text of 0 and 1 per layer, in checkpoint order.
fn rows(mask: &crate::mask::head_mask::HeadMask) -> Vec<String> {
    let row = |layer| {
        let flags = mask.layer(layer).iter();
        flags.map(|flag| if *flag { '1' } else { '0' }).collect()
    };
    (0..mask.num_layers()).map(row).collect()
}

fn prompt_hash(prompt: &[i64]) -> String {
    let mut hasher = blake3::Hasher::new();
    for id in prompt {
        hasher.update(&id.to_le_bytes());
    }
    hasher.finalize().to_hex().to_string()
}
