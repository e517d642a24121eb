//! The folder of a run's checkpoints: publish, and find the latest good one.

use super::durable::{self, RealDisk};
use super::error::CheckpointError;
use super::identity::Identity;
use super::manifest::Manifest;
use super::publish::{self, Draft};
use super::{Disk, Entry, verify};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// Name of the store's folder inside a run directory.
pub const DIR_NAME: &str = "ckpt";

/// All checkpoints of one run.
pub struct CheckpointStore {
    pub(super) dir: PathBuf,
    pub(super) disk: Box<dyn Disk>,
    pub(super) access: Access,
}

/// Whether damaged and left-over folders may be moved and removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
}

/// A checkpoint whose every byte was verified.
#[derive(Debug)]
pub struct Loaded {
    /// Optimizer steps taken.
    pub step: u64,
    /// Where it lies.
    pub path: PathBuf,
    /// The run it belongs to.
    pub identity: Identity,
    /// Contents by name.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Newer checkpoints that were passed over; to be shown to the user.
    pub warnings: Vec<Warning>,
}

/// A damaged checkpoint that was passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// Stable code: `ckpt.corrupt`.
    pub code: &'static str,
    /// Where the checkpoint lay.
    pub path: PathBuf,
    /// Where it lies now; `None` if the store is only read.
    pub moved_to: Option<PathBuf>,
    /// What does not hold.
    pub reason: String,
}

impl std::fmt::Display for Warning {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            out,
            "checkpoint `{}` is damaged ({})",
            self.path.display(),
            self.reason
        )?;
        match &self.moved_to {
            Some(path) => write!(out, "; it was moved to `{}`", path.display()),
            None => Ok(()),
        }
    }
}

/// A save that found no space, before it is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shortage {
    /// Length of all files of the checkpoint.
    pub needed_bytes: u64,
    /// Failed attempts so far.
    pub attempts: u32,
}

/// What to do about a [`Shortage`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Try again now (after the caller has waited).
    Again,
    /// Fail with [`CheckpointError::NoSpace`].
    GiveUp,
}

impl CheckpointStore {
    /// Opens the store for writing, creates its folder and removes what interrupted saves left behind.
    ///
    /// The caller holds the run's lock: another writer's unfinished save would be removed too.
    ///
    /// # Errors
    /// [`CheckpointError::Io`].
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self, CheckpointError> {
        let dir = dir.into();
        durable::create_dirs(&dir).map_err(|source| failed("create", &dir, source))?;
        Self::on(Box::new(RealDisk), dir)
    }

    /// Opens the store for reading: nothing in it is ever changed. A missing folder is an empty store.
    pub fn read_only(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            disk: Box::new(RealDisk),
            access: Access::Read,
        }
    }

    /// Opens an existing folder of any disk for writing.
    pub(super) fn on(disk: Box<dyn Disk>, dir: PathBuf) -> Result<Self, CheckpointError> {
        let store = Self {
            dir,
            disk,
            access: Access::Write,
        };
        for (name, kind) in store.entries()? {
            if name.starts_with("tmp-") && kind == Entry::Folder {
                store.remove(&name)?;
            }
        }
        Ok(store)
    }

    /// The store's folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Saves `files` as the checkpoint of `step` and returns its folder once it is complete, verified and durable. Saving the
    /// same content again is success.
    ///
    /// # Errors
    /// [`CheckpointError::NoSpace`] after one more try, [`CheckpointError::Sync`], [`CheckpointError::DuplicateStep`],
    /// [`CheckpointError::NoRename`] or [`CheckpointError::Io`]; earlier checkpoints are untouched.
    pub fn publish(
        &self,
        step: u64,
        identity: &Identity,
        files: &[(&str, &[u8])],
    ) -> Result<PathBuf, CheckpointError> {
        self.publish_or_wait(step, identity, files, &mut |_| Retry::GiveUp)
    }

    /// As [`publish`](Self::publish); while the disk is full, `decide` may tell the user, wait and ask for another try.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub fn publish_or_wait(
        &self,
        step: u64,
        identity: &Identity,
        files: &[(&str, &[u8])],
        decide: &mut dyn FnMut(Shortage) -> Retry,
    ) -> Result<PathBuf, CheckpointError> {
        let draft = Draft {
            step,
            identity,
            files,
        };
        let needed_bytes = draft.len_bytes();
        let mut attempts = 0;
        loop {
            let source =
                match publish::publish(self.disk.as_ref(), &self.dir, draft) {
                    Err(
                        CheckpointError::Io { source, .. } | CheckpointError::Sync { source, .. },
                    ) if is_full(&source) => source,
                    other => return other,
                };
            attempts += 1;
            // The first failure has just freed what this save had written: one immediate try is worth it.
            if attempts > 1
                && decide(Shortage {
                    needed_bytes,
                    attempts,
                }) == Retry::GiveUp
            {
                return Err(CheckpointError::NoSpace {
                    dir: self.dir.clone(),
                    needed_bytes,
                    last_good: self.newest_good(),
                    source,
                });
            }
        }
    }

    /// The highest step that verifies; `None` if no checkpoint was ever saved.
    ///
    /// Newer damaged ones are reported in [`Loaded::warnings`] and, in a store opened for writing, renamed to `bad-...`.
    ///
    /// # Errors
    /// [`CheckpointError::NoneGood`] if checkpoints exist and none verifies; [`CheckpointError::Symlink`];
    /// [`CheckpointError::Version`]; [`CheckpointError::Io`].
    pub fn latest(&self) -> Result<Option<Loaded>, CheckpointError> {
        let mut damaged = Vec::new();
        for step in self.steps()?.into_iter().rev() {
            match self.load(step) {
                Ok(mut loaded) => {
                    for (path, reason) in damaged {
                        loaded.warnings.push(self.set_aside(path, reason)?);
                    }
                    return Ok(Some(loaded));
                }
                Err(CheckpointError::Corrupt { path, reason }) => damaged.push((path, reason)),
                Err(error) => return Err(error),
            }
        }
        let mut findings: Vec<String> = damaged
            .into_iter()
            .map(|(path, reason)| format!("`{}`: {reason}", path.display()))
            .collect();
        findings.extend(
            self.damaged_names()?
                .into_iter()
                .map(|name| format!("`{name}` was found damaged before")),
        );
        if findings.is_empty() {
            return Ok(None);
        }
        Err(CheckpointError::NoneGood {
            dir: self.dir.clone(),
            findings,
        })
    }

    /// Loads and verifies the checkpoint of `step`.
    ///
    /// # Errors
    /// [`CheckpointError::Missing`], [`CheckpointError::Corrupt`], [`CheckpointError::Version`],
    /// [`CheckpointError::Symlink`] or [`CheckpointError::Io`].
    pub fn load(&self, step: u64) -> Result<Loaded, CheckpointError> {
        let path = self.dir.join(step_name(step));
        let loaded = load_from(self.disk.as_ref(), self.entry(&path)?, path.clone())?;
        if loaded.step == step {
            return Ok(loaded);
        }
        Err(CheckpointError::Corrupt {
            path,
            reason: format!("its manifest is of step {}", loaded.step),
        })
    }

    /// Loads the checkpoint folder at `path`, or the latest one if `path` is a run directory; changes nothing.
    ///
    /// # Errors
    /// As [`load`](Self::load) and [`latest`](Self::latest).
    pub fn load_path(path: &Path) -> Result<Loaded, CheckpointError> {
        let store = path.join(DIR_NAME);
        if store.is_dir() {
            let missing = CheckpointError::Missing {
                path: store.clone(),
            };
            return Self::read_only(store).latest()?.ok_or(missing);
        }
        if !path.is_dir() {
            return Err(CheckpointError::Missing {
                path: path.to_path_buf(),
            });
        }
        load_from(&RealDisk, Some(Entry::Folder), path.to_path_buf())
    }

    /// Steps that have a checkpoint, ascending, verified or not.
    ///
    /// # Errors
    /// [`CheckpointError::Io`].
    pub fn steps(&self) -> Result<Vec<u64>, CheckpointError> {
        let mut steps: Vec<u64> = self
            .entries()?
            .iter()
            .filter_map(|(name, _)| parse_step(name))
            .collect();
        steps.sort_unstable();
        Ok(steps)
    }

    /// Names that damaged checkpoints were given.
    pub(super) fn damaged_names(&self) -> Result<Vec<String>, CheckpointError> {
        let names = self.entries()?.into_iter().map(|(name, _)| name);
        Ok(names.filter(|name| name.starts_with("bad-")).collect())
    }

    fn entry(&self, path: &Path) -> Result<Option<Entry>, CheckpointError> {
        let mut entries = self.entries()?.into_iter();
        Ok(entries
            .find(|(name, _)| path.ends_with(name))
            .map(|(_, kind)| kind))
    }

    fn entries(&self) -> Result<Vec<(String, Entry)>, CheckpointError> {
        match self.disk.entries(&self.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            other => other.map_err(|source| failed("list", &self.dir, source)),
        }
    }
}

impl Loaded {
    /// The content of one file.
    ///
    /// # Errors
    /// [`CheckpointError::Content`] if the checkpoint has no such file.
    pub fn file(&self, name: &str) -> Result<&[u8], CheckpointError> {
        let missing = || CheckpointError::Content {
            name: name.to_owned(),
            reason: "is missing".to_owned(),
        };
        self.files.get(name).map(Vec::as_slice).ok_or_else(missing)
    }

    /// One file, read as JSON.
    ///
    /// # Errors
    /// [`CheckpointError::Content`] if the checkpoint has no such file or it does not hold a `T`.
    pub fn json<T: DeserializeOwned>(&self, name: &str) -> Result<T, CheckpointError> {
        serde_json::from_slice(self.file(name)?).map_err(|error| CheckpointError::Content {
            name: name.to_owned(),
            reason: error.to_string(),
        })
    }
}

fn load_from(
    disk: &dyn Disk,
    entry: Option<Entry>,
    path: PathBuf,
) -> Result<Loaded, CheckpointError> {
    match entry {
        None => Err(CheckpointError::Missing { path }),
        Some(Entry::Symlink) => Err(CheckpointError::Symlink { path }),
        Some(Entry::Folder | Entry::File) => {
            let (Manifest { step, identity, .. }, files) = verify::read(disk, &path)?;
            Ok(Loaded {
                step,
                path,
                identity,
                files,
                warnings: Vec::new(),
            })
        }
    }
}

/// Folder name of a checkpoint.
pub(super) fn step_name(step: u64) -> String {
    format!("step-{step}")
}

/// The step of a checkpoint's folder name, written exactly as [`step_name`] writes it.
fn parse_step(name: &str) -> Option<u64> {
    let step = name.strip_prefix("step-")?.parse().ok()?;
    (step_name(step) == name).then_some(step)
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// A failed file operation.
pub(super) fn failed(action: &'static str, path: &Path, source: io::Error) -> CheckpointError {
    CheckpointError::Io {
        action,
        path: path.to_path_buf(),
        source,
    }
}
