//! Where a request may be sent on to.
//!
//! Files of a repository may lie elsewhere: the client drops the token when the host changes. What asks or changes something stays
//! with the host that was asked, and what began encrypted stays encrypted.

use reqwest::Url;
use reqwest::redirect::{Attempt, Policy};

/// Most steps of one request.
const MAX_STEPS: usize = 10;

/// Why a redirect was not followed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Stray {
    /// To another host.
    #[error("{from} sends a request on to {to}, another host")]
    Host { from: String, to: String },
    /// Without encryption.
    #[error("{from} sends a request on to {to} without encryption")]
    Plain { from: String, to: String },
    /// In a circle.
    #[error("{from} sends a request on and on")]
    Circle { from: String },
}

/// The rule for an endpoint.
pub(super) fn policy(endpoint: &Url) -> Policy {
    let prefix = endpoint.path().trim_end_matches('/').to_owned();
    Policy::custom(move |attempt| match stray(&attempt, &prefix) {
        Some(stray) => attempt.error(stray),
        None => attempt.follow(),
    })
}

fn stray(attempt: &Attempt<'_>, prefix: &str) -> Option<Stray> {
    let first = attempt.previous().first()?;
    judge(first, attempt.url(), attempt.previous().len(), prefix)
}

fn judge(first: &Url, next: &Url, num_steps: usize, prefix: &str) -> Option<Stray> {
    let (from, to) = (origin(first), origin(next));
    let is_file = first
        .path()
        .strip_prefix(prefix)
        .is_some_and(|path| !path.starts_with("/api/") && path.contains("/resolve/"));
    if num_steps > MAX_STEPS {
        Some(Stray::Circle { from })
    } else if first.scheme() == "https" && next.scheme() != "https" {
        Some(Stray::Plain { from, to })
    } else if !is_file && from != to {
        Some(Stray::Host { from, to })
    } else {
        None
    }
}

/// Scheme, host and port; nothing of an address that may be signed.
fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(first: &str, next: &str, num_steps: usize) -> Option<String> {
        let url = |text: &str| Url::parse(text).unwrap();
        judge(&url(first), &url(next), num_steps, "").map(|stray| stray.to_string())
    }

    #[test]
    fn only_files_may_lie_elsewhere_and_nothing_loses_its_encryption() {
        let api = "https://hub.example/api/models/a/b";
        let file = "https://hub.example/a/b/resolve/main/x";
        assert_eq!(verdict(api, "https://hub.example/api/models/A/b", 1), None);
        assert_eq!(verdict(file, "https://cdn.example/x?signed", 1), None);
        let text = verdict(api, "https://other.example/api/models/a/b?secret", 1).unwrap();
        assert!(text.contains("https://other.example") && !text.contains("secret"));
        let odd = "https://hub.example/api/resolve/x";
        assert!(verdict(odd, "https://other.example/", 1).is_some());
        let batch = "https://hub.example/a/b.git/info/lfs/objects/batch";
        assert!(verdict(batch, "https://other.example/", 1).is_some());
        assert!(
            verdict(file, "http://cdn.example/x", 1)
                .unwrap()
                .contains("encryption")
        );
        assert!(
            verdict(api, "https://hub.example/", 11)
                .unwrap()
                .contains("on and on")
        );
    }
}
