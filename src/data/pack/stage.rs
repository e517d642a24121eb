//! The place where output grows: a hidden sibling of the target that becomes the target in one rename.
//!
//! An interrupted run leaves the sibling behind; the next one with the same target recognises and replaces it.

use super::error::PackError;
use crate::data::mds::error::MdsError;
use crate::data::mds::publish::sync_dir;
use std::fs::File;
use std::path::{Path, PathBuf};

/// File that marks a sibling as ours and is locked while in use.
const MARKER: &str = "prulong-pack.lock";

/// Output in the making. Dropped without [`Stage::publish`], it removes what was written.
#[derive(Debug)]
pub struct Stage {
    target: PathBuf,
    folder: PathBuf,
    /// Keeps the lock.
    _marker: File,
}

impl Stage {
    /// Claims `target`, which must be missing or empty.
    ///
    /// # Errors
    /// [`MdsError::Exists`] if the target, or its sibling, holds something else; [`PackError::Busy`]; [`MdsError::Io`].
    pub fn begin(target: &Path) -> Result<Self, PackError> {
        if !is_empty_or_missing(target)? {
            return Err(exists(target));
        }
        let Some(name) = target.file_name() else {
            return Err(exists(target));
        };
        let folder = target.with_file_name(format!(".{}.partial", name.to_string_lossy()));
        let marker_path = folder.join(MARKER);
        if !is_empty_or_missing(&folder)? && !marker_path.is_file() {
            return Err(exists(&folder));
        }
        std::fs::create_dir_all(&folder).map_err(|error| io("create", &folder, error))?;
        let marker =
            File::create(&marker_path).map_err(|error| io("create", &marker_path, error))?;
        if marker.try_lock().is_err() {
            return Err(PackError::Busy {
                path: target.to_path_buf(),
            });
        }
        let stage = Self {
            target: target.to_path_buf(),
            folder,
            _marker: marker,
        };
        stage.clear()?;
        Ok(stage)
    }

    /// The folder that becomes the target.
    pub fn output(&self) -> PathBuf {
        self.folder.join("output")
    }

    /// A file that is removed at the end.
    pub fn scratch(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Makes [`Stage::output`] the target.
    ///
    /// # Errors
    /// [`MdsError::Io`].
    pub fn publish(self) -> Result<(), PackError> {
        if self.target.exists() {
            std::fs::remove_dir(&self.target)
                .map_err(|error| io("replace", &self.target, error))?;
        }
        std::fs::rename(self.output(), &self.target)
            .map_err(|error| io("create", &self.target, error))?;
        let parent = self
            .target
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        sync_dir(parent.unwrap_or(Path::new(".")))?;
        Ok(())
    }

    /// Removes what an interrupted run left behind.
    fn clear(&self) -> Result<(), PackError> {
        let entries =
            std::fs::read_dir(&self.folder).map_err(|error| io("read", &self.folder, error))?;
        for entry in entries.flatten() {
            let path = entry.path();
            let removed = match entry.file_type() {
                Ok(kind) if kind.is_dir() => std::fs::remove_dir_all(&path),
                _ if entry.file_name() == MARKER => Ok(()),
                _ => std::fs::remove_file(&path),
            };
            removed.map_err(|error| io("remove", &path, error))?;
        }
        Ok(())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // Whatever cannot be removed now is recognised by its marker and replaced by the next run.
        let _best_effort = std::fs::remove_dir_all(&self.folder);
    }
}

fn is_empty_or_missing(path: &Path) -> Result<bool, PackError> {
    match std::fs::read_dir(path) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => Ok(false),
        Err(error) => Err(io("read", path, error)),
    }
}

fn exists(path: &Path) -> PackError {
    PackError::Mds(MdsError::Exists {
        path: path.to_path_buf(),
    })
}

fn io(action: &'static str, path: &Path, source: std::io::Error) -> PackError {
    PackError::Mds(MdsError::Io {
        action,
        path: path.to_path_buf(),
        source,
    })
}
