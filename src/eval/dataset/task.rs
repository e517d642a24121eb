//! A data set as a task: its files are found and read, its entries brought to every length.

use super::{DataSet, Desk, Opened};
use crate::config::eval_files::Overflow;
use crate::data::chat_template::ChatTemplate;
use crate::eval::error::EvalError;
use crate::eval::files::error::FilesError;
use crate::eval::files::fit::fit;
use crate::eval::files::library::Library;
use crate::eval::files::prompt::Writer;
use crate::eval::item::Item;
use crate::eval::item_set::ItemSet;
use crate::eval::material::Material;
use crate::eval::plan::Plan;
use crate::eval::task::{Card, Needs, Task};
use std::fs::File;
use std::path::{Path, PathBuf};

/// A data set as a task.
#[derive(Debug, Clone, Copy)]
pub struct FileTask(pub &'static dyn DataSet);

impl Task for FileTask {
    fn card(&self) -> Card {
        self.0.card()
    }

    /// The items of every length, once whatever the seeds: they are HELMET's choice.
    fn items(
        &self,
        material: &Material<'_>,
        plans: &[Plan],
        limit: Option<usize>,
    ) -> Result<ItemSet, EvalError> {
        let library = material.library();
        let writer = Writer::new(material.tokenizer(), library.template())?;
        let desk = Desk {
            library,
            tokenizer: material.tokenizer(),
        };
        let lengths = plans.first().map_or(&[][..], |plan| &plan.lengths);
        let mut made = Made::default();
        for length in lengths {
            let files = self.found(library, *length)?;
            let opened = self.0.open(&files, &desk, *length)?;
            for path in &files {
                made.read(path)?;
            }
            made.add(&*opened, *length, self.overflow(library), &writer, limit)?;
        }
        Ok(made.finish(self.0, library))
    }

    fn missing(&self, library: &Library, lengths: &[usize]) -> Result<Vec<PathBuf>, FilesError> {
        let mut missing = Vec::new();
        for length in lengths {
            let files = self.0.files(library, *length)?;
            let gone = files
                .into_iter()
                .filter(|places| first_there(places).is_none());
            missing.extend(gone.filter_map(|places| places.into_iter().next()));
        }
        missing.dedup();
        Ok(missing)
    }
}

/// The first of several places where a file lies.
fn first_there(places: &[PathBuf]) -> Option<&PathBuf> {
    places.iter().find(|path| path.is_file())
}

impl FileTask {
    fn overflow(&self, library: &Library) -> Overflow {
        library.overflow(self.0.overflow())
    }

    fn found(&self, library: &Library, length: usize) -> Result<Vec<PathBuf>, FilesError> {
        let files = self.0.files(library, length)?;
        let find = |places: Vec<PathBuf>| match first_there(&places) {
            Some(path) => Ok(path.clone()),
            None => Err(FilesError::NotFound {
                task: self.card().name,
                remedy: origin(self.card().needs, &places),
                paths: places,
            }),
        };
        files.into_iter().map(find).collect()
    }
}

/// Where a missing file comes from.
fn origin(needs: Needs, places: &[PathBuf]) -> &'static str {
    let is_export = |path: &PathBuf| path.components().any(|part| part.as_os_str() == "hub");
    match needs {
        Needs::Helmet if places.iter().any(is_export) => {
            "export the split from the hub as JSON lines with its fields (`datasets`: `split.to_json(path)`)"
        }
        Needs::LongProc => "it is part of LongProc's repository, in its folder `data`",
        Needs::Ruler => {
            "RULER's scripts write it; or export a subset of kvpress's RULER data set as LENGTH.jsonl"
        }
        _ => "HELMET's README says how to get its data",
    }
}

/// The items made so far.
#[derive(Default)]
struct Made {
    /// Over files and wordings.
    hasher: blake3::Hasher,
    items: Vec<Item>,
    num_expected: usize,
    num_skipped: usize,
    depths: Vec<f64>,
    any_chat: bool,
    any_completed: bool,
    /// The wording, the same for all items.
    template: Option<String>,
}

impl Made {
    fn read(&mut self, path: &Path) -> Result<(), FilesError> {
        let read = File::open(path).and_then(|file| self.hasher.update_reader(file).map(drop));
        read.map_err(|source| FilesError::Read {
            path: path.to_owned(),
            source,
        })
    }

    fn add(
        &mut self,
        opened: &dyn Opened,
        length: usize,
        overflow: Overflow,
        writer: &Writer<'_>,
        limit: Option<usize>,
    ) -> Result<(), EvalError> {
        let indices = 0..opened.num_items();
        let depths: Vec<Option<f64>> = indices.map(|index| opened.depth(index)).collect();
        self.num_expected += depths.len();
        self.depths.extend(depths.iter().flatten());
        for index in first_of_every_depth(&depths, limit) {
            let entry = opened.entry(index)?;
            self.any_chat |= writer.is_chat(&entry);
            self.any_completed |= entry.is_chat && !writer.is_chat(&entry);
            self.template.clone_from(&entry.template);
            match fit(&entry, length, overflow, writer)? {
                Some(item) => self.items.push(item),
                None => self.num_skipped += 1,
            }
        }
        Ok(())
    }

    /// The items with their places in the depths of the files.
    fn finish(mut self, set: &dyn DataSet, library: &Library) -> ItemSet {
        self.depths.sort_by(f64::total_cmp);
        self.depths.dedup();
        for item in &mut self.items {
            let depth = item.meta.depth;
            let place = self.depths.iter().position(|other| Some(*other) == depth);
            item.meta.depth_index = place.unwrap_or(0);
        }
        let wording = self.template.unwrap_or_default();
        let chat = library.template().filter(|_| self.any_chat);
        let chat = chat.map(ChatTemplate::texts).unwrap_or_default();
        for text in [&[&*wording], &chat[..]].concat() {
            self.hasher.update(text.as_bytes());
        }
        let name = set.card().name;
        let mut notes = Vec::new();
        if self.num_skipped > 0 {
            notes.push(format!(
                "{name}: {} items that are too long were left out",
                self.num_skipped
            ));
        }
        if self.any_completed && library.wants_chats() {
            notes.push(format!("{name}: published as a chat; the model has no chat template, so its prompts are completed"));
        }
        notes.extend(set.remark().map(|remark| format!("{name}: {remark}")));
        ItemSet {
            num_expected: self.num_expected - self.num_skipped,
            depths: Some(self.depths),
            fingerprint: Some(self.hasher.finalize().to_hex().to_string()),
            items: self.items,
            notes,
        }
    }
}

/// `limit` of the items, in their order: those of every depth before a second one of any.
fn first_of_every_depth(depths: &[Option<f64>], limit: Option<usize>) -> Vec<usize> {
    let rank = |index: usize| {
        let before = depths[..index].iter();
        before.filter(|depth| **depth == depths[index]).count()
    };
    let mut order: Vec<usize> = (0..depths.len()).collect();
    if let Some(limit) = limit {
        order.sort_by_cached_key(|index| rank(*index));
        order.truncate(limit);
        order.sort_unstable();
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_takes_every_depth_before_a_second_of_any() {
        let depths = [
            Some(0.0),
            Some(0.0),
            Some(0.5),
            Some(0.0),
            Some(1.0),
            Some(0.5),
        ];
        for (limit, expected) in [
            (None, &[0, 1, 2, 3, 4, 5][..]),
            (Some(3), &[0, 2, 4]),
            (Some(4), &[0, 1, 2, 4]),
            (Some(9), &[0, 1, 2, 3, 4, 5]),
        ] {
            assert_eq!(first_of_every_depth(&depths, limit), expected);
        }
    }
}
