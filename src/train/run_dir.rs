//! The run directory: who may write to it, where a run continues, and what is on disk before step 1.
//!
//! Layout: `config.toml env.json export.json metrics.jsonl events/ ckpt/step-N/ masks/ log.txt .lock`.
//!
//! **Invariant:** an error found while opening leaves a foreign folder exactly as it was.

use super::run_dir_error::RunDirError;
use crate::checkpoint::durable;
use crate::checkpoint::error::CheckpointError;
use crate::checkpoint::identity::Identity;
use crate::checkpoint::store::{self, CheckpointStore, Loaded};
use crate::fault::AnyFault;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

const LOCK_NAME: &str = ".lock";
const SAVE_NAME: &str = "SAVE";

/// The settings as resolved, itself a valid input.
pub const CONFIG_NAME: &str = "config.toml";
/// Versions, device and backends of the run.
pub const ENV_NAME: &str = "env.json";
/// What `export-mask` needs to know about the model.
pub const EXPORT_NAME: &str = "export.json";
/// Plain text log.
pub const LOG_NAME: &str = "log.txt";
/// Folder of exported masks.
pub const MASKS_NAME: &str = "masks";

/// Where a run continues.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Resume {
    /// At the latest good checkpoint of the run directory, or at step 0 if it has none.
    #[default]
    Auto,
    /// At step 0; refused if the run directory holds a good checkpoint.
    Never,
    /// At this checkpoint folder, or at the latest good checkpoint of this run directory.
    From(PathBuf),
}

impl std::str::FromStr for Resume {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "auto" => Self::Auto,
            "never" => Self::Never,
            path => Self::From(PathBuf::from(path)),
        })
    }
}

/// An open run directory; the lock is held until it is dropped.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    lock: File,
}

impl RunDir {
    /// Creates `path` or opens the run in it, and locks it for this process.
    ///
    /// # Errors
    /// [`RunDirError::Foreign`], [`RunDirError::ReadOnly`], [`RunDirError::Locked`], [`RunDirError::NotUtf8`],
    /// [`RunDirError::Io`].
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, RunDirError> {
        let path = path.into();
        if path.to_str().is_none() {
            return Err(RunDirError::NotUtf8 { path });
        }
        refuse_foreign(&path)?;
        durable::create_dirs(&path).map_err(|source| unwritable("create", &path, source))?;
        let lock = lock(&path)?;
        let run_dir = Self { path, lock };
        run_dir.name_owner()?;
        Ok(run_dir)
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The run's checkpoints, for writing.
    ///
    /// # Errors
    /// [`CheckpointError::Io`].
    pub fn store(&self) -> Result<CheckpointStore, CheckpointError> {
        CheckpointStore::open(self.path.join(store::DIR_NAME))
    }

    /// The checkpoint the run continues from; `None` to start at step 0. Settings named in `allowed` may differ from it.
    ///
    /// # Errors
    /// [`RunDirError::Exists`] if the answer would overwrite a good checkpoint; every [`CheckpointError`] of loading and of
    /// [`Identity::check`].
    pub fn resume(
        &self,
        store: &CheckpointStore,
        resume: &Resume,
        identity: &Identity,
        allowed: &[String],
    ) -> Result<Option<Loaded>, AnyFault> {
        let loaded = match resume {
            Resume::Auto => store.latest()?,
            Resume::Never => {
                self.set_damaged_aside(store)?;
                None
            }
            Resume::From(path) => Some(self.load_from(store, path)?),
        };
        if let Some(loaded) = &loaded {
            loaded.identity.check(identity, allowed)?;
        }
        Ok(loaded)
    }

    /// Writes a text file of the run durably. A file that says something else is kept as `NAME.1`, `NAME.2`, ..., and the answer is
    /// whether there was one.
    ///
    /// # Errors
    /// [`RunDirError::Io`].
    pub fn record(&self, name: &str, text: &str) -> Result<bool, RunDirError> {
        let path = self.path.join(name);
        let failed = |source| io_error("write", &path, source);
        let is_another = match std::fs::read(&path) {
            Ok(found) if found == text.as_bytes() => return Ok(false),
            Ok(found) => {
                self.keep(name, &found)?;
                true
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(io_error("read", &path, error)),
        };
        durable::replace(&path, text.as_bytes()).map_err(failed)?;
        Ok(is_another)
    }

    /// Opens `log.txt` for appending.
    ///
    /// # Errors
    /// [`RunDirError::Io`].
    pub fn log(&self) -> Result<File, RunDirError> {
        let path = self.path.join(LOG_NAME);
        let file = OpenOptions::new().create(true).append(true).open(&path);
        file.map_err(|source| io_error("open", &path, source))
    }

    /// Refuses a run that will not fit: `keep` checkpoints and two more, and the logs with a fifth to spare.
    ///
    /// # Errors
    /// [`RunDirError::NoSpace`], [`RunDirError::Io`].
    pub fn require_space(
        &self,
        keep: u64,
        checkpoint_bytes: u64,
        log_bytes: u64,
    ) -> Result<(), RunDirError> {
        let needed_bytes = needed_bytes(keep, checkpoint_bytes, log_bytes);
        let free_bytes = durable::free_bytes(&self.path)
            .map_err(|source| io_error("measure", &self.path, source))?;
        if free_bytes >= needed_bytes {
            return Ok(());
        }
        Err(RunDirError::NoSpace {
            path: self.path.clone(),
            free_bytes,
            needed_bytes,
        })
    }

    /// Whether the user asked for a checkpoint now by creating `RUN/SAVE`; the request is removed.
    ///
    /// # Errors
    /// [`RunDirError::Io`].
    pub fn take_save_request(&self) -> Result<bool, RunDirError> {
        let path = self.path.join(SAVE_NAME);
        match std::fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(io_error("remove", &path, error)),
        }
    }

    fn set_damaged_aside(&self, store: &CheckpointStore) -> Result<(), AnyFault> {
        match store.set_damaged_aside() {
            Err(CheckpointError::DuplicateStep { step, .. }) => Err(self.exists(step).into()),
            other => Ok(other.map(|_| ())?),
        }
    }

    /// Loads another checkpoint, unless this run's own newer ones would then be written over.
    fn load_from(&self, store: &CheckpointStore, path: &Path) -> Result<Loaded, AnyFault> {
        let loaded = CheckpointStore::load_path(path)?;
        match store.latest()? {
            Some(own) if !is_same_folder(&own.path, &loaded.path) => {
                Err(self.exists(own.step).into())
            }
            _ => Ok(loaded),
        }
    }

    fn exists(&self, step: u64) -> RunDirError {
        RunDirError::Exists {
            path: self.path.clone(),
            step,
        }
    }

    /// Keeps an older version of a file under the first free number.
    fn keep(&self, name: &str, bytes: &[u8]) -> Result<(), RunDirError> {
        for number in 1_u32.. {
            let path = self.path.join(format!("{name}.{number}"));
            match durable::write_new(&path, bytes) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                other => return other.map_err(|source| io_error("write", &path, source)),
            }
        }
        Ok(())
    }

    /// Writes process and host into the lock, for the message of the next process.
    fn name_owner(&self) -> Result<(), RunDirError> {
        let host = rustix::system::uname();
        let owner = format!(
            "process {} on {}\n",
            std::process::id(),
            host.nodename().to_string_lossy()
        );
        let mut lock = &self.lock;
        lock.set_len(0)
            .and_then(|()| lock.write_all(owner.as_bytes()))
            .map_err(|source| io_error("write", &self.path.join(LOCK_NAME), source))
    }
}

/// Bytes a run needs: `keep` checkpoints and two more (one being written, one being removed), and logs with a fifth to spare.
pub fn needed_bytes(keep: u64, checkpoint_bytes: u64, log_bytes: u64) -> u64 {
    let checkpoints = keep.saturating_add(2).saturating_mul(checkpoint_bytes);
    checkpoints
        .saturating_add(log_bytes)
        .saturating_add(log_bytes / 5)
}

/// Refuses a folder that is not this program's: a run was locked as one before, or copied from one. Changes nothing.
///
/// # Errors
/// [`RunDirError::Foreign`]; [`RunDirError::Io`] if it cannot be read.
pub fn refuse_foreign(path: &Path) -> Result<(), RunDirError> {
    let foreign = |reason: String| {
        Err(RunDirError::Foreign {
            path: path.to_path_buf(),
            reason,
        })
    };
    let metadata = match std::fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(|source| unwritable("read", path, source))?,
    };
    if !metadata.is_dir() {
        return foreign("is a file".to_owned());
    }
    let entries = std::fs::read_dir(path).map_err(|source| unwritable("read", path, source))?;
    let mut names: Vec<String> = entries
        .filter_map(Result::ok)
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort_unstable();
    let has = |name: &str| names.iter().any(|found| found == name);
    if names.is_empty() || has(LOCK_NAME) || (has(CONFIG_NAME) && has(store::DIR_NAME)) {
        return Ok(());
    }
    let shown: Vec<String> = names
        .iter()
        .take(3)
        .map(|name| format!("`{name}`"))
        .collect();
    foreign(format!(
        "holds {} other files, such as {}",
        names.len(),
        shown.join(", ")
    ))
}

fn lock(path: &Path) -> Result<File, RunDirError> {
    let lock_path = path.join(LOCK_NAME);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&lock_path);
    let file = file.map_err(|source| unwritable("open", path, source))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::Error(source)) => Err(io_error("lock", &lock_path, source)),
        Err(TryLockError::WouldBlock) => {
            let mut owner = String::new();
            // The name is a courtesy: without it the refusal stands.
            let _ = (&file).take(256).read_to_string(&mut owner);
            let owner = match owner.trim() {
                "" => "another process".to_owned(),
                owner => owner.to_owned(),
            };
            Err(RunDirError::Locked {
                path: path.to_path_buf(),
                owner,
            })
        }
    }
}

fn is_same_folder(left: &Path, right: &Path) -> bool {
    match (left.canonicalize(), right.canonicalize()) {
        (Ok(left), Ok(right)) => left == right,
        _ => false,
    }
}

fn unwritable(action: &'static str, path: &Path, source: io::Error) -> RunDirError {
    match source.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            RunDirError::ReadOnly {
                path: path.to_path_buf(),
                source,
            }
        }
        io::ErrorKind::NotADirectory => RunDirError::Foreign {
            path: path.to_path_buf(),
            reason: "lies below a file".to_owned(),
        },
        _ => io_error(action, path, source),
    }
}

fn io_error(action: &'static str, path: &Path, source: io::Error) -> RunDirError {
    RunDirError::Io {
        action,
        path: path.to_path_buf(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{Coded, Kind};
    use serde_json::json;

    fn identity(seed: u64) -> Identity {
        Identity::new(&json!({ "seed": seed }), "model", "data")
    }

    fn publish(store: &CheckpointStore, step: u64) -> PathBuf {
        store
            .publish(step, &identity(1), &[("cursor.json", b"{}")])
            .unwrap()
    }

    fn resume(run_dir: &RunDir, resume: &Resume, seed: u64) -> Result<Option<u64>, String> {
        let store = run_dir.store().unwrap();
        let loaded = run_dir.resume(&store, resume, &identity(seed), &[]);
        loaded
            .map(|loaded| loaded.map(|loaded| loaded.step))
            .map_err(|error| error.code().to_owned())
    }

    fn listing(path: &Path) -> Vec<PathBuf> {
        let mut names: Vec<PathBuf> = std::fs::read_dir(path)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn foreign_folders_and_files_are_refused_and_left_alone() {
        let place = tempfile::tempdir().unwrap();
        std::fs::write(place.path().join("thesis.tex"), "x").unwrap();
        let error = RunDir::open(place.path()).unwrap_err();
        assert_eq!(error.code(), "run.foreign_files");
        assert!(
            error
                .to_string()
                .contains("holds 1 other files, such as `thesis.tex`"),
            "{error}"
        );
        assert_eq!(listing(place.path()).len(), 1);
        for path in ["thesis.tex", "thesis.tex/run"] {
            assert_eq!(
                RunDir::open(place.path().join(path)).unwrap_err().code(),
                "run.foreign_files",
                "{path}"
            );
        }
    }

    #[test]
    fn a_second_process_is_told_who_holds_the_lock() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("a/run");
        let first = RunDir::open(&path).unwrap();
        let error = RunDir::open(&path).unwrap_err();
        assert_eq!(error.code(), "run.locked");
        assert!(
            error
                .to_string()
                .contains(&format!("process {} on ", std::process::id())),
            "{error}"
        );
        drop(first);
        RunDir::open(&path).unwrap();
    }

    #[test]
    fn a_copied_run_without_hidden_files_is_still_a_run() {
        let place = tempfile::tempdir().unwrap();
        std::fs::write(place.path().join(CONFIG_NAME), "").unwrap();
        std::fs::create_dir(place.path().join(store::DIR_NAME)).unwrap();
        RunDir::open(place.path()).unwrap();
    }

    #[test]
    fn auto_continues_at_the_latest_and_refuses_other_settings() {
        let place = tempfile::tempdir().unwrap();
        let run_dir = RunDir::open(place.path()).unwrap();
        assert_eq!(resume(&run_dir, &Resume::Auto, 1), Ok(None));
        publish(&run_dir.store().unwrap(), 3);
        assert_eq!(resume(&run_dir, &Resume::Auto, 1), Ok(Some(3)));
        assert_eq!(
            resume(&run_dir, &Resume::Auto, 2),
            Err("run.config_changed".to_owned())
        );
    }

    #[test]
    fn never_starts_at_zero_only_where_no_good_checkpoint_is_lost() {
        let place = tempfile::tempdir().unwrap();
        let run_dir = RunDir::open(place.path()).unwrap();
        assert_eq!(resume(&run_dir, &Resume::Never, 1), Ok(None));
        let path = publish(&run_dir.store().unwrap(), 3);
        assert_eq!(
            resume(&run_dir, &Resume::Never, 1),
            Err("run.exists".to_owned())
        );
        std::fs::write(path.join("cursor.json"), "[]").unwrap();
        assert_eq!(
            resume(&run_dir, &Resume::Auto, 1),
            Err("ckpt.none_good".to_owned())
        );
        assert_eq!(resume(&run_dir, &Resume::Never, 1), Ok(None));
        assert!(!path.exists());
    }

    #[test]
    fn a_path_names_another_runs_checkpoint_or_the_own_latest_one() {
        let place = tempfile::tempdir().unwrap();
        let other = RunDir::open(place.path().join("other")).unwrap();
        let (store, from) = (other.store().unwrap(), |path: PathBuf| Resume::From(path));
        let (old, latest) = (publish(&store, 2), publish(&store, 4));

        let run_dir = RunDir::open(place.path().join("run")).unwrap();
        assert_eq!(resume(&run_dir, &from(old.clone()), 1), Ok(Some(2)));
        assert_eq!(
            resume(&run_dir, &from(other.path().to_path_buf()), 1),
            Ok(Some(4))
        );
        assert_eq!(
            resume(&run_dir, &from(place.path().join("none")), 1),
            Err("ckpt.missing".to_owned())
        );
        assert_eq!(resume(&other, &from(latest), 1), Ok(Some(4)));
        assert_eq!(resume(&other, &from(old), 1), Err("run.exists".to_owned()));
    }

    #[test]
    fn earlier_versions_of_a_file_are_kept() {
        let place = tempfile::tempdir().unwrap();
        let run_dir = RunDir::open(place.path()).unwrap();
        let texts = ["a", "a", "b", "c"];
        let is_another = texts.map(|text| run_dir.record(CONFIG_NAME, text).unwrap());
        assert_eq!(is_another, [false, false, true, true]);
        let read = |name: &str| std::fs::read_to_string(place.path().join(name)).unwrap();
        assert_eq!(
            (
                read("config.toml"),
                read("config.toml.1"),
                read("config.toml.2")
            ),
            ("c".into(), "a".into(), "b".into())
        );
    }

    #[test]
    fn a_run_that_cannot_fit_is_refused_before_it_starts() {
        let place = tempfile::tempdir().unwrap();
        let run_dir = RunDir::open(place.path()).unwrap();
        run_dir.require_space(3, 1000, 1000).unwrap();
        assert_eq!(needed_bytes(3, 1000, 1000), 6200);
        let error = run_dir.require_space(3, u64::MAX / 8, 0).unwrap_err();
        assert_eq!(
            (error.code(), error.kind()),
            ("run.no_space", Kind::Storage)
        );
    }

    #[test]
    fn a_place_that_takes_no_files_is_read_only() {
        let error = RunDir::open("/sys/prulong/run").unwrap_err();
        assert_eq!((error.code(), error.kind()), ("run.read_only", Kind::Input));
    }

    #[test]
    fn a_save_request_is_taken_once() {
        let place = tempfile::tempdir().unwrap();
        let run_dir = RunDir::open(place.path()).unwrap();
        assert!(!run_dir.take_save_request().unwrap());
        std::fs::write(place.path().join(SAVE_NAME), "").unwrap();
        assert!(run_dir.take_save_request().unwrap());
        assert!(!run_dir.take_save_request().unwrap());
    }

    #[test]
    fn resume_is_spelled_as_on_the_command_line() {
        assert_eq!("auto".parse(), Ok(Resume::Auto));
        assert_eq!("never".parse(), Ok(Resume::Never));
        assert_eq!("runs/a".parse(), Ok(Resume::From("runs/a".into())));
    }
}
