//! Writing results to standard output and notes to standard error.
//!
//! A reader that goes away (`prulong ... | head`) is no failure: [`OutputError::is_broken_pipe`] lets the program end
//! quietly with 0.

use crate::fault::{Coded, Kind};
use std::fmt::Display;
use std::io::{BufWriter, ErrorKind, StdoutLock, Write};

/// A result could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutputError {
    /// Standard output refused bytes.
    #[error("cannot write to standard output")]
    Stdout {
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// A result has no JSON form, e.g. a map whose keys are not text.
    #[error("cannot write the result as JSON")]
    Json {
        /// What the serializer says.
        source: serde_json::Error,
    },
}

impl OutputError {
    /// Whether the reader of standard output went away.
    pub fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Stdout { source } if source.kind() == ErrorKind::BrokenPipe)
    }
}

impl Coded for OutputError {
    fn code(&self) -> &'static str {
        match self {
            Self::Stdout { .. } => "io.stdout",
            Self::Json { .. } => "io.json",
        }
    }
    fn kind(&self) -> Kind {
        Kind::Storage
    }
}

/// Standard output, locked and buffered; what was written is complete only after [`Output::finish`].
pub struct Output {
    writer: BufWriter<StdoutLock<'static>>,
}

impl Output {
    /// Locks standard output.
    pub fn stdout() -> Self {
        let writer = BufWriter::new(std::io::stdout().lock());
        Self { writer }
    }

    /// Writes `text` and a line feed.
    ///
    /// # Errors
    /// [`OutputError::Stdout`] if the stream refuses bytes.
    pub fn line(&mut self, text: impl Display) -> Result<(), OutputError> {
        writeln!(self.writer, "{text}").map_err(|source| OutputError::Stdout { source })
    }

    /// Writes `text` as it is, so that it is seen at once.
    ///
    /// # Errors
    /// [`OutputError::Stdout`] if the stream refuses bytes.
    pub fn show(&mut self, text: &str) -> Result<(), OutputError> {
        let written = self.writer.write_all(text.as_bytes());
        written
            .and_then(|()| self.writer.flush())
            .map_err(|source| OutputError::Stdout { source })
    }

    /// Writes `value` as one line of JSON.
    ///
    /// # Errors
    /// [`OutputError::Json`] if it has no JSON form, [`OutputError::Stdout`] if the stream refuses bytes.
    pub fn json(&mut self, value: &impl serde::Serialize) -> Result<(), OutputError> {
        let text = serde_json::to_string(value).map_err(|source| OutputError::Json { source })?;
        self.line(text)
    }

    /// Flushes everything.
    ///
    /// # Errors
    /// [`OutputError::Stdout`] if the stream refuses bytes.
    pub fn finish(mut self) -> Result<(), OutputError> {
        self.writer
            .flush()
            .map_err(|source| OutputError::Stdout { source })
    }
}

/// Writes one line to standard output at once.
///
/// # Errors
/// [`OutputError::Stdout`] if the stream refuses bytes.
pub fn line(text: impl Display) -> Result<(), OutputError> {
    let mut output = Output::stdout();
    output.line(text)?;
    output.finish()
}

/// Writes one line of JSON to standard output at once.
///
/// # Errors
/// [`OutputError::Json`] if `value` has no JSON form, [`OutputError::Stdout`] if the stream refuses bytes.
pub fn json(value: &impl serde::Serialize) -> Result<(), OutputError> {
    let mut output = Output::stdout();
    output.json(value)?;
    output.finish()
}

/// Writes one line to standard error; a closed standard error is nobody's loss.
pub fn note(text: impl Display) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
