//! Inference on random weights: prompts answered under each kind of method, and decoding without end.

use super::shape::{Shape, random_ids};
use super::{Amount, Measured};
use prulong::attention::Backend;
use prulong::attention::choose::{Case, choose};
use prulong::config::dtype::Dtype;
use prulong::eval::method::Streaming;
use prulong::eval::method_plan::MethodPlan;
use prulong::fault::AnyFault;
use prulong::infer::decode::{Limits, decode_greedy};
use prulong::infer::generate::Engine;
use prulong::infer::policy::Policy;
use prulong::infer::task::Task;
use prulong::mask::head_mask::HeadMask;
use prulong::model::llama::Llama;
use prulong::profile::measure::{self, Samples};
use prulong::random;
use prulong::shape::AttentionShape;
use prulong::span::{Span, StreamingRule};
use std::sync::Arc;

/// Of ten kv heads, those that retrieve under `mask`.
const RETRIEVING_TENTHS: usize = 3;
/// Tokens of the long decode.
const ENDLESS_LEN: usize = 1_000_000;
/// Tokens decoded at a time.
const STRIDE: usize = 1_000;

/// What is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    /// A prompt of so many tokens, and an answer.
    Answer(usize),
    /// So many tokens decoded from an empty cache.
    Endless(usize),
}

/// One case.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InferCase {
    shape: Shape,
    /// A word of `prulong eval --method`.
    method: &'static str,
    work: Work,
}

/// Resident memory of a decode, which must not grow.
#[derive(Debug, serde::Serialize)]
pub(crate) struct Endless {
    /// Tokens decoded.
    pub(crate) num_tokens: usize,
    /// After a tenth of them.
    pub(crate) rss_at_tenth_bytes: Option<u64>,
    /// After the last.
    pub(crate) rss_at_end_bytes: Option<u64>,
    /// Keys and values kept after the last.
    pub(crate) kv_bytes: u64,
}

impl InferCase {
    /// Every case, or the small ones of `--quick`.
    pub(crate) fn all(quick: bool) -> Vec<Self> {
        let of = |shape, method, work| Self {
            shape,
            method,
            work,
        };
        let shapes: &[(Shape, &[usize])] = if quick {
            &[(Shape::Micro, &[96])]
        } else {
            &[
                (Shape::Tiny, &[2048, 8192, 32768]),
                (Shape::M124, &[2048, 8192]),
                (Shape::M124L3, &[2048, 8192, 32768, 65536]),
            ]
        };
        let (evicting, endless) = if quick {
            let short = ["snapkv:0.7:window=2", "pyramidkv:0.7:window=2"];
            (short, (Shape::Micro, 10 * STRIDE))
        } else {
            (["snapkv:0.7", "pyramidkv:0.7"], (Shape::Tiny, ENDLESS_LEN))
        };
        let methods = ["full", "mask", "all-streaming"]
            .into_iter()
            .chain(evicting);
        let mut cases = Vec::new();
        for (shape, lens) in shapes {
            for len in *lens {
                let work = Work::Answer(*len);
                cases.extend(methods.clone().map(|method| of(*shape, method, work)));
            }
        }
        let (shape, len) = endless;
        cases.push(of(shape, "all-streaming", Work::Endless(len)));
        cases
    }

    /// `infer/SHAPE/METHOD/TOKENS`, of a decode without end `infer/SHAPE/METHOD/TOKENS-decode`.
    pub(crate) fn name(&self) -> String {
        let work = match self.work {
            Work::Answer(len) => len.to_string(),
            Work::Endless(1_000_000) => "1m-decode".to_owned(),
            Work::Endless(len) => format!("{len}-decode"),
        };
        format!("infer/{}/{}/{work}", self.shape.name(), self.method)
    }

    /// # Panics
    /// If the model cannot be made or run: this is a benchmark.
    pub(crate) fn measure(&self, repeat: usize) -> Measured {
        let measured = match self.work {
            Work::Answer(len) => self.answer(len, repeat),
            Work::Endless(len) => self.endless(len),
        };
        measured.unwrap_or_else(|error| panic!("{error}"))
    }

    fn answer(&self, len: usize, repeat: usize) -> Result<Measured, AnyFault> {
        let setting = self.prepare()?;
        let prompt = random_ids(setting.llama.config().vocab_size, len);
        let num_new_tokens = (len / 16).clamp(2, 64);
        let task = Task {
            engine: setting.engine(len / 8),
            policy: &*setting.policy,
            prompt: &prompt,
            num_new_tokens,
        };
        let is_peak_of_samples = measure::reset_peak_rss();
        let (answer, cost) = task.measure(repeat)?;
        let mut samples = Samples::default();
        let sum = |prefill: &[f64], decode: &[f64]| {
            prefill.iter().zip(decode).map(|(a, b)| a + b).collect()
        };
        samples.wall_ms = sum(&cost.prefill_ms, &cost.decode_ms);
        samples.cpu_ms = sum(&cost.prefill_cpu_ms, &cost.decode_cpu_ms);
        let amount = Amount {
            tokens: len - 1 + answer.output.len(),
            bytes: None,
        };
        Ok(Measured {
            is_peak_of_samples,
            backend: Some(setting.backend.name()),
            cost: Some(cost),
            ..Measured::of(self.name(), samples, amount)
        })
    }

    fn endless(&self, num_tokens: usize) -> Result<Measured, AnyFault> {
        let setting = self.prepare()?;
        let engine = setting.engine(1);
        let mut cache = engine.open_cache(&*setting.policy, num_tokens)?;
        let limits = Limits {
            max_new_tokens: STRIDE,
            stop_tokens: Vec::new(),
        };
        let is_peak_of_samples = measure::reset_peak_rss();
        let mut samples = Samples::default();
        let mut rss_at_tenth_bytes = None;
        samples.time(|| -> Result<(), AnyFault> {
            let mut token = 0;
            for position in (0..num_tokens).step_by(STRIDE) {
                // What was said is forgotten: a list of a million tokens would be memory too.
                let (output, _) =
                    decode_greedy(&setting.llama, &mut cache, token, position, &limits)?;
                token = output.last().copied().unwrap_or_default();
                if position + STRIDE == num_tokens / 10 {
                    rss_at_tenth_bytes = measure::rss_bytes();
                }
            }
            Ok(())
        })?;
        let usage = cache.usage();
        let amount = Amount {
            tokens: num_tokens,
            bytes: None,
        };
        Ok(Measured {
            is_peak_of_samples,
            backend: Some(setting.backend.name()),
            endless: Some(Endless {
                num_tokens,
                rss_at_tenth_bytes,
                rss_at_end_bytes: measure::rss_bytes(),
                kv_bytes: usage.stored_entries * usage.entry_bytes,
            }),
            ..Measured::of(self.name(), samples, amount)
        })
    }

    fn prepare(&self) -> Result<Setting, AnyFault> {
        let mut llama = self.shape.model(Dtype::F32);
        let shape = llama.config().shape;
        let (sink, window) = self.span();
        let plan = MethodPlan {
            masks: mask(&shape).into_iter().collect(),
            streaming: Some(Streaming {
                span: Span::new(sink, window, 1)?,
                rule: StreamingRule::Sliding,
            }),
            ..MethodPlan::default()
        };
        let method = plan.only(self.method.parse()?, &shape)?;
        let (policy, order) = method.policy(&llama);
        if let Some(order) = order {
            llama.permute_kv_heads(&order);
        }
        let choice = choose("auto", Case::on_cpu(llama.kind()))?;
        Ok(Setting {
            llama,
            policy,
            backend: Arc::from(choice.backend),
        })
    }

    /// Sink and window: the published ones, and on small models a part of their context.
    fn span(&self) -> (usize, usize) {
        match self.shape {
            Shape::Micro => (1, 8),
            Shape::Tiny => (16, 128),
            Shape::M124 | Shape::M124L3 => (128, 1024),
        }
    }
}

/// A model and how its cache works.
struct Setting {
    llama: Llama,
    policy: Box<dyn Policy>,
    backend: Arc<dyn Backend>,
}

impl Setting {
    fn engine(&self, chunk_len: usize) -> Engine<'_> {
        Engine {
            llama: &self.llama,
            backend: Arc::clone(&self.backend),
            chunk_len,
        }
    }
}

/// Three kv heads in ten retrieve, whichever.
fn mask(shape: &AttentionShape) -> Option<HeadMask> {
    let order = random::permutation("bench mask", &[], shape.num_gates());
    let mut retrieval = vec![false; shape.num_gates()];
    for head in order
        .iter()
        .take(shape.num_gates() * RETRIEVING_TENTHS / 10)
    {
        retrieval[*head] = true;
    }
    HeadMask::new(shape.num_layers, shape.num_kv_heads, retrieval)
}
