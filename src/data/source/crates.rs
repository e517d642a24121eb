//! Unpacked crates of a cargo registry: one crate is one document.
//!
//! Generated bindings, byte tables, old versions and exact copies are left out, each with a count: without these filters
//! two thirds of a busy registry's bytes are tables and near-copies.

use super::crate_name::{CrateName, compare_versions, matches_pattern};
use super::join::{FileHeader, append_file, compare_paths, extension};
use super::walk::{FoundFile, count, files_below, sorted_entries};
use super::{Document, FileRecord, Source};
use crate::data::error::DataError;
use rayon::prelude::*;
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

/// Which crates and which of their files become text.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "snake_case")]
pub struct CratesSettings {
    /// Crate names left out; `*` stands for any run of characters.
    pub excluded_names: Vec<String>,
    /// File-name extensions kept, without the dot.
    pub extensions: Vec<String>,
    /// Larger files are left out.
    pub max_file_bytes: u64,
    /// Files with more bytes per line than this on average are left out (tables, minified code).
    pub max_mean_line_bytes: u64,
    /// What stands before each file.
    pub file_header: FileHeader,
}

impl Default for CratesSettings {
    fn default() -> Self {
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Self {
            // Bindings and tables: `windows` alone holds 98 MB, all of it generated.
            excluded_names: owned(&[
                "windows",
                "windows-*",
                "windows_*",
                "winapi*",
                "web-sys",
                "js-sys",
                "linux-raw-sys",
                "objc2*",
                "*-sys",
                "icu_*",
                "unicode-*",
                "encoding_rs*",
                "cudarc*",
            ]),
            extensions: owned(&[
                "rs", "c", "h", "cc", "cpp", "hpp", "cu", "py", "md", "txt", "toml",
            ]),
            max_file_bytes: 512_000,
            max_mean_line_bytes: 200,
            file_header: FileHeader::Path,
        }
    }
}

struct Crate {
    id: String,
    root: PathBuf,
    files: Vec<FoundFile>,
    bytes: u64,
}

/// The crates below one registry folder, scanned.
pub struct Crates {
    settings: CratesSettings,
    found: Vec<Crate>,
    dropped: BTreeMap<String, u64>,
}

impl Crates {
    /// Scans `root`, the `registry/src` folder of a cargo home: every registry below it, every crate below those.
    ///
    /// Every kept file is read once, to find copies and files that are not text.
    ///
    /// # Errors
    /// [`DataError::SourceMissing`] if `root` is no folder, [`DataError::Empty`] if nothing passes the filters, or
    /// [`DataError::Io`] if something cannot be read.
    pub fn scan(root: &Path, settings: CratesSettings) -> Result<Self, DataError> {
        if !root.is_dir() {
            return Err(DataError::SourceMissing {
                what: "unpacked crates",
                path: root.to_path_buf(),
                remedy:
                    "run `cargo fetch` in a Rust project, or name another registry folder or source"
                        .to_owned(),
            });
        }
        let mut dropped = BTreeMap::new();
        let named = newest_crates(root, &settings, &mut dropped)?;
        let scanned = named
            .into_par_iter()
            .map(|(id, folder)| scan_crate(id, folder, &settings))
            .collect::<Result<Vec<_>, _>>()?;
        let crates = drop_copies(scanned, &mut dropped);
        if crates.is_empty() {
            return Err(DataError::Empty {
                path: root.to_path_buf(),
                reason: format!("no crate passes the filters (left out: {dropped:?})"),
            });
        }
        Ok(Self {
            settings,
            found: crates,
            dropped,
        })
    }
}

/// Finds `(name-version, folder)` of the newest version of every crate not excluded by name, sorted by that id.
fn newest_crates(
    root: &Path,
    settings: &CratesSettings,
    dropped: &mut BTreeMap<String, u64>,
) -> Result<Vec<(String, PathBuf)>, DataError> {
    let mut newest: BTreeMap<String, (String, PathBuf)> = BTreeMap::new();
    for (_, registry) in sorted_entries(root, dropped)? {
        if !registry.is_dir() {
            continue;
        }
        for (folder_name, folder) in sorted_entries(&registry, dropped)? {
            if !folder.is_dir() {
                continue;
            }
            let Some(CrateName { name, version }) = CrateName::parse(&folder_name) else {
                count(dropped, "not-a-crate", 1);
                continue;
            };
            let excluded = |pattern: &String| matches_pattern(&name, pattern);
            if settings.excluded_names.iter().any(excluded) {
                count(dropped, "name", 1);
                continue;
            }
            match newest.get(&name) {
                Some((kept, _)) if compare_versions(&version, kept).is_le() => {
                    count(dropped, "version", 1);
                }
                other => {
                    count(dropped, "version", u64::from(other.is_some()));
                    newest.insert(name, (version, folder));
                }
            }
        }
    }
    let mut crates: Vec<_> = newest
        .into_iter()
        .map(|(name, (version, folder))| (format!("{name}-{version}"), folder))
        .collect();
    crates.sort();
    Ok(crates)
}

struct ScannedCrate {
    id: String,
    root: PathBuf,
    files: Vec<(FoundFile, blake3::Hash)>,
    dropped: BTreeMap<String, u64>,
}

fn scan_crate(
    id: String,
    root: PathBuf,
    settings: &CratesSettings,
) -> Result<ScannedCrate, DataError> {
    let mut dropped = BTreeMap::new();
    let mut files = Vec::new();
    for file in files_below(&root, &mut dropped)? {
        match judge(&root, &file, settings)? {
            Verdict::Keep(hash) => files.push((file, hash)),
            Verdict::Drop(reason) => count(&mut dropped, reason, 1),
        }
    }
    files.sort_by(|(left, _), (right, _)| compare_paths(&left.path, &right.path));
    Ok(ScannedCrate {
        id,
        root,
        files,
        dropped,
    })
}

enum Verdict {
    Keep(blake3::Hash),
    Drop(&'static str),
}

fn judge(root: &Path, file: &FoundFile, settings: &CratesSettings) -> Result<Verdict, DataError> {
    let extension = extension(&file.path);
    if !settings.extensions.iter().any(|kept| kept == extension) {
        return Ok(Verdict::Drop("language"));
    }
    if file.bytes > settings.max_file_bytes {
        return Ok(Verdict::Drop("size"));
    }
    let path = root.join(&file.path);
    let bytes = std::fs::read(&path).map_err(|source| DataError::io("read", &path, source))?;
    Ok(match text_problem(&bytes, settings.max_mean_line_bytes) {
        Some(reason) => Verdict::Drop(reason),
        None => Verdict::Keep(blake3::hash(&bytes)),
    })
}

/// Why the content of a file is not wanted.
fn text_problem(bytes: &[u8], max_mean_line_bytes: u64) -> Option<&'static str> {
    /// A NUL this early marks a binary file.
    const BINARY_PROBE_BYTES: usize = 4096;
    let probe = &bytes[..bytes.len().min(BINARY_PROBE_BYTES)];
    if bytes.is_empty() {
        return Some("empty");
    }
    if probe.contains(&0) {
        return Some("binary");
    }
    if std::str::from_utf8(bytes).is_err() {
        return Some("not-utf8");
    }
    let pieces = bytes.split(|byte| *byte == b'\n').count() as u64;
    let lines = pieces - u64::from(bytes.ends_with(b"\n"));
    (bytes.len() as u64 > max_mean_line_bytes.saturating_mul(lines)).then_some("long-lines")
}

/// Keeps the first of equal files, in crate order; crates without files vanish.
fn drop_copies(scanned: Vec<ScannedCrate>, dropped: &mut BTreeMap<String, u64>) -> Vec<Crate> {
    let mut seen = HashSet::new();
    let mut crates = Vec::new();
    for scanned in scanned {
        for (reason, n) in &scanned.dropped {
            count(dropped, reason, *n);
        }
        let before = scanned.files.len();
        let files: Vec<FoundFile> = scanned
            .files
            .into_iter()
            .filter(|(_, hash)| seen.insert(*hash))
            .map(|(file, _)| file)
            .collect();
        count(dropped, "duplicate", (before - files.len()) as u64);
        if files.is_empty() {
            count(dropped, "empty-crate", 1);
            continue;
        }
        crates.push(Crate {
            id: scanned.id,
            root: scanned.root,
            bytes: files.iter().map(|file| file.bytes).sum(),
            files,
        });
    }
    crates
}

impl Source for Crates {
    fn name(&self) -> &'static str {
        "crates"
    }

    fn settings(&self) -> serde_json::Value {
        serde_json::json!(self.settings)
    }

    fn num_documents(&self) -> usize {
        self.found.len()
    }

    fn describe(&self, index: usize) -> (&str, u64) {
        let found = &self.found[index];
        (&found.id, found.bytes)
    }

    fn read(&self, index: usize) -> Result<Document, DataError> {
        let found = &self.found[index];
        let mut document = Document {
            id: found.id.clone(),
            licence: "unknown".to_owned(),
            files: Vec::with_capacity(found.files.len()),
            text: String::new(),
            dropped_files: BTreeMap::new(),
        };
        for file in &found.files {
            let path = found.root.join(&file.path);
            let bytes =
                std::fs::read(&path).map_err(|error| DataError::io("read", &path, error))?;
            // The scan saw text here; whoever rewrote the file since then made it something else.
            let Ok(text) = std::str::from_utf8(&bytes) else {
                count(&mut document.dropped_files, "not-utf8", 1);
                continue;
            };
            if file.path == "Cargo.toml" {
                licence(text)
                    .unwrap_or("unknown")
                    .clone_into(&mut document.licence);
            }
            append_file(
                &mut document.text,
                &file.path,
                text,
                self.settings.file_header,
            );
            document.files.push(FileRecord {
                path: file.path.clone(),
                bytes: bytes.len() as u64,
                blake3: blake3::hash(&bytes).to_hex().to_string(),
            });
        }
        Ok(document)
    }

    fn dropped(&self) -> &BTreeMap<String, u64> {
        &self.dropped
    }
}

/// The `license` value of `[package]`. Cargo rewrites published manifests to one `key = "value"` per line.
fn licence(manifest: &str) -> Option<&str> {
    let mut in_package = false;
    manifest.lines().map(str::trim).find_map(|line| {
        if line.starts_with('[') {
            in_package = line == "[package]";
        }
        let value = line
            .strip_prefix("license")?
            .trim_start()
            .strip_prefix('=')?;
        let value = value.trim().strip_prefix('"')?.split('"').next()?;
        (in_package && !value.is_empty()).then_some(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Coded;

    fn write(root: &Path, path: &str, text: impl AsRef<[u8]>) {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn ids(crates: &Crates) -> Vec<&str> {
        (0..crates.num_documents())
            .map(|i| crates.describe(i).0)
            .collect()
    }

    fn registry() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let manifest = "[package]\nname = \"b\"\nlicense = \"MIT OR Apache-2.0\"\n\n[dependencies.x]\nlicense = \"no\"\n";
        write(root.path(), "one/b-1.2.0/Cargo.toml", manifest);
        write(root.path(), "one/b-1.2.0/README.md", "# b");
        write(root.path(), "one/b-1.2.0/src/lib.rs", "pub fn b() {}\n");
        write(root.path(), "one/b-1.2.0/src/copy.rs", "pub fn b() {}\n");
        write(root.path(), "one/b-1.2.0/src/table.rs", "x".repeat(201));
        write(
            root.path(),
            "one/b-1.2.0/src/huge.rs",
            "x\n".repeat(256_001),
        );
        write(root.path(), "one/b-1.2.0/src/bin.rs", b"a\0b");
        write(root.path(), "one/b-1.2.0/src/latin.rs", b"caf\xe9\n");
        write(root.path(), "one/b-1.2.0/logo.png", "png");
        write(root.path(), "one/b-1.2.0/target/out.rs", "no");
        write(
            root.path(),
            "one/b-1.10.0-rc.1/src/lib.rs",
            "release candidate\n",
        );
        write(root.path(), "two/b-1.1.9/src/lib.rs", "old\n");
        write(root.path(), "two/a-0.1.0/src/lib.rs", "pub fn a() {}\n");
        write(
            root.path(),
            "two/windows-core-0.1.0/src/lib.rs",
            "bindings\n",
        );
        write(root.path(), "two/c-0.1.0/src/lib.rs", "pub fn a() {}\n");
        write(root.path(), "two/notes/lib.rs", "not a crate\n");
        root
    }

    #[test]
    fn every_filter_leaves_its_count() {
        let root = registry();
        let crates = Crates::scan(root.path(), CratesSettings::default()).unwrap();
        assert_eq!(ids(&crates), ["a-0.1.0", "b-1.10.0-rc.1"]);
        let counts: Vec<(&str, u64)> = crates
            .dropped()
            .iter()
            .map(|(reason, n)| (reason.as_str(), *n))
            .collect();
        assert_eq!(
            counts,
            [
                ("duplicate", 1),
                ("empty-crate", 1),
                ("name", 1),
                ("not-a-crate", 1),
                ("version", 2)
            ]
        );
    }

    #[test]
    fn a_document_joins_its_files_in_order_and_knows_its_licence() {
        let root = registry();
        std::fs::remove_dir_all(root.path().join("one/b-1.10.0-rc.1")).unwrap();
        let crates = Crates::scan(root.path(), CratesSettings::default()).unwrap();
        assert_eq!(ids(&crates), ["a-0.1.0", "b-1.2.0"]);
        for (reason, n) in [
            ("long-lines", 1),
            ("size", 1),
            ("binary", 1),
            ("not-utf8", 1),
            ("language", 1),
            ("duplicate", 2),
        ] {
            assert_eq!(crates.dropped().get(reason), Some(&n), "{reason}");
        }
        let document = crates.read(1).unwrap();
        assert_eq!(document.licence, "MIT OR Apache-2.0");
        let paths: Vec<&str> = document
            .files
            .iter()
            .map(|file| file.path.as_str())
            .collect();
        assert_eq!(paths, ["Cargo.toml", "README.md", "src/copy.rs"]);
        assert!(document.text.starts_with("# Cargo.toml\n[package]\n"));
        assert!(
            document
                .text
                .ends_with("<!-- README.md -->\n# b\n// src/copy.rs\npub fn b() {}\n")
        );
        assert_eq!(
            document.files[2].blake3,
            blake3::hash(b"pub fn b() {}\n").to_hex().to_string()
        );
        assert!(document.dropped_files.is_empty());
    }

    #[test]
    fn a_file_that_stops_being_text_after_the_scan_is_counted() {
        let root = registry();
        let crates = Crates::scan(root.path(), CratesSettings::default()).unwrap();
        write(root.path(), "two/a-0.1.0/src/lib.rs", b"\xff");
        let document = crates.read(0).unwrap();
        assert_eq!(
            document.dropped_files,
            BTreeMap::from([("not-utf8".to_owned(), 1)])
        );
    }

    #[test]
    fn a_missing_or_empty_registry_is_one_named_error() {
        let scan = |path: &Path| Crates::scan(path, CratesSettings::default()).err().unwrap();
        let error = scan(Path::new("/nowhere/registry/src"));
        assert_eq!(error.code(), "data.source_missing");
        assert!(
            error.to_string().contains("/nowhere/registry/src"),
            "{error}"
        );
        assert!(error.hint().unwrap().contains("cargo fetch"));
        let empty = tempfile::tempdir().unwrap();
        assert_eq!(scan(empty.path()).code(), "data.empty");
    }
}
