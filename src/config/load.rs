//! From a file and overrides to a checked configuration and its resolved text.

use crate::config::error::{Bad, ConfigError, Place};
use crate::config::tree::{Node, Origin};
use crate::config::{de, parse, paths, set};
use std::io::Read;
use std::path::{Path, PathBuf};

/// Larger files are no configurations.
const LARGEST_BYTES: u64 = 1 << 20;

/// A kind of configuration file as written, and what it becomes when checked.
pub trait ConfigFile: serde::Serialize + serde::de::DeserializeOwned {
    /// The checked value.
    type Checked;

    /// Every path in it, under its dotted name.
    fn paths(&mut self) -> Vec<(String, &mut PathBuf)>;

    /// Fills in the defaults that depend on other settings, so that the resolved text has them.
    fn complete(&mut self) {}

    /// Checks all values.
    ///
    /// # Errors
    /// The first setting that is out of range or does not fit the others.
    fn check(&self) -> Result<Self::Checked, Bad>;
}

/// A checked configuration and the text that reproduces it.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded<T> {
    /// The checked value.
    pub config: T,
    /// TOML with every value and absolute paths; loading it gives the same configuration.
    pub resolved: String,
    /// blake3 of `resolved`, hex.
    pub hash: String,
}

/// Loads `path` and applies `overrides`, each `a.b=value`, one after the other.
///
/// # Errors
/// [`ConfigError`] with the place of the first thing that is wrong; nothing is created or changed.
pub fn load<F: ConfigFile>(
    path: &Path,
    overrides: &[String],
) -> Result<Loaded<F::Checked>, ConfigError> {
    load_as(path, overrides, F::check)
}

/// Loads as [`load`] does, and checks with `check`: words that a later layer knows keep their place in the file.
///
/// # Errors
/// As [`load`].
pub fn load_as<F: ConfigFile, T>(
    path: &Path,
    overrides: &[String],
    check: impl Fn(&F) -> Result<T, Bad>,
) -> Result<Loaded<T>, ConfigError> {
    let text = read(path)?;
    let source = Source {
        path,
        text: &text,
        overrides,
    };
    let tree = source.tree()?;
    let blame = |bad| source.blame(&tree, bad);
    let mut file: F = de::read(&tree).map_err(blame)?;
    file.complete();
    let base = folder_of(path)?;
    for (key, written) in file.paths() {
        paths::refuse_expansion(&key, written).map_err(blame)?;
        *written = match tree.origin_of(&key) {
            Origin::File(_) => paths::join(&base, written),
            Origin::Override(_) => paths::join(&working_folder(path)?, written),
        };
    }
    let config = check(&file).map_err(blame)?;
    print(&file, config)
}

/// Loads `text` as [`load`] does a file called `name`; no path in it is changed.
///
/// # Errors
/// As [`load`].
pub fn load_text<F: ConfigFile>(
    name: &Path,
    text: &str,
) -> Result<Loaded<F::Checked>, ConfigError> {
    load_changed::<F>(name, text, &[])
}

/// Loads as [`load_text`] does, with `overrides` that hold no paths.
///
/// # Errors
/// As [`load`].
pub fn load_changed<F: ConfigFile>(
    name: &Path,
    text: &str,
    overrides: &[String],
) -> Result<Loaded<F::Checked>, ConfigError> {
    let source = Source {
        path: name,
        text,
        overrides,
    };
    let tree = source.tree()?;
    let blame = |bad| source.blame(&tree, bad);
    let mut file: F = de::read(&tree).map_err(blame)?;
    file.complete();
    let config = file.check().map_err(blame)?;
    print(&file, config)
}

/// Checks settings that flags spelt out; their relative paths are relative to the working directory.
///
/// # Errors
/// [`ConfigError::Setting`] for the first that is wrong.
pub fn resolve<F: ConfigFile, T>(
    mut file: F,
    check: impl Fn(&F) -> Result<T, Bad>,
) -> Result<Loaded<T>, ConfigError> {
    let blame = |Bad { key, problem }| ConfigError::Setting {
        place: Place::Flags,
        key,
        problem: Box::new(problem),
    };
    file.complete();
    let here = working_folder(Path::new("."))?;
    for (_, written) in file.paths() {
        *written = paths::join(&here, written);
    }
    let config = check(&file).map_err(blame)?;
    print(&file, config)
}

fn print<F: ConfigFile, T>(file: &F, config: T) -> Result<Loaded<T>, ConfigError> {
    let resolved = toml::to_string(file).map_err(|source| ConfigError::Print { source })?;
    let hash = blake3::hash(resolved.as_bytes()).to_hex().to_string();
    Ok(Loaded {
        config,
        resolved,
        hash,
    })
}

/// The values of a resolved configuration, for comparing two runs; `None` if `resolved` is no TOML.
pub fn values(resolved: &str) -> Option<serde_json::Value> {
    toml::from_str(resolved).ok()
}

struct Source<'a> {
    path: &'a Path,
    text: &'a str,
    overrides: &'a [String],
}

impl Source<'_> {
    fn tree(&self) -> Result<Node, ConfigError> {
        let mut tree = parse::parse(self.text).map_err(|malformed| ConfigError::Syntax {
            place: self.place(Origin::File(malformed.offset)),
            reason: malformed.reason,
        })?;
        for (index, text) in self.overrides.iter().enumerate() {
            set::apply(&mut tree, text, index)?;
        }
        Ok(tree)
    }

    fn blame(&self, tree: &Node, bad: Bad) -> ConfigError {
        ConfigError::Setting {
            place: self.place(tree.origin_of(&bad.key)),
            key: bad.key,
            problem: Box::new(bad.problem),
        }
    }

    fn place(&self, origin: Origin) -> Place {
        match origin {
            Origin::File(offset) => {
                let before = self.text.get(..offset).unwrap_or(self.text);
                let line_start = before.rfind('\n').map_or(0, |at| at + 1);
                Place::File {
                    path: self.path.to_owned(),
                    line: before.matches('\n').count() + 1,
                    column: before[line_start..].chars().count() + 1,
                }
            }
            Origin::Override(index) => {
                let text = self.overrides.get(index).cloned().unwrap_or_default();
                Place::Override { text }
            }
        }
    }
}

fn read(path: &Path) -> Result<String, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let bytes = file.metadata().map_err(unreadable)?.len();
    let mut content = Vec::new();
    file.take(LARGEST_BYTES + 1)
        .read_to_end(&mut content)
        .map_err(unreadable)?;
    if content.len() as u64 > LARGEST_BYTES {
        let (path, largest) = (path.to_owned(), LARGEST_BYTES);
        return Err(ConfigError::TooBig {
            path,
            bytes,
            largest,
        });
    }
    let text = String::from_utf8(content).map_err(|error| ConfigError::Encoding {
        path: path.to_owned(),
        offset: error.utf8_error().valid_up_to(),
    })?;
    Ok(text)
}

/// The file's folder without links, so that `..` means what it says.
fn folder_of(path: &Path) -> Result<PathBuf, ConfigError> {
    let file = path
        .canonicalize()
        .map_err(|source| ConfigError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
    Ok(file.parent().map(Path::to_owned).unwrap_or_default())
}

fn working_folder(path: &Path) -> Result<PathBuf, ConfigError> {
    let here = Path::new(".").canonicalize();
    here.map_err(|source| ConfigError::Unreadable {
        path: path.to_owned(),
        source,
    })
}
