//! Runs every method on the same items and scores the answers.
//!
//! Items that the [`Ledger`] holds are not run again; the others are added to it one by one, also those that fail.

use super::agreement;
use super::answered::{Answered, Tokens};
use super::error::EvalError;
use super::item::Item;
use super::item_result::{
    Finish as Finished, ItemError, ItemResult, Key, KvCounts, SCHEMA, Timing, TokenCounts,
};
use super::ledger::Ledger;
use super::method::Method;
use super::metric::registry::{Metric, Scores};
use super::reading::Reading;
use super::results::{EvictionIdentity, MethodResult};
use super::stop::{Stop, newline_ids};
use super::summary::summarise;
use crate::attention::Backend;
use crate::data::tokenizer::Tokenizer;
use crate::fault::{AnyFault, Kind};
use crate::footprint::holdings::Holdings;
use crate::footprint::predict::Prediction;
use crate::footprint::workload::{Convention, Workload};
use crate::infer::decode::{Finish, Limits};
use crate::infer::generate::{Engine, Generation};
use crate::infer::policy::Policy;
use crate::infer::policy::head_mask::inverse;
use crate::model::llama::Llama;
use std::sync::Arc;

/// What is run.
pub struct Evaluation<'a> {
    /// Name of the model.
    pub model: &'a str,
    /// Name of the task.
    pub task: &'a str,
    /// Prompts with answers, all of one task.
    pub items: &'a [Item],
    /// Items that the settings name, in this run or another.
    pub num_expected: usize,
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
    /// Whether methods compress the context before they see the question.
    pub query_agnostic: bool,
    /// The attention kernel.
    pub backend: Arc<dyn Backend>,
}

/// A method at work: what it holds in the caches, and what it holds by formula.
struct Work<'a> {
    method: &'a Method,
    engine: Engine<'a>,
    policy: Box<dyn Policy>,
    holdings: Holdings,
    /// Tokens with a line end, where an item ends at one.
    newlines: Vec<i64>,
}

/// What a model wrote.
struct Written<'a> {
    /// Token ids, without the one that ended it.
    ids: &'a [i64],
    text: String,
    finish: Finished,
}

/// Follows an evaluation, and may end it.
pub trait Observer {
    /// An item is finished: `result` is in the ledger, and was before this run if `kept`.
    ///
    /// # Errors
    /// What ends the evaluation here, such as a signal.
    fn finished(&mut self, result: &ItemResult, kept: bool) -> Result<(), AnyFault>;
}

impl Evaluation<'_> {
    /// Answers all items with every method.
    ///
    /// The model's kv heads are permuted for each mask and put back afterwards, also when it ends early.
    ///
    /// # Errors
    /// What `observer` ends it with; [`EvalError::File`] if an answer cannot be written down; a numerical failure of an item,
    /// once its result says so. An item that fails otherwise is no error here.
    pub fn run(
        &self,
        llama: &mut Llama,
        ledger: &mut Ledger,
        observer: &mut dyn Observer,
    ) -> Result<Vec<MethodResult>, AnyFault> {
        let run = |method| self.run_method(llama, method, ledger, observer);
        self.methods.iter().map(run).collect()
    }

    /// The keys of all items of all methods, in the order in which they are run.
    pub fn keys(&self) -> impl Iterator<Item = Key> {
        let of = move |method| self.items.iter().map(move |item| self.key(method, item));
        self.methods.iter().flat_map(of)
    }

    pub(super) fn key(&self, method: &Method, item: &Item) -> Key {
        Key {
            model: self.model.to_owned(),
            chunk_len: self.chunk_len,
            task: self.task.to_owned(),
            method: method.name.clone(),
            id: item.id.clone(),
        }
    }

    fn run_method(
        &self,
        llama: &mut Llama,
        method: &Method,
        ledger: &mut Ledger,
        observer: &mut dyn Observer,
    ) -> Result<MethodResult, AnyFault> {
        let (policy, order) = method.policy(llama);
        if let Some(order) = &order {
            llama.permute_kv_heads(order);
        }
        let work = Work {
            method,
            policy,
            holdings: method.keeps.holdings(llama.config().shape.group_size()),
            engine: Engine {
                llama,
                backend: Arc::clone(&self.backend),
                chunk_len: self.chunk_len,
            },
            newlines: self.newlines(),
        };
        let results = self.answer_all(&work, ledger, observer);
        if let Some(order) = &order {
            llama.permute_kv_heads(&inverse(order));
        }
        let items = results?;
        Ok(MethodResult {
            kind: method.kind,
            name: method.name.clone(),
            retrieval_mask: method.mask().map(rows),
            eviction: EvictionIdentity::of(&method.keeps),
            skipping: method.skipping(),
            summary: summarise(&items, self.num_expected),
            items,
        })
    }

    /// Answers every item that the ledger lacks.
    fn answer_all(
        &self,
        work: &Work<'_>,
        ledger: &mut Ledger,
        observer: &mut dyn Observer,
    ) -> Result<Vec<ItemResult>, AnyFault> {
        let mut results = Vec::with_capacity(self.items.len());
        for item in self.items {
            if let Some(kept) = ledger.get(&self.key(work.method, item)).cloned() {
                observer.finished(&kept, true)?;
                results.push(kept);
                continue;
            }
            let (result, fault) = self.answer(work, item);
            ledger.push(result.clone())?;
            let heard = observer.finished(&result, false);
            // Numbers that are not finite, or other ones than the formula's, make every further answer doubtful.
            match fault {
                Some(fault) if fault.kind() == Kind::Numerical => return Err(fault),
                _ => heard?,
            }
            results.push(result);
        }
        Ok(results)
    }

    /// The result of one item, and why it has no answer, where it has none.
    fn answer(&self, work: &Work<'_>, item: &Item) -> (ItemResult, Option<AnyFault>) {
        let blank = self.blank(work.method, item);
        let answered = self
            .generate(work, item)
            .and_then(|generation| self.score(work, item, &generation, blank.clone()));
        match answered {
            Ok(result) => (result, None),
            Err(fault) => {
                let error = Some(ItemError::from(&fault));
                (ItemResult { error, ..blank }, Some(fault))
            }
        }
    }

    fn generate(&self, work: &Work<'_>, item: &Item) -> Result<Generation, AnyFault> {
        item.check_len()?;
        let mut stop_tokens = work.engine.llama.config().eos_ids.clone();
        if item.stop == Stop::Newline {
            stop_tokens.extend(&work.newlines);
        }
        let limits = Limits {
            max_new_tokens: item.max_new_tokens,
            stop_tokens,
        };
        let engine = &work.engine;
        if self.query_agnostic {
            let prefill_len = self.before_question(item)?;
            engine.generate_after(&*work.policy, &item.prompt, prefill_len, &limits)
        } else {
            engine.generate(&*work.policy, &item.prompt, &limits)
        }
    }

    fn before_question(&self, item: &Item) -> Result<usize, EvalError> {
        let known = item.parts.before_question();
        known.ok_or_else(|| EvalError::AskedFirst {
            task: self.task.to_owned(),
        })
    }

    pub(super) fn workload(&self, item: &Item, output_len: usize) -> Result<Workload, AnyFault> {
        let (prompt_len, chunk_len) = (item.prompt.len(), self.chunk_len);
        if self.query_agnostic {
            let context_len = self.before_question(item)?;
            let asked_len = prompt_len - context_len;
            return Ok(Workload::query_agnostic(
                context_len,
                asked_len,
                output_len,
                chunk_len,
            )?);
        }
        let convention = Convention::Counted;
        Ok(Workload::new(
            prompt_len, output_len, chunk_len, convention,
        )?)
    }

    fn newlines(&self) -> Vec<i64> {
        let any = self.items.iter().any(|item| item.stop == Stop::Newline);
        if any {
            newline_ids(self.tokenizer)
        } else {
            Vec::new()
        }
    }

    /// What is known of an item before it is answered.
    fn blank(&self, method: &Method, item: &Item) -> ItemResult {
        ItemResult {
            schema: SCHEMA.to_owned(),
            model: self.model.to_owned(),
            chunk_len: self.chunk_len,
            task: self.task.to_owned(),
            method: method.name.clone(),
            id: item.id.clone(),
            length_target: item.meta.length,
            depth_index: item.meta.depth_index,
            depth: item.meta.depth,
            needle_distance: item.meta.needle_distance,
            num_units: item.meta.num_units,
            seed: item.meta.seed,
            origin: item.origin.clone(),
            mask: method.mask_name.clone(),
            query_agnostic: self.query_agnostic,
            prompt_hash: prompt_hash(&item.prompt),
            tokens: TokenCounts {
                prompt: item.prompt.len(),
                context: item.parts.context.len(),
                question: item.parts.question.len(),
                cue: item.parts.cue.len(),
                output: 0,
                max_output: item.max_new_tokens,
            },
            question: self
                .tokenizer
                .decode_output(&item.prompt[item.parts.question.clone()]),
            cue: item.cue.clone(),
            output: String::new(),
            parsed: String::new(),
            output_ids: Vec::new(),
            gold: item.gold.clone(),
            gold_ids: item.answer.clone(),
            finish: Finished::Error,
            error: None,
            scores: Scores::new(),
            kv: None,
            backend: self.backend.name().to_owned(),
            timing: Timing::default(),
        }
    }

    fn score(
        &self,
        work: &Work<'_>,
        item: &Item,
        generation: &Generation,
        blank: ItemResult,
    ) -> Result<ItemResult, AnyFault> {
        let usage = &generation.usage;
        let workload = self.workload(item, generation.output.len())?;
        let counted = Prediction {
            kv_footprint: usage.kv_footprint(),
            kv_peak: usage.kv_peak(),
        };
        let formula = agreement::check(&work.method.name, &work.holdings, &workload, counted)?;
        let written = self.written(work, item, generation);
        let answered = Answered::new(&item.cue, &written.text, self.reading, &item.gold)
            .with_tokens(Tokens {
                output: written.ids,
                answer: &item.answer,
            });
        Ok(ItemResult {
            tokens: TokenCounts {
                output: generation.output.len(),
                ..blank.tokens
            },
            parsed: answered.parsed().to_owned(),
            scores: answered.scores(&self.metrics)?,
            output: written.text,
            output_ids: written.ids.to_vec(),
            finish: written.finish,
            kv: Some(KvCounts {
                counted,
                formula,
                compute_share: usage.compute_share(),
                peak_bytes: usage.peak_bytes(),
                allocated_bytes: usage.peak_allocated_entries * usage.entry_bytes,
                stored_bytes: usage.stored_entries * usage.entry_bytes,
            }),
            timing: Timing {
                prefill_ms: generation.prefill_ms,
                decode_ms: generation.decode_ms,
            },
            ..blank
        })
    }

    fn written<'a>(&self, work: &Work<'_>, item: &Item, generation: &'a Generation) -> Written<'a> {
        let all = &generation.output;
        let (finish, ids) = match (generation.finish, all.split_last()) {
            (Finish::Stop, Some((last, before))) => {
                let is_end = work.engine.llama.config().eos_ids.contains(last);
                (
                    if is_end {
                        Finished::Eos
                    } else {
                        Finished::Newline
                    },
                    before,
                )
            }
            _ => (Finished::Length, &all[..]),
        };
        // The token of a line end may begin with a part of the answer.
        let read = if finish == Finished::Newline {
            all
        } else {
            ids
        };
        let text = self.tokenizer.decode_output(read);
        Written {
            ids,
            text: item.stop.cut(&text).to_owned(),
            finish,
        }
    }
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
    let bytes: Vec<u8> = prompt.iter().flat_map(|id| id.to_le_bytes()).collect();
    blake3::hash(&bytes).to_hex().to_string()
}
