//! Every way that pushing to and pulling from the Hub ends without its result.

use crate::fault::{Coded, Kind};
use crate::hub::answer::{Answer, Cause};
use crate::hub::card::CardProblem;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why there was no push and no pull.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// The program was built without the cargo feature.
    #[error("this `prulong` was built without the Hub")]
    NotBuilt,
    /// No name of a repository.
    #[error("`{text}` is no repository: {reason}")]
    Name {
        /// What was given.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// No name of a branch, tag or commit.
    #[error("`{revision}` is no branch, tag or commit")]
    BadRevision {
        /// What was given.
        revision: String,
    },
    /// The repository has no such revision.
    #[error("`{repo}` has no revision `{revision}`")]
    NoRevision {
        /// The repository.
        repo: String,
        /// What was asked for.
        revision: String,
    },
    /// No such repository, or none that this token opens.
    #[error("there is no repository `{repo}`, or this token does not open it")]
    NotFound {
        /// The repository.
        repo: String,
    },
    /// A repository that holds something else.
    #[error("`{repo}` at {commit} holds no `head_mask.safetensors`")]
    NoMask {
        /// The repository.
        repo: String,
        /// The commit looked at.
        commit: String,
    },
    /// Its owner asks for consent first.
    #[error("`{repo}` is gated ({answer})")]
    Gated {
        /// The repository.
        repo: String,
        /// Where consent is given.
        url: String,
        /// What the server said.
        answer: Answer,
    },
    /// Pushing needs one.
    #[error("there is no token, and nobody pushes without one")]
    NoToken,
    /// A token's file.
    #[error("cannot read the token in `{path}`")]
    TokenFile {
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// Not a token.
    #[error("{origin} holds no token: there are blanks or odd characters inside")]
    BadToken {
        /// Where it came from.
        origin: String,
    },
    /// Unknown, expired, or none where one is needed.
    #[error("the Hub asks for a valid token ({answer})")]
    Unauthorized {
        /// What the server said.
        answer: Answer,
    },
    /// A token without the right.
    #[error("the token may not do this to `{repo}` ({answer})")]
    Forbidden {
        /// The repository.
        repo: String,
        /// What the server said.
        answer: Answer,
    },
    /// A public repository where a private one was asked for.
    #[error("`{repo}` exists and is public: nothing was sent")]
    NotPrivate {
        /// The repository.
        repo: String,
    },
    /// A name that leaves its folder.
    #[error("the file name `{name}` is not safe: nothing was used")]
    UnsafeName {
        /// The name, escaped.
        name: String,
    },
    /// No file of an export is that large.
    #[error("`{name}` has {num_bytes} bytes, more than {limit}")]
    TooLarge {
        /// The file.
        name: String,
        /// Size told by the server.
        num_bytes: u64,
        /// Most that is taken.
        limit: u64,
    },
    /// The folder is no export.
    #[error("`{folder}` has no `{name}`")]
    MissingFile {
        /// The folder.
        folder: PathBuf,
        /// What it lacks.
        name: &'static str,
    },
    /// A file of the export.
    #[error("cannot read `{path}`")]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// A card by which nobody would find the mask.
    #[error("the card `{path}` is not fit to be pushed")]
    Card {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: CardProblem,
    },
    /// No address.
    #[error("the endpoint is no address of a server: {reason}")]
    Endpoint {
        /// What is wrong with it.
        reason: String,
    },
    /// No home folder, hence no cache.
    #[error("neither HF_HOME nor HOME is set, so there is no place for the Hub's cache")]
    NoHome,
    /// Not cached, and the network is not to be used.
    #[error("offline, and {what}")]
    Offline {
        /// What is not there.
        what: String,
    },
    /// Other bytes than promised.
    #[error("`{name}` is not what the Hub says it is: its digest is not {expected}")]
    Digest {
        /// The file.
        name: String,
        /// The digest promised.
        expected: String,
    },
    /// The connection ended too early.
    #[error("the download of `{name}` broke off")]
    Partial {
        /// The file.
        name: String,
        /// What lies below.
        source: Cause,
    },
    /// Sent somewhere it should not go.
    #[error("{reason}")]
    Redirect {
        /// From where to where.
        reason: String,
    },
    /// Too many requests.
    #[error("the Hub takes no more requests for now ({answer})")]
    RateLimit {
        /// When to come back.
        retry_after: Option<Duration>,
        /// What the server said.
        answer: Answer,
    },
    /// What stands between.
    #[error("cannot reach the Hub through the proxy of {variable}")]
    Proxy {
        /// Variable that names it.
        variable: String,
        /// What lies below.
        source: Cause,
    },
    /// No connection, or no answer in time.
    #[error("cannot reach {endpoint}")]
    Unreachable {
        /// The address.
        endpoint: String,
        /// What lies below.
        source: Cause,
    },
    /// The server failed.
    #[error("the Hub failed ({answer})")]
    Server {
        /// What the server said.
        answer: Answer,
    },
    /// The server does not want this.
    #[error("the Hub refused to {action} ({answer})")]
    Refused {
        /// What was attempted.
        action: &'static str,
        /// What the server said.
        answer: Answer,
    },
    /// Somebody else pushed meanwhile.
    #[error("`{repo}` changed while this push was under way ({answer})")]
    Conflict {
        /// The repository.
        repo: String,
        /// What the server said.
        answer: Answer,
    },
    /// Not the Hub, or a version of it that nobody knows.
    #[error("{endpoint} does not answer as the Hub does")]
    Protocol {
        /// The address.
        endpoint: String,
        /// What lies below.
        source: Cause,
    },
    /// The storage behind the Hub.
    #[error("cannot {action} through the Hub's storage of large files")]
    Transfer {
        /// What was attempted.
        action: &'static str,
        /// What lies below.
        source: Cause,
    },
    /// No space for the cache.
    #[error("the Hub's cache `{path}` is full")]
    CacheFull {
        /// The cache.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// A file system without links.
    #[error("the Hub's cache `{path}` cannot hold symbolic links")]
    NoSymlinks {
        /// The cache.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// The cache, otherwise.
    #[error("cannot use the Hub's cache `{path}`")]
    Cache {
        /// The cache.
        path: PathBuf,
        /// What lies below.
        source: Cause,
    },
}

impl Coded for HubError {
    fn code(&self) -> &'static str {
        match self {
            Self::NotBuilt => "hub.not_built",
            Self::Name { .. } => "hub.name",
            Self::BadRevision { .. } | Self::NoRevision { .. } => "hub.revision",
            Self::NotFound { .. } => "hub.not_found",
            Self::NoMask { .. } => "hub.no_mask",
            Self::Gated { .. } => "hub.gated",
            Self::NoToken => "hub.no_token",
            Self::TokenFile { .. } | Self::BadToken { .. } => "hub.token",
            Self::Unauthorized { .. } => "hub.unauthorized",
            Self::Forbidden { .. } => "hub.forbidden",
            Self::NotPrivate { .. } => "hub.not_private",
            Self::UnsafeName { .. } => "hub.unsafe_name",
            Self::TooLarge { .. } => "hub.too_large",
            Self::MissingFile { .. } => "hub.missing_file",
            Self::Read { .. } => "hub.unreadable",
            Self::Card { .. } => "hub.card",
            Self::Endpoint { .. } => "hub.endpoint",
            Self::NoHome => "hub.no_home",
            Self::Offline { .. } => "hub.offline",
            Self::Digest { .. } => "hub.digest",
            Self::Partial { .. } => "hub.partial",
            Self::Redirect { .. } => "hub.redirect",
            Self::RateLimit { .. } => "hub.rate_limit",
            Self::Proxy { .. } => "hub.proxy",
            Self::Unreachable { .. } => "hub.unreachable",
            Self::Server { .. } => "hub.server",
            Self::Refused { .. } => "hub.refused",
            Self::Conflict { .. } => "hub.conflict",
            Self::Protocol { .. } => "hub.protocol",
            Self::Transfer { .. } => "hub.transfer",
            Self::CacheFull { .. } => "hub.cache_full",
            Self::NoSymlinks { .. } => "hub.no_symlinks",
            Self::Cache { .. } => "hub.cache",
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Read { source, .. } if source.kind() != io::ErrorKind::NotFound => Kind::Storage,
            Self::Offline { .. }
            | Self::Digest { .. }
            | Self::Partial { .. }
            | Self::Redirect { .. }
            | Self::RateLimit { .. }
            | Self::Proxy { .. }
            | Self::Unreachable { .. }
            | Self::Server { .. }
            | Self::Conflict { .. }
            | Self::Protocol { .. }
            | Self::Transfer { .. }
            | Self::CacheFull { .. }
            | Self::NoSymlinks { .. }
            | Self::Cache { .. } => Kind::Storage,
            _ => Kind::Input,
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NotBuilt => "build it with `cargo build --release --features hub`",
            Self::Name { .. } => "pass `owner/name`, as in the address of its page",
            Self::NoRevision { .. } => "look at the branches and tags on the repository's page",
            Self::NotFound { .. } => {
                "check the name; for a private repository set HF_TOKEN, or pass `--token-file`"
            }
            Self::Gated { url, .. } => {
                return Some(format!("accept its terms at {url}, and pass your token"));
            }
            Self::NoToken | Self::Unauthorized { .. } => {
                "set HF_TOKEN, pass `--token-file`, or log in with `hf auth login`"
            }
            Self::TokenFile { .. } | Self::BadToken { .. } => {
                "put the token alone into the file, as the Hub's page shows it"
            }
            Self::Forbidden { .. } => "use a token that may write to this repository",
            Self::NotPrivate { .. } => {
                "make it private in its settings on the Hub, choose another name, or leave out `--private`"
            }
            Self::MissingFile { .. } => "pass the folder that `prulong export-mask` wrote",
            Self::Card { .. } => {
                "let it begin with `---`, a line `base_model: owner/name`, and `---`"
            }
            Self::Endpoint { .. } => {
                "pass `--endpoint https://...`, or set HF_ENDPOINT, without a user name"
            }
            Self::NoHome => "set HF_HOME, or pass `--cache-dir`",
            Self::Offline { .. } => "leave out `--offline`, and unset HF_HUB_OFFLINE",
            Self::Digest { .. } | Self::Partial { .. } | Self::Conflict { .. } => {
                "give the same command again"
            }
            Self::RateLimit { retry_after, .. } => {
                let Some(wait) = retry_after else {
                    return Some("try again later, with a token".to_owned());
                };
                return Some(format!("try again in {} s", wait.as_secs()));
            }
            Self::Proxy { .. } => "check the proxy, or name the host in NO_PROXY",
            Self::Unreachable { .. } => {
                "check the network; `--offline` uses what was downloaded before"
            }
            Self::Server { .. } | Self::Transfer { .. } => "try again later",
            Self::Protocol { .. } | Self::Redirect { .. } => "check `--endpoint` and HF_ENDPOINT",
            Self::CacheFull { .. } | Self::NoSymlinks { .. } | Self::Cache { .. } => {
                "choose another folder with `--cache-dir` or HF_HUB_CACHE"
            }
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_without_the_feature_says_how_to_get_one() {
        let error = HubError::NotBuilt;
        assert_eq!(
            (error.code(), error.kind().exit_code()),
            ("hub.not_built", 2)
        );
        assert!(error.hint().unwrap().contains("--features hub"));
    }
}
