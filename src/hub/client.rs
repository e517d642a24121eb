//! A connection to the Hub, and the two questions that pushing and pulling both ask.

use crate::hub::answer::Cause;
use crate::hub::error::HubError;
use crate::hub::failed::Asked;
use crate::hub::redirects;
use crate::hub::repo::{Repo, is_commit};
use crate::hub::settings::Settings;
use hf_hub::repository::RepoTreeEntry;
use hf_hub::{HFClientBuilder, HFClientSync, HFRepositorySync, RepoTypeModel};
use reqwest::Url;
use std::time::Duration;

/// What servers read about this program.
const USER_AGENT: &str = concat!("prulong/", env!("CARGO_PKG_VERSION"));
/// Longest wait for a connection, and for the next byte of an answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
const READ_TIMEOUT: Duration = Duration::from_mins(1);
/// A token that no header can carry. `hf-hub` looks for one in the environment by rules of its own where it is given none.
const NO_TOKEN: &str = "\n";

/// A connection.
pub struct Hub<'a> {
    pub(super) settings: &'a Settings,
    pub(super) client: HFClientSync,
}

/// What a revision is.
pub(super) struct Head {
    /// Its commit.
    pub(super) commit: String,
    /// Names of all files, as the server tells them.
    pub(super) names: Vec<String>,
    /// Whether the repository is known to be hidden from the public.
    pub(super) is_private: bool,
}

/// A file of a repository.
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) num_bytes: u64,
    /// Git's object name of the file, or of the pointer that stands for it.
    pub(super) digest: String,
}

impl<'a> Hub<'a> {
    /// Prepares a connection; nothing is sent yet.
    ///
    /// # Errors
    /// [`HubError::Endpoint`].
    pub fn connect(settings: &'a Settings) -> Result<Self, HubError> {
        let fail = |reason: String| HubError::Endpoint { reason };
        let endpoint = Url::parse(&settings.endpoint).map_err(|error| fail(error.to_string()))?;
        if !["http", "https"].contains(&endpoint.scheme()) {
            return Err(fail(
                "it begins with neither `https://` nor `http://`".to_owned(),
            ));
        }
        if !endpoint.username().is_empty() || endpoint.password().is_some() {
            return Err(fail("it holds a user name or a password".to_owned()));
        }
        let http = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .redirect(redirects::policy(&endpoint))
            .build()
            .map_err(|error| fail(error.without_url().to_string()))?;
        let token = settings
            .token
            .as_ref()
            .map_or(NO_TOKEN, |token| token.secret());
        let client = HFClientBuilder::new()
            .endpoint(&settings.endpoint)
            .token(token)
            .user_agent(USER_AGENT)
            .client(http)
            .cache_dir(&settings.cache_dir)
            .retry_max_attempts(settings.retries)
            .build_sync()
            .map_err(|error| fail(error.to_string()))?;
        Ok(Self { settings, client })
    }

    pub(super) fn repository(&self, repo: &Repo) -> HFRepositorySync<RepoTypeModel> {
        self.client.model(&repo.owner, &repo.name)
    }

    pub(super) fn asked<'b>(&'b self, repo: &'b Repo, action: &'static str) -> Asked<'b> {
        Asked {
            settings: self.settings,
            repo,
            action,
            revision: None,
            file: None,
        }
    }

    /// Looks at a revision; `None` is the main branch.
    pub(super) fn head(&self, repo: &Repo, revision: Option<&str>) -> Result<Head, HubError> {
        let asked = Asked {
            revision,
            ..self.asked(repo, "show the repository")
        };
        let info = self
            .repository(repo)
            .info()
            .maybe_revision(revision)
            .send()
            .map_err(|error| asked.failed(error))?;
        let commit = info.sha.filter(|sha| is_commit(sha));
        let commit =
            commit.ok_or_else(|| asked.protocol(&Cause("no commit is named".to_owned())))?;
        let files = info.siblings.unwrap_or_default();
        Ok(Head {
            commit,
            names: files.into_iter().map(|file| file.rfilename).collect(),
            is_private: info.private == Some(true),
        })
    }

    /// Those of the files `names` that a commit has.
    pub(super) fn entries(
        &self,
        repo: &Repo,
        commit: &str,
        names: &[String],
    ) -> Result<Vec<Entry>, HubError> {
        let asked = Asked {
            revision: Some(commit),
            ..self.asked(repo, "list the files")
        };
        let listed = self
            .repository(repo)
            .get_paths_info()
            .paths(names.to_vec())
            .revision(commit)
            .send()
            .map_err(|error| asked.failed(error))?;
        let entries = listed.into_iter().filter_map(|entry| match entry {
            RepoTreeEntry::File {
                oid, size, path, ..
            } => Some(Entry {
                name: path,
                num_bytes: size,
                digest: oid,
            }),
            RepoTreeEntry::Directory { .. } => None,
        });
        // What was not asked for is not looked at.
        Ok(entries
            .filter(|entry| names.contains(&entry.name))
            .collect())
    }
}
