//! Uploads an export as one commit.

use crate::hub::answer::Cause;
use crate::hub::client::{Entry, Head, Hub};
use crate::hub::content::is_named;
use crate::hub::error::HubError;
use crate::hub::failed::Asked;
use crate::hub::names;
use crate::hub::repo::{MAIN, Repo};
use crate::hub::settings::Settings;
use crate::mask::export::ExportFile;
use hf_hub::RepoTypeModel;
use hf_hub::repository::CommitOperation;
use std::collections::BTreeSet;

/// Who may see a repository that is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visibility {
    /// Everybody.
    Public,
    /// Its owner; an existing repository that is public is refused.
    Private,
}

/// Where an export goes.
#[derive(Debug)]
pub struct Destination<'a> {
    /// The repository.
    pub repo: &'a Repo,
    /// Its branch.
    pub branch: &'a str,
    /// What the commit says.
    pub message: &'a str,
    /// Who may see it.
    pub visibility: Visibility,
}

/// What a push did.
#[derive(Debug, PartialEq, Eq)]
pub struct Pushed {
    /// The commit that holds the files now.
    pub commit: String,
    /// Its page.
    pub url: String,
    /// Whether the repository was made for it.
    pub is_new: bool,
    /// Whether everything was there already.
    pub is_unchanged: bool,
    /// Files of an earlier export that are gone.
    pub removed: Vec<String>,
}

/// Makes the repository and the branch where they are missing, and commits `files`; files of an earlier export that `files` lacks
/// are removed. Equal content makes no commit.
///
/// # Errors
/// [`HubError`].
pub fn push(
    settings: &Settings,
    files: &[ExportFile],
    to: &Destination<'_>,
) -> Result<Pushed, HubError> {
    if settings.offline {
        return Err(HubError::Offline {
            what: "a push needs the network".to_owned(),
        });
    }
    if settings.token.is_none() {
        return Err(HubError::NoToken);
    }
    let hub = Hub::connect(settings)?;
    let (head, is_new) = hub.repository_for(to)?;
    let head = hub.branch_for(to, head)?;
    let own = files.iter().map(|file| file.name.clone());
    let names: BTreeSet<String> = names::export_names().into_iter().chain(own).collect();
    let names: Vec<String> = names.into_iter().collect();
    let entries = hub.entries(to.repo, &head.commit, &names)?;
    let removed = stale(&entries, files);
    let is_unchanged = removed.is_empty() && files.iter().all(|file| is_there(&entries, file));
    let commit = if is_unchanged {
        None
    } else {
        Some(hub.commit(to, &head.commit, (files, &removed))?)
    };
    let (commit, url) = commit.unwrap_or((head.commit, None));
    let page = || format!("{}/{}/commit/{commit}", settings.endpoint, to.repo);
    Ok(Pushed {
        url: url.unwrap_or_else(page),
        commit,
        is_new,
        is_unchanged,
        removed,
    })
}

fn is_there(entries: &[Entry], file: &ExportFile) -> bool {
    let entry = entries.iter().find(|entry| entry.name == file.name);
    entry.is_some_and(|entry| is_named(&file.bytes, &entry.digest))
}

/// Files of an export that the repository has and `files` lacks.
fn stale(entries: &[Entry], files: &[ExportFile]) -> Vec<String> {
    let kept = |entry: &&Entry| !files.iter().any(|file| file.name == entry.name);
    let names = entries.iter().filter(kept).map(|entry| entry.name.clone());
    names.collect()
}

impl Hub<'_> {
    /// The repository's main branch, and whether it was made just now.
    fn repository_for(&self, to: &Destination<'_>) -> Result<(Head, bool), HubError> {
        let is_private = to.visibility == Visibility::Private;
        match self.head(to.repo, None) {
            Ok(head) if is_private && !head.is_private => Err(HubError::NotPrivate {
                repo: to.repo.to_string(),
            }),
            Ok(head) => Ok((head, false)),
            Err(HubError::NotFound { .. }) => {
                let asked = self.asked(to.repo, "create the repository");
                self.client
                    .create_repository()
                    .repo_id(&to.repo.to_string())
                    .repo_type(RepoTypeModel)
                    .exist_ok(true)
                    .private(is_private)
                    .send()
                    .map_err(|error| asked.failed(error))?;
                Ok((self.head(to.repo, None)?, true))
            }
            Err(error) => Err(error),
        }
    }

    /// The branch, made from the main one where it is missing.
    fn branch_for(&self, to: &Destination<'_>, main: Head) -> Result<Head, HubError> {
        if to.branch == MAIN {
            return Ok(main);
        }
        match self.head(to.repo, Some(to.branch)) {
            Err(HubError::NoRevision { .. }) => {
                let asked = self.asked(to.repo, "create the branch");
                self.repository(to.repo)
                    .create_branch()
                    .branch(to.branch)
                    .send()
                    .map_err(|error| asked.failed(error))?;
                Ok(main)
            }
            found => found,
        }
    }

    /// Name and page of a commit upon `parent`: somebody else's in between is a conflict.
    fn commit(
        &self,
        to: &Destination<'_>,
        parent: &str,
        (files, removed): (&[ExportFile], &[String]),
    ) -> Result<(String, Option<String>), HubError> {
        let asked = Asked {
            revision: Some(to.branch),
            ..self.asked(to.repo, "take the commit")
        };
        let added = files
            .iter()
            .map(|file| CommitOperation::add_bytes(&file.name, file.bytes.clone()));
        let gone = removed.iter().map(CommitOperation::delete);
        let info = self
            .repository(to.repo)
            .create_commit()
            .operations(added.chain(gone).collect())
            .commit_message(to.message)
            .revision(to.branch)
            .parent_commit(parent)
            .send()
            .map_err(|error| asked.failed(error))?;
        let commit = info.commit_oid;
        let commit =
            commit.ok_or_else(|| asked.protocol(&Cause("no commit is named".to_owned())))?;
        Ok((commit, info.commit_url))
    }
}
