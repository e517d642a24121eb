//! How to reach the Hub, resolved by `cli` from flags and environment.

use crate::hub::error::HubError;
use std::fmt;
use std::path::PathBuf;

/// The Hub itself.
pub const DEFAULT_ENDPOINT: &str = "https://huggingface.co";

/// A secret that no text shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Takes a token as a file or a variable holds it, blanks around it removed; `None` if nothing is left.
    ///
    /// # Errors
    /// [`HubError::BadToken`] for characters that no token has and no request could carry. `origin` says where it came from.
    pub fn new(text: &str, origin: &str) -> Result<Option<Self>, HubError> {
        let text = text.trim();
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(HubError::BadToken {
                origin: origin.to_owned(),
            });
        }
        Ok((!text.is_empty()).then(|| Self(text.to_owned())))
    }

    /// The secret, for a request's header and nothing else.
    #[cfg(feature = "hub")]
    pub(super) fn secret(&self) -> &str {
        &self.0
    }

    /// `text` without the secret.
    pub fn hide_in(&self, text: &str) -> String {
        text.replace(&self.0, "[token]")
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

/// Everything about a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Address of the Hub or of a mirror.
    pub endpoint: String,
    /// Who is asking.
    pub token: Option<Token>,
    /// The Hub's cache, in the layout of Python's tools.
    pub cache_dir: PathBuf,
    /// Touch no network.
    pub offline: bool,
    /// How often a request is tried again when the Hub is busy or does not answer.
    pub retries: usize,
    /// The variable that names a proxy for this endpoint, if one does.
    pub proxy: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Coded;

    #[test]
    fn a_token_is_trimmed_checked_and_never_shown() {
        let token = Token::new(" hf_secret\n", "x").unwrap().unwrap();
        assert_eq!(format!("{token:?}"), "Token");
        assert_eq!(token.hide_in("Bearer hf_secret!"), "Bearer [token]!");
        assert_eq!(Token::new(" \n", "x").unwrap(), None);
        let error = Token::new("hf_se\ncret", "the file `f`").unwrap_err();
        assert_eq!(error.code(), "hub.token");
        assert!(error.to_string().contains("the file `f`"));
        assert!(!error.to_string().contains("cret"));
    }
}
