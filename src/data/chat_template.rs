//! A model's chat template: how one question of a user is written down as a text with special tokens.
//!
//! # Decisions
//! The date of the day is not given to templates: the same items give the same prompts on every day. Those that ask for it
//! write the date that stands in them.

use crate::fault::{Coded, Kind};
use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, Error, ErrorKind, Value, context};
use serde_json::Map;
use std::path::{Path, PathBuf};

/// A template, ready to write prompts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatTemplate {
    path: PathBuf,
    text: String,
    bos: String,
    eos: String,
}

/// Why a chat template cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChatError {
    /// The file cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        #[source]
        source: std::io::Error,
    },
    /// The file is no tokenizer's configuration.
    #[error("{}: {reason}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The template fails.
    #[error("the chat template of `{}` cannot be used: {reason}", path.display())]
    Template {
        /// The file it stands in.
        path: PathBuf,
        /// Its engine's reason.
        reason: String,
    },
}

/// Texts around what a user says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// Before it, special tokens included.
    pub before: String,
    /// Behind it, up to where the answer begins.
    pub after: String,
}

/// What stands for the user's words while a template is filled; a template may trim it, but never changes its middle.
const WORDS: &str = "the-words-of-the-user";

impl ChatTemplate {
    /// The template of the model in `folder`: `chat_template.jinja`, or the default one of `tokenizer_config.json`; nothing if
    /// it has none.
    ///
    /// # Errors
    /// [`ChatError::Read`] or [`ChatError::Format`] if a file of it cannot be used.
    pub fn of_model(folder: &Path) -> Result<Option<Self>, ChatError> {
        let config_path = folder.join("tokenizer_config.json");
        let config = match read(&config_path)? {
            Some(text) => parse(&config_path, &text)?,
            None => Map::new(),
        };
        let path = folder.join("chat_template.jinja");
        let (path, text) = match read(&path)? {
            Some(text) => (path, text),
            None => match default_of(&config) {
                Some(text) => (config_path, text),
                None => return Ok(None),
            },
        };
        Ok(Some(Self {
            path,
            text,
            bos: token(&config, "bos_token"),
            eos: token(&config, "eos_token"),
        }))
    }

    /// Its text, with the special tokens that it may write: what decides its prompts.
    pub fn texts(&self) -> [&str; 3] {
        [&self.text, &self.bos, &self.eos]
    }

    /// What it writes around one message of a user, the begin of the answer included.
    ///
    /// # Errors
    /// [`ChatError::Template`] if it fails or does not write the message.
    pub fn turn(&self) -> Result<Turn, ChatError> {
        let text = self.render().map_err(|error| self.unusable(&error))?;
        let (before, after) = text
            .split_once(WORDS)
            .ok_or_else(|| self.unusable(&"it leaves the user's message out"))?;
        Ok(Turn {
            before: before.to_owned(),
            after: after.to_owned(),
        })
    }

    fn render(&self) -> Result<String, Error> {
        let mut environment = Environment::new();
        // As the library does that templates are written for.
        let mut syntax = SyntaxConfig::builder();
        syntax.trim_blocks(true).lstrip_blocks(true);
        environment.set_syntax(syntax.build()?);
        environment
            .set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function(
            "raise_exception",
            |reason: String| -> Result<Value, Error> {
                Err(Error::new(ErrorKind::InvalidOperation, reason))
            },
        );
        environment.render_str(
            &self.text,
            context! {
                messages => [context! { role => "user", content => WORDS }],
                add_generation_prompt => true,
                bos_token => &self.bos,
                eos_token => &self.eos,
            },
        )
    }

    fn unusable(&self, reason: &dyn std::fmt::Display) -> ChatError {
        ChatError::Template {
            path: self.path.clone(),
            reason: reason.to_string(),
        }
    }
}

/// The text of a file; nothing if there is none.
fn read(path: &Path) -> Result<Option<String>, ChatError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ChatError::Read {
            path: path.to_owned(),
            source,
        }),
    }
}

fn parse(path: &Path, text: &str) -> Result<Map<String, serde_json::Value>, ChatError> {
    serde_json::from_str(text).map_err(|error| ChatError::Format {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

/// The only template, or that of the name `default` among several.
fn default_of(config: &Map<String, serde_json::Value>) -> Option<String> {
    let template = config.get("chat_template")?;
    let named = |template: &serde_json::Value| {
        let is_default = template.get("name")?.as_str()? == "default";
        let text = template.get("template")?.as_str()?;
        is_default.then(|| text.to_owned())
    };
    match template {
        serde_json::Value::String(text) => Some(text.clone()),
        serde_json::Value::Array(templates) => templates.iter().find_map(named),
        _ => None,
    }
}

/// The text of a special token, which is written as text or as an object; empty if there is none.
fn token(config: &Map<String, serde_json::Value>, name: &str) -> String {
    let token = config.get(name);
    let text = token.and_then(|token| token.as_str().or_else(|| token.get("content")?.as_str()));
    text.unwrap_or_default().to_owned()
}

impl Coded for ChatError {
    fn code(&self) -> &'static str {
        match self {
            Self::Read { .. } => "chat.read",
            Self::Format { .. } => "chat.format",
            Self::Template { .. } => "chat.template",
        }
    }

    fn kind(&self) -> Kind {
        Kind::Input
    }

    fn hint(&self) -> Option<String> {
        Some("repair the model's folder, or ask with `--chat never`".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of the shape that Llama 3's has: a header per message, special tokens, a date unless one is given.
    const LLAMA: &str = "{{- bos_token }}{%- if not date_string is defined %}{%- set date_string = \"26 Jul 2024\" %}{%- endif %}\
        {%- for message in messages %}{{- '<|head|>' + message['role'] + '<|end|>\\n\\n' + message['content'] | trim + '<|eot|>' }}{%- endfor %}\
        {%- if add_generation_prompt %}{{- '<|head|>assistant<|end|>\\n\\n' }}{%- endif %}";

    fn folder(config: &serde_json::Value) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(
            folder.path().join("tokenizer_config.json"),
            config.to_string(),
        )
        .unwrap();
        folder
    }

    #[test]
    fn a_question_stands_between_the_templates_texts() {
        let several = serde_json::json!([{"name": "tools", "template": "x"}, {"name": "default", "template": LLAMA}]);
        for template in [serde_json::json!(LLAMA), several] {
            let config = serde_json::json!({"chat_template": template, "bos_token": {"content": "<s>"}, "eos_token": "</s>"});
            let folder = folder(&config);
            let found = ChatTemplate::of_model(folder.path()).unwrap().unwrap();
            let turn = found.turn().unwrap();
            assert_eq!(turn.before, "<s><|head|>user<|end|>\n\n");
            assert_eq!(turn.after, "<|eot|><|head|>assistant<|end|>\n\n");
        }
    }

    #[test]
    fn a_file_of_its_own_comes_first_and_methods_of_python_work() {
        let folder = folder(&serde_json::json!({"chat_template": "{{ 'wrong' }}"}));
        let text = "{% for message in messages %}\n[{{ message.content.strip() }}]\n{% endfor %}";
        std::fs::write(folder.path().join("chat_template.jinja"), text).unwrap();
        let turn = ChatTemplate::of_model(folder.path())
            .unwrap()
            .unwrap()
            .turn()
            .unwrap();
        assert_eq!((&*turn.before, &*turn.after), ("[", "]\n"));
    }

    #[test]
    fn templates_that_refuse_or_forget_the_question_are_errors() {
        for (text, words) in [
            ("{{ raise_exception('no users here') }}", "no users here"),
            ("{% for %}", "syntax error"),
            ("hello", "leaves the user's message out"),
        ] {
            let folder = folder(&serde_json::json!({"chat_template": text}));
            let error = ChatTemplate::of_model(folder.path())
                .unwrap()
                .unwrap()
                .turn()
                .unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
        }
        let none = tempfile::tempdir().unwrap();
        assert_eq!(ChatTemplate::of_model(none.path()).unwrap(), None);
    }
}
