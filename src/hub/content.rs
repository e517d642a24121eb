//! Digests by which git and the Hub name the content of a file.

use sha1::Sha1;
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// Whether `digest` is one of the names that `bytes` have: git's object name, the SHA-256 by which large files are stored, or the
/// object name of the pointer file that stands for one.
pub fn is_named(bytes: &[u8], digest: &str) -> bool {
    let names = [
        git_object(bytes),
        sha256(bytes),
        git_object(lfs_pointer(bytes).as_bytes()),
    ];
    names.iter().any(|name| name.eq_ignore_ascii_case(digest))
}

/// The object name of a file: SHA-1 over a header and the content.
fn git_object(bytes: &[u8]) -> String {
    let mut hasher = Sha1::new();
    hasher.update(format!("blob {}\0", bytes.len()));
    hasher.update(bytes);
    hex(&hasher.finalize())
}

fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// The file that git holds in place of a large one.
fn lfs_pointer(bytes: &[u8]) -> String {
    let (digest, num_bytes) = (sha256(bytes), bytes.len());
    format!("version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {num_bytes}\n")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `printf 'hello\n' | git hash-object --stdin`, `sha256sum`, and `git hash-object` of the pointer file that `git lfs pointer`
    /// prints.
    #[test]
    fn the_names_are_gits_and_the_hubs() {
        let bytes = b"hello\n";
        for name in [
            "ce013625030ba8dba906f756967f9e9ca394464a",
            "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03",
            POINTER,
        ] {
            assert!(is_named(bytes, name), "{name}");
            assert!(!is_named(b"hello", name), "{name}");
        }
        assert!(!is_named(bytes, ""));
    }

    const POINTER: &str = "fa61e1ef71c9908c0926776a4aa3504b3a27f159";
}
