//! The part of the Hub's cache that `hf-hub` leaves to its callers: which commit a branch or tag was, and content that is not
//! what it should be.
//!
//! # Decisions
//! `hf-hub` 1.0.0 puts any answer to a download under the digest that was announced, an error page too. So whatever comes out of
//! the cache is compared with its digest here, each time, and removed where it differs.

use crate::hub::repo::Repo;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Where the commit of a branch or tag is noted, as Python's tools do.
fn ref_path(cache: &Path, repo: &Repo, revision: &str) -> PathBuf {
    let folder = format!("models--{}--{}", repo.owner, repo.name);
    cache.join(folder).join("refs").join(revision)
}

/// The commit that `revision` was when it was last pulled.
pub(super) fn commit_of(cache: &Path, repo: &Repo, revision: &str) -> io::Result<Option<String>> {
    match std::fs::read_to_string(ref_path(cache, repo, revision)) {
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Notes the commit of a branch or tag, whole or not at all.
pub(super) fn note_commit(
    cache: &Path,
    repo: &Repo,
    revision: &str,
    commit: &str,
) -> io::Result<()> {
    let path = ref_path(cache, repo, revision);
    let folder = path.parent().unwrap_or(cache);
    std::fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(commit.as_bytes())?;
    file.persist(&path).map_err(|error| error.error)?;
    Ok(())
}

/// The digest under which the cache holds the file at `path`.
pub(super) fn digest_of(path: &Path) -> io::Result<String> {
    let blob = path.canonicalize()?;
    let name = blob.file_name().unwrap_or_default();
    Ok(name.to_string_lossy().into_owned())
}

/// Takes a file out of the cache, the link and what it points to, if that lies in the cache.
pub(super) fn discard(cache: &Path, path: &Path) -> io::Result<()> {
    let blob = path.canonicalize()?;
    std::fs::remove_file(path)?;
    if blob.starts_with(cache.canonicalize()?) && blob.exists() {
        std::fs::remove_file(blob)?;
    }
    Ok(())
}
