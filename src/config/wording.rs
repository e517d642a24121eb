//! Wording of a data set's prompts, as a file: texts with `{field}` placeholders.

use crate::config::error::Bad;
use crate::config::load::ConfigFile;
use std::path::PathBuf;

/// The texts around an item's own. `{{` and `}}` stand for braces.
#[derive(
    Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(deny_unknown_fields)]
pub struct WordingFile {
    /// What stands before the context: never cut, and known before the question.
    #[serde(default)]
    pub instruction: String,
    /// One of the things that a context is made of: a passage, an example.
    #[serde(default)]
    pub item: String,
    /// One demonstration.
    #[serde(default)]
    pub demo: String,
    /// The demonstrations, where there are any; `{demos}` stands for them all.
    #[serde(default)]
    pub demos: String,
    /// What stands behind the context, and asks.
    pub question: String,
    /// Start of the answer: it ends the prompt, where that is no chat.
    pub cue: String,
}

impl ConfigFile for WordingFile {
    type Checked = Self;

    fn paths(&mut self) -> Vec<(String, &mut PathBuf)> {
        Vec::new()
    }

    fn check(&self) -> Result<Self, Bad> {
        Ok(self.clone())
    }
}
