//! The user's folders of published evaluations, and how their items are asked.

use super::error::FilesError;
use super::wording::{self, Form, Wording};
use crate::config::eval_files::{ChatUse, FileSettings, Overflow};
use crate::data::chat_template::ChatTemplate;
use std::path::{Path, PathBuf};

/// The user's folders, and the chat template of a model.
#[derive(Debug, Clone, Default)]
pub struct Library {
    settings: FileSettings,
    template: Option<ChatTemplate>,
}

impl Library {
    /// The folders of `settings`.
    ///
    /// # Errors
    /// [`FilesError::Read`] or [`FilesError::UnknownWording`] if the folder of wordings cannot be used.
    pub fn open(settings: &FileSettings) -> Result<Self, FilesError> {
        if let Some(folder) = &settings.prompts {
            wording::check_folder(folder)?;
        }
        Ok(Self {
            settings: settings.clone(),
            template: None,
        })
    }

    /// The same for the model in `folder`, whose chat template it uses where it is to.
    ///
    /// # Errors
    /// [`FilesError::Chat`] if the model has a template that cannot be read.
    pub fn for_model(self, folder: &Path) -> Result<Self, FilesError> {
        let template = match self.settings.chat {
            ChatUse::Auto => ChatTemplate::of_model(folder)?,
            ChatUse::Never => None,
        };
        Ok(Self { template, ..self })
    }

    /// HELMET's data.
    ///
    /// # Errors
    /// [`FilesError::Unnamed`] if it was not named.
    pub fn helmet(&self, task: &'static str) -> Result<&Path, FilesError> {
        let folder = self.settings.helmet.as_deref();
        folder.ok_or(FilesError::Unnamed {
            task,
            what: "HELMET's data",
            remedy: "name HELMET's folder `data` with --helmet; its README says how to get it",
        })
    }

    /// LongProc's data: its own folder, or the one in HELMET's.
    ///
    /// # Errors
    /// [`FilesError::Unnamed`] if neither was named.
    pub fn longproc(&self, task: &'static str) -> Result<PathBuf, FilesError> {
        let inside = || {
            Some(
                self.settings
                    .helmet
                    .as_ref()?
                    .join("longproc_addon/longproc/data"),
            )
        };
        let folder = self.settings.longproc.clone().or_else(inside);
        folder.ok_or(FilesError::Unnamed {
            task,
            what: "LongProc's data",
            remedy: "name LongProc's folder `data` with --longproc; it is part of its repository",
        })
    }

    /// RULER's data.
    ///
    /// # Errors
    /// [`FilesError::Unnamed`] if it was not named.
    pub fn ruler(&self, task: &'static str) -> Result<&Path, FilesError> {
        let folder = self.settings.ruler.as_deref();
        folder.ok_or(FilesError::Unnamed {
            task,
            what: "RULER's data",
            remedy: "name the folder that RULER's scripts wrote, or an export of kvpress's data set, with --ruler",
        })
    }

    /// The user's wording of `form`, ours where there is none.
    ///
    /// # Errors
    /// As [`Wording::of`].
    pub fn wording(&self, form: &Form) -> Result<Wording, FilesError> {
        Wording::of(form, self.settings.prompts.as_deref())
    }

    /// What happens to items that are too long, where a task by itself does `usual`.
    pub fn overflow(&self, usual: Overflow) -> Overflow {
        self.settings.on_overflow.unwrap_or(usual)
    }

    /// The chat template in use.
    pub fn template(&self) -> Option<&ChatTemplate> {
        self.template.as_ref()
    }

    /// Whether chats were wanted where there is a template.
    pub fn wants_chats(&self) -> bool {
        self.settings.chat == ChatUse::Auto
    }
}
