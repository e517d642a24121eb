//! Reads the repository as text.

use crate::lexer;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// One file below `src/`.
pub(crate) struct SourceFile {
    /// Path from the repository's root, `/`-separated.
    pub(crate) path: String,
    /// Its text.
    pub(crate) text: String,
    /// Its text with comments and literals blanked out; same lines, same length.
    pub(crate) code: String,
    /// Whether it is compiled only for tests.
    pub(crate) is_test: bool,
}

impl SourceFile {
    /// Makes a file from its parts.
    pub(crate) fn new(path: &str, text: &str, is_test: bool) -> Self {
        let (path, text, code) = (path.to_owned(), text.to_owned(), lexer::code_only(text));
        Self {
            path,
            text,
            code,
            is_test,
        }
    }

    /// The module's path from the root: `src/a/b.rs` is `a::b`, `src/a/mod.rs` is `a`.
    pub(crate) fn module(&self) -> Vec<String> {
        let inner = self.path.trim_start_matches("src/");
        let inner = inner.trim_end_matches(".rs").trim_end_matches("/mod");
        inner.split('/').map(str::to_owned).collect()
    }

    /// Number of lines and code before the unit tests at the file's bottom.
    pub(crate) fn without_tests(&self) -> &str {
        let end = self.code.find("#[cfg(test)]\nmod tests {");
        &self.code[..end.unwrap_or(self.code.len())]
    }

    /// `path:line` of a byte offset.
    pub(crate) fn at(&self, offset: usize) -> String {
        let line = self.text[..offset].matches('\n').count() + 1;
        format!("{}:{line}", self.path)
    }
}

/// All files below `src/`.
pub(crate) struct Tree {
    /// In order of their paths.
    pub(crate) files: Vec<SourceFile>,
}

impl Tree {
    /// Reads them.
    pub(crate) fn read() -> Self {
        let texts: Vec<(String, String)> = text_files(&root().join("src"), &["rs"]);
        let tests = test_only(&texts);
        let files = texts.iter().map(|(path, text)| {
            let is_test = tests.iter().any(|test| {
                path == test || path.starts_with(&format!("{}/", test.trim_end_matches(".rs")))
            });
            SourceFile::new(path, text, is_test)
        });
        let files = files.collect();
        Self { files }
    }

    /// The file at `path`, if there is one.
    pub(crate) fn file(&self, path: &str) -> Option<&SourceFile> {
        self.files.iter().find(|file| file.path == path)
    }
}

/// Files declared as `#[cfg(test)] mod name;`.
fn test_only(texts: &[(String, String)]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (path, text) in texts {
        for (at, _) in text.match_indices("#[cfg(test)]") {
            let declaration = text[at..].lines().nth(1).unwrap_or_default().trim();
            if let Some(name) = declared_module(declaration) {
                found.insert(format!("{}{name}.rs", folder_of_children(path)));
            }
        }
    }
    found
}

/// The name in `mod name;`, with any visibility.
pub(crate) fn declared_module(line: &str) -> Option<&str> {
    let (before, name) = line.strip_suffix(';')?.rsplit_once("mod ")?;
    let visible = before.is_empty() || before.starts_with("pub");
    (visible && name.chars().all(|c| c.is_alphanumeric() || c == '_')).then_some(name)
}

/// The folder in which the modules declared in `path` lie, with a final `/`.
pub(crate) fn folder_of_children(path: &str) -> String {
    for root_like in ["/mod.rs", "/lib.rs", "/main.rs"] {
        if let Some(folder) = path.strip_suffix(root_like) {
            return format!("{folder}/");
        }
    }
    format!("{}/", path.trim_end_matches(".rs"))
}

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Paths from the root and texts of the files below `folder` with one of `extensions`, in order.
pub(crate) fn text_files(folder: &Path, extensions: &[&str]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    collect(folder, extensions, &mut found);
    found.sort();
    found
}

fn collect(folder: &Path, extensions: &[&str], found: &mut Vec<(String, String)>) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for entry in entries {
        let path = entry.unwrap().path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        if path.is_dir() {
            collect(&path, extensions, found);
        } else if extension.is_some_and(|extension| extensions.contains(&extension)) {
            let name = path
                .strip_prefix(root())
                .unwrap()
                .to_string_lossy()
                .replace('\\', "/");
            found.push((name, std::fs::read_to_string(&path).unwrap()));
        }
    }
}
