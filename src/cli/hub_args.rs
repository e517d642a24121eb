//! Flags of the commands that talk to the Hub, and the environment variables they stand for.

use crate::hub::error::HubError;
use crate::hub::settings::{DEFAULT_ENDPOINT, Settings, Token};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// How to reach the Hub.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "The Hub")]
pub(super) struct HubArgs {
    /// File that holds the token; default: `HF_TOKEN`, else the file that `hf auth login` wrote (`HF_TOKEN_PATH`, or
    /// `token` in `HF_HOME`).
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,

    /// Address of the Hub or of a mirror; default: `HF_ENDPOINT`, else <https://huggingface.co>.
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,

    /// The Hub's cache, shared with Python's tools; default: `HF_HUB_CACHE`, else `hub` in `HF_HOME`.
    #[arg(long, value_name = "DIR")]
    cache_dir: Option<PathBuf>,

    /// Touch no network, as `HF_HUB_OFFLINE=1` does.
    #[arg(long)]
    offline: bool,

    /// How often to try again when the Hub is busy or does not answer.
    #[arg(long, value_name = "N", default_value_t = 5)]
    retries: usize,
}

/// An environment variable's value, or nothing.
type Lookup<'a> = &'a dyn Fn(&str) -> Option<OsString>;

impl HubArgs {
    /// Flags, then the process's environment, then the defaults.
    ///
    /// # Errors
    /// [`HubError`] for a token's file that cannot be read, a token that is none, or a machine without a home folder.
    pub(super) fn settings(&self) -> Result<Settings, HubError> {
        self.resolve(&variable)
    }

    fn resolve(&self, variable: Lookup<'_>) -> Result<Settings, HubError> {
        let text = |name: &str| variable(name).map(|value| value.to_string_lossy().into_owned());
        let path = |name: &str| variable(name).map(|value| under_home(Path::new(&value), variable));
        let home = path("HF_HOME").or_else(|| default_home(variable));
        let in_home = |name: &str| home.as_ref().map(|home| home.join(name));
        let cache_dir = self.cache_dir.clone();
        let cache_dir = cache_dir
            .or_else(|| path("HF_HUB_CACHE"))
            .or_else(|| in_home("hub"));
        let endpoint = self.endpoint.clone().or_else(|| text("HF_ENDPOINT"));
        let endpoint = endpoint.as_deref().unwrap_or(DEFAULT_ENDPOINT);
        let endpoint = endpoint.trim_end_matches('/').to_owned();
        let token = match (&self.token_file, text("HF_TOKEN")) {
            (Some(file), _) => read_token(file)?,
            (None, Some(value)) => Token::new(&value, "HF_TOKEN")?,
            (None, None) => match path("HF_TOKEN_PATH").or_else(|| in_home("token")) {
                Some(file) if file.exists() => read_token(&file)?,
                _ => None,
            },
        };
        Ok(Settings {
            proxy: proxy_of(&endpoint, variable),
            endpoint,
            token,
            cache_dir: cache_dir.ok_or(HubError::NoHome)?,
            offline: self.offline || text("HF_HUB_OFFLINE").is_some_and(|value| is_true(&value)),
            retries: self.retries,
        })
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the edge of the program: the Hub's settings are shared with other tools by the environment"
)]
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// Where the Hub's files are by default.
fn default_home(variable: Lookup<'_>) -> Option<PathBuf> {
    let caches = variable("XDG_CACHE_HOME").map(PathBuf::from);
    let caches = caches.or_else(|| Some(PathBuf::from(variable("HOME")?).join(".cache")));
    Some(caches?.join("huggingface"))
}

/// Python's tools expand `~` in these variables.
fn under_home(path: &Path, variable: Lookup<'_>) -> PathBuf {
    let below = path.strip_prefix("~").ok();
    let expanded = below.and_then(|below| Some(PathBuf::from(variable("HOME")?).join(below)));
    expanded.unwrap_or_else(|| path.to_owned())
}

fn read_token(file: &Path) -> Result<Option<Token>, HubError> {
    let text = std::fs::read_to_string(file).map_err(|source| HubError::TokenFile {
        path: file.to_owned(),
        source,
    })?;
    Token::new(&text, &format!("`{}`", file.display()))
}

/// The words that Python's tools take for yes.
fn is_true(value: &str) -> bool {
    ["1", "on", "yes", "true"].contains(&value.to_lowercase().as_str())
}

/// The variable that names a proxy for `endpoint`, to be named when it fails.
fn proxy_of(endpoint: &str, variable: Lookup<'_>) -> Option<String> {
    let scheme = endpoint.split("://").next().unwrap_or_default();
    let names = [format!("{scheme}_proxy"), "all_proxy".to_owned()];
    names.iter().find_map(|name| {
        let upper = name.to_uppercase();
        let is_set = variable(name).is_some() || variable(&upper).is_some();
        is_set.then_some(upper)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Coded;

    fn args() -> HubArgs {
        HubArgs {
            token_file: None,
            endpoint: None,
            cache_dir: None,
            offline: false,
            retries: 5,
        }
    }

    fn resolve(args: &HubArgs, variables: &[(&str, &str)]) -> Result<Settings, HubError> {
        args.resolve(&|name| {
            let pair = variables.iter().find(|(known, _)| *known == name);
            pair.map(|(_, value)| OsString::from(value))
        })
    }

    fn token(text: &str) -> Option<Token> {
        Token::new(text, "").unwrap()
    }

    #[test]
    fn without_variables_the_defaults_are_pythons() {
        let settings = resolve(&args(), &[("HOME", "/h")]).unwrap();
        assert_eq!(settings.endpoint, "https://huggingface.co");
        assert_eq!(settings.cache_dir, Path::new("/h/.cache/huggingface/hub"));
        assert_eq!(
            (settings.token, settings.offline, settings.proxy),
            (None, false, None)
        );
        let settings = resolve(&args(), &[("HOME", "/h"), ("XDG_CACHE_HOME", "/x")]).unwrap();
        assert_eq!(settings.cache_dir, Path::new("/x/huggingface/hub"));
        assert_eq!(resolve(&args(), &[]).unwrap_err().code(), "hub.no_home");
    }

    #[test]
    fn each_of_the_six_variables_counts_and_flags_win() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let (in_home, named) = (file("token", "hf_home\n"), file("named", "hf_named\n"));
        let home = folder.path().to_str().unwrap();
        let settings = resolve(&args(), &[("HF_HOME", home)]).unwrap();
        assert_eq!(settings.cache_dir, folder.path().join("hub"));
        assert_eq!(settings.token, token("hf_home"));

        let named = named.to_str().unwrap();
        let mut variables = vec![("HF_HOME", home), ("HF_TOKEN_PATH", named)];
        assert_eq!(
            resolve(&args(), &variables).unwrap().token,
            token("hf_named")
        );
        variables.extend([
            ("HF_TOKEN", "hf_value"),
            ("HF_HUB_CACHE", "~/cache"),
            ("HOME", "/h"),
            ("HF_ENDPOINT", "http://mirror.example/"),
            ("HF_HUB_OFFLINE", "TRUE"),
            ("http_proxy", "http://proxy.example"),
        ]);
        let settings = resolve(&args(), &variables).unwrap();
        assert_eq!(settings.token, token("hf_value"));
        assert_eq!(settings.cache_dir, Path::new("/h/cache"));
        assert_eq!(settings.endpoint, "http://mirror.example");
        assert!(settings.offline);
        assert_eq!(settings.proxy.as_deref(), Some("HTTP_PROXY"));

        let flags = HubArgs {
            token_file: Some(in_home),
            endpoint: Some("https://other.example".to_owned()),
            cache_dir: Some("here".into()),
            ..args()
        };
        let settings = resolve(&flags, &variables).unwrap();
        assert_eq!(settings.token, token("hf_home"));
        assert_eq!(settings.cache_dir, Path::new("here"));
        assert_eq!(settings.endpoint, "https://other.example");
        assert_eq!(settings.proxy, None);
    }

    #[test]
    fn a_named_token_must_be_there_and_be_one() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing");
        let variables = [("HF_HOME", "/nowhere"), ("HF_HUB_OFFLINE", "0")];
        let of = |path: &Path| HubArgs {
            token_file: Some(path.to_owned()),
            ..args()
        };
        let settings = resolve(&args(), &variables).unwrap();
        assert_eq!((settings.token, settings.offline), (None, false));
        assert_eq!(
            resolve(&of(&missing), &variables).unwrap_err().code(),
            "hub.token"
        );
        let odd = folder.path().join("odd");
        std::fs::write(&odd, "two words").unwrap();
        let error = resolve(&of(&odd), &variables).unwrap_err();
        assert_eq!((error.code(), error.kind().exit_code()), ("hub.token", 2));
        assert!(!error.to_string().contains("two words"));
    }
}
