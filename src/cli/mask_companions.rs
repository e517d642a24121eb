//! `prulong mask verify --companions`: the files for other engines that lie beside a mask.

use crate::cli::foreign_file;
use crate::fault::{AnyFault, Coded, Kind};
use crate::mask::foreign::companions;
use crate::mask::sidecar::content::Sidecar;
use std::path::{Path, PathBuf};

/// What each file says that the mask does not.
#[derive(Debug, serde::Serialize)]
#[serde(transparent)]
pub(super) struct Compared(Vec<File>);

#[derive(Debug, serde::Serialize)]
struct File {
    name: &'static str,
    differences: Vec<String>,
}

/// Files that say something else than the mask: an answer.
#[derive(Debug, thiserror::Error)]
#[error("files beside `{mask}` say something else: {}", .names.join(", "))]
pub(super) struct Differ {
    mask: PathBuf,
    names: Vec<&'static str>,
}

impl Coded for Differ {
    fn code(&self) -> &'static str {
        "mask.companions"
    }
    fn kind(&self) -> Kind {
        Kind::Answer
    }
    fn hint(&self) -> Option<String> {
        Some("write them again with `prulong export-mask`".to_owned())
    }
}

/// Reads what lies beside the mask `file`; what is not there is not compared.
///
/// # Errors
/// A file that is there and cannot be read.
pub(super) fn compare(sidecar: &Sidecar, file: &Path) -> Result<Compared, AnyFault> {
    let mut files = Vec::new();
    for name in companions::names() {
        let path = file.with_file_name(name);
        let companion = match foreign_file::read(path) {
            Ok(companion) => companion,
            Err(error) if error.is_missing() => continue,
            Err(error) => return Err(error.into()),
        };
        let differences = companions::differences(sidecar, name, companion.bytes);
        files.push(File { name, differences });
    }
    Ok(Compared(files))
}

impl Compared {
    /// The answer, if any file differs. `file` is the mask.
    pub(super) fn differ(&self, file: &Path) -> Option<Differ> {
        let differing = self.0.iter().filter(|file| !file.differences.is_empty());
        let names: Vec<&'static str> = differing.map(|file| file.name).collect();
        (!names.is_empty()).then(|| Differ {
            mask: file.to_owned(),
            names,
        })
    }

    /// One line per file and difference.
    pub(super) fn lines(&self) -> Vec<String> {
        if self.0.is_empty() {
            return vec!["no files for other engines lie beside the mask".to_owned()];
        }
        let lines = self.0.iter().flat_map(|file| {
            let word = if file.differences.is_empty() {
                "agrees"
            } else {
                "DIFFERS"
            };
            let differences = file.differences.iter().map(|text| format!("   {text}"));
            std::iter::once(format!("{word:<8} {}", file.name)).chain(differences)
        });
        lines.collect()
    }
}
