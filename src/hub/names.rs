//! The files of an export by name, and what a name may be.

use crate::hub::error::HubError;
use crate::mask::card::CARD_NAME;
use crate::mask::export::{DUO_FOLDER, DUO_RANK_FOLDER, SIDECAR_NAME};
use crate::mask::{duo, head_scores, rtp_llm};

/// Every file that an export may hold (masks.md section 9), sorted; the only ones that are pushed and pulled by themselves.
pub fn export_names() -> Vec<String> {
    let in_folder = |folder| {
        let names = [duo::TABLE_NAME, duo::CONFIG_NAME];
        names.map(|name| format!("{folder}/{name}"))
    };
    let single = [
        SIDECAR_NAME,
        CARD_NAME,
        rtp_llm::FILE_NAME,
        head_scores::FILE_NAME,
    ];
    let mut names: Vec<String> = single.map(str::to_owned).into();
    names.extend(
        in_folder(DUO_FOLDER)
            .into_iter()
            .chain(in_folder(DUO_RANK_FOLDER)),
    );
    names.sort();
    names
}

/// Refuses names that could leave the folder they are joined to.
///
/// # Errors
/// [`HubError::UnsafeName`].
pub fn check(name: &str) -> Result<(), HubError> {
    let part_is_safe = |part: &str| !part.is_empty() && part != "." && part != "..";
    let is_odd = |c: char| c == '\\' || c.is_control();
    if name.split('/').all(part_is_safe) && !name.contains(is_odd) {
        return Ok(());
    }
    Err(HubError::UnsafeName {
        name: name.escape_default().to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Coded;
    use crate::mask::export::files;
    use crate::mask::sidecar::read;
    use std::path::Path;

    #[test]
    fn names_that_leave_the_folder_are_refused() {
        for name in [
            "README.md",
            "duo/config.json",
            ".gitattributes",
            "a/..b/c",
            "\u{e9}.txt",
        ] {
            check(name).unwrap();
        }
        for name in [
            "../x", "/x", "a/../x", "a//b", "", ".", "a/.", "a\\b", "a\0b", "a\n", "..",
        ] {
            assert_eq!(
                check(name).unwrap_err().code(),
                "hub.unsafe_name",
                "{name:?}"
            );
        }
    }

    #[test]
    fn an_export_holds_these_files_and_no_others() {
        let bytes = include_bytes!("../../tests/golden/mask/head_mask_v1.safetensors");
        let sidecar = read::parse(bytes, Path::new("golden")).unwrap().sidecar;
        let mut made: Vec<String> = files(&sidecar).into_iter().map(|file| file.name).collect();
        made.sort();
        assert_eq!(made, export_names());
        for name in made {
            check(&name).unwrap();
        }
    }
}
