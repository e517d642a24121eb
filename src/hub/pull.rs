//! Downloads an export, pinned to one commit and compared with its digests.

use crate::hub::client::{Entry, Hub};
use crate::hub::content::is_named;
use crate::hub::error::HubError;
use crate::hub::failed::Asked;
use crate::hub::repo::{MAIN, Repo, is_commit};
use crate::hub::settings::Settings;
use crate::hub::{cache, names};
use crate::mask::export::{ExportFile, SIDECAR_NAME};
use hf_hub::HFError;
use std::path::Path;

/// Largest file taken: far more than any of an export.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// An export as it lies on the Hub.
#[derive(Debug)]
pub struct Pulled {
    /// The commit it was pinned to.
    pub commit: String,
    /// The files of an export that it holds, sorted by name; the sidecar is one of them.
    pub files: Vec<ExportFile>,
}

/// Downloads through the cache, or takes from it alone when offline. `revision`: branch, tag or commit; `None` is the main branch.
///
/// # Errors
/// [`HubError`].
pub fn pull(settings: &Settings, repo: &Repo, revision: Option<&str>) -> Result<Pulled, HubError> {
    let hub = Hub::connect(settings)?;
    if settings.offline {
        hub.cached(repo, revision.unwrap_or(MAIN))
    } else {
        hub.downloaded(repo, revision)
    }
}

impl Hub<'_> {
    fn downloaded(&self, repo: &Repo, revision: Option<&str>) -> Result<Pulled, HubError> {
        let head = self.head(repo, revision)?;
        for name in &head.names {
            names::check(name)?;
        }
        let mut wanted = names::export_names();
        wanted.retain(|name| head.names.contains(name));
        let entries = self.entries(repo, &head.commit, &wanted)?;
        if !entries.iter().any(|entry| entry.name == SIDECAR_NAME) {
            return Err(HubError::NoMask {
                repo: repo.to_string(),
                commit: head.commit,
            });
        }
        let files = entries
            .iter()
            .map(|entry| self.file(repo, &head.commit, entry));
        let mut files: Vec<ExportFile> = files.collect::<Result<_, _>>()?;
        files.sort_by(|a, b| a.name.cmp(&b.name));
        let named = revision.unwrap_or(MAIN);
        if !is_commit(named) {
            cache::note_commit(&self.settings.cache_dir, repo, named, &head.commit)
                .map_err(|error| self.asked(repo, "pull").cache(error))?;
        }
        Ok(Pulled {
            commit: head.commit,
            files,
        })
    }

    fn file(&self, repo: &Repo, commit: &str, entry: &Entry) -> Result<ExportFile, HubError> {
        if entry.num_bytes > MAX_FILE_BYTES {
            return Err(HubError::TooLarge {
                name: entry.name.clone(),
                num_bytes: entry.num_bytes,
                limit: MAX_FILE_BYTES,
            });
        }
        let asked = Asked {
            revision: Some(commit),
            file: Some(&entry.name),
            ..self.asked(repo, "send the file")
        };
        let path = self
            .repository(repo)
            .download_file()
            .filename(&entry.name)
            .revision(commit)
            .send()
            .map_err(|error| asked.failed(error))?;
        self.verified(&asked, &path, (&entry.name, &entry.digest))
    }

    fn cached(&self, repo: &Repo, revision: &str) -> Result<Pulled, HubError> {
        let cache_dir = &self.settings.cache_dir;
        let asked = self.asked(repo, "pull");
        let noted = if is_commit(revision) {
            Some(revision.to_owned())
        } else {
            cache::commit_of(cache_dir, repo, revision).map_err(|error| asked.cache(error))?
        };
        let missing = || HubError::Offline {
            what: format!(
                "`{repo}@{revision}` is not in the cache `{}`",
                cache_dir.display()
            ),
        };
        let commit = noted
            .filter(|commit| is_commit(commit))
            .ok_or_else(missing)?;
        let mut files = Vec::new();
        for name in names::export_names() {
            let found = self
                .repository(repo)
                .download_file()
                .filename(&name)
                .revision(&commit)
                .local_files_only(true)
                .send();
            let path = match found {
                Ok(path) => path,
                Err(HFError::LocalEntryNotFound { .. } | HFError::EntryNotFound { .. }) => continue,
                Err(error) => return Err(asked.failed(error)),
            };
            let digest = cache::digest_of(&path).map_err(|error| asked.cache(error))?;
            files.push(self.verified(&asked, &path, (&name, &digest))?);
        }
        if !files.iter().any(|file| file.name == SIDECAR_NAME) {
            return Err(missing());
        }
        Ok(Pulled { commit, files })
    }

    /// The file that lies in the cache at `path`, if it is what it should be; else it is taken out of there.
    fn verified(
        &self,
        asked: &Asked<'_>,
        path: &Path,
        (name, digest): (&str, &str),
    ) -> Result<ExportFile, HubError> {
        let read = std::fs::metadata(path).and_then(|facts| {
            let fits = facts.len() <= MAX_FILE_BYTES;
            fits.then(|| std::fs::read(path)).transpose()
        });
        let bytes = read.map_err(|error| asked.cache(error))?;
        if let Some(bytes) = bytes.filter(|bytes| is_named(bytes, digest)) {
            let name = name.to_owned();
            return Ok(ExportFile { name, bytes });
        }
        cache::discard(&self.settings.cache_dir, path).map_err(|error| asked.cache(error))?;
        Err(HubError::Digest {
            name: name.to_owned(),
            expected: digest.to_owned(),
        })
    }
}
