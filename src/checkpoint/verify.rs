//! Reads a checkpoint and believes nothing that its manifest does not prove.
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)
)]

use super::Disk;
use super::error::CheckpointError;
use super::manifest::{self, FileSeal, Manifest, Refusal};
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::Path;

/// `ELOOP`: what opening a symbolic link without following it answers.
const SYMLINK_ERRNO: i32 = 40;

/// Verifies every file of the checkpoint in `dir` and returns its manifest.
///
/// # Errors
/// [`CheckpointError::Corrupt`] with the first thing that does not hold, [`CheckpointError::Version`], or an I/O error.
pub(super) fn verify(disk: &dyn Disk, dir: &Path) -> Result<Manifest, CheckpointError> {
    let manifest = read_manifest(disk, dir)?;
    for file in &manifest.files {
        read_sealed(disk, dir, file, None)?;
    }
    Ok(manifest)
}

/// As [`verify`], and returns the files too.
pub(super) fn read(
    disk: &dyn Disk,
    dir: &Path,
) -> Result<(Manifest, BTreeMap<String, Vec<u8>>), CheckpointError> {
    let manifest = read_manifest(disk, dir)?;
    let mut files = BTreeMap::new();
    for file in &manifest.files {
        let mut bytes = Vec::new();
        read_sealed(disk, dir, file, Some(&mut bytes))?;
        files.insert(file.name.clone(), bytes);
    }
    Ok((manifest, files))
}

fn read_manifest(disk: &dyn Disk, dir: &Path) -> Result<Manifest, CheckpointError> {
    let path = dir.join(manifest::NAME);
    let failed = |source| unreadable(dir, manifest::NAME, source);
    let (reader, len) = disk.open(&path).map_err(failed)?;
    if len > manifest::MAX_BYTES {
        return Err(corrupt(
            dir,
            format!("`{}` has {len} bytes", manifest::NAME),
        ));
    }
    let mut bytes = Vec::new();
    reader
        .take(manifest::MAX_BYTES)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    Manifest::parse(&bytes).map_err(|refusal| match refusal {
        Refusal::Newer { found } => CheckpointError::Version {
            path: dir.to_path_buf(),
            found,
            supported: manifest::VERSION,
        },
        Refusal::Damaged(reason) => corrupt(dir, reason),
    })
}

/// Compares one file with its seal; `keep` receives its content.
fn read_sealed(
    disk: &dyn Disk,
    dir: &Path,
    file: &FileSeal,
    keep: Option<&mut Vec<u8>>,
) -> Result<(), CheckpointError> {
    let failed = |source| unreadable(dir, &file.name, source);
    let (reader, len) = disk.open(&dir.join(&file.name)).map_err(failed)?;
    if len != file.len {
        let reason = format!("`{}` has {len} bytes instead of {}", file.name, file.len);
        return Err(corrupt(dir, reason));
    }
    let digest = digest(reader.take(len), len, keep).map_err(failed)?;
    if digest != file.blake3 {
        return Err(corrupt(
            dir,
            format!("`{}` does not match its digest", file.name),
        ));
    }
    Ok(())
}

/// Digest of a stream whose announced length was checked against the file system before memory is reserved for it.
fn digest(mut reader: impl Read, len: u64, keep: Option<&mut Vec<u8>>) -> io::Result<String> {
    let mut hasher = blake3::Hasher::new();
    if let Some(bytes) = keep {
        bytes.reserve_exact(usize::try_from(len).map_err(io::Error::other)?);
        reader.read_to_end(bytes)?;
        hasher.update(bytes);
    } else {
        io::copy(&mut reader, &mut hasher)?;
    }
    Ok(hasher.finalize().to_hex().to_string())
}

fn corrupt(dir: &Path, reason: String) -> CheckpointError {
    CheckpointError::Corrupt {
        path: dir.to_path_buf(),
        reason,
    }
}

/// A file that is absent or not a plain file is damage; a device that does not answer is not.
fn unreadable(dir: &Path, name: &str, source: io::Error) -> CheckpointError {
    let is_link = source.raw_os_error() == Some(SYMLINK_ERRNO);
    match source.kind() {
        io::ErrorKind::NotFound => corrupt(dir, format!("`{name}` is missing")),
        io::ErrorKind::NotADirectory => corrupt(dir, "it is not a folder".to_owned()),
        io::ErrorKind::InvalidInput => corrupt(dir, format!("`{name}` is not a regular file")),
        _ if is_link => corrupt(dir, format!("`{name}` is a symbolic link")),
        _ => CheckpointError::Io {
            action: "read",
            path: dir.join(name),
            source,
        },
    }
}
