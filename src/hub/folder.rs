//! The folder that is pushed: checked as a whole before anything is sent.

use crate::fault::AnyFault;
use crate::hub::card;
use crate::hub::error::HubError;
use crate::hub::names;
use crate::mask::card::CARD_NAME;
use crate::mask::error::MaskWarning;
use crate::mask::export::{ExportFile, SIDECAR_NAME};
use crate::mask::provenance::folder_name;
use crate::mask::sidecar::content::Sidecar;
use crate::mask::sidecar::read;
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

/// An export that is fit to be pushed.
#[derive(Debug)]
pub struct Package {
    /// The mask.
    pub sidecar: Sidecar,
    /// What is odd about it.
    pub warnings: Vec<MaskWarning>,
    /// What the card names.
    pub base_models: Vec<String>,
    /// What is sent, by name.
    pub files: Vec<ExportFile>,
    /// Files of the folder that are not, by name.
    pub left_out: Vec<String>,
}

impl Package {
    /// Size of everything, in bytes.
    pub fn num_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes.len() as u64).sum()
    }

    /// Whether a base model of the card is the one the mask was made for, as far as names tell.
    pub fn names_its_base(&self) -> bool {
        let last = |name: &str| folder_name(Path::new(name));
        let base = last(&self.sidecar.base.model);
        self.base_models.iter().any(|name| last(name) == base)
    }
}

/// Reads and checks an export's folder; `include` names further files below it.
///
/// # Errors
/// A sidecar or card that is missing or unsound, a file that cannot be read, an unsafe name.
pub fn read(folder: &Path, include: &[String]) -> Result<Package, AnyFault> {
    let present = list(folder)?;
    for needed in [SIDECAR_NAME, CARD_NAME] {
        if !present.contains(needed) {
            return Err(HubError::MissingFile {
                folder: folder.to_owned(),
                name: needed,
            }
            .into());
        }
    }
    let mut wanted: BTreeSet<String> = names::export_names().into_iter().collect();
    wanted.retain(|name| present.contains(name));
    for name in include {
        names::check(name)?;
        wanted.insert(name.clone());
    }
    let files = wanted.iter().map(|name| {
        let path = folder.join(name);
        let bytes = std::fs::read(&path).map_err(|source| HubError::Read { path, source })?;
        let name = name.clone();
        Ok(ExportFile { name, bytes })
    });
    let files: Vec<ExportFile> = files.collect::<Result<_, HubError>>()?;
    let bytes_of = |name: &str| {
        let file = files.iter().find(|file| file.name == name);
        file.map(|file| file.bytes.as_slice()).unwrap_or_default()
    };
    let checked = read::parse(bytes_of(SIDECAR_NAME), &folder.join(SIDECAR_NAME))?;
    let base_models = card_names(bytes_of(CARD_NAME), folder.join(CARD_NAME))?;
    let left_out = present.difference(&wanted).cloned().collect();
    Ok(Package {
        sidecar: checked.sidecar,
        warnings: checked.warnings,
        base_models,
        files,
        left_out,
    })
}

/// The base models that the card at `path` names.
fn card_names(bytes: &[u8], path: PathBuf) -> Result<Vec<String>, HubError> {
    let text = str::from_utf8(bytes).map_err(|_| card::CardProblem::Encoding);
    text.and_then(card::base_models)
        .map_err(|source| HubError::Card { path, source })
}

/// Names of the files below `folder`, `/` between components. Links to folders are not followed.
fn list(folder: &Path) -> Result<BTreeSet<String>, HubError> {
    let mut names = BTreeSet::new();
    let mut pending = vec![(folder.to_owned(), String::new())];
    while let Some((path, prefix)) = pending.pop() {
        let failed = |source: io::Error| HubError::Read {
            path: path.clone(),
            source,
        };
        for entry in std::fs::read_dir(&path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            if entry.file_type().map_err(failed)?.is_dir() {
                pending.push((entry.path(), format!("{name}/")));
            } else {
                names.insert(name);
            }
        }
    }
    Ok(names)
}
