//! Rows of generated documents: one document a row, of evenly spaced lengths, and a `mask` that says which tokens are labels.

use super::error::PackError;
use super::piece::RowKind;
use super::report::PackReport;
use super::settings::PackSettings;
use super::stage::Stage;
use crate::config::generator::GeneratorSettings;
use crate::data::generate::mixture::Mixture;
use crate::data::generate::sequence::Sequence;
use crate::data::manifest::{self, GeneratedRecord, ManifestHead, SourceRecord, TokenizerRecord};
use crate::data::mds::array::Array;
use crate::data::mds::column::Encoding;
use crate::data::mds::dtype::Dtype;
use crate::data::mds::error::{MdsError, Place};
use crate::data::mds::value::Value;
use crate::data::mds::writer::{WriteOptions, Writer};
use crate::data::source::Source;
use crate::data::tokenizer::Tokenizer;
use std::path::Path;

/// The `domain` of every row.
const DOMAIN: &str = "generated";

/// What to make, and of what.
pub struct GeneratedJob<'a> {
    /// Kinds of documents, as the user named them.
    pub kinds: &'a [GeneratorSettings],
    /// The generators of these kinds.
    pub mixture: &'a Mixture,
    /// Turns text into tokens.
    pub tokenizer: &'a Tokenizer,
    /// Where the text comes from.
    pub sources: &'a [Box<dyn Source>],
    /// Fingerprint of the text, if there is any.
    pub corpus: Option<String>,
    /// Share of documents kept out of the text.
    pub held_out: f64,
    /// Rows, their lengths, and the seed.
    pub rows: GeneratedRows,
    /// How shards are written.
    pub write: WriteOptions,
}

/// How many rows of which lengths.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GeneratedRows {
    /// Tokens of a row.
    pub row_len: u64,
    /// Rows.
    pub num_rows: u64,
    /// Tokens of the shortest document; the longest fills its row.
    pub min_len: u64,
    /// Lengths from the shortest to the longest, in turn.
    pub num_lens: u64,
    /// Of all draws.
    pub seed: u64,
}

impl GeneratedRows {
    /// Checks every range.
    ///
    /// # Errors
    /// [`PackError::Setting`].
    pub fn check(&self) -> Result<(), PackError> {
        PackSettings::new(self.row_len).check()?;
        let bad = |setting, value: u64, allowed| {
            let value = value.to_string();
            Err(PackError::Setting {
                setting,
                value,
                allowed,
            })
        };
        if !(2..=self.row_len).contains(&self.min_len) {
            return bad(
                "min-len",
                self.min_len,
                "from 2 tokens to those of `--row-len`",
            );
        }
        if self.num_rows == 0 {
            return bad("rows", 0, "at least 1");
        }
        if self.num_lens == 0 {
            return bad("num-lens", 0, "at least 1");
        }
        Ok(())
    }

    /// Tokens of the document in `row`.
    fn len_of(&self, row: u64) -> u64 {
        let last = self.num_lens - 1;
        if last == 0 {
            return self.row_len;
        }
        self.min_len + (self.row_len - self.min_len) * (row % self.num_lens) / last
    }
}

/// Writes the rows into `target`, which appears complete or not at all.
///
/// # Errors
/// [`PackError::Setting`]; a document that does not fit its length; whatever writing fails with.
pub fn pack_generated(job: &GeneratedJob<'_>, target: &Path) -> Result<PackReport, PackError> {
    job.rows.check()?;
    let stage = Stage::begin(target)?;
    let folder = stage.output();
    let columns = [
        ("domain", Encoding::Str),
        ("indices", Encoding::TypedArray(Dtype::Uint32)),
        ("input_ids", Encoding::TypedArray(Dtype::Uint32)),
        ("length", Encoding::Int),
        ("mask", Encoding::TypedArray(Dtype::Uint8)),
    ];
    let mut writer = Writer::create(&folder, &columns, job.write.clone())?;
    let mut report = PackReport::default();
    for row in 0..job.rows.num_rows {
        let len = usize::try_from(job.rows.len_of(row)).unwrap_or(usize::MAX);
        let document = job.mixture.sequence(job.rows.seed, 0, row, len)?;
        write_row(&mut writer, job, document, row)?;
        report.documents_kept += 1;
        report.count_span(len as u64, 0, 0);
        report.longest_document = report.longest_document.max(len as u64);
        report.count_row(RowKind::Generated, job.rows.row_len - len as u64);
    }
    report.padding_share =
        super::report::share(report.padding, report.padding + report.tokens_written);
    write_manifest(job, &folder, &report)?;
    writer.finish()?;
    stage.publish()?;
    Ok(report)
}

fn write_row(
    writer: &mut Writer,
    job: &GeneratedJob<'_>,
    document: Sequence,
    row: u64,
) -> Result<(), PackError> {
    let misfit = |column: &str, dir: &Path| MdsError::Encoding {
        place: Place {
            path: dir.to_path_buf(),
            row: Some(row),
        },
        column: column.to_owned(),
        reason: "does not fit 32 bits".to_owned(),
    };
    let dir = writer.dir().to_path_buf();
    let row_len = usize::try_from(job.rows.row_len).unwrap_or(usize::MAX);
    let len = u32::try_from(document.len()).map_err(|_| misfit("indices", &dir))?;
    let labelled = document
        .weights
        .iter()
        .map(|weight| u8::from(*weight > 0.0));
    let mut mask: Vec<u8> = labelled.collect();
    let mut ids = document.ids;
    ids.resize(row_len, job.tokenizer.eos());
    mask.resize(row_len, 0);
    let shape = vec![job.rows.row_len];
    let array =
        |array: Option<Array>, column| array.map(Value::Array).ok_or_else(|| misfit(column, &dir));
    let indices = array(Array::from_u32(&[0, len], vec![1, 2]), "indices")?;
    let input_ids = array(Array::from_u32(&ids, shape.clone()), "input_ids")?;
    let mask = array(Array::new(Dtype::Uint8, shape, mask), "mask")?;
    writer.write(&[
        ("domain", &Value::Str(DOMAIN.to_owned())),
        ("indices", &indices),
        ("input_ids", &input_ids),
        ("length", &Value::Int(i128::from(job.rows.row_len))),
        ("mask", &mask),
    ])?;
    Ok(())
}

fn write_manifest(
    job: &GeneratedJob<'_>,
    folder: &Path,
    report: &PackReport,
) -> Result<(), PackError> {
    let GeneratedRows {
        num_rows,
        min_len,
        num_lens,
        seed,
        row_len,
    } = job.rows;
    let sources = job.sources.iter().map(|source| SourceRecord {
        name: source.name().to_owned(),
        settings: source.settings(),
    });
    let head = ManifestHead {
        schema: manifest::SCHEMA.to_owned(),
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        split: None,
        held_out: job.held_out,
        tokenizer: TokenizerRecord::new(job.tokenizer),
        sources: sources.collect(),
        settings: PackSettings {
            seed,
            ..PackSettings::new(row_len)
        },
        generated: Some(GeneratedRecord {
            kinds: job.kinds.to_vec(),
            num_rows,
            min_len,
            num_lens,
            corpus: job.corpus.clone(),
        }),
        report: report.clone(),
    };
    Ok(manifest::write(folder, &head, std::iter::empty())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::data::{StreamSpec, StreamWeight};
    use crate::config::instruct_mask::InstructMask;
    use crate::data::generate::Generate;
    use crate::data::loader::{Loader, LoaderSettings};
    use crate::fault::Coded;
    use rand_chacha::ChaCha8Rng;

    /// Counts up from a drawn number; every third token is a label.
    struct Counting;

    impl Generate for Counting {
        fn name(&self) -> &'static str {
            "counting"
        }
        fn sequence(
            &self,
            rng: &mut ChaCha8Rng,
            len: usize,
        ) -> Result<Sequence, crate::data::error::DataError> {
            let start = u32::try_from(crate::random::below(rng, 100)).unwrap();
            Ok(Sequence {
                ids: (start..).take(len).collect(),
                weights: (0..len)
                    .map(|at| f32::from(u8::from(at % 3 == 2)))
                    .collect(),
            })
        }
    }

    fn rows() -> GeneratedRows {
        GeneratedRows {
            row_len: 20,
            num_rows: 7,
            min_len: 8,
            num_lens: 4,
            seed: 5,
        }
    }

    #[test]
    fn lengths_are_evenly_spaced_and_come_in_turn() {
        let lens: Vec<u64> = (0..7).map(|row| rows().len_of(row)).collect();
        assert_eq!(lens, [8, 12, 16, 20, 8, 12, 16]);
        let single = GeneratedRows {
            num_lens: 1,
            ..rows()
        };
        assert_eq!(single.len_of(3), 20);
        let published = GeneratedRows {
            row_len: 32_000,
            min_len: 1000,
            num_lens: 50,
            ..rows()
        };
        assert_eq!(
            [0, 1, 49, 50].map(|row| published.len_of(row)),
            [1000, 1632, 32_000, 1000]
        );
        for (rows, setting) in [
            (
                GeneratedRows {
                    min_len: 21,
                    ..rows()
                },
                "`min-len` is 21",
            ),
            (
                GeneratedRows {
                    num_rows: 0,
                    ..rows()
                },
                "`rows` is 0",
            ),
            (
                GeneratedRows {
                    num_lens: 0,
                    ..rows()
                },
                "`num-lens` is 0",
            ),
        ] {
            let error = rows.check().unwrap_err();
            assert_eq!(error.code(), "pack.setting");
            assert!(error.to_string().contains(setting), "{error}");
        }
    }

    #[test]
    fn a_loader_reads_back_documents_and_labels_without_the_padding() {
        let place = tempfile::tempdir().unwrap();
        let target = place.path().join("rows");
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("checkpoints/tiny/tokenizer.json");
        let tokenizer = Tokenizer::from_file(&path).unwrap();
        let mixture = Mixture::new(vec![(1.0, Box::new(Counting) as Box<dyn Generate>)]).unwrap();
        let kinds = ["random-repeats:span_min=2,span_max=4".parse().unwrap()];
        let job = GeneratedJob {
            kinds: &kinds,
            mixture: &mixture,
            tokenizer: &tokenizer,
            sources: &[],
            corpus: None,
            held_out: 0.0,
            rows: rows(),
            write: WriteOptions::default(),
        };
        let report = pack_generated(&job, &target).unwrap();
        assert_eq!((report.rows.total, report.rows.generated), (7, 7));
        assert_eq!((report.tokens_written, report.padding), (92, 48));
        let manifest = manifest::load(&target).unwrap().unwrap();
        assert_eq!(manifest.head.generated.unwrap().kinds, kinds);
        let stream = StreamSpec {
            path: target,
            weight: StreamWeight::Repeat(1.0),
        };
        let read = |instruct_mask| {
            let settings = LoaderSettings {
                instruct_mask,
                ..LoaderSettings::default()
            };
            let mut loader = Loader::open(std::slice::from_ref(&stream), &settings).unwrap();
            assert_eq!(loader.stored_row_len().unwrap(), 20);
            loader.next_row().unwrap()
        };
        let (row, plain) = (read(InstructMask::Needed), read(InstructMask::Ignored));
        let len = row.ids.len();
        assert_eq!(
            (&row.doc_lens[..], row.ids[1]),
            (&[len][..], row.ids[0] + 1)
        );
        assert!([8, 12, 16, 20].contains(&len));
        for (at, label) in row.labels.iter().enumerate() {
            let expected = if at % 3 == 2 { row.ids[at] } else { -100 };
            assert_eq!(*label, expected, "token {at}");
        }
        assert_eq!(plain.labels[1..], plain.ids[1..]);
    }
}
