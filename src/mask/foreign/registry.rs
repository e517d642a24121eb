//! Every format that masks travel in: one line each.

use super::content::{Files, Foreign, Input, Reading};
use crate::mask::error::MaskError;
use crate::mask::sidecar::content::Sidecar;
use crate::mask::sidecar::write;
use crate::mask::{duo, duo_gates, duo_rank, head_scores, headkv_json, prulong_tsv, rlkv, rtp_llm};

/// One format.
#[derive(Debug, Clone, Copy)]
pub struct Format {
    /// Its name on the command line.
    pub name: &'static str,
    /// What `prulong.source` says of a mask that came in it.
    pub source: &'static str,
    /// Which values mean retrieval, and what a file stores besides.
    pub meaning: &'static str,
    /// Where its files are.
    pub place: Place,
    /// Reads its files; absent if nothing comes in it.
    pub read: Option<Read>,
    /// Gives its files, with their names in a folder; `None` for a mask it cannot hold.
    pub write: fn(&Sidecar) -> Option<Files>,
}

/// A format's reader.
pub type Read = fn(&Input, &Reading) -> Result<Foreign, MaskError>;

/// Where a format's files are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// One file of any name.
    File,
    /// A folder; the first of these tables that is there has the values, `config.json` the sizes if the format has them.
    Folder {
        /// Tables, the preferred one first.
        tables: &'static [&'static str],
        /// The settings.
        config: Option<&'static str>,
    },
}

/// The sidecar's name on the command line.
pub const SIDECAR: &str = "sidecar";

const DUO_FOLDER: Place = Place::Folder {
    tables: &[duo::TABLE_NAME],
    config: Some(duo::CONFIG_NAME),
};
const RLKV_FOLDER: Place = Place::Folder {
    tables: &[rlkv::TABLE_NAME, duo::TABLE_NAME],
    config: None,
};

#[rustfmt::skip]
const FORMATS: [Format; 9] = [
    Format { name: SIDECAR, source: "", place: Place::File, read: None, write: write::files,
        meaning: "1 = retrieval, 0 = streaming, with the order of the heads, the span and the model" },
    Format { name: "duo", source: "duo-tsv", place: DUO_FOLDER, read: Some(duo::read), write: duo::files,
        meaning: "1 = retrieval, 0 = streaming, with sink and window; foreign ones: higher = retrieval" },
    Format { name: "duo-rank", source: "duo-rank", place: DUO_FOLDER, read: Some(duo_rank::read), write: duo_rank::files,
        meaning: "higher = retrieval: scores of the heads, with sink and window" },
    Format { name: "duo-gates", source: "duo-gates", place: DUO_FOLDER, read: Some(duo_gates::read), write: duo_gates::files,
        meaning: "higher = retrieval: gates of a DuoAttention training, with sink and window" },
    Format { name: "prulong-tsv", source: "prulong-tsv", place: Place::File, read: Some(prulong_tsv::read), write: prulong_tsv::files,
        meaning: "1 = retrieval, 0 = streaming, without sink and window" },
    Format { name: "rlkv", source: "rlkv", place: RLKV_FOLDER, read: Some(rlkv::read), write: rlkv::files,
        meaning: "1 = retrieval, 0 = streaming, without sink and window; foreign ones: higher = retrieval" },
    Format { name: "kvzip", source: "kvzip", place: Place::File, read: Some(head_scores::read), write: head_scores::files,
        meaning: "higher = retrieval: scores of the heads, without sink and window" },
    Format { name: "rtp-llm", source: "rtp-llm", place: Place::File, read: Some(rtp_llm::read), write: rtp_llm::files,
        meaning: "1 = retrieval, 0 = streaming, per query head, with sink and window" },
    Format { name: "headkv-json", source: "headkv-json", place: Place::File, read: Some(headkv_json::read), write: headkv_json::files,
        meaning: "higher = retrieval: scores per query head, without sink and window" },
];

/// Every format, the sidecar first.
pub fn all() -> &'static [Format] {
    &FORMATS
}

/// The format of that name.
pub fn find(name: &str) -> Option<&'static Format> {
    FORMATS.iter().find(|format| format.name == name)
}

/// The format of a folder that holds files of these names; the names of single files say nothing.
pub fn of_folder(holds: impl Fn(&str) -> bool) -> Option<&'static Format> {
    if holds(rlkv::TABLE_NAME) {
        return find("rlkv");
    }
    holds(duo::TABLE_NAME).then(|| find("duo")).flatten()
}

#[cfg(test)]
mod tests;
