//! Names of repositories and of their revisions.

use crate::hub::error::HubError;
use std::fmt;

/// Longest name that the Hub takes, and longest revision that is looked at.
const MAX_LEN: usize = 96;
const MAX_REVISION_LEN: usize = 255;

/// The branch that a repository starts with.
pub const MAIN: &str = "main";

/// `owner/name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repo {
    /// User or organization.
    pub owner: String,
    /// The repository among the owner's.
    pub name: String,
}

impl Repo {
    /// Reads `owner/name`.
    ///
    /// # Errors
    /// [`HubError::Name`] for what the Hub would not take.
    pub fn parse(text: &str) -> Result<Self, HubError> {
        let fail = |reason| HubError::Name {
            text: text.to_owned(),
            reason,
        };
        let (owner, name) = text
            .split_once('/')
            .ok_or_else(|| fail("it is not `owner/name`"))?;
        for part in [owner, name] {
            let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
            if part.is_empty() || part.len() > MAX_LEN {
                return Err(fail("owner and name have 1 to 96 characters each"));
            }
            if !part.chars().all(allowed) {
                return Err(fail(
                    "owner and name consist of letters, digits, `-`, `_` and `.`",
                ));
            }
            let edges = |c| part.starts_with(c) || part.ends_with(c);
            if edges('-') || edges('.') || part.contains("--") || part.contains("..") {
                return Err(fail("`-` and `.` stand neither at an edge nor doubled"));
            }
        }
        if has_git_suffix(name) {
            return Err(fail("a name does not end in `.git`"));
        }
        Ok(Self {
            owner: owner.to_owned(),
            name: name.to_owned(),
        })
    }
}

fn has_git_suffix(name: &str) -> bool {
    let suffix = std::path::Path::new(name).extension();
    suffix.is_some_and(|suffix| suffix.eq_ignore_ascii_case("git"))
}

impl fmt::Display for Repo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.owner, self.name)
    }
}

/// Reads `owner/name` or `owner/name@revision`.
///
/// # Errors
/// [`HubError::Name`], [`HubError::BadRevision`].
pub fn parse_pinned(text: &str) -> Result<(Repo, Option<String>), HubError> {
    let Some((repo, revision)) = text.split_once('@') else {
        return Ok((Repo::parse(text)?, None));
    };
    check_revision(revision)?;
    Ok((Repo::parse(repo)?, Some(revision.to_owned())))
}

/// Whether `revision` can be a branch, a tag or a commit: it becomes a path in the cache.
///
/// # Errors
/// [`HubError::BadRevision`].
pub fn check_revision(revision: &str) -> Result<(), HubError> {
    let plain = |c: char| c.is_ascii_graphic() && !"\\~^:?*[@{}\"'`".contains(c);
    let parts = || revision.split('/');
    let sound = revision.len() <= MAX_REVISION_LEN
        && revision.chars().all(plain)
        && !revision.contains("..")
        && !revision.starts_with('-')
        && parts().all(|part| !part.is_empty() && !part.starts_with('.'));
    if sound {
        return Ok(());
    }
    Err(HubError::BadRevision {
        revision: revision.to_owned(),
    })
}

/// Whether `text` is the full name of a commit.
pub fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Coded;

    #[test]
    fn names_are_what_the_hub_takes() {
        let repo = Repo::parse("meta-llama/Llama-3.1-8B_x").unwrap();
        assert_eq!(repo.to_string(), "meta-llama/Llama-3.1-8B_x");
        for bad in [
            "gpt2",
            "",
            "/",
            "a/",
            "/b",
            "a/b/c",
            "a b/c",
            "a/..",
            "../b",
            "a/b--c",
            "a/-b",
            "a/b.",
            "a/b.git",
            "a/b\u{e9}",
            "a/b\n",
        ] {
            assert_eq!(Repo::parse(bad).unwrap_err().code(), "hub.name", "{bad}");
        }
        assert!(Repo::parse(&format!("a/{}", "x".repeat(97))).is_err());
    }

    #[test]
    fn a_revision_follows_the_at_sign_and_is_no_path_out() {
        let (repo, revision) = parse_pinned("a/b@refs/pr/3").unwrap();
        assert_eq!(
            (repo.to_string().as_str(), revision.as_deref()),
            ("a/b", Some("refs/pr/3"))
        );
        assert_eq!(parse_pinned("a/b").unwrap().1, None);
        for bad in [
            "a/b@", "a/b@../x", "a/b@/x", "a/b@x//y", "a/b@.x", "a/b@x y", "a/b@a@b", "a/b@-x",
        ] {
            assert_eq!(
                parse_pinned(bad).unwrap_err().code(),
                "hub.revision",
                "{bad}"
            );
        }
    }

    #[test]
    fn a_commit_has_forty_hexadecimal_digits() {
        assert!(is_commit(&"0aF9".repeat(10)));
        assert!(!is_commit("main"));
        assert!(!is_commit(&"0aG9".repeat(10)));
    }
}
