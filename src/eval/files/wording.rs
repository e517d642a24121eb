//! The texts around an item: ours, or the user's in their place.
//!
//! Placeholders are `{field}`, braces `{{` and `}}`, as in Python's `str.format`.

use super::error::FilesError;
use super::forms;
use crate::config::load::{self, Loaded};
use crate::config::wording::WordingFile;
use std::collections::HashMap;
use std::path::Path;

/// A wording: its name, our text, and the fields that each part may name.
#[derive(Debug, Clone, Copy)]
pub struct Form {
    /// Name of its file, without `.toml`.
    pub name: &'static str,
    /// Ours, TOML.
    pub text: &'static str,
    /// Fields of the part before the context.
    pub instruction: &'static [&'static str],
    /// Fields of a thing that the context is made of.
    pub item: &'static [&'static str],
    /// Fields of a demonstration.
    pub demo: &'static [&'static str],
    /// Fields of the part behind the context.
    pub question: &'static [&'static str],
    /// Fields of the start of the answer.
    pub cue: &'static [&'static str],
}

/// A field and its text.
pub type Field<'a> = (&'a str, &'a str);

/// The texts of a form, every placeholder known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wording {
    file: WordingFile,
    /// blake3 of all its texts, hex: what results name it by.
    pub id: String,
}

/// What stands between two demonstrations, passages or examples.
pub const BREAK: &str = "\n\n";

impl Wording {
    /// Our texts of `form`.
    ///
    /// # Errors
    /// [`FilesError::Config`] or [`FilesError::Wording`] if our file is wrong.
    pub fn ours(form: &Form) -> Result<Self, FilesError> {
        let name = format!("{}.toml", form.name);
        let loaded = load::load_text::<WordingFile>(Path::new(&name), form.text)?;
        Self::checked(form, &name, loaded)
    }

    /// The texts of `form` in `folder`, ours if it has none.
    ///
    /// # Errors
    /// [`FilesError::Config`] if the file is none of a wording, [`FilesError::Wording`] if it names an unknown field.
    pub fn of(form: &Form, folder: Option<&Path>) -> Result<Self, FilesError> {
        let path = folder.map(|folder| folder.join(format!("{}.toml", form.name)));
        match path {
            Some(path) if path.exists() => {
                let loaded = load::load::<WordingFile>(&path, &[])?;
                Self::checked(form, &path.display().to_string(), loaded)
            }
            _ => Self::ours(form),
        }
    }

    fn checked(form: &Form, name: &str, loaded: Loaded<WordingFile>) -> Result<Self, FilesError> {
        let wording = Self {
            file: loaded.config,
            id: loaded.hash,
        };
        let file = &wording.file;
        for (part, text, known) in [
            ("instruction", &file.instruction, form.instruction),
            ("item", &file.item, form.item),
            ("demo", &file.demo, form.demo),
            ("demos", &file.demos, &["demos"][..]),
            ("question", &file.question, form.question),
            ("cue", &file.cue, form.cue),
        ] {
            let blanks: Vec<Field<'_>> = known.iter().map(|field| (*field, "")).collect();
            fill(text, &blanks).map_err(|reason| FilesError::Wording {
                name: name.to_owned(),
                part,
                reason,
                known: known.to_vec(),
            })?;
        }
        Ok(wording)
    }

    /// What stands before the context.
    ///
    /// # Errors
    /// [`FilesError::Wording`] for a field that is not among `fields`.
    pub fn instruction(&self, fields: &[Field<'_>]) -> Result<String, FilesError> {
        Self::filled("instruction", &self.file.instruction, fields)
    }

    /// The things that a context is made of, one behind the other.
    ///
    /// # Errors
    /// As [`Self::instruction`].
    pub fn items<'a>(
        &self,
        items: impl Iterator<Item = Vec<Field<'a>>>,
    ) -> Result<String, FilesError> {
        let texts = items.map(|fields| Self::filled("item", &self.file.item, &fields));
        Ok(texts.collect::<Result<Vec<_>, _>>()?.join(BREAK))
    }

    /// All demonstrations, nothing without any.
    ///
    /// # Errors
    /// As [`Self::instruction`].
    pub fn demos<'a>(
        &self,
        demos: impl Iterator<Item = Vec<Field<'a>>>,
    ) -> Result<String, FilesError> {
        let texts = demos.map(|fields| Self::filled("demo", &self.file.demo, &fields));
        let texts = texts.collect::<Result<Vec<_>, _>>()?;
        if texts.is_empty() {
            return Ok(String::new());
        }
        Self::filled("demos", &self.file.demos, &[("demos", &texts.join(BREAK))])
    }

    /// What stands behind the context.
    ///
    /// # Errors
    /// As [`Self::instruction`].
    pub fn question(&self, fields: &[Field<'_>]) -> Result<String, FilesError> {
        Self::filled("question", &self.file.question, fields)
    }

    /// The start of the answer.
    ///
    /// # Errors
    /// As [`Self::instruction`].
    pub fn cue(&self, fields: &[Field<'_>]) -> Result<String, FilesError> {
        Self::filled("cue", &self.file.cue, fields)
    }

    fn filled(part: &'static str, text: &str, fields: &[Field<'_>]) -> Result<String, FilesError> {
        fill(text, fields).map_err(|reason| FilesError::Wording {
            name: "a wording".to_owned(),
            part,
            reason,
            known: Vec::new(),
        })
    }
}

/// `text` with every placeholder replaced.
///
/// # Errors
/// Which placeholder is unknown, or that braces do not match.
pub fn fill(text: &str, fields: &[Field<'_>]) -> Result<String, String> {
    let fields: HashMap<String, String> = fields
        .iter()
        .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
        .collect();
    strfmt::strfmt(text, &fields).map_err(|error| match error {
        strfmt::FmtError::KeyError(key) => format!("names an unknown field ({key})"),
        other => format!("is no text with fields: {other}"),
    })
}

/// Refuses a folder of wordings with a file that replaces none of ours.
///
/// # Errors
/// [`FilesError::Read`] if there is no such folder, [`FilesError::UnknownWording`] for the first such file.
pub fn check_folder(folder: &Path) -> Result<(), FilesError> {
    let unreadable = |source| FilesError::Read {
        path: folder.to_owned(),
        source,
    };
    let known = || forms::ALL.iter().map(|form| form.name.to_owned()).collect();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let is_wording = path.extension().is_some_and(|end| end == "toml");
        let replaces = |form: &&Form| path.file_stem().is_some_and(|stem| stem == form.name);
        if is_wording && !forms::ALL.iter().any(replaces) {
            return Err(FilesError::UnknownWording {
                path,
                known: known(),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Coded;

    #[test]
    fn fields_are_replaced_and_braces_stay() {
        let fields = [("a", "{x}"), ("b", "2")];
        assert_eq!(fill("{a} {{a}} {b}{b}", &fields).unwrap(), "{x} {a} 22");
        assert!(fill("{c}", &fields).unwrap_err().contains('c'));
        assert!(fill("{a", &fields).is_err());
    }

    #[test]
    fn the_users_wording_replaces_ours_and_has_another_id() {
        let folder = tempfile::tempdir().unwrap();
        let ours = Wording::of(&forms::ICL, Some(folder.path())).unwrap();
        assert_eq!(ours, Wording::ours(&forms::ICL).unwrap());
        let path = folder.path().join("icl.toml");
        std::fs::write(
            &path,
            "item = '{text}={label}'\nquestion = '{text}'\ncue = '='",
        )
        .unwrap();
        let theirs = Wording::of(&forms::ICL, Some(folder.path())).unwrap();
        let pairs = [("a", "1"), ("b", "2")].into_iter();
        let shots = theirs.items(pairs.map(|(text, label)| vec![("text", text), ("label", label)]));
        assert_eq!(shots.unwrap(), "a=1\n\nb=2");
        assert_eq!(theirs.demos(std::iter::empty()).unwrap(), "");
        assert_ne!(theirs.id, ours.id);
        check_folder(folder.path()).unwrap();
    }

    #[test]
    fn wordings_that_cannot_be_filled_are_refused_with_their_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("icl.toml");
        for (text, words) in [
            (
                "question = '{txt}'\ncue = ''",
                &["icl.toml", "`question`", "txt", "{text}"][..],
            ),
            ("question = '{text}'", &["icl.toml:1:1", "`cue`"]),
            (
                "question = ''\ncue = ''\nquestin = ''",
                &["icl.toml:3", "`questin`"],
            ),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = Wording::of(&forms::ICL, Some(folder.path())).unwrap_err();
            let message = error.to_string();
            assert!(words.iter().all(|word| message.contains(word)), "{message}");
        }
        std::fs::write(folder.path().join("icle.toml"), "").unwrap();
        assert_eq!(
            check_folder(folder.path()).unwrap_err().code(),
            "task.wording"
        );
    }
}
