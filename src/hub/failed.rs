//! What `hf-hub` says, in this program's words: nothing secret, nothing endless, one code each.

use crate::hub::answer::{Answer, Cause};
use crate::hub::error::HubError;
use crate::hub::redirects::Stray;
use crate::hub::repo::Repo;
use crate::hub::settings::Settings;
use hf_hub::HFError;
use std::error::Error;
use std::io;
use std::time::Duration;

/// Longest message of a server that is repeated, in characters.
const MAX_MESSAGE: usize = 300;
/// How a server names a repository that asks for consent.
const GATED: &str = "GatedRepo";
/// How it names one that is missing, or hidden from whoever asks.
const NO_REPO: &str = "RepoNotFound";

/// What was asked, for the error's text.
pub(super) struct Asked<'a> {
    pub(super) settings: &'a Settings,
    pub(super) repo: &'a Repo,
    /// Reads after "refused to".
    pub(super) action: &'static str,
    pub(super) revision: Option<&'a str>,
    pub(super) file: Option<&'a str>,
}

impl Asked<'_> {
    /// Turns `error` around.
    pub(super) fn failed(&self, error: HFError) -> HubError {
        let retry_after = match &error {
            HFError::RateLimited { retry_after, .. } => *retry_after,
            _ => None,
        };
        match error {
            HFError::AuthRequired { context }
            | HFError::Forbidden { context }
            | HFError::Conflict { context }
            | HFError::RateLimited { context, .. }
            | HFError::Http { context } => {
                let answer = Answer {
                    status: context.status.as_u16(),
                    message: context.server_message.map(|text| self.tame(&text)),
                    request_id: context.request_id.map(|text| self.tame(&text)),
                };
                self.refused(answer, context.error_code.as_deref(), retry_after)
            }
            HFError::RepoNotFound { .. } => self.not_found(),
            HFError::RevisionNotFound { context, .. } => match context {
                Some(context) if context.error_code.as_deref() == Some(NO_REPO) => self.not_found(),
                _ => self.no_revision(),
            },
            HFError::Request { source, .. } => self.broken(source),
            HFError::Io(source) => self.cache(source),
            HFError::Xet { source, .. } => self.transfer(&*source),
            error @ HFError::CacheLockTimeout { .. } => HubError::Cache {
                path: self.settings.cache_dir.clone(),
                source: self.cause(&error),
            },
            error => self.protocol(&error),
        }
    }

    fn refused(
        &self,
        answer: Answer,
        code: Option<&str>,
        retry_after: Option<Duration>,
    ) -> HubError {
        match answer.status {
            401 | 403 if code == Some(GATED) => HubError::Gated {
                repo: self.repo.to_string(),
                url: format!("{}/{}", self.settings.endpoint, self.repo),
                answer,
            },
            401 if code == Some(NO_REPO) => self.not_found(),
            401 => HubError::Unauthorized { answer },
            403 => HubError::Forbidden {
                repo: self.repo.to_string(),
                answer,
            },
            404 if code == Some("RevisionNotFound") => self.no_revision(),
            404 => self.not_found(),
            407 => self.proxy(Cause(answer.to_string())),
            409 | 412 => HubError::Conflict {
                repo: self.repo.to_string(),
                answer,
            },
            429 => HubError::RateLimit {
                retry_after,
                answer,
            },
            500.. => HubError::Server { answer },
            _ => HubError::Refused {
                action: self.action,
                answer,
            },
        }
    }

    fn not_found(&self) -> HubError {
        HubError::NotFound {
            repo: self.repo.to_string(),
        }
    }

    fn no_revision(&self) -> HubError {
        HubError::NoRevision {
            repo: self.repo.to_string(),
            revision: self.revision.unwrap_or_default().to_owned(),
        }
    }

    /// A request that got no whole answer.
    fn broken(&self, error: reqwest::Error) -> HubError {
        // Addresses of files may be signed.
        let error = error.without_url();
        if let Some(stray) = error
            .source()
            .and_then(|source| source.downcast_ref::<Stray>())
        {
            return HubError::Redirect {
                reason: stray.to_string(),
            };
        }
        let source = self.cause(&error);
        match self.file {
            _ if error.is_connect() && self.settings.proxy.is_some() => self.proxy(source),
            _ if error.is_connect() || error.is_timeout() => self.unreachable(source),
            Some(name) if error.is_body() || error.is_decode() => HubError::Partial {
                name: name.to_owned(),
                source,
            },
            _ if error.is_decode() => HubError::Protocol {
                endpoint: self.settings.endpoint.clone(),
                source,
            },
            _ => self.unreachable(source),
        }
    }

    fn unreachable(&self, source: Cause) -> HubError {
        HubError::Unreachable {
            endpoint: self.settings.endpoint.clone(),
            source,
        }
    }

    fn proxy(&self, source: Cause) -> HubError {
        let variable = self.settings.proxy.clone();
        HubError::Proxy {
            variable: variable.unwrap_or_else(|| "this network".to_owned()),
            source,
        }
    }

    pub(super) fn protocol(&self, error: &dyn Error) -> HubError {
        HubError::Protocol {
            endpoint: self.settings.endpoint.clone(),
            source: self.cause(error),
        }
    }

    fn transfer(&self, error: &dyn Error) -> HubError {
        HubError::Transfer {
            action: self.action,
            source: self.cause(error),
        }
    }

    /// An operation on the cache.
    pub(super) fn cache(&self, source: io::Error) -> HubError {
        let path = self.settings.cache_dir.clone();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                HubError::CacheFull { path, source }
            }
            // What FAT answers to a symbolic link; a lack of rights is EACCES.
            _ if source.raw_os_error() == Some(EPERM) => HubError::NoSymlinks { path, source },
            io::ErrorKind::Unsupported => HubError::NoSymlinks { path, source },
            _ => HubError::Cache {
                path,
                source: self.cause(&source),
            },
        }
    }

    /// An error and what lies below it, as one text.
    fn cause(&self, error: &dyn Error) -> Cause {
        let mut texts = vec![error.to_string()];
        let mut below = error.source();
        while let Some(error) = below {
            texts.push(error.to_string());
            below = error.source();
        }
        texts.dedup();
        Cause(self.tame(&texts.join(": ")))
    }

    /// A foreign text without the token, on one line, cut short.
    fn tame(&self, text: &str) -> String {
        let text = match &self.settings.token {
            Some(token) => token.hide_in(text),
            None => text.to_owned(),
        };
        let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
        plain.take(MAX_MESSAGE).collect()
    }
}

/// "Operation not permitted".
const EPERM: i32 = 1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Coded;
    use crate::hub::settings::Token;

    fn asked<T>(check: impl FnOnce(&Asked<'_>) -> T) -> T {
        let settings = Settings {
            endpoint: "https://hub.example".to_owned(),
            token: Token::new("hf_secret", "x").unwrap(),
            cache_dir: "cache".into(),
            offline: false,
            retries: 0,
            proxy: None,
        };
        check(&Asked {
            settings: &settings,
            repo: &Repo::parse("a/b").unwrap(),
            action: "look",
            revision: Some("main"),
            file: None,
        })
    }

    #[test]
    fn refusals_of_the_cache_are_told_apart() {
        asked(|asked| {
            let code = |number| {
                asked
                    .failed(io::Error::from_raw_os_error(number).into())
                    .code()
            };
            assert_eq!(code(28), "hub.cache_full");
            assert_eq!(code(122), "hub.cache_full");
            assert_eq!(code(1), "hub.no_symlinks");
            assert_eq!(code(95), "hub.no_symlinks");
            assert_eq!(code(13), "hub.cache");
            let path = "lock".into();
            assert_eq!(
                asked.failed(HFError::CacheLockTimeout { path }).code(),
                "hub.cache"
            );
        });
    }

    #[test]
    fn foreign_texts_are_tamed() {
        asked(|asked| {
            let text = asked.tame(&format!("no hf_secret\x1b[31m\n{}", "x".repeat(1000)));
            assert!(text.starts_with("no [token] [31m x"), "{text}");
            assert_eq!(text.chars().count(), MAX_MESSAGE);
        });
    }

    #[test]
    fn storage_of_large_files_has_a_code_of_its_own() {
        asked(|asked| {
            let error = HFError::xet(hf_hub::XetOperation::Upload, io::Error::other("hf_secret"));
            let error = asked.failed(error);
            assert_eq!(
                (error.code(), error.kind().exit_code()),
                ("hub.transfer", 4)
            );
            assert_eq!(error.source().unwrap().to_string(), "[token]");
            assert_eq!(
                asked.failed(HFError::Other(String::new())).code(),
                "hub.protocol"
            );
        });
    }
}
