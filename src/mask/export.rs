//! Everything that an export writes, as names and bytes.

use crate::mask::card::{self, CARD_NAME};
use crate::mask::sidecar::content::Sidecar;
use crate::mask::sidecar::write;
use crate::mask::{duo, duo_gates, duo_rank, head_scores, rtp_llm};

/// The canonical artefact's name.
pub const SIDECAR_NAME: &str = "head_mask.safetensors";
/// Folder of the DuoAttention files.
pub const DUO_FOLDER: &str = "duo";
/// Folder of the same files with graded scores.
pub const DUO_RANK_FOLDER: &str = "duo_rank";

/// Folder of the same files with the gates of a DuoAttention run.
pub const DUO_GATES_FOLDER: &str = "duo_gates";

/// One file of an export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportFile {
    /// Path below the export's folder, `/` between components.
    pub name: String,
    /// Content.
    pub bytes: Vec<u8>,
}

/// The files of an export, the sidecar first (masks.md section 9). Equal sidecars give equal bytes.
pub fn files(sidecar: &Sidecar) -> Vec<ExportFile> {
    let mut all = vec![ExportFile {
        name: SIDECAR_NAME.to_owned(),
        bytes: write::to_bytes(sidecar),
    }];
    // A model of one kv head has no order, and so no graded scores.
    let companions = [
        (Some(DUO_FOLDER), duo::files(sidecar)),
        (Some(DUO_RANK_FOLDER), duo_rank::files(sidecar)),
        (Some(DUO_GATES_FOLDER), duo_gates::files(sidecar)),
        (None, rtp_llm::files(sidecar)),
        (None, head_scores::files(sidecar)),
    ];
    for (folder, files) in companions {
        let files = files.into_iter().flatten();
        all.extend(files.map(|(name, bytes)| ExportFile {
            name: folder.map_or_else(|| name.to_owned(), |folder| format!("{folder}/{name}")),
            bytes,
        }));
    }
    all.push(ExportFile {
        name: CARD_NAME.to_owned(),
        bytes: card::text(sidecar).into_bytes(),
    });
    all
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
