//! Which plots of a study are asked for.

use super::study::{Panel, Study};
use crate::eval::error::EvalError;

/// What a plot must be of; nothing stands for anything.
#[derive(Debug, Clone, Default)]
pub struct Choice {
    /// Name of the model.
    pub model: Option<String>,
    /// Tokens per prefill chunk.
    pub chunk_len: Option<usize>,
    /// Name of the task.
    pub task: Option<String>,
    /// Prompt and answer together, in tokens.
    pub length: Option<usize>,
}

impl Choice {
    /// `study` without the plots that are not asked for.
    ///
    /// # Errors
    /// [`EvalError::Plots`] if none is left.
    pub fn of(&self, study: &Study) -> Result<Study, EvalError> {
        let mut chosen = study.clone();
        chosen.panels.retain(|panel| self.fits(panel));
        if chosen.panels.is_empty() && !study.panels.is_empty() {
            return Err(plots(0, study));
        }
        Ok(chosen)
    }

    fn fits(&self, panel: &Panel) -> bool {
        let model = self.model.as_ref().is_none_or(|of| *of == panel.model);
        let chunk = self.chunk_len.is_none_or(|of| of == panel.chunk_len);
        let task = self.task.as_ref().is_none_or(|of| *of == panel.task);
        let length = self.length.is_none_or(|of| of == panel.length);
        model && chunk && task && length
    }
}

/// The only plot of `study`.
///
/// # Errors
/// [`EvalError::Plots`] if there are several.
pub fn only(study: &Study) -> Result<&Panel, EvalError> {
    match study.panels.as_slice() {
        [one] => Ok(one),
        many => Err(plots(many.len(), study)),
    }
}

fn plots(num_found: usize, study: &Study) -> EvalError {
    let place = |panel: &Panel| {
        format!(
            "{} at {} tokens, chunk {}, {}",
            panel.task, panel.length, panel.chunk_len, panel.model
        )
    };
    EvalError::Plots {
        num_found,
        all: study.panels.iter().map(place).collect(),
    }
}
