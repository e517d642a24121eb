//! What keeps a store tidy: old checkpoints go, damaged ones step aside, and the newest good one always stays.

use super::error::CheckpointError;
use super::store::{Access, CheckpointStore, Loaded, Warning, failed, step_name};
use super::verify;
use std::path::PathBuf;

impl CheckpointStore {
    /// Removes old checkpoints: keeps the newest good one, the `keep_last` newest, and every multiple of `keep_every`.
    /// Returns the steps removed. Checkpoints newer than the newest good one are damaged and left for recovery to report.
    ///
    /// # Errors
    /// [`CheckpointError::Io`].
    pub fn rotate(
        &self,
        keep_last: usize,
        keep_every: Option<u64>,
    ) -> Result<Vec<u64>, CheckpointError> {
        let Some(newest) = self.newest_good() else {
            return Ok(Vec::new());
        };
        let mut older = self.steps()?;
        older.retain(|step| *step < newest);
        let num_kept = keep_last.saturating_sub(1).min(older.len());
        older.truncate(older.len() - num_kept);
        older.retain(|step| {
            !keep_every.is_some_and(|every| every > 0 && step.is_multiple_of(every))
        });
        for step in &older {
            self.discard(*step)?;
        }
        Ok(older)
    }

    /// Moves every damaged checkpoint out of the way, for a run that is to start at step 0.
    ///
    /// # Errors
    /// [`CheckpointError::DuplicateStep`] if one of them is good: it must not be lost; [`CheckpointError::Io`].
    pub fn set_damaged_aside(&self) -> Result<Vec<Warning>, CheckpointError> {
        let mut damaged = Vec::new();
        for step in self.steps()? {
            match self.load(step) {
                Ok(Loaded { path, .. }) => {
                    return Err(CheckpointError::DuplicateStep { step, path });
                }
                Err(CheckpointError::Corrupt { path, reason }) => damaged.push((path, reason)),
                Err(error) => return Err(error),
            }
        }
        damaged
            .into_iter()
            .map(|(path, reason)| self.set_aside(path, reason))
            .collect()
    }

    /// The highest step that verifies, without keeping its content.
    pub(super) fn newest_good(&self) -> Option<u64> {
        let is_good = |step: &u64| {
            verify::verify(self.disk.as_ref(), &self.dir.join(step_name(*step)))
                .is_ok_and(|manifest| manifest.step == *step)
        };
        self.steps().ok()?.into_iter().rev().find(is_good)
    }

    /// Removes one checkpoint so that an interruption leaves it whole or as a left-over, never as a damaged checkpoint.
    fn discard(&self, step: u64) -> Result<(), CheckpointError> {
        let from = self.dir.join(step_name(step));
        let name = format!("tmp-old-{step}-{}", std::process::id());
        let to = self.dir.join(&name);
        self.disk
            .rename_new(&from, &to)
            .map_err(|source| failed("rename", &from, source))?;
        self.remove(&name)
    }

    /// Removes one folder of the store.
    pub(super) fn remove(&self, name: &str) -> Result<(), CheckpointError> {
        let path = self.dir.join(name);
        self.disk
            .remove_dir(&path)
            .map_err(|source| failed("remove", &path, source))
    }

    /// Renames a damaged checkpoint to the first free `bad-` name.
    pub(super) fn set_aside(
        &self,
        path: PathBuf,
        reason: String,
    ) -> Result<Warning, CheckpointError> {
        let mut moved_to = None;
        if self.access == Access::Write {
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let taken = self.damaged_names()?;
            let free = (1..=u32::MAX)
                .map(|n| format!("bad-{name}-{n}"))
                .find(|name| !taken.contains(name));
            let to = self.dir.join(free.unwrap_or_default());
            self.disk
                .rename_new(&path, &to)
                .map_err(|source| failed("rename", &path, source))?;
            self.disk
                .sync_dir(&self.dir)
                .map_err(|source| CheckpointError::Sync {
                    path: self.dir.clone(),
                    source,
                })?;
            moved_to = Some(to);
        }
        Ok(Warning {
            code: "ckpt.corrupt",
            path,
            moved_to,
            reason,
        })
    }
}
