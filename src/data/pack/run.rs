//! The whole job: sources in, one dataset out, or a `train` and a `val` dataset.

use super::PackProgress;
use super::error::PackError;
use super::plan::{Plan, plan};
use super::report::PackReport;
use super::settings::PackSettings;
use super::spool::{Spool, SpoolInput, spool};
use super::stage::Stage;
use super::write::{RowWriter, SpecialTokens};
use crate::data::error::DataError;
use crate::data::manifest::{self, DocumentRecord, ManifestHead, SourceRecord, TokenizerRecord};
use crate::data::mds::writer::WriteOptions;
use crate::data::source::Source;
use crate::data::source::select::{Selected, Selection, Split, select};
use crate::data::tokenizer::Tokenizer;
use std::path::Path;

/// What to pack, and how.
pub struct PackJob<'a> {
    /// Where documents come from. Their names become the rows' domains.
    pub sources: &'a [Box<dyn Source>],
    /// Turns text into tokens.
    pub tokenizer: &'a Tokenizer,
    /// How rows are made.
    pub settings: PackSettings,
    /// Share of documents that go to `val/` instead of `train/`; 0 for one dataset without splits.
    pub held_out: f64,
    /// Most documents of each split, chosen by hash of their ids; nothing = all.
    pub max_documents: Option<usize>,
    /// How shards are written.
    pub write: WriteOptions,
}

/// One dataset that was written.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Packed {
    /// `train` or `val`, or nothing for a dataset without splits.
    pub split: Option<&'static str>,
    /// Its counts.
    pub report: PackReport,
}

/// Packs `job` into `target`, on the current rayon pool.
///
/// The target appears complete or not at all; rows, manifests and their bytes depend on the job only.
///
/// # Errors
/// [`PackError::Setting`]; [`PackError::NoDocuments`] and [`PackError::NoRows`] if nothing results; whatever reading,
/// tokenizing or writing fails with.
pub fn pack(
    job: &PackJob<'_>,
    target: &Path,
    progress: &dyn PackProgress,
) -> Result<Vec<Packed>, PackError> {
    job.settings.check()?;
    if !(0.0..1.0).contains(&job.held_out) {
        return Err(PackError::Setting {
            setting: "held-out",
            value: job.held_out.to_string(),
            allowed: "a share of at least 0 and less than 1",
        });
    }
    let splits: &[(Option<&'static str>, Split)] = if job.held_out > 0.0 {
        &[(Some("train"), Split::Train), (Some("val"), Split::HeldOut)]
    } else {
        &[(None, Split::Train)]
    };
    // Both sides of the line are looked at before hours go into one of them.
    let chosen: Vec<_> = splits
        .iter()
        .map(|&(name, split)| (name, documents(job, split)))
        .collect();
    if let Some(&(split, _)) = chosen.iter().find(|(_, documents)| documents.is_empty()) {
        return Err(PackError::NoDocuments { split });
    }
    let stage = Stage::begin(target)?;
    let mut packed = Vec::new();
    for (name, documents) in chosen {
        let report = pack_split(job, &stage, name, &documents, progress)?;
        packed.push(Packed {
            split: name,
            report,
        });
    }
    stage.publish()?;
    Ok(packed)
}

/// The documents of one side of the held-out line.
pub fn documents<'a>(job: &PackJob<'a>, split: Split) -> Vec<Selected<'a>> {
    let selection = Selection {
        split,
        held_out_share: job.held_out,
        max_bytes: None,
        seed: job.settings.seed,
    };
    let mut documents = select(job.sources, &selection);
    documents.truncate(job.max_documents.unwrap_or(usize::MAX));
    documents
}

fn pack_split(
    job: &PackJob<'_>,
    stage: &Stage,
    name: Option<&'static str>,
    documents: &[Selected<'_>],
    progress: &dyn PackProgress,
) -> Result<PackReport, PackError> {
    let domains: Vec<String> = job
        .sources
        .iter()
        .map(|source| source.name().to_owned())
        .collect();
    let input = SpoolInput {
        documents,
        domains: &domains,
        tokenizer: job.tokenizer,
        seed: job.settings.seed,
    };
    let spool = spool(
        input,
        stage.scratch("tokens"),
        stage.scratch("documents"),
        progress,
    )?;
    let plan = plan(&spool.documents, &job.settings);
    if plan.rows.is_empty() {
        return Err(no_rows(&spool, &job.settings));
    }
    let folder = match name {
        Some(name) => stage.output().join(name),
        None => stage.output(),
    };
    let special = SpecialTokens {
        bos: job.tokenizer.bos(),
        eos: job.tokenizer.eos(),
    };
    let mut rows = RowWriter::create(
        &folder,
        &spool,
        &domains,
        special,
        job.settings.row_len,
        job.write.clone(),
    )?;
    rows.write_all(&plan)?;
    let (writer, mut report) = rows.into_report(&plan, &job.settings);
    report.assert_conserved();
    report.dropped_files = dropped_files(job, &spool);
    write_manifest(job, name, &folder, &plan, &spool, &report)?;
    writer.finish()?;
    Ok(report)
}

fn no_rows(spool: &Spool, settings: &PackSettings) -> PackError {
    let longest = spool
        .documents
        .iter()
        .map(|document| document.len)
        .max()
        .unwrap_or(0);
    let fills = longest + settings.num_bos(false) + u64::from(settings.eos);
    PackError::NoRows {
        row_len: settings.row_len,
        num_documents: spool.documents.len() as u64,
        longest,
        min_doc: settings.min_doc,
        would_work: (longest >= settings.min_doc.max(8)).then_some(fills),
    }
}

/// What scans left out, plus what reading the documents left out.
fn dropped_files(
    job: &PackJob<'_>,
    spool: &Spool,
) -> std::collections::BTreeMap<String, std::collections::BTreeMap<String, u64>> {
    let mut dropped = spool.dropped_files.clone();
    for source in job.sources {
        let counts = dropped.entry(source.name().to_owned()).or_default();
        for (reason, count) in source.dropped() {
            *counts.entry(reason.clone()).or_default() += count;
        }
    }
    dropped
}

fn write_manifest(
    job: &PackJob<'_>,
    split: Option<&str>,
    folder: &Path,
    plan: &Plan,
    spool: &Spool,
    report: &PackReport,
) -> Result<(), PackError> {
    let sources = job.sources.iter();
    let head = ManifestHead {
        schema: manifest::SCHEMA.to_owned(),
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        split: split.map(str::to_owned),
        held_out: job.held_out,
        tokenizer: TokenizerRecord::new(job.tokenizer),
        sources: sources
            .map(|source| SourceRecord {
                name: source.name().to_owned(),
                settings: source.settings(),
            })
            .collect(),
        settings: job.settings,
        generated: None,
        report: report.clone(),
    };
    let mut rows = vec![0_u64; spool.documents.len()];
    for row in &plan.rows {
        for piece in &row.pieces {
            rows[piece.document] += 1;
        }
    }
    let documents = spool.sources()?.zip(spool.documents.iter().zip(rows));
    let documents = documents.map(|(source, (document, rows))| {
        Ok(DocumentRecord {
            source: serde_json::from_str(&source?)?,
            tokens: document.len,
            rows,
        })
    });
    manifest::write(folder, &head, documents)?;
    Ok(())
}

/// A rayon pool of `num_threads`, or of one thread per core.
///
/// # Errors
/// [`DataError::Io`] if threads cannot be started.
pub fn thread_pool(num_threads: Option<usize>) -> Result<rayon::ThreadPool, PackError> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(num_threads.unwrap_or(0))
        .build()
        .map_err(|error| {
            let error = std::io::Error::other(error);
            PackError::Data(DataError::io(
                "start threads for",
                Path::new("packing"),
                error,
            ))
        })
}
