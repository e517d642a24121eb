//! Everything that an export writes, as names and bytes.

use crate::mask::duo;
use crate::mask::sidecar::content::Sidecar;
use crate::mask::sidecar::write;

/// The canonical artefact's name.
pub const SIDECAR_NAME: &str = "head_mask.safetensors";
/// Folder of the DuoAttention files.
pub const DUO_FOLDER: &str = "duo";

/// One file of an export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportFile {
    /// Path below the export's folder, `/` between components.
    pub name: String,
    /// Content.
    pub bytes: Vec<u8>,
}

/// The files of an export, the sidecar first. Equal sidecars give equal bytes.
pub fn files(sidecar: &Sidecar) -> Vec<ExportFile> {
    let duo = |name: &str, text: String| ExportFile {
        name: format!("{DUO_FOLDER}/{name}"),
        bytes: text.into_bytes(),
    };
    vec![
        ExportFile {
            name: SIDECAR_NAME.to_owned(),
            bytes: write::to_bytes(sidecar),
        },
        duo(duo::TABLE_NAME, duo::table_text(&sidecar.mask)),
        duo(duo::CONFIG_NAME, duo::config_text(sidecar)),
    ]
}

/// The folder's name among a run's masks: integer counts, so that two targets never share one.
pub fn folder_name(sidecar: &Sidecar) -> String {
    let num_heads = sidecar.mask.flags().len();
    let suffix = match sidecar.rank_source {
        crate::mask::sidecar::content::RankSource::Reference => "-reference",
        _ => "",
    };
    format!("{}-of-{num_heads}{suffix}", sidecar.mask.num_retrieval())
}
