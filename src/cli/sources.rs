//! How a command line names corpora, and where they are on this machine when it names no path.

use crate::config::corpus::SourceSettings;
use crate::data::error::DataError;
use crate::data::source::Source;
use crate::data::source::crates::{Crates, CratesSettings};
use crate::data::source::rust_books::RustBooks;
use crate::data::source::text::{Text, TextGrouping, TextSettings};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// One corpus: `crates`, `rust-books`, `text` or `text-dirs`, with `=PATH` where it is not at its usual place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceSpec {
    kind: SourceKind,
    path: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SourceKind {
    Crates,
    RustBooks,
    Text,
    TextDirs,
}

impl FromStr for SourceSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (word, path) = match text.split_once('=') {
            Some((_, "")) => return Err("the path after `=` is empty".to_owned()),
            Some((word, path)) => (word, Some(PathBuf::from(path))),
            None => (text, None),
        };
        let kind = match word {
            "crates" => SourceKind::Crates,
            "rust-books" => SourceKind::RustBooks,
            "text" => SourceKind::Text,
            "text-dirs" => SourceKind::TextDirs,
            _ => {
                return Err(
                    "expected `crates`, `rust-books`, `text=PATH` or `text-dirs=PATH`".to_owned(),
                );
            }
        };
        if path.is_none() && matches!(kind, SourceKind::Text | SourceKind::TextDirs) {
            return Err(format!("`{word}` needs a path: `{word}=PATH`"));
        }
        Ok(Self { kind, path })
    }
}

impl From<&SourceSettings> for SourceSpec {
    fn from(settings: &SourceSettings) -> Self {
        let (kind, path) = match settings {
            SourceSettings::Crates { path } => (SourceKind::Crates, path.clone()),
            SourceSettings::RustBooks { path } => (SourceKind::RustBooks, path.clone()),
            SourceSettings::Text { path } => (SourceKind::Text, Some(path.clone())),
            SourceSettings::TextDirs { path } => (SourceKind::TextDirs, Some(path.clone())),
        };
        Self { kind, path }
    }
}

impl From<&SourceSpec> for SourceSettings {
    fn from(spec: &SourceSpec) -> Self {
        let path = spec.path.clone();
        // A flag that needs a path has one: it was refused otherwise.
        let needed = path.clone().unwrap_or_default();
        match spec.kind {
            SourceKind::Crates => Self::Crates { path },
            SourceKind::RustBooks => Self::RustBooks { path },
            SourceKind::Text => Self::Text { path: needed },
            SourceKind::TextDirs => Self::TextDirs { path: needed },
        }
    }
}

/// Scans every corpus that `specs` names.
///
/// # Errors
/// The first one that is missing, empty or unreadable.
pub fn open_sources(specs: &[SourceSpec]) -> Result<Vec<Box<dyn Source>>, DataError> {
    specs.iter().map(open).collect()
}

fn open(spec: &SourceSpec) -> Result<Box<dyn Source>, DataError> {
    let given = spec.path.as_deref();
    Ok(match spec.kind {
        SourceKind::Crates => {
            let root = given.map_or_else(default_crates, Path::to_path_buf);
            Box::new(Crates::scan(&root, CratesSettings::default())?)
        }
        SourceKind::RustBooks => {
            let root = given.map_or_else(default_rust_books, Path::to_path_buf);
            Box::new(RustBooks::scan(&root)?)
        }
        SourceKind::Text => Box::new(scan_text(given, TextGrouping::PerFile)?),
        SourceKind::TextDirs => Box::new(scan_text(given, TextGrouping::PerDir)?),
    })
}

fn scan_text(path: Option<&Path>, grouping: TextGrouping) -> Result<Text, DataError> {
    let settings = TextSettings {
        grouping,
        ..TextSettings::default()
    };
    Text::scan(path.unwrap_or(Path::new(".")), &settings)
}

/// Where cargo unpacks crates.
pub fn default_crates() -> PathBuf {
    home_of("CARGO_HOME", ".cargo").join("registry").join("src")
}

/// The documentation of the first installed toolchain that has the books; `stable` comes first.
pub fn default_rust_books() -> PathBuf {
    let toolchains = home_of("RUSTUP_HOME", ".rustup").join("toolchains");
    let mut found: Vec<PathBuf> = std::fs::read_dir(&toolchains)
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    let is_stable = |path: &Path| {
        let name = path.file_name().unwrap_or_default();
        name.to_string_lossy().starts_with("stable")
    };
    found.sort_by_key(|path| (!is_stable(path), path.clone()));
    let docs = |toolchain: &Path| {
        toolchain
            .join("share")
            .join("doc")
            .join("rust")
            .join("html")
    };
    found
        .iter()
        .map(|toolchain| docs(toolchain))
        .find(|html| html.join("book").join("print.html").is_file())
        .unwrap_or_else(|| docs(&toolchains.join("*")))
}

#[expect(
    clippy::disallowed_methods,
    reason = "the edge of the program: where cargo and rustup live is told by the environment"
)]
fn home_of(variable: &str, folder: &str) -> PathBuf {
    let named = std::env::var_os(variable).filter(|value| !value.is_empty());
    named.map_or_else(
        || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(folder),
        PathBuf::from,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Coded;

    #[test]
    fn specs_name_a_kind_and_perhaps_a_path() {
        let spec = |text: &str| text.parse::<SourceSpec>();
        assert_eq!(spec("crates").unwrap().path, None);
        assert_eq!(spec("text=a=b").unwrap().path, Some(PathBuf::from("a=b")));
        assert_eq!(spec("text-dirs=x").unwrap().kind, SourceKind::TextDirs);
        assert!(spec("text").unwrap_err().contains("text=PATH"));
        assert!(spec("crate").unwrap_err().contains("`crates`"));
        assert!(spec("crates=").unwrap_err().contains("empty"));
    }

    #[test]
    fn settings_and_flags_have_the_same_words() {
        for word in ["crates", "rust-books", "text", "text-dirs"] {
            let json = serde_json::json!({ "kind": word, "path": "x" });
            let settings: SourceSettings = serde_json::from_value(json).unwrap();
            let flag: SourceSpec = format!("{word}=x").parse().unwrap();
            assert_eq!(SourceSpec::from(&settings), flag);
            assert_eq!(SourceSettings::from(&flag), settings);
            let schema = serde_json::to_string(&schemars::schema_for!(SourceSettings)).unwrap();
            assert!(
                schema.contains(&format!("\"const\":\"{word}\"")),
                "{schema}"
            );
        }
    }

    #[test]
    fn paths_reach_their_source() {
        for text in [
            "crates=/nowhere",
            "rust-books=/nowhere",
            "text=/nowhere",
            "text-dirs=/nowhere",
        ] {
            let error = open_sources(&[text.parse().unwrap()]).err().unwrap();
            assert_eq!(error.code(), "data.source_missing");
            assert!(error.to_string().contains("/nowhere"), "{error}");
        }
    }
}
