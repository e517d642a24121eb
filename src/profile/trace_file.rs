//! The file of a trace: refused before the run where it cannot be, there as a whole after it.

use super::chrome;
use super::span::Span;
use crate::fault::{Coded, Kind};
use serde_json::Value;
use std::fs::Permissions;
use std::io::{BufWriter, ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Why there is no trace.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TraceError {
    /// Something lies where the trace should go.
    #[error("`{path}` exists already")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The trace cannot be written.
    #[error("cannot write `{path}`")]
    Write {
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
}

impl Coded for TraceError {
    fn code(&self) -> &'static str {
        match self {
            Self::Exists { .. } => "profile.exists",
            Self::Write { .. } => "profile.write",
        }
    }
    fn kind(&self) -> Kind {
        match self {
            Self::Exists { .. } => Kind::Input,
            Self::Write { .. } => Kind::Storage,
        }
    }
    fn hint(&self) -> Option<String> {
        match self {
            Self::Exists { .. } => Some("name another file for `--profile`".to_owned()),
            Self::Write { .. } => None,
        }
    }
}

/// A trace to come; dropped without being published it leaves nothing.
#[derive(Debug)]
pub struct TraceFile {
    path: PathBuf,
    file: tempfile::NamedTempFile,
}

impl TraceFile {
    /// Makes sure that `path` is free and can be written.
    ///
    /// # Errors
    /// [`TraceError`] if not.
    pub fn new(path: &Path) -> Result<Self, TraceError> {
        Self::refuse_taken(path)?;
        let path = path.to_path_buf();
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        // Temporary files are private by default; this one is published, with whatever the umask leaves.
        let mode = Permissions::from_mode(0o666);
        let mut place = tempfile::Builder::new();
        match place
            .permissions(mode)
            .tempfile_in(folder.unwrap_or(Path::new(".")))
        {
            Ok(file) => Ok(Self { path, file }),
            Err(source) => Err(TraceError::Write { path, source }),
        }
    }

    /// Makes sure that `path` is free; its folder may still be missing.
    ///
    /// # Errors
    /// [`TraceError::Exists`].
    pub fn refuse_taken(path: &Path) -> Result<(), TraceError> {
        if path.exists() {
            let path = path.to_path_buf();
            return Err(TraceError::Exists { path });
        }
        Ok(())
    }

    /// Where the trace will be.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the trace of `spans` with `facts` beside it.
    ///
    /// # Errors
    /// [`TraceError`] if it cannot be written, or something lies there by now.
    pub fn publish(self, spans: &[Span], facts: &Value) -> Result<(), TraceError> {
        let path = self.path.clone();
        self.write(&chrome::trace(spans, facts)).map_err(|source| {
            if source.kind() == ErrorKind::AlreadyExists {
                TraceError::Exists { path }
            } else {
                TraceError::Write { path, source }
            }
        })
    }

    fn write(self, trace: &Value) -> std::io::Result<()> {
        let mut writer = BufWriter::new(self.file);
        serde_json::to_writer(&mut writer, trace)?;
        writer.write_all(b"\n")?;
        let file = writer
            .into_inner()
            .map_err(std::io::IntoInnerError::into_error)?;
        file.as_file().sync_all()?;
        file.persist_noclobber(&self.path)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_or_impossible_place_is_refused_before_the_run() {
        let place = tempfile::tempdir().unwrap();
        let taken = place.path().join("taken");
        std::fs::write(&taken, "x").unwrap();
        let error = TraceFile::new(&taken).unwrap_err();
        assert_eq!(
            (error.code(), error.kind()),
            ("profile.exists", Kind::Input)
        );
        let error = TraceFile::new(&place.path().join("no/folder/trace.json")).unwrap_err();
        assert_eq!(
            (error.code(), error.kind()),
            ("profile.write", Kind::Storage)
        );
    }

    #[test]
    fn nothing_is_left_unless_published_and_nothing_is_overwritten() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("trace.json");
        drop(TraceFile::new(&path).unwrap());
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0);
        let late = TraceFile::new(&path).unwrap();
        TraceFile::new(&path)
            .unwrap()
            .publish(&[], &Value::Null)
            .unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains("traceEvents") && text.ends_with("}\n"));
        let error = late.publish(&[], &Value::Null).unwrap_err();
        assert_eq!(error.code(), "profile.exists");
    }
}
