//! What rows are told apart by: a number or a text, ordered as Python orders them.

use std::fmt;

/// An id or a question.
///
/// Numbers are ordered by value, texts by code point; a data set has one kind, and numbers come first where it mixes them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// An integer id.
    Number(i64),
    /// An id or a question in words. UTF-8 bytes sort as code points do.
    Text(String),
}

impl fmt::Display for Key {
    /// The text that is hashed: Python's `str` of the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}
