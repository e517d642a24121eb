//! Negative log-likelihood of every token of a text, window by window, each in chunks over a full cache.
//!
//! **Invariant:** logits exist for a bounded number of positions at a time, never `T x V`.

use super::cache::RowSpec;
use super::error::InferError;
use super::model_cache::ModelCache;
use super::policy::full::Full;
use super::windows::{Lead, Window, Windows};
use crate::attention::Backend;
use crate::fault::{AnyFault, Coded, Kind};
use crate::model::llama::Llama;
use crate::torch::memory;
use std::sync::Arc;
use tch::Tensor;

/// Positions whose logits exist at a time.
const LOGIT_ROWS: usize = 256;

/// Why a text cannot be scored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScoreError {
    /// Nothing to predict.
    #[error(
        "{num_ids} token(s) are too few: the first one is not predicted, so at least 2 are needed"
    )]
    TooShort {
        /// Tokens given.
        num_ids: usize,
    },
    /// A token without an embedding row.
    #[error("token {index} is {id}, outside the model's vocabulary of {vocab_size}")]
    Token {
        /// Its place in the text, from 0.
        index: usize,
        /// The id.
        id: i64,
        /// Embedding rows.
        vocab_size: usize,
    },
    /// The model's answer is no number.
    #[error("the likelihood of token {index} is not finite")]
    NotFinite {
        /// Its place in the text, from 0.
        index: usize,
    },
}

impl Coded for ScoreError {
    fn code(&self) -> &'static str {
        match self {
            Self::TooShort { .. } => "score.too_short",
            Self::Token { .. } => "score.token",
            Self::NotFinite { .. } => "num.not_finite",
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::TooShort { .. } | Self::Token { .. } => Kind::Input,
            Self::NotFinite { .. } => Kind::Numerical,
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::TooShort { .. } => return None,
            Self::Token { .. } => "tokenize the text with the tokenizer of this model",
            Self::NotFinite { .. } => "compute in f32, and check that the weights are finite",
        };
        Some(hint.to_owned())
    }
}

/// How a text is fed to the model.
pub struct Scorer<'a> {
    /// The model.
    pub llama: &'a Llama,
    /// The attention kernel.
    pub backend: Arc<dyn Backend>,
    /// Tokens per forward call.
    pub chunk_len: usize,
}

impl Scorer<'_> {
    /// Natural-log loss of each token given those before it in its window; the first token has none.
    ///
    /// `progress` hears the number of losses known so far, about once a chunk.
    ///
    /// # Shapes
    /// `ids`: `T` tokens. Returns `T - 1` numbers.
    ///
    /// # Precision
    /// Log-sum-exp in f32 (f64 for f64 models).
    ///
    /// # Errors
    /// [`ScoreError`], [`InferError::ChunkLen`], or whatever the model or the cache cannot do.
    pub fn losses(
        &self,
        ids: &[i64],
        windows: Windows,
        mut progress: impl FnMut(usize),
    ) -> Result<Vec<f64>, AnyFault> {
        self.check(ids)?;
        let mut losses = Vec::with_capacity(ids.len() - 1);
        for window in windows.over(ids.len() - 1) {
            let known = losses.len();
            let start = window.predicted.start;
            let read = read_by(&window, windows.lead, ids);
            let exhausted = |detail| InferError::OutOfMemory { detail };
            let heard = |done| progress(known.max(start + done));
            let found = memory::guard(exhausted, || self.window(&read, heard))?;
            losses.extend(found.into_iter().skip(window.num_repeated));
        }
        match losses.iter().position(|loss| !loss.is_finite()) {
            Some(before) => Err(ScoreError::NotFinite { index: before + 1 }.into()),
            None => Ok(losses),
        }
    }

    /// Losses of all tokens but the first. The last token is never read: it predicts nothing.
    fn window(&self, ids: &[i64], mut progress: impl FnMut(usize)) -> Result<Vec<f64>, AnyFault> {
        let (read, targets) = (&ids[..ids.len() - 1], &ids[1..]);
        let spec = RowSpec::of(self.llama, Arc::clone(&self.backend), read.len());
        let mut cache = ModelCache::open(&Full, self.llama.config().shape.num_layers, spec)?;
        let mut losses = Vec::with_capacity(targets.len());
        for (chunk, targets) in read
            .chunks(self.chunk_len)
            .zip(targets.chunks(self.chunk_len))
        {
            let hidden_tc = self.llama.forward_cached(chunk, losses.len(), &mut cache)?;
            self.append_losses(&hidden_tc, targets, &mut losses);
            progress(losses.len());
        }
        Ok(losses)
    }

    fn check(&self, ids: &[i64]) -> Result<(), AnyFault> {
        if self.chunk_len == 0 {
            return Err(InferError::ChunkLen.into());
        }
        let num_ids = ids.len();
        if num_ids < 2 {
            return Err(ScoreError::TooShort { num_ids }.into());
        }
        let vocab_size = self.llama.config().vocab_size;
        let has_row = |id: i64| usize::try_from(id).is_ok_and(|id| id < vocab_size);
        match ids.iter().position(|id| !has_row(*id)) {
            Some(index) => Err(ScoreError::Token {
                index,
                id: ids[index],
                vocab_size,
            }
            .into()),
            None => Ok(()),
        }
    }

    /// Losses of `targets`, each predicted by the hidden state at the same row.
    fn append_losses(&self, hidden_tc: &Tensor, targets: &[i64], losses: &mut Vec<f64>) {
        let _guard = tch::no_grad_guard();
        let mut first_row = 0;
        for part in targets.chunks(LOGIT_ROWS) {
            let targets_t = Tensor::from_slice(part).to_device(self.llama.device());
            let num_rows = targets_t.numel();
            let num_rows = i64::try_from(num_rows).unwrap_or(i64::MAX);
            let logits_tv = self.llama.logits(&hidden_tc.narrow(0, first_row, num_rows));
            let chosen_t = logits_tv
                .gather(1, &targets_t.unsqueeze(1), false)
                .squeeze_dim(1);
            let losses_t = logits_tv.logsumexp(1, false) - chosen_t;
            losses.extend(
                losses_t
                    .to_kind(tch::Kind::Double)
                    .iter::<f64>()
                    .into_iter()
                    .flatten(),
            );
            first_row += num_rows;
        }
    }
}

/// The window's tokens with one in front of them.
fn read_by(window: &Window, lead: Lead, ids: &[i64]) -> Vec<i64> {
    let Window { predicted, .. } = window;
    let front = match lead {
        Lead::Begin => 0,
        Lead::Previous => predicted.start,
    };
    // `ids` begins with the begin token, which windows do not count.
    let rest = &ids[predicted.start + 1..=predicted.end];
    std::iter::once(ids[front])
        .chain(rest.iter().copied())
        .collect()
}
