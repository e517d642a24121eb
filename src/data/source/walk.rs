//! Lists the files below a folder, in an order that depends on their names alone.

use crate::data::error::DataError;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Folders that never hold text worth reading.
const SKIPPED_FOLDERS: [&str; 4] = [".git", "target", "__pycache__", "node_modules"];

/// Nesting beyond this is a mistake (a bind mount inside itself) rather than a source tree.
const MAX_DEPTH: usize = 64;

/// One regular file below the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FoundFile {
    /// Path relative to the root, `/`-separated.
    pub path: String,
    /// Size in bytes.
    pub bytes: u64,
}

/// Names of the entries of `folder`, sorted as bytes, with their full paths. Names that are not UTF-8 are counted.
pub(super) fn sorted_entries(
    folder: &Path,
    dropped: &mut BTreeMap<String, u64>,
) -> Result<Vec<(String, PathBuf)>, DataError> {
    let io = |source| DataError::io("read folder", folder, source);
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let entry = entry.map_err(io)?;
        match entry.file_name().into_string() {
            Ok(name) => entries.push((name, entry.path())),
            Err(_) => count(dropped, "file-name", 1),
        }
    }
    entries.sort();
    Ok(entries)
}

/// Lists all regular files below `root`, sorted by relative path. Links are not followed, but counted.
pub(super) fn files_below(
    root: &Path,
    dropped: &mut BTreeMap<String, u64>,
) -> Result<Vec<FoundFile>, DataError> {
    let mut files = Vec::new();
    let mut pending = vec![(root.to_path_buf(), String::new(), 0_usize)];
    while let Some((folder, prefix, depth)) = pending.pop() {
        if depth > MAX_DEPTH {
            count(dropped, "too-deep", 1);
            continue;
        }
        for (name, path) in sorted_entries(&folder, dropped)? {
            let info = std::fs::symlink_metadata(&path)
                .map_err(|source| DataError::io("inspect", &path, source))?;
            let relative = format!("{prefix}{name}");
            if info.is_dir() {
                if !SKIPPED_FOLDERS.contains(&name.as_str()) {
                    pending.push((path, format!("{relative}/"), depth + 1));
                }
            } else if info.is_file() {
                files.push(FoundFile {
                    path: relative,
                    bytes: info.len(),
                });
            } else {
                count(dropped, "not-a-file", 1);
            }
        }
    }
    files.sort_by(|left, right| left.path.as_bytes().cmp(right.path.as_bytes()));
    Ok(files)
}

/// Adds `n` to the count of `reason`.
pub(super) fn count(dropped: &mut BTreeMap<String, u64>, reason: &str, n: u64) {
    if n > 0 {
        *dropped.entry(reason.to_owned()).or_default() += n;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_sorted_by_path_and_generated_folders_skipped() {
        let root = tempfile::tempdir().unwrap();
        for path in ["b/x.rs", "a.rs", "b.rs", "target/no.rs", "b/target/no.rs"] {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "text").unwrap();
        }
        std::os::unix::fs::symlink("a.rs", root.path().join("link.rs")).unwrap();
        let mut dropped = BTreeMap::new();
        let files = files_below(root.path(), &mut dropped).unwrap();
        let paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(paths, ["a.rs", "b.rs", "b/x.rs"]);
        assert_eq!(files[0].bytes, 4);
        assert_eq!(dropped, BTreeMap::from([("not-a-file".to_owned(), 1)]));
    }

    #[test]
    fn a_missing_folder_is_named() {
        let error = files_below(Path::new("/nowhere/at/all"), &mut BTreeMap::new()).unwrap_err();
        assert_eq!(error.to_string(), "read folder `/nowhere/at/all`");
    }
}
