//! `MANIFEST.json`: the list of a checkpoint's files with their digests, sealed by a digest of itself.
//!
//! The text ends with `"hash": "<64 hex digits>"` and a closing brace; the digest covers every byte before those digits, so
//! one rule verifies manifests of every format version, also of those not yet known.

use super::identity::Identity;
use serde::{Deserialize, Serialize};

/// Name of the manifest inside a checkpoint.
pub const NAME: &str = "MANIFEST.json";

/// Newest format version this program reads, and the one it writes.
pub const VERSION: u64 = 1;

/// Longest manifest that is read, in bytes.
pub const MAX_BYTES: u64 = 16 << 20;

const FORMAT: &str = "prulong.checkpoint";
const HASH_LEN: usize = 64;
const TAIL: &str = "\"\n}\n";

/// Content of a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    format: String,
    version: u64,
    /// Optimizer steps taken.
    pub step: u64,
    /// The run it belongs to.
    pub identity: Identity,
    /// Every other file, sorted by name.
    pub files: Vec<FileSeal>,
    hash: String,
}

/// Length and digest of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileSeal {
    /// Name inside the checkpoint.
    pub name: String,
    /// Length in bytes.
    pub len: u64,
    /// Digest of the content, 64 hex digits.
    pub blake3: String,
}

/// Why a manifest was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// It is intact and of a newer format version.
    Newer {
        /// Its version.
        found: u64,
    },
    /// It does not verify.
    Damaged(String),
}

impl Manifest {
    /// Seals `files`.
    pub fn new(step: u64, identity: Identity, mut files: Vec<FileSeal>) -> Self {
        files.sort_by(|left, right| left.name.cmp(&right.name));
        Self {
            format: FORMAT.to_owned(),
            version: VERSION,
            step,
            identity,
            files,
            hash: "0".repeat(HASH_LEN),
        }
    }

    /// Whether both seal the same content of the same run at the same step.
    pub fn seals_same(&self, other: &Self) -> bool {
        (self.step, &self.identity, &self.files) == (other.step, &other.identity, &other.files)
    }

    /// The bytes of `MANIFEST.json`.
    ///
    /// # Errors
    /// The serializer's; the content itself always has a text.
    pub fn print(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.truncate(text.len().saturating_sub(HASH_LEN + TAIL.len() - 1));
        let hash = blake3::hash(text.as_bytes()).to_hex();
        text.push_str(&hash);
        text.push_str(TAIL);
        Ok(text.into_bytes())
    }

    /// Reads and verifies `MANIFEST.json`.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        let damaged = |reason: &str| Refusal::Damaged(format!("`{NAME}` {reason}"));
        let sealed = bytes
            .strip_suffix(TAIL.as_bytes())
            .and_then(|head| head.split_last_chunk::<HASH_LEN>())
            .is_some_and(|(body, hash)| blake3::hash(body).to_hex().as_bytes() == hash);
        if !sealed {
            return Err(damaged("does not match its own digest"));
        }
        let foreign =
            |error: serde_json::Error| damaged(&format!("has unexpected content: {error}"));
        let version: VersionOnly = serde_json::from_slice(bytes).map_err(foreign)?;
        if version.format != FORMAT {
            return Err(damaged("is not one of a checkpoint"));
        }
        if version.version > VERSION {
            return Err(Refusal::Newer {
                found: version.version,
            });
        }
        let manifest: Self = serde_json::from_slice(bytes).map_err(foreign)?;
        if !manifest.identity.is_consistent() {
            return Err(damaged(
                "has a config digest that does not match its settings",
            ));
        }
        if let Some(file) = manifest.files.iter().find(|file| !is_file_name(&file.name)) {
            return Err(damaged(&format!(
                "lists the unsafe name `{}`",
                file.name.escape_default()
            )));
        }
        Ok(manifest)
    }
}

/// The part every version has; other fields are not looked at.
#[derive(Deserialize)]
struct VersionOnly {
    format: String,
    version: u64,
}

/// Whether a name is plain enough to be joined to a folder: letters, digits, `.`, `_`, `-`, and not hidden.
pub fn is_file_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=128).contains(&name.len())
        && name.bytes().all(plain)
        && !name.starts_with('.')
        && name != NAME
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn manifest() -> Manifest {
        let file = |name: &str| FileSeal {
            name: name.to_owned(),
            len: 3,
            blake3: blake3::hash(b"abc").to_hex().to_string(),
        };
        let identity = Identity::new(&json!({"a": 1}), "m", "d");
        Manifest::new(7, identity, vec![file("b.json"), file("a.json")])
    }

    /// Seals an arbitrary text as a manifest would be.
    fn seal(head: &str) -> Vec<u8> {
        let head = format!("{head}, \"hash\": \"");
        format!("{head}{}{TAIL}", blake3::hash(head.as_bytes()).to_hex()).into_bytes()
    }

    #[test]
    fn what_is_printed_is_parsed_and_files_are_sorted() {
        let parsed = Manifest::parse(&manifest().print().unwrap()).unwrap();
        assert_eq!(parsed.print().unwrap(), manifest().print().unwrap());
        assert_eq!(parsed.step, 7);
        assert_eq!(parsed.files[0].name, "a.json");
    }

    #[test]
    fn a_newer_version_is_told_apart_from_damage() {
        let newer = seal(r#"{"format": "prulong.checkpoint", "version": 9, "what": []"#);
        assert_eq!(Manifest::parse(&newer), Err(Refusal::Newer { found: 9 }));
        let foreign = seal(r#"{"format": "other", "version": 1"#);
        assert!(matches!(
            Manifest::parse(&foreign),
            Err(Refusal::Damaged(_))
        ));
    }

    #[test]
    fn unsafe_names_are_refused() {
        for name in [
            "",
            ".",
            "..",
            "../x",
            "/x",
            "a/b",
            "a\0",
            "MANIFEST.json",
            ".hidden",
            "ä",
        ] {
            assert!(!is_file_name(name), "{name:?}");
        }
        assert!(is_file_name("state.safetensors"));
        let mut evil = manifest();
        evil.files[0].name = "../../x".to_owned();
        let refusal = Manifest::parse(&evil.print().unwrap()).unwrap_err();
        assert!(
            matches!(&refusal, Refusal::Damaged(text) if text.contains("unsafe")),
            "{refusal:?}"
        );
    }
}
