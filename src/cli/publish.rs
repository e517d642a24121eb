//! Writing result files that may be there already: equal bytes are success, other bytes are refused before anything is written.

use crate::checkpoint::Disk;
use crate::checkpoint::durable::{self, RealDisk};
use crate::fault::{Coded, Kind};
use crate::mask::export::ExportFile;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Whether files of other content may be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overwrite {
    /// They are an error.
    No,
    /// They are replaced.
    Yes,
}

impl Overwrite {
    /// What `--force` says.
    pub fn if_asked(is_forced: bool) -> Self {
        if is_forced { Self::Yes } else { Self::No }
    }
}

/// What the files hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Product {
    /// A mask.
    Mask,
    /// A mask in a file or folder that was named as an argument, not with `-o`.
    Converted,
    /// Results of an evaluation.
    Results,
}

/// Why files were not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// A file of other content is in the way.
    #[error("`{path}` exists and differs")]
    Differs {
        /// The file.
        path: PathBuf,
        /// What should have been written.
        product: Product,
    },
    /// The operating system refused.
    #[error("cannot {action} `{path}`")]
    Io {
        /// What was attempted.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
}

impl Coded for PublishError {
    fn code(&self) -> &'static str {
        match self {
            Self::Differs { product, .. } => match product {
                Product::Mask | Product::Converted => "mask.exists_differs",
                Product::Results => "results.exists_differs",
            },
            Self::Io { .. } => "io.write",
        }
    }
    fn kind(&self) -> Kind {
        match self {
            Self::Differs { .. } => Kind::Input,
            Self::Io { .. } => Kind::Storage,
        }
    }
    fn hint(&self) -> Option<String> {
        match self {
            Self::Differs {
                product: Product::Converted,
                ..
            } => Some("choose another place, or replace it with `--force`".to_owned()),
            Self::Differs { .. } => {
                Some("choose another `-o`, or replace it with `--force`".to_owned())
            }
            Self::Io { .. } => None,
        }
    }
}

/// Finds out whether `files` may be written into `folder`; changes nothing.
///
/// # Errors
/// [`PublishError::Differs`] for the first file of other content unless it may be replaced, [`PublishError::Io`] for what cannot
/// be read, such as a folder in a file's place.
pub fn check(
    folder: &Path,
    files: &[ExportFile],
    overwrite: Overwrite,
    product: Product,
) -> Result<(), PublishError> {
    for file in files {
        let path = folder.join(&file.name);
        let differs = present(&path)?.is_some_and(|bytes| bytes != file.bytes);
        if differs && overwrite == Overwrite::No {
            return Err(PublishError::Differs { path, product });
        }
    }
    Ok(())
}

/// Writes every file that is not there in this form already. Each appears whole or not at all.
///
/// # Errors
/// [`PublishError::Io`].
pub fn write(folder: &Path, files: &[ExportFile]) -> Result<(), PublishError> {
    for file in files {
        let path = folder.join(&file.name);
        if present(&path)?.is_none_or(|bytes| bytes != file.bytes) {
            replace(&path, &file.bytes)?;
        }
    }
    Ok(())
}

fn present(path: &Path) -> Result<Option<Vec<u8>>, PublishError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("read", path)(error)),
    }
}

fn replace(path: &Path, bytes: &[u8]) -> Result<(), PublishError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    durable::create_dirs(folder).map_err(failed("create", folder))?;
    // Temporary files are private by default; this one is published, with whatever the umask leaves.
    let mode = std::fs::Permissions::from_mode(0o666);
    let temporary = tempfile::Builder::new()
        .permissions(mode)
        .tempfile_in(folder);
    let mut temporary = temporary.map_err(failed("write", path))?;
    temporary.write_all(bytes).map_err(failed("write", path))?;
    temporary
        .as_file()
        .sync_all()
        .map_err(failed("write", path))?;
    let persisted = temporary.persist(path);
    persisted.map_err(|error| failed("write", path)(error.error))?;
    RealDisk.sync_dir(folder).map_err(failed("write", folder))
}

fn failed(action: &'static str, path: &Path) -> impl Fn(io::Error) -> PublishError {
    let path = path.to_owned();
    move |source| PublishError::Io {
        action,
        path: path.clone(),
        source,
    }
}
