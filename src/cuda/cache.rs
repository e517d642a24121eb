//! Compiled kernels on disk, by everything that decides their code.
//!
//! A file holds its key and the checksum of its code; one that was torn, or belongs to another key, is compiled again and
//! replaced. Writing is a matter of speed alone: a folder that cannot be written is reported, never fatal.

use super::error::CudaError;
use super::nvrtc::{Arch, Compiler};
use super::source::Family;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// First line of every file.
const MAGIC: &str = "prulong kernel 1";
/// Hexadecimal digits of the key in a file's name.
const NAME_DIGITS: usize = 16;

/// A folder of compiled kernels, or none.
#[derive(Debug, Clone, Default)]
pub struct Cache {
    folder: Option<PathBuf>,
}

/// Where machine code came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// From the folder.
    Disk,
    /// Compiled, and saved if there is a folder.
    Compiled,
    /// Compiled; it cannot be saved.
    Unsaved {
        /// Why not.
        reason: String,
    },
}

impl Cache {
    /// Keeps files in `folder`, which is made when the first one is written; keeps none without one.
    pub fn new(folder: Option<PathBuf>) -> Self {
        Self { folder }
    }

    /// Machine code of `family` for `arch`.
    ///
    /// # Errors
    /// As [`Compiler::compile`].
    pub fn code(
        &self,
        compiler: Compiler,
        family: Family,
        arch: Arch,
    ) -> Result<(Vec<u8>, Origin), CudaError> {
        let key = key(compiler, family, arch);
        let path = self.path(family, arch, &key);
        let read = path.as_ref().and_then(|path| fs::read(path).ok());
        if let Some(code) = read.and_then(|file| unpacked(&file, &key)) {
            return Ok((code, Origin::Disk));
        }
        let code = compiler.compile(family, arch)?;
        let saved = path.map_or(Ok(()), |path| save(&path, &packed(&code, &key)));
        let origin = match saved {
            Ok(()) => Origin::Compiled,
            Err(error) => Origin::Unsaved {
                reason: error.to_string(),
            },
        };
        Ok((code, origin))
    }

    fn path(&self, family: Family, arch: Arch, key: &str) -> Option<PathBuf> {
        let stem = family.file().trim_end_matches(".cu");
        let name = format!("{stem}-{arch}-{}.cubin", &key[..NAME_DIGITS]);
        Some(self.folder.as_ref()?.join(name))
    }
}

/// blake3 of the source, the options and the compiler's release, hex.
fn key(compiler: Compiler, family: Family, arch: Arch) -> String {
    let mut hasher = blake3::Hasher::new();
    let options = Compiler::options(arch).join(" ");
    for part in [family.text(), options, compiler.version()] {
        hasher.update(part.as_bytes());
        hasher.update(&[0]);
    }
    hasher.finalize().to_hex().to_string()
}

fn head(code: &[u8], key: &str) -> String {
    format!("{MAGIC} {key} {}\n", blake3::hash(code).to_hex())
}

fn packed(code: &[u8], key: &str) -> Vec<u8> {
    [head(code, key).as_bytes(), code].concat()
}

/// The code in a file, if the file is whole and of this key.
fn unpacked(file: &[u8], key: &str) -> Option<Vec<u8>> {
    let head_len = file.iter().position(|byte| *byte == b'\n')? + 1;
    let (found, code) = file.split_at_checked(head_len)?;
    (found == head(code, key).as_bytes()).then(|| code.to_vec())
}

/// Writes a new file and renames it, so that others see all of it or nothing.
fn save(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::nvrtc;
    use super::*;

    const FAMILY: Family = Family::Rope;
    const ARCH: Arch = Arch { major: 8, minor: 0 };

    fn compiler() -> Compiler {
        nvrtc::load()
            .unwrap_or_else(|error| panic!("{error}: {:?}", crate::fault::Coded::hint(&error)))
    }

    #[test]
    fn code_is_compiled_once_and_read_afterwards() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(Some(folder.path().join("kernels")));
        let (compiled, origin) = cache.code(compiler(), FAMILY, ARCH).unwrap();
        assert_eq!(origin, Origin::Compiled);
        let (read, origin) = cache.code(compiler(), FAMILY, ARCH).unwrap();
        assert_eq!(origin, Origin::Disk);
        assert_eq!(read, compiled);
    }

    #[test]
    fn a_torn_changed_or_foreign_file_is_compiled_again() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(Some(folder.path().to_owned()));
        let (code, _) = cache.code(compiler(), FAMILY, ARCH).unwrap();
        let key = key(compiler(), FAMILY, ARCH);
        let path = cache.path(FAMILY, ARCH, &key).unwrap();
        let whole = fs::read(&path).unwrap();
        let mut changed = whole.clone();
        *changed.last_mut().unwrap() ^= 1;
        let foreign = packed(&code, &key.replace('a', "b"));
        for file in [
            &whole[..whole.len() / 2],
            &whole[..20],
            b"",
            &changed,
            &foreign,
        ] {
            fs::write(&path, file).unwrap();
            let (again, origin) = cache.code(compiler(), FAMILY, ARCH).unwrap();
            assert_eq!(origin, Origin::Compiled);
            assert_eq!(again, code);
            assert_eq!(fs::read(&path).unwrap(), whole);
        }
    }

    #[test]
    fn every_part_of_the_key_counts() {
        let other = Arch { major: 9, minor: 0 };
        let keys = [
            key(compiler(), FAMILY, ARCH),
            key(compiler(), Family::Swiglu, ARCH),
            key(compiler(), FAMILY, other),
        ];
        assert!(keys[0] != keys[1] && keys[0] != keys[2]);
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_reported_and_not_fatal() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a file");
        fs::write(&file, "").unwrap();
        let cache = Cache::new(Some(file.join("kernels")));
        let (_, origin) = cache.code(compiler(), FAMILY, ARCH).unwrap();
        assert!(matches!(origin, Origin::Unsaved { .. }), "{origin:?}");
        let (_, origin) = Cache::default().code(compiler(), FAMILY, ARCH).unwrap();
        assert_eq!(origin, Origin::Compiled);
    }
}
