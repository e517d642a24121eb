//! What tasks make their items of.

use super::error::EvalError;
use super::files::library::Library;
use super::haystack::Haystack;
use crate::data::generate::needle_tokens::NeedleTokens;
use crate::data::tokenizer::Tokenizer;
use std::sync::Arc;

/// A tokenizer, and text to hide needles in and files of items for the tasks that need them.
pub struct Material<'a> {
    tokenizer: Arc<Tokenizer>,
    needle_tokens: NeedleTokens,
    haystack: Option<&'a dyn Haystack>,
    library: Library,
}

impl<'a> Material<'a> {
    /// Prepares to write items with `tokenizer`.
    ///
    /// # Errors
    /// [`EvalError::Data`] if it cannot encode a line end.
    pub fn new(
        tokenizer: Arc<Tokenizer>,
        haystack: Option<&'a dyn Haystack>,
    ) -> Result<Self, EvalError> {
        Ok(Self {
            needle_tokens: NeedleTokens::new(Arc::clone(&tokenizer))?,
            tokenizer,
            haystack,
            library: Library::default(),
        })
    }

    /// The same with the user's files.
    #[must_use]
    pub fn with_library(self, library: Library) -> Self {
        Self { library, ..self }
    }

    /// The user's files of published evaluations.
    pub fn library(&self) -> &Library {
        &self.library
    }

    /// The tokenizer of the model.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Writes needles.
    pub fn needle_tokens(&self) -> &NeedleTokens {
        &self.needle_tokens
    }

    /// The text to hide needles in.
    ///
    /// # Errors
    /// [`EvalError::NoHaystack`] if there is none.
    pub fn haystack(&self) -> Result<&'a dyn Haystack, EvalError> {
        self.haystack.ok_or(EvalError::NoHaystack {
            found: "none was opened".to_owned(),
            remedy: "name it with --source or --data",
        })
    }
}
