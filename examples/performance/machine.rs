//! What files of results are called after, and what their runs say about where they were measured.

use super::TableError;
use prulong::cli::machine;
use prulong::torch::abi;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// This machine's processor.
#[derive(Debug, Clone)]
pub(crate) struct Processor {
    /// In names of files, e.g. `cpu-avx512`.
    pub(crate) label: String,
    /// In runs, e.g. `AMD EPYC, AVX512`.
    pub(crate) description: String,
}

impl Processor {
    /// Read from the kernel; the instruction set as libtorch calls the one that it takes.
    pub(crate) fn here() -> Self {
        let cpu = machine::cpu();
        let has = |wanted: &[&str]| wanted.iter().all(|feature| cpu.features.contains(feature));
        let set = if has(&["avx512f", "avx512bw", "fma"]) {
            "AVX512"
        } else if has(&["avx2", "fma"]) {
            "AVX2"
        } else {
            "DEFAULT"
        };
        Self {
            label: format!("cpu-{}", set.to_lowercase()),
            description: format!("{}, {set}", cpu.model),
        }
    }
}

/// A name in lower case with one `-` for whatever stands between letters and digits: `nvidia-h200`.
pub(crate) fn slug(name: &str) -> String {
    let mut slug = String::new();
    for c in name.to_lowercase().chars() {
        if c.is_ascii_lowercase() || c.is_ascii_digit() {
            slug.push(c);
        } else if !slug.ends_with('-') {
            slug.push('-');
        }
    }
    slug.trim_matches('-').to_owned()
}

/// The libtorch that was loaded, e.g. `2.11.0`.
pub(crate) fn libtorch() -> String {
    abi::release(abi::loaded_version())
}

/// What was measured, by git's account.
#[derive(Debug, Clone, Default)]
pub(crate) struct Source {
    /// The whole name; empty where git knows none.
    pub(crate) commit: String,
    /// Whether no tracked file but results was changed since.
    pub(crate) is_clean: bool,
    /// When the commit was made.
    pub(crate) committed: Option<SystemTime>,
}

impl Source {
    /// Of the work tree that `folder` lies in.
    pub(crate) fn of(folder: &Path) -> Self {
        let commit = git(folder, &["rev-parse", "HEAD"]).unwrap_or_default();
        let paths = [":(top)", ":(top,exclude)benches/results"];
        let status = ["status", "--porcelain", "--untracked-files=no", "--"];
        let changed = git(folder, &[&status[..], &paths[..]].concat());
        let seconds = git(folder, &["log", "-1", "--format=%ct"]).and_then(|s| s.parse().ok());
        Self {
            commit,
            is_clean: changed.is_some_and(|changed| changed.is_empty()),
            committed: seconds.map(|s| UNIX_EPOCH + Duration::from_secs(s)),
        }
    }

    /// Refuses lines that were written to `file` at `written`, before the commit: another one was measured.
    ///
    /// # Errors
    /// [`TableError::Stale`].
    pub(crate) fn check(&self, file: &Path, written: SystemTime) -> Result<(), TableError> {
        if self.committed.is_none_or(|committed| committed <= written) {
            return Ok(());
        }
        Err(TableError::Stale {
            path: file.to_path_buf(),
            commit: self.commit.chars().take(7).collect(),
        })
    }
}

/// What git prints in `folder`; nothing where it fails or is not there.
fn git(folder: &Path, words: &[&str]) -> Option<String> {
    let mut command = Command::new("git");
    let done = command.arg("-C").arg(folder).args(words).output().ok()?;
    let text = String::from_utf8(done.stdout).ok()?;
    done.status.success().then(|| text.trim().to_owned())
}
