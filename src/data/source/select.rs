//! Chooses documents of several sources: which side of the held-out line, and how many bytes of them.

use super::{Document, Source, is_held_out};
use crate::data::error::DataError;

/// Side of the held-out line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Split {
    /// Everything that is not held out.
    #[default]
    Train,
    /// Held-out documents only.
    HeldOut,
}

/// Which documents to take.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Selection {
    /// Side of the held-out line.
    pub split: Split,
    /// Share of documents that are held out.
    pub held_out_share: f64,
    /// Most bytes to take, by the sources' own estimate; nothing = all of them.
    pub max_bytes: Option<u64>,
    /// Seed of the order in which documents are taken.
    pub seed: u64,
}

impl Default for Selection {
    fn default() -> Self {
        Self {
            split: Split::Train,
            held_out_share: super::held_out::DEFAULT_SHARE,
            max_bytes: None,
            seed: 0,
        }
    }
}

/// One document of one of several sources.
#[derive(Clone, Copy)]
pub struct Selected<'a> {
    source: &'a dyn Source,
    index: usize,
}

impl Selected<'_> {
    /// The document's id.
    pub fn id(&self) -> &str {
        self.source.describe(self.index).0
    }

    /// Name of the source it comes from.
    pub fn domain(&self) -> &str {
        self.source.name()
    }

    /// Its approximate size in bytes.
    pub fn bytes(&self) -> u64 {
        self.source.describe(self.index).1
    }

    /// Reads it.
    ///
    /// # Errors
    /// Whatever [`Source::read`] returns.
    pub fn read(&self) -> Result<Document, DataError> {
        self.source.read(self.index)
    }
}

/// Chooses documents by hash of their ids: the same documents give the same choice, whatever order they come in.
///
/// With a byte limit, documents are taken in hash order and those that do not fit any more are passed over. The result is
/// in hash order.
pub fn select<'a>(sources: &'a [Box<dyn Source>], selection: &Selection) -> Vec<Selected<'a>> {
    let mut candidates: Vec<(blake3::Hash, Selected<'a>)> = sources
        .iter()
        .flat_map(|source| {
            let source = source.as_ref();
            (0..source.num_documents()).map(move |index| Selected { source, index })
        })
        .filter(|selected| {
            let held_out = is_held_out(selected.id(), selection.held_out_share);
            held_out == (selection.split == Split::HeldOut)
        })
        .map(|selected| (sample_hash(selection.seed, &selected), selected))
        .collect();
    candidates.sort_by(|(left, _), (right, _)| left.as_bytes().cmp(right.as_bytes()));
    let mut left = selection.max_bytes.unwrap_or(u64::MAX);
    candidates
        .into_iter()
        .map(|(_, selected)| selected)
        .filter(|selected| {
            let fits = selected.bytes() <= left;
            left -= if fits { selected.bytes() } else { 0 };
            fits
        })
        .collect()
}

/// The error of a choice from `sources` that holds no text.
pub(in crate::data) fn nothing_selected(sources: &[Box<dyn Source>]) -> DataError {
    let names: Vec<&str> = sources.iter().map(|source| source.name()).collect();
    DataError::Empty {
        path: names.join("+").into(),
        reason: "no document is on the chosen side of the held-out line within the byte limit"
            .to_owned(),
    }
}

/// Independent of the held-out hash, so that a sample is not biased towards one side of that line.
fn sample_hash(seed: u64, selected: &Selected<'_>) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new_derive_key("prulong document sample v1");
    hasher.update(&seed.to_le_bytes());
    hasher.update(selected.source.name().as_bytes());
    hasher.update(&[0]);
    hasher.update(selected.id().as_bytes());
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    struct Fake(Vec<(String, u64)>, BTreeMap<String, u64>);

    impl Source for Fake {
        fn name(&self) -> &'static str {
            "fake"
        }
        fn num_documents(&self) -> usize {
            self.0.len()
        }
        fn describe(&self, index: usize) -> (&str, u64) {
            (&self.0[index].0, self.0[index].1)
        }
        fn read(&self, _: usize) -> Result<Document, DataError> {
            unreachable!("selection never reads")
        }
        fn dropped(&self) -> &BTreeMap<String, u64> {
            &self.1
        }
    }

    fn sources(n: u64) -> Vec<Box<dyn Source>> {
        let documents = (0..n).map(|i| (format!("doc-{i}"), 10 + i % 7)).collect();
        vec![Box::new(Fake(documents, BTreeMap::new()))]
    }

    fn ids(sources: &[Box<dyn Source>], selection: &Selection) -> Vec<String> {
        select(sources, selection)
            .iter()
            .map(|selected| selected.id().to_owned())
            .collect()
    }

    #[test]
    fn both_sides_of_the_line_make_the_whole() {
        let sources = sources(1000);
        let side = |split| {
            let selection = Selection {
                split,
                held_out_share: 0.3,
                ..Selection::default()
            };
            ids(&sources, &selection)
        };
        let (train, held_out) = (side(Split::Train), side(Split::HeldOut));
        assert_eq!(train.len() + held_out.len(), 1000);
        assert!((250..350).contains(&held_out.len()), "{}", held_out.len());
        assert!(train.iter().all(|id| !is_held_out(id, 0.3)));
        assert!(held_out.iter().all(|id| is_held_out(id, 0.3)));
    }

    #[test]
    fn a_byte_limit_is_nearly_filled_and_never_exceeded() {
        let sources = sources(1000);
        let selection = Selection {
            max_bytes: Some(5000),
            ..Selection::default()
        };
        let taken: u64 = select(&sources, &selection)
            .iter()
            .map(Selected::bytes)
            .sum();
        assert!((4990..=5000).contains(&taken), "{taken}");
    }
}
