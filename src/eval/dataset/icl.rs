//! HELMET's in-context learning: texts with labels that are numbers, learnt from examples that fill the context.

use super::tiers::{self, Tiers};
use super::{DataSet, Desk, Opened, Published, PublishedFile};
use crate::eval::choice::balanced::{rounds, shown_labels};
use crate::eval::choice::python::Python;
use crate::eval::choice::seed::of_text_with;
use crate::eval::choice::subset::{first_permuted, tenth};
use crate::eval::error::EvalError;
use crate::eval::files::entry::Entry;
use crate::eval::files::error::FilesError;
use crate::eval::files::fit::SEED;
use crate::eval::files::forms;
use crate::eval::files::library::Library;
use crate::eval::files::rows::{Located, Table};
use crate::eval::files::wording::{Field, Wording};
use crate::eval::gold::Gold;
use crate::eval::metric::registry::Metric;
use crate::eval::reading::Reading;
use crate::eval::scoring::Scoring;
use crate::eval::task::{Card, Category, Needs};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// Items that are asked where a data set has more.
const MAX_ITEMS: usize = 500;

/// One of the data sets.
#[derive(Debug, Clone, Copy)]
pub struct Icl {
    name: &'static str,
    about: &'static str,
    folder: &'static str,
    /// File of the items; nothing where they are a tenth of the examples' file.
    test: Option<&'static str>,
    label: &'static str,
    num_labels: usize,
    num_shots: Tiers,
}

/// Six kinds of questions.
pub const TREC_COARSE: Icl = Icl {
    name: "icl_trec_coarse",
    about: "HELMET's TREC: the kind of a question, one of 6, after examples",
    folder: "trec",
    test: Some("test.jsonl"),
    label: "coarse_label",
    num_labels: 6,
    num_shots: [200, 400, 800, 1600, 3300, 6600],
};

/// Fifty kinds of questions.
pub const TREC_FINE: Icl = Icl {
    name: "icl_trec_fine",
    about: "HELMET's TREC: the kind of a question, one of 50, after examples",
    label: "fine_label",
    num_labels: 50,
    num_shots: [200, 400, 800, 1600, 3200, 6400],
    ..TREC_COARSE
};

/// What a bank's customer wants.
pub const BANKING77: Icl = Icl {
    name: "icl_banking77",
    about: "HELMET's BANKING77: what a customer wants, one of 77, after examples",
    folder: "banking77",
    test: Some("test.jsonl"),
    label: "label",
    num_labels: 77,
    num_shots: [180, 360, 720, 1450, 2900, 5900],
};

/// What a user wants.
pub const CLINIC150: Icl = Icl {
    name: "icl_clinic150",
    about: "HELMET's CLINC150: what a user wants, one of 151, after examples",
    folder: "clinic150",
    test: Some("validation.jsonl"),
    label: "intent",
    num_labels: 151,
    num_shots: [220, 440, 880, 1750, 3525, 7050],
};

/// What a user says to an assistant.
pub const NLU: Icl = Icl {
    name: "icl_nlu",
    about: "HELMET's NLU: what a user wants of an assistant, one of 68, after examples",
    folder: "nlu",
    test: None,
    label: "label",
    num_labels: 68,
    num_shots: [250, 510, 1020, 2040, 4080, 8296],
};

/// A text and its label.
#[derive(Debug, Clone, PartialEq)]
struct Sample {
    at: usize,
    text: String,
    label: usize,
}

impl DataSet for Icl {
    fn card(&self) -> Card {
        Card {
            name: self.name,
            about: self.about,
            category: Category::InContext,
            metric: Metric::ExactMatch,
            also: &[Metric::SubstringExactMatch],
            headline: Scoring::Compat,
            reading: Reading::Line { prefix: "label:" },
            chance: self.chance(),
            needs: Needs::Helmet,
            proxy: false,
        }
    }

    fn files(&self, library: &Library, length: usize) -> Result<Vec<Vec<PathBuf>>, FilesError> {
        tiers::check(self.name, length)?;
        let folder = library.helmet(self.name)?.join("hub").join(self.folder);
        let names = std::iter::once("train.jsonl").chain(self.test);
        Ok(names.map(|name| vec![folder.join(name)]).collect())
    }

    fn published(&self, length: usize) -> Published {
        Published {
            name: format!("{}_{}shot_balance", self.name, self.shots_at(length)),
            file: PublishedFile::Hub,
            shots: 0,
        }
    }

    fn open<'a>(
        &self,
        files: &[PathBuf],
        desk: &Desk<'a>,
        length: usize,
    ) -> Result<Box<dyn Opened + 'a>, EvalError> {
        let mut examples = self.read(&files[0])?;
        let source = files.last().unwrap_or(&files[0]);
        let test = if self.test.is_some() {
            self.read(source)?
        } else {
            let order = first_permuted(examples.len(), examples.len(), SEED);
            let mut permuted = order.into_iter().map(|row| examples[row].clone());
            let test = permuted.by_ref().take(tenth(examples.len())).collect();
            examples = permuted.collect();
            test
        };
        if examples.is_empty() {
            return Err(EvalError::Files(FilesError::Format {
                path: files[0].clone(),
                reason: "has no example beside the items".to_owned(),
            }));
        }
        Ok(Box::new(Texts {
            of: *self,
            num_shots: tiers::at(self.name, &self.num_shots, length)?,
            wording: desk.library.wording(&forms::ICL)?,
            source: source
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            labels: examples.iter().map(|sample| sample.label).collect(),
            test: chosen(&test),
            examples,
        }))
    }
}

impl Icl {
    /// Examples at a length, none at one that was not published.
    fn shots_at(&self, length: usize) -> usize {
        tiers::at(self.name, &self.num_shots, length).unwrap_or(0)
    }

    #[expect(clippy::cast_precision_loss, reason = "at most 151 labels")]
    fn chance(&self) -> f64 {
        1.0 / self.num_labels as f64
    }

    fn read(&self, path: &Path) -> Result<Vec<Sample>, FilesError> {
        let table = Table::<Map<String, Value>>::lines(path)?;
        let sample = |Located { at, row }: &Located<Map<String, Value>>| {
            let field = |name: &str| {
                row.get(name)
                    .ok_or_else(|| table.flaw(*at, format!("missing field `{name}`")))
            };
            let text = field("text")?
                .as_str()
                .ok_or_else(|| table.flaw(*at, "`text` is no text"))?;
            let label = field(self.label)?
                .as_u64()
                .and_then(|label| usize::try_from(label).ok());
            let label = label
                .filter(|label| *label < self.num_labels)
                .ok_or_else(|| {
                    let reason = format!("`{}` is no number below {}", self.label, self.num_labels);
                    table.flaw(*at, reason)
                })?;
            Ok(Sample {
                at: *at,
                text: text.to_owned(),
                label,
            })
        };
        table.rows.iter().map(sample).collect()
    }
}

/// The items that are asked: all, or rounds of one of every label among the permuted ones.
fn chosen(test: &[Sample]) -> Vec<Sample> {
    if test.len() <= MAX_ITEMS {
        return test.to_vec();
    }
    let order = first_permuted(test.len(), test.len(), SEED);
    let labels: Vec<usize> = order.iter().map(|row| test[*row].label).collect();
    let picked = rounds(&labels, MAX_ITEMS, &mut Python::new(u64::from(SEED)));
    let picked = picked.into_iter().map(|index| test[order[index]].clone());
    picked.collect()
}

struct Texts {
    of: Icl,
    num_shots: usize,
    wording: Wording,
    source: String,
    test: Vec<Sample>,
    examples: Vec<Sample>,
    labels: Vec<usize>,
}

impl Opened for Texts {
    fn num_items(&self) -> usize {
        self.test.len()
    }

    fn entry(&self, index: usize) -> Result<Entry, EvalError> {
        let sample = &self.test[index];
        let seed = u64::from(of_text_with(&sample.text, SEED));
        let shown: Vec<String> = shown_labels(self.of.num_labels, seed)
            .iter()
            .map(ToString::to_string)
            .collect();
        let shots = rounds(&self.labels, self.num_shots, &mut Python::new(seed));
        let fields = shots.iter().map(|row| {
            let shot = &self.examples[*row];
            let fields: Vec<Field<'_>> = vec![("text", &shot.text), ("label", &shown[shot.label])];
            fields
        });
        Ok(Entry {
            // A text may be asked twice: its place among the items names it.
            row: index + 1,
            source: format!("{}:{}", self.source, sample.at),
            depth: None,
            instruction: self.wording.instruction(&[])?,
            context: self.wording.items(fields)?,
            can_cut: true,
            question: self.wording.question(&[("text", &sample.text)])?,
            cue: self.wording.cue(&[])?,
            gold: Gold::answer(&shown[sample.label]),
            max_new_tokens: 20,
            is_chat: false,
            template: Some(self.wording.id.clone()),
        })
    }
}
