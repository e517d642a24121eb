//! Checkpoints that are complete and verified, or not there.
//!
//! A checkpoint is a folder `step-N` of small named files and a `MANIFEST.json` that holds their lengths and digests, the
//! identity of the run, and its own digest. It is written beside its final place, synced, read back, renamed into place and
//! synced again, so that a kill or a power cut leaves either the whole of it or none.
//!
//! Start reading at [`store`] (publish, recover), then [`manifest`] (what is verified) and [`durable`] (the only
//! place that syncs and renames). [`state`] turns named tensors into the bytes of one file.
//!
//! # Decisions
//! - No `latest` link or file: the latest checkpoint is the highest step that verifies. A link is one more thing that can be
//!   stale after a power cut.
//! - Saving is synchronous. The state of a mask run is under 1 MB, so a background save would win milliseconds and lose the
//!   guarantee that step N + 1 starts only after step N is safe.
//! - A damaged checkpoint is renamed, never deleted, and its name keeps counting: a run whose checkpoints are all damaged is
//!   refused instead of starting again at step 0.
//!
//! **Invariant:** tensors arrive as bytes; nothing here knows libtorch, prints, sleeps or reads a clock.

pub mod durable;
pub mod error;
pub mod identity;
pub mod manifest;
mod publish;
pub mod state;
pub mod store;
mod upkeep;
mod verify;

#[cfg(test)]
mod sim_disk;
#[cfg(test)]
mod tests;

use std::io::{self, Read, Write};
use std::path::Path;

/// The file operations a store needs; the real disk and a simulated one that fails on command implement it.
pub trait Disk {
    /// Creates one folder; fails if it exists.
    ///
    /// # Errors
    /// The operating system's.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// Creates a file for writing; fails if it exists.
    ///
    /// # Errors
    /// The operating system's.
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn SyncWrite>>;

    /// Makes the names inside a folder durable.
    ///
    /// # Errors
    /// The operating system's.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// Renames, and fails if `to` exists.
    ///
    /// # Errors
    /// The operating system's; [`io::ErrorKind::Unsupported`] where the file system cannot refuse to replace.
    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Opens a regular file, not through a symbolic link, and tells its length in bytes.
    ///
    /// # Errors
    /// The operating system's; [`io::ErrorKind::InvalidInput`] if it is not a regular file.
    fn open(&self, path: &Path) -> io::Result<(Box<dyn Read>, u64)>;

    /// Names and kinds inside a folder, sorted by name; names that are not UTF-8 are left out.
    ///
    /// # Errors
    /// The operating system's.
    fn entries(&self, path: &Path) -> io::Result<Vec<(String, Entry)>>;

    /// Removes a folder and everything in it.
    ///
    /// # Errors
    /// The operating system's.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;
}

/// A file being written that can be forced to the device.
pub trait SyncWrite: Write {
    /// Forces content and length to the device. After a failure the file is lost and must not be synced again.
    ///
    /// # Errors
    /// The operating system's.
    fn sync(&mut self) -> io::Result<()>;
}

/// What a name in a folder stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// A folder.
    Folder,
    /// A symbolic link, whatever it points to.
    Symlink,
    /// A regular or special file.
    File,
}
