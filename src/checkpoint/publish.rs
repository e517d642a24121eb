//! Writes a checkpoint beside its final place and moves it there in one step.

use super::Disk;
use super::error::CheckpointError;
use super::identity::Identity;
use super::manifest::{self, FileSeal, Manifest};
use super::verify;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Everything one checkpoint consists of.
#[derive(Clone, Copy)]
pub(super) struct Draft<'a> {
    /// Optimizer steps taken.
    pub(super) step: u64,
    /// The run it belongs to.
    pub(super) identity: &'a Identity,
    /// Names and contents.
    pub(super) files: &'a [(&'a str, &'a [u8])],
}

impl Draft<'_> {
    /// Length of all files.
    pub(super) fn len_bytes(&self) -> u64 {
        self.files.iter().map(|(_, bytes)| bytes.len() as u64).sum()
    }

    fn manifest(&self) -> Result<Manifest, CheckpointError> {
        let mut seals = Vec::new();
        for (name, bytes) in self.files {
            let clash = seals.iter().any(|seal: &FileSeal| seal.name == *name);
            if clash || !manifest::is_file_name(name) {
                let reason = if clash {
                    "the name is used twice"
                } else {
                    "the name is not a plain one"
                };
                return Err(content(name, reason));
            }
            seals.push(FileSeal {
                name: (*name).to_owned(),
                len: bytes.len() as u64,
                blake3: blake3::hash(bytes).to_hex().to_string(),
            });
        }
        Ok(Manifest::new(self.step, self.identity.clone(), seals))
    }
}

/// Publishes `draft` as `dir/step-N`; the same checkpoint once more is success.
///
/// # Errors
/// Any error leaves `dir` without the new checkpoint, or with all of it.
pub(super) fn publish(
    disk: &dyn Disk,
    dir: &Path,
    draft: Draft<'_>,
) -> Result<PathBuf, CheckpointError> {
    let manifest = draft.manifest()?;
    let place = dir.join(format!("step-{}", draft.step));
    let temporary = dir.join(format!("tmp-{}-{}", draft.step, std::process::id()));
    let written = write_all(disk, &temporary, &manifest, draft.files)
        .and_then(|()| move_into_place(disk, &temporary, &place, &manifest));
    if written.is_err() {
        // The error that matters is the first; what stays behind is removed when the store is next opened.
        let _ = disk.remove_dir(&temporary);
    }
    written?;
    disk.sync_dir(dir).map_err(|source| lost(dir, source))?;
    Ok(place)
}

fn write_all(
    disk: &dyn Disk,
    temporary: &Path,
    manifest: &Manifest,
    files: &[(&str, &[u8])],
) -> Result<(), CheckpointError> {
    let made = disk.create_dir(temporary).or_else(|error| {
        if error.kind() != io::ErrorKind::AlreadyExists {
            return Err(error);
        }
        disk.remove_dir(temporary)?;
        disk.create_dir(temporary)
    });
    made.map_err(|source| failed("create", temporary, source))?;
    for (name, bytes) in files {
        write_file(disk, &temporary.join(name), bytes)?;
    }
    let text = manifest
        .print()
        .map_err(|error| content(manifest::NAME, &error.to_string()))?;
    write_file(disk, &temporary.join(manifest::NAME), &text)?;
    disk.sync_dir(temporary)
        .map_err(|source| lost(temporary, source))?;
    verify::verify(disk, temporary).map(|_| ())
}

fn write_file(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Result<(), CheckpointError> {
    let mut file = disk
        .create_new(path)
        .map_err(|source| failed("create", path, source))?;
    file.write_all(bytes)
        .map_err(|source| failed("write", path, source))?;
    file.sync().map_err(|source| lost(path, source))
}

fn move_into_place(
    disk: &dyn Disk,
    temporary: &Path,
    place: &Path,
    manifest: &Manifest,
) -> Result<(), CheckpointError> {
    let Err(source) = disk.rename_new(temporary, place) else {
        return Ok(());
    };
    match source.kind() {
        io::ErrorKind::Unsupported => Err(CheckpointError::NoRename {
            dir: place.parent().unwrap_or(place).to_path_buf(),
        }),
        io::ErrorKind::AlreadyExists => {
            if verify::verify(disk, place)?.seals_same(manifest) {
                return disk
                    .remove_dir(temporary)
                    .map_err(|source| failed("remove", temporary, source));
            }
            Err(CheckpointError::DuplicateStep {
                step: manifest.step,
                path: place.to_path_buf(),
            })
        }
        _ => Err(failed("rename", temporary, source)),
    }
}

fn content(name: &str, reason: &str) -> CheckpointError {
    CheckpointError::Content {
        name: name.to_owned(),
        reason: reason.to_owned(),
    }
}

fn failed(action: &'static str, path: &Path, source: io::Error) -> CheckpointError {
    CheckpointError::Io {
        action,
        path: path.to_path_buf(),
        source,
    }
}

fn lost(path: &Path, source: io::Error) -> CheckpointError {
    CheckpointError::Sync {
        path: path.to_path_buf(),
        source,
    }
}
