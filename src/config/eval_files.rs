//! `[files]` of an evaluation file: where the user's files of published evaluations lie, and how their items are asked.

use std::path::PathBuf;

/// Files of published evaluations; read by the tasks that need them, nothing is downloaded.
#[derive(
    Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(deny_unknown_fields)]
pub struct FileSettings {
    /// HELMET's folder `data`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub helmet: Option<PathBuf>,
    /// LongProc's folder `data`. Absent: `longproc_addon/longproc/data` in HELMET's folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub longproc: Option<PathBuf>,
    /// Folder of RULER's files, or of those that kvpress reads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ruler: Option<PathBuf>,
    /// Folder of wordings, `NAME.toml`, that replace those of the same name in this program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompts: Option<PathBuf>,
    /// What happens to items that are longer than the length asked for. Absent: `cut` where a context can be cut, else the
    /// item fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_overflow: Option<Overflow>,
    /// Whether tasks that are published as chats are asked through the model's chat template.
    #[serde(default)]
    pub chat: ChatUse,
}

/// What happens to an item that is longer than the length asked for.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Overflow {
    /// The end of its context is left out.
    Cut,
    /// It is left out.
    Skip,
    /// It fails.
    Error,
}

/// When the model's chat template is used.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Default,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum ChatUse {
    /// For tasks that are published as chats, where the model has a template.
    #[default]
    Auto,
    /// Never: every prompt is a text to be completed.
    Never,
}

impl FileSettings {
    pub(super) fn paths(&mut self) -> Vec<(String, &mut PathBuf)> {
        let folders = [
            ("files.helmet", &mut self.helmet),
            ("files.longproc", &mut self.longproc),
            ("files.ruler", &mut self.ruler),
            ("files.prompts", &mut self.prompts),
        ];
        let named = folders.into_iter();
        named
            .filter_map(|(key, path)| path.as_mut().map(|path| (key.to_owned(), path)))
            .collect()
    }
}
