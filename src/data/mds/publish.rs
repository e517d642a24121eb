//! Files that appear complete or not at all.

use super::error::MdsError;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// Writes `bytes` as `dir/name`: under a temporary name, synced, renamed, then the folder synced.
///
/// # Errors
/// [`MdsError::Io`].
pub fn publish(dir: &Path, name: &str, bytes: &[u8]) -> Result<(), MdsError> {
    publish_with(dir, name, |file| file.write_all(bytes))
}

/// As [`publish`], for content that `write` produces piece by piece.
///
/// # Errors
/// [`MdsError::Io`].
pub fn publish_with(
    dir: &Path,
    name: &str,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> Result<(), MdsError> {
    let path = dir.join(name);
    let temporary = dir.join(format!(".{name}.tmp"));
    let written = File::create(&temporary).and_then(|file| {
        let mut file = BufWriter::new(file);
        write(&mut file)?;
        file.flush()?;
        file.get_ref().sync_all()?;
        std::fs::rename(&temporary, &path)
    });
    if let Err(source) = written {
        let _best_effort = std::fs::remove_file(&temporary);
        return Err(MdsError::Io {
            action: "write",
            path,
            source,
        });
    }
    sync_dir(dir)
}

/// Makes renames inside `dir` durable.
///
/// # Errors
/// [`MdsError::Io`].
pub fn sync_dir(dir: &Path) -> Result<(), MdsError> {
    File::open(dir)
        .and_then(|folder| folder.sync_all())
        .map_err(|source| MdsError::Io {
            action: "sync",
            path: dir.to_path_buf(),
            source,
        })
}
