//! What a server or a library below said, fit to be shown: nothing secret, one line, cut short.

use std::fmt;

/// What a server answered, without anything secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// What it says, cut short.
    pub message: Option<String>,
    /// Name of the request in the server's logs.
    pub request_id: Option<String>,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "status {}", self.status)?;
        if let Some(message) = &self.message {
            write!(f, ", \"{message}\"")?;
        }
        if let Some(id) = &self.request_id {
            write!(f, ", request {id}")?;
        }
        Ok(())
    }
}

/// Something below a failure, for the chain of causes.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Cause(pub String);
