//! The files that an export writes beside a sidecar, read again and compared with it (masks.md section 9).
//!
//! What is compared is what a file says, not its bytes: a table with other line ends is the same mask. The card is prose and is
//! not read.

use super::content::{Content, Input, NamedBytes, Reading};
use super::registry::Read;
use super::table;
use crate::mask::canonical;
use crate::mask::head_mask::HeadMask;
use crate::mask::rank::Ranks;
use crate::mask::sidecar::content::Sidecar;
use crate::mask::{duo, duo_gates, duo_rank, head_scores, rtp_llm};
use serde_json::Value;

/// Most heads of one file whose difference is told head by head.
const MOST_HEADS: usize = 12;

/// One kind of companion.
struct Companion {
    /// Path below the sidecar's folder.
    name: &'static str,
    /// What it says that the sidecar does not.
    differences: fn(&Sidecar, NamedBytes) -> Vec<String>,
}

#[rustfmt::skip]
const COMPANIONS: [Companion; 8] = [
    Companion { name: "duo/full_attention_heads.tsv", differences: |sidecar, file| values(sidecar, file, duo::read) },
    Companion { name: "duo/config.json", differences: |sidecar, file| settings(&duo::config_text(sidecar), &file, None) },
    Companion { name: "duo_rank/full_attention_heads.tsv", differences: |sidecar, file| values(sidecar, file, duo_rank::read) },
    Companion { name: "duo_rank/config.json", differences: |sidecar, file| settings(&duo_rank::config_text(sidecar), &file, None) },
    Companion { name: "duo_gates/full_attention_heads.tsv", differences: |sidecar, file| gate_differences(sidecar, &file) },
    Companion { name: "duo_gates/config.json", differences: |sidecar, file| settings(&duo_rank::config_text(sidecar), &file, None) },
    Companion { name: rtp_llm::FILE_NAME, differences: rtp_llm_differences },
    Companion { name: head_scores::FILE_NAME, differences: |sidecar, file| values(sidecar, file, head_scores::read) },
];

/// The paths, below a sidecar's folder, of everything that can be compared.
pub fn names() -> impl Iterator<Item = &'static str> {
    COMPANIONS.iter().map(|companion| companion.name)
}

/// What the companion `name` says that the sidecar does not, one text per difference; nothing for an unknown name.
pub fn differences(sidecar: &Sidecar, name: &str, bytes: Vec<u8>) -> Vec<String> {
    let known = COMPANIONS.iter().find(|companion| companion.name == name);
    known.map_or(Vec::new(), |companion| {
        let path = name.into();
        (companion.differences)(sidecar, NamedBytes { path, bytes })
    })
}

fn values(sidecar: &Sidecar, file: NamedBytes, read: Read) -> Vec<String> {
    let input = Input {
        main: file,
        config: None,
    };
    let reading = Reading {
        shape: Some(sidecar.base.arch.shape()),
        fold: None,
    };
    let foreign = match read(&input, &reading) {
        Ok(foreign) => foreign,
        Err(error) => return vec![error.problem.to_string()],
    };
    let warnings = foreign.warnings.iter().map(ToString::to_string);
    let heads = match &foreign.content {
        Content::Mask(mask) => mask_differences(mask, sidecar),
        Content::Scores {
            num_layers,
            num_kv_heads,
            scores,
        } => match Ranks::by_wide_score(*num_layers, *num_kv_heads, scores) {
            Some(ranks) => rank_differences(&ranks, sidecar),
            None => vec!["the scores are not finite".to_owned()],
        },
    };
    warnings.chain(shortened(heads)).collect()
}

fn mask_differences(mask: &HeadMask, sidecar: &Sidecar) -> Vec<String> {
    let kind = |flag: &bool| if *flag { "retrieval" } else { "streaming" };
    let pairs = mask.flags().iter().zip(sidecar.mask.flags());
    by_head(sidecar, pairs, kind)
}

fn rank_differences(ranks: &Ranks, sidecar: &Sidecar) -> Vec<String> {
    let pairs = ranks.ranks().iter().zip(sidecar.ranks.ranks());
    by_head(sidecar, pairs, |rank| format!("rank {rank}"))
}

fn by_head<'a, T: PartialEq + 'a, D: std::fmt::Display>(
    sidecar: &Sidecar,
    pairs: impl Iterator<Item = (&'a T, &'a T)>,
    name: impl Fn(&T) -> D,
) -> Vec<String> {
    let width = sidecar.mask.num_kv_heads();
    let differing = pairs
        .enumerate()
        .filter(|(_, (ours, theirs))| ours != theirs);
    let text = |(index, (found, stored)): (usize, (&'a T, &'a T))| {
        let (layer, kv_head) = (index / width, index % width);
        let (found, stored) = (name(found), name(stored));
        format!("layer {layer}, kv head {kv_head}: {found}, in the sidecar {stored}")
    };
    differing.map(text).collect()
}

fn shortened(mut heads: Vec<String>) -> Vec<String> {
    if heads.len() > MOST_HEADS {
        let more = heads.len() - MOST_HEADS;
        heads.truncate(MOST_HEADS);
        heads.push(format!("{more} more heads differ"));
    }
    heads
}

/// Compares two objects key by key; `within` is the key of the object in both files, if it is not the whole.
fn settings(expected: &str, file: &NamedBytes, within: Option<&str>) -> Vec<String> {
    let object = |bytes: &[u8]| -> Option<serde_json::Map<String, Value>> {
        let mut value: Value = serde_json::from_slice(bytes).ok()?;
        if let Some(key) = within {
            value = value.get_mut(key)?.take();
        }
        value.as_object().cloned()
    };
    let (Some(stored), Some(found)) = (object(expected.as_bytes()), object(&file.bytes)) else {
        return vec!["not the JSON object that belongs here".to_owned()];
    };
    let shown = |value: Option<&Value>| value.map_or("missing".to_owned(), canonical::to_string);
    let mut keys: Vec<&String> = stored.keys().chain(found.keys()).collect();
    keys.sort_unstable();
    keys.dedup();
    // Lists are heads, which are compared head by head.
    let is_list = |key: &&String| stored.get(*key).is_some_and(Value::is_array);
    keys.retain(|key| !is_list(key) && !found.get(*key).is_some_and(Value::is_array));
    let differing = keys
        .into_iter()
        .filter(|key| stored.get(*key) != found.get(*key));
    differing
        .map(|key| {
            let (found, stored) = (shown(found.get(key)), shown(stored.get(key)));
            format!("`{key}` is {found}, by the sidecar {stored}")
        })
        .collect()
}

/// Gates are compared as numbers, before they are clipped.
fn gate_differences(sidecar: &Sidecar, file: &NamedBytes) -> Vec<String> {
    let Some(ours) = duo_gates::table_text(sidecar) else {
        return vec!["the sidecar is of no DuoAttention training".to_owned()];
    };
    let parsed = |bytes: &[u8]| table::parse_table(bytes, &file.path);
    match (parsed(ours.as_bytes()), parsed(&file.bytes)) {
        (Ok(ours), Ok(found)) if ours.scores.len() == found.scores.len() => {
            let pairs = found.scores.iter().zip(&ours.scores);
            shortened(by_head(sidecar, pairs, |gate| format!("gate {gate}")))
        }
        (Ok(_), Ok(found)) => vec![format!("{} gates", found.scores.len())],
        (_, Err(error)) | (Err(error), _) => vec![error.problem.to_string()],
    }
}

fn rtp_llm_differences(sidecar: &Sidecar, file: NamedBytes) -> Vec<String> {
    let within = Some(rtp_llm::OBJECT_KEY);
    let mut all = settings(&rtp_llm::text(sidecar), &file, within);
    all.extend(values(sidecar, file, rtp_llm::read));
    all
}

#[cfg(test)]
mod tests;
