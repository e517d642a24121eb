//! Plain text the user names: a file, a folder of files, or a folder whose sub-folders are one document each.

use super::join::{FileHeader, append_file, compare_paths, extension};
use super::walk::{FoundFile, count, files_below};
use super::{Document, FileRecord, Source};
use crate::data::error::DataError;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What makes one document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TextGrouping {
    /// Every file.
    #[default]
    PerFile,
    /// Every direct sub-folder, its files joined; files directly in the root are documents of their own.
    PerDir,
}

/// Which files become text, and how they are grouped.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TextSettings {
    /// What makes one document.
    pub grouping: TextGrouping,
    /// File-name extensions taken from folders, without the dot. A file named directly is always taken.
    pub extensions: Vec<String>,
    /// What stands before each file of a [`TextGrouping::PerDir`] document.
    pub file_header: FileHeader,
}

impl Default for TextSettings {
    fn default() -> Self {
        let extensions = [
            "txt", "md", "rst", "tex", "html", "rs", "c", "h", "cc", "cpp", "hpp", "cu", "py",
            "js", "ts", "go", "java", "toml", "yaml", "yml", "sh",
        ];
        Self {
            grouping: TextGrouping::PerFile,
            extensions: extensions.map(str::to_owned).to_vec(),
            file_header: FileHeader::Path,
        }
    }
}

struct Group {
    id: String,
    root: PathBuf,
    files: Vec<FoundFile>,
    header: FileHeader,
}

/// Text below one path, scanned.
pub struct Text {
    settings: TextSettings,
    groups: Vec<(Group, u64)>,
    dropped: BTreeMap<String, u64>,
}

impl Text {
    /// Scans `path`, a file or a folder.
    ///
    /// # Errors
    /// [`DataError::SourceMissing`] if `path` does not exist, [`DataError::Empty`] if it holds no file with a wanted
    /// extension, or [`DataError::Io`].
    pub fn scan(path: &Path, settings: &TextSettings) -> Result<Self, DataError> {
        let info = std::fs::metadata(path).map_err(|_| DataError::SourceMissing {
            what: "text",
            path: path.to_path_buf(),
            remedy: "name a UTF-8 text file, or a folder of such files".to_owned(),
        })?;
        let mut dropped = BTreeMap::new();
        let groups = if info.is_dir() {
            groups_below(path, settings, &mut dropped)?
        } else {
            vec![single_file(path, info.len())]
        };
        if groups.is_empty() {
            return Err(DataError::Empty {
                path: path.to_path_buf(),
                reason: format!(
                    "no file has one of the extensions {} (left out: {dropped:?})",
                    settings.extensions.join(" ")
                ),
            });
        }
        let groups = groups
            .into_iter()
            .map(|group| {
                let bytes = group.files.iter().map(|file| file.bytes).sum();
                (group, bytes)
            })
            .collect();
        Ok(Self {
            settings: settings.clone(),
            groups,
            dropped,
        })
    }
}

fn single_file(path: &Path, bytes: u64) -> Group {
    let name = path.file_name().map_or_else(
        || path.to_string_lossy().into_owned(),
        |name| name.to_string_lossy().into_owned(),
    );
    // Joined with the file's own path again when read, so a name that is not UTF-8 still opens.
    Group {
        id: name.clone(),
        root: path.to_path_buf(),
        files: vec![FoundFile {
            path: String::new(),
            bytes,
        }],
        header: FileHeader::None,
    }
}

fn groups_below(
    root: &Path,
    settings: &TextSettings,
    dropped: &mut BTreeMap<String, u64>,
) -> Result<Vec<Group>, DataError> {
    let mut grouped: BTreeMap<String, Vec<FoundFile>> = BTreeMap::new();
    for file in files_below(root, dropped)? {
        let kept = settings
            .extensions
            .iter()
            .any(|kept| kept == extension(&file.path));
        if !kept || file.bytes == 0 {
            count(dropped, if kept { "empty" } else { "language" }, 1);
            continue;
        }
        let id = match (settings.grouping, file.path.split_once('/')) {
            (TextGrouping::PerDir, Some((folder, _))) => folder.to_owned(),
            _ => file.path.clone(),
        };
        grouped.entry(id).or_default().push(file);
    }
    Ok(grouped
        .into_iter()
        .map(|(id, files)| group(root, id, files, settings))
        .collect())
}

fn group(root: &Path, id: String, mut files: Vec<FoundFile>, settings: &TextSettings) -> Group {
    let is_folder = files.iter().any(|file| file.path != id);
    if !is_folder {
        return Group {
            root: root.to_path_buf(),
            id,
            files,
            header: FileHeader::None,
        };
    }
    for file in &mut files {
        file.path = file.path[id.len() + 1..].to_owned();
    }
    files.sort_by(|left, right| compare_paths(&left.path, &right.path));
    Group {
        root: root.join(&id),
        id,
        files,
        header: settings.file_header,
    }
}

impl Source for Text {
    fn name(&self) -> &'static str {
        "text"
    }

    fn settings(&self) -> serde_json::Value {
        serde_json::json!(self.settings)
    }

    fn num_documents(&self) -> usize {
        self.groups.len()
    }

    fn describe(&self, index: usize) -> (&str, u64) {
        let (group, bytes) = &self.groups[index];
        (&group.id, *bytes)
    }

    fn read(&self, index: usize) -> Result<Document, DataError> {
        let (group, bytes) = &self.groups[index];
        let mut text = String::with_capacity(usize::try_from(*bytes).unwrap_or(0));
        let mut files = Vec::with_capacity(group.files.len());
        for file in &group.files {
            let (path, name) = if file.path.is_empty() {
                (group.root.clone(), &group.id)
            } else {
                (group.root.join(&file.path), &file.path)
            };
            let content = read_text(&path)?;
            append_file(&mut text, name, &content, group.header);
            files.push(FileRecord {
                path: name.clone(),
                bytes: content.len() as u64,
                blake3: blake3::hash(content.as_bytes()).to_hex().to_string(),
            });
        }
        Ok(Document {
            id: group.id.clone(),
            licence: "unknown".to_owned(),
            files,
            text,
            dropped_files: BTreeMap::new(),
        })
    }

    fn dropped(&self) -> &BTreeMap<String, u64> {
        &self.dropped
    }
}

/// Reads a file as UTF-8.
///
/// # Errors
/// [`DataError::SourceMissing`], [`DataError::Io`] or [`DataError::Utf8`].
pub fn read_utf8(path: &Path) -> Result<String, DataError> {
    let bytes = std::fs::read(path).map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => DataError::SourceMissing {
            what: "file",
            path: path.to_path_buf(),
            remedy: "check the path".to_owned(),
        },
        _ => DataError::io("read", path, source),
    })?;
    utf8(bytes, path)
}

/// The bytes of `path` as text.
///
/// # Errors
/// [`DataError::Utf8`].
pub fn utf8(bytes: Vec<u8>, path: &Path) -> Result<String, DataError> {
    String::from_utf8(bytes).map_err(|error| DataError::Utf8 {
        path: path.to_path_buf(),
        offset: error.utf8_error().valid_up_to(),
    })
}

/// Reads a file that the user called text: UTF-8 without byte-order mark and NUL.
fn read_text(path: &Path) -> Result<String, DataError> {
    let text = read_utf8(path)?;
    let not_text = |found, offset| DataError::NotText {
        path: path.to_path_buf(),
        found,
        offset,
    };
    if text.starts_with('\u{feff}') {
        return Err(not_text("a byte-order mark", 0));
    }
    match text.find('\0') {
        Some(offset) => Err(not_text("a NUL byte", offset)),
        None => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Coded;

    fn folder() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in [
            ("notes.txt", "note"),
            ("repo/src/b.rs", "b"),
            ("repo/Cargo.toml", "c"),
            ("repo/image.png", "p"),
            ("repo2/a.py", "a"),
        ] {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        root
    }

    fn texts(text: &Text) -> Vec<(String, String)> {
        (0..text.num_documents())
            .map(|i| text.read(i).unwrap())
            .map(|document| (document.id, document.text))
            .collect()
    }

    fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|(id, text)| ((*id).to_owned(), (*text).to_owned()))
            .collect()
    }

    #[test]
    fn every_file_or_every_folder_is_a_document() {
        let root = folder();
        let per_file = Text::scan(root.path(), &TextSettings::default()).unwrap();
        assert_eq!(
            texts(&per_file),
            owned(&[
                ("notes.txt", "note\n"),
                ("repo/Cargo.toml", "c\n"),
                ("repo/src/b.rs", "b\n"),
                ("repo2/a.py", "a\n")
            ])
        );
        assert_eq!(
            per_file.dropped(),
            &BTreeMap::from([("language".to_owned(), 1)])
        );
        let per_dir = TextSettings {
            grouping: TextGrouping::PerDir,
            ..TextSettings::default()
        };
        let per_dir = Text::scan(root.path(), &per_dir).unwrap();
        assert_eq!(
            texts(&per_dir),
            owned(&[
                ("notes.txt", "note\n"),
                ("repo", "# Cargo.toml\nc\n// src/b.rs\nb\n"),
                ("repo2", "# a.py\na\n")
            ])
        );
        assert_eq!(per_dir.describe(1), ("repo", 2));
    }

    #[test]
    fn a_file_named_directly_is_taken_whatever_its_extension() {
        let root = folder();
        let path = root.path().join("repo/image.png");
        let text = Text::scan(&path, &TextSettings::default()).unwrap();
        assert_eq!(texts(&text), owned(&[("image.png", "p\n")]));
    }

    #[test]
    fn what_is_not_text_is_named_with_its_offset() {
        let root = tempfile::tempdir().unwrap();
        let check = |bytes: &[u8], code: &str, message: &str| {
            let path = root.path().join("x.txt");
            std::fs::write(&path, bytes).unwrap();
            let error = Text::scan(&path, &TextSettings::default())
                .unwrap()
                .read(0)
                .unwrap_err();
            assert_eq!(error.code(), code);
            assert!(error.to_string().contains(message), "{error}");
        };
        check(b"abc\xff", "data.utf8", "offset 3");
        check(b"ab\0c", "data.text", "a NUL byte at offset 2");
        check(b"\xef\xbb\xbfabc", "data.text", "byte-order mark");
    }

    #[test]
    fn missing_and_empty_places_are_named() {
        let scan = |path: &Path| Text::scan(path, &TextSettings::default()).err().unwrap();
        assert_eq!(
            scan(Path::new("/nowhere.txt")).code(),
            "data.source_missing"
        );
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("a.png"), "p").unwrap();
        let error = scan(root.path());
        assert_eq!(error.code(), "data.empty");
        assert!(error.to_string().contains("txt md"), "{error}");
    }
}
