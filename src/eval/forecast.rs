//! What an evaluation would run and what that would cost, without a model's weights: schema `prulong.forecast/1`.
//!
//! Items and tokens are counted from the prompts themselves; keys and values are the closed formula's, for outputs as long as
//! they may get.

use super::evaluate::Evaluation;
use super::item::Item;
use super::ledger::Ledger;
use super::method::{Method, MethodKind};
use super::results::{MaskIdentity, ModelIdentity, StreamingIdentity};
use super::summary::mean;
use crate::fault::AnyFault;
use crate::footprint::holdings::Holdings;
use crate::footprint::predict::Prediction;
use crate::mask::head_mask::HeadMask;
use crate::real::real;
use crate::shape::AttentionShape;
use std::collections::BTreeSet;
use std::iter::Sum;
use std::ops::Add;

/// Name and version of the format.
pub const SCHEMA: &str = "prulong.forecast/1";

/// Everything that an evaluation would run.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Forecast {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// One entry per model and chunk length, in the order in which they would run.
    pub parts: Vec<PartForecast>,
    /// All of it.
    pub total: Load,
    /// What the reader should know.
    pub warnings: Vec<String>,
}

/// One model with one chunk length.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct PartForecast {
    /// The model.
    pub model: ModelIdentity,
    /// The masks under test, in the order of their methods.
    pub masks: Vec<MaskIdentity>,
    /// How streaming heads stream; nothing if no method has any.
    pub streaming: Option<StreamingIdentity>,
    /// Tokens per prefill chunk.
    pub chunk_len: usize,
    /// One entry per task.
    pub tasks: Vec<TaskForecast>,
}

/// Every method on one task.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct TaskForecast {
    /// Name of the task.
    pub task: String,
    /// One entry per method, full attention first.
    pub methods: Vec<MethodForecast>,
}

/// One method on one task.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct MethodForecast {
    /// Its kind.
    pub kind: MethodKind,
    /// Its name.
    pub name: String,
    /// Name of the mask file it stands for; nothing for other methods and random masks.
    pub mask: Option<String>,
    /// Retrieval heads of its mask, where it has one.
    pub num_retrieval: Option<usize>,
    /// One entry per length.
    pub lengths: Vec<LengthForecast>,
    /// All lengths.
    pub total: Load,
}

/// One method on the items of one length.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct LengthForecast {
    /// Prompt and answer together, in tokens.
    pub length: usize,
    /// Its items.
    pub load: Load,
    /// Means over all its items; where heads choose for themselves, the least there can be.
    pub kv_formula: Prediction,
    /// The most there can be, where heads choose for themselves.
    pub kv_at_most: Option<Prediction>,
    /// Most keys and values held at once by any item.
    pub kv_peak_bytes: u64,
}

/// Items, and the tokens of those that are not finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Load {
    /// Items.
    pub num_items: usize,
    /// Items that the run folder holds an answer of.
    pub num_finished: usize,
    /// Prompt tokens to read.
    pub num_prompt_tokens: usize,
    /// Tokens to write, if no output ends early.
    pub num_new_tokens: usize,
}

impl Add for Load {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            num_items: self.num_items + other.num_items,
            num_finished: self.num_finished + other.num_finished,
            num_prompt_tokens: self.num_prompt_tokens + other.num_prompt_tokens,
            num_new_tokens: self.num_new_tokens + other.num_new_tokens,
        }
    }
}

impl Sum for Load {
    fn sum<I: Iterator<Item = Self>>(loads: I) -> Self {
        loads.fold(Self::default(), Add::add)
    }
}

/// What turns shares of keys and values into bytes.
#[derive(Debug, Clone, Copy)]
pub struct CacheSize {
    /// Layout of the model.
    pub shape: AttentionShape,
    /// Bytes of one number of a key or value.
    pub number_bytes: usize,
}

impl CacheSize {
    /// Bytes of `entries` of every kv head.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "bytes of a cache, rounded to one"
    )]
    fn bytes(&self, entries: f64) -> u64 {
        let entry_bytes = 2 * self.shape.head_dim * self.number_bytes;
        (entries * (self.shape.num_gates() * entry_bytes) as f64).round() as u64
    }
}

impl Forecast {
    /// Adds up `parts`.
    pub fn new(parts: Vec<PartForecast>, warnings: Vec<String>) -> Self {
        let tasks = parts.iter().flat_map(|part| &part.tasks);
        let methods = tasks.flat_map(|task| &task.methods);
        Self {
            schema: SCHEMA,
            total: methods.map(|method| method.total).sum(),
            parts,
            warnings,
        }
    }
}

impl Evaluation<'_> {
    /// What [`Evaluation::run`] would do, given the answers in `ledger`.
    ///
    /// # Errors
    /// [`crate::footprint::workload::WorkloadError`] for chunks so short that their number is absurd; what is wrong with an item
    /// that cannot be asked so.
    pub fn forecast(&self, size: &CacheSize, ledger: &Ledger) -> Result<TaskForecast, AnyFault> {
        let of = |method| self.forecast_method(method, size, ledger);
        Ok(TaskForecast {
            task: self.task.to_owned(),
            methods: self.methods.iter().map(of).collect::<Result<_, _>>()?,
        })
    }

    fn forecast_method(
        &self,
        method: &Method,
        size: &CacheSize,
        ledger: &Ledger,
    ) -> Result<MethodForecast, AnyFault> {
        let holdings = method.keeps.holdings(size.shape.group_size());
        let lengths: BTreeSet<usize> = self.items.iter().map(|item| item.meta.length).collect();
        let mut forecasts = Vec::new();
        for length in lengths {
            let all = self.items.iter().filter(|item| item.meta.length == length);
            let items: Vec<&Item> = all.collect();
            let is_finished = |item: &Item| ledger.get(&self.key(method, item)).is_some();
            let load = items.iter().map(|item| Load::of(item, is_finished(item)));
            let load = load.sum();
            let bounds = self.bounds(&holdings, &items)?;
            forecasts.push(bounds.forecast(length, load, size));
        }
        Ok(MethodForecast {
            kind: method.kind,
            name: method.name.clone(),
            mask: method.mask_name.clone(),
            num_retrieval: method.mask().map(HeadMask::num_retrieval),
            total: forecasts.iter().map(|of| of.load).sum(),
            lengths: forecasts,
        })
    }

    fn bounds(&self, holdings: &Holdings, items: &[&Item]) -> Result<Bounds, AnyFault> {
        let mut bounds = Bounds::default();
        for item in items {
            let workload = self.workload(item, item.max_new_tokens)?;
            let most = holdings.at_most(&workload);
            bounds.least.push(holdings.predict(&workload));
            bounds.most.push(most);
            bounds.peak_entries = bounds
                .peak_entries
                .max(most.kv_peak * real(workload.total_len()));
        }
        Ok(bounds)
    }
}

impl Load {
    fn of(item: &Item, is_finished: bool) -> Self {
        let left = |tokens| if is_finished { 0 } else { tokens };
        Self {
            num_items: 1,
            num_finished: usize::from(is_finished),
            num_prompt_tokens: left(item.prompt.len()),
            num_new_tokens: left(item.max_new_tokens),
        }
    }
}

/// What each item of one length holds.
#[derive(Default)]
struct Bounds {
    least: Vec<Prediction>,
    most: Vec<Prediction>,
    /// Most entries of an average kv head at once.
    peak_entries: f64,
}

impl Bounds {
    fn forecast(&self, length: usize, load: Load, size: &CacheSize) -> LengthForecast {
        let means = |of: &[Prediction]| Prediction {
            kv_footprint: mean(of.iter().map(|of| of.kv_footprint)),
            kv_peak: mean(of.iter().map(|of| of.kv_peak)),
        };
        LengthForecast {
            length,
            load,
            kv_formula: means(&self.least),
            kv_at_most: (self.least != self.most).then(|| means(&self.most)),
            kv_peak_bytes: size.bytes(self.peak_entries),
        }
    }
}
