//! Writing a file of results without overwriting anything.

use crate::data::error::DataError;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Writes a file that does not exist yet; an equal one is left alone.
///
/// # Errors
/// [`DataError::Exists`] for a different one, [`DataError::Io`] if it cannot be written.
pub(super) fn write_new(path: &Path, bytes: &[u8]) -> Result<(), DataError> {
    match std::fs::read(path) {
        Ok(present) if present == bytes => return Ok(()),
        Ok(_) => {
            return Err(DataError::Exists {
                path: path.to_path_buf(),
            });
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(DataError::io("read", path, error)),
    }
    let io = |error| DataError::io("write", path, error);
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    // Temporary files are private by default; this one is published, with whatever the umask leaves.
    let mode = std::fs::Permissions::from_mode(0o666);
    let mut file = tempfile::Builder::new()
        .permissions(mode)
        .tempfile_in(folder.unwrap_or(Path::new(".")))
        .map_err(io)?;
    file.write_all(bytes).map_err(io)?;
    file.as_file().sync_all().map_err(io)?;
    file.persist_noclobber(path)
        .map_err(|error| io(error.error))?;
    Ok(())
}
