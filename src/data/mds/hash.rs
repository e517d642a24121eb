//! Hashes named in an index, over whole files.

use super::error::MdsError;
use super::value::hex;
use md5::Digest;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

/// A hash being computed.
enum State {
    Md5(md5::Md5),
    Sha1(sha1::Sha1),
    Sha224(sha2::Sha224),
    Sha256(sha2::Sha256),
    Sha384(sha2::Sha384),
    Sha512(sha2::Sha512),
    Xxh32(xxhash_rust::xxh32::Xxh32),
    Xxh64(xxhash_rust::xxh64::Xxh64),
    Xxh3(Box<xxhash_rust::xxh3::Xxh3>),
    Xxh128(Box<xxhash_rust::xxh3::Xxh3>),
}

impl State {
    fn new(name: &str) -> Option<Self> {
        use xxhash_rust::{xxh3::Xxh3, xxh32::Xxh32, xxh64::Xxh64};
        Some(match name {
            "md5" => Self::Md5(md5::Md5::new()),
            "sha1" => Self::Sha1(sha1::Sha1::new()),
            "sha224" => Self::Sha224(sha2::Sha224::new()),
            "sha256" => Self::Sha256(sha2::Sha256::new()),
            "sha384" => Self::Sha384(sha2::Sha384::new()),
            "sha512" => Self::Sha512(sha2::Sha512::new()),
            "xxh32" => Self::Xxh32(Xxh32::new(0)),
            "xxh64" => Self::Xxh64(Xxh64::new(0)),
            "xxh3_64" => Self::Xxh3(Box::new(Xxh3::new())),
            "xxh128" | "xxh3_128" => Self::Xxh128(Box::new(Xxh3::new())),
            _ => return None,
        })
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Md5(state) => state.update(bytes),
            Self::Sha1(state) => state.update(bytes),
            Self::Sha224(state) => state.update(bytes),
            Self::Sha256(state) => state.update(bytes),
            Self::Sha384(state) => state.update(bytes),
            Self::Sha512(state) => state.update(bytes),
            Self::Xxh32(state) => state.update(bytes),
            Self::Xxh64(state) => state.update(bytes),
            Self::Xxh3(state) | Self::Xxh128(state) => state.update(bytes),
        }
    }

    fn finish(self) -> String {
        match self {
            Self::Md5(state) => hex(&state.finalize()),
            Self::Sha1(state) => hex(&state.finalize()),
            Self::Sha224(state) => hex(&state.finalize()),
            Self::Sha256(state) => hex(&state.finalize()),
            Self::Sha384(state) => hex(&state.finalize()),
            Self::Sha512(state) => hex(&state.finalize()),
            Self::Xxh32(state) => format!("{:08x}", state.digest()),
            Self::Xxh64(state) => format!("{:016x}", state.digest()),
            Self::Xxh3(state) => format!("{:016x}", state.digest()),
            Self::Xxh128(state) => format!("{:032x}", state.digest128()),
        }
    }
}

/// Whether this build can compute the hash called `name` (Python's spelling).
pub fn is_known(name: &str) -> bool {
    State::new(name).is_some()
}

/// Hex digest of `bytes`, or nothing for an unknown name.
pub fn digest(name: &str, bytes: &[u8]) -> Option<String> {
    let mut state = State::new(name)?;
    state.update(bytes);
    Some(state.finish())
}

/// Checks every known hash of `expected` against what `reader` yields; unknown names are skipped.
///
/// # Errors
/// [`MdsError::Hash`] for the first that differs, [`MdsError::Io`] if `reader` fails.
pub fn verify(
    path: &Path,
    mut reader: impl Read,
    expected: &BTreeMap<String, String>,
) -> Result<(), MdsError> {
    let mut states: Vec<(&str, &str, State)> = expected
        .iter()
        .filter_map(|(name, digest)| Some((name.as_str(), digest.as_str(), State::new(name)?)))
        .collect();
    if states.is_empty() {
        return Ok(());
    }
    let mut buffer = vec![0_u8; 1 << 20];
    loop {
        let count = reader.read(&mut buffer).map_err(|source| MdsError::Io {
            action: "read",
            path: path.to_path_buf(),
            source,
        })?;
        let filled = buffer.get(..count).unwrap_or_default();
        if filled.is_empty() {
            break;
        }
        for (_, _, state) in &mut states {
            state.update(filled);
        }
    }
    for (name, expected, state) in states {
        let found = state.finish();
        if !found.eq_ignore_ascii_case(expected) {
            return Err(MdsError::Hash {
                path: path.to_path_buf(),
                algorithm: name.to_owned(),
                expected: expected.to_owned(),
                found,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_of_the_empty_string() {
        let check = |name: &str, expected: &str| {
            assert_eq!(digest(name, b"").as_deref(), Some(expected), "{name}");
        };
        check("md5", "d41d8cd98f00b204e9800998ecf8427e");
        check("sha1", "da39a3ee5e6b4b0d3255bfef95601890afd80709");
        check("xxh32", "02cc5d05");
        check("xxh64", "ef46db3751d8e999");
        check("xxh3_64", "2d06800538d394c2");
        check("xxh3_128", "99aa06d3014798d86001c324468d497f");
        assert!(!is_known("blake2b"));
    }
}
