//! Integration tests, one binary.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod mds_reader;
mod mds_writer;
