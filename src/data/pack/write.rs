//! Pass 2: planned rows become MDS rows.

use super::error::PackError;
use super::piece::{Piece, PlannedRow};
use super::plan::Plan;
use super::report::{PackReport, share};
use super::settings::PackSettings;
use super::spool::Spool;
use crate::data::mds::array::Array;
use crate::data::mds::column::Encoding;
use crate::data::mds::dtype::Dtype;
use crate::data::mds::error::{MdsError, Place};
use crate::data::mds::value::Value;
use crate::data::mds::writer::{WriteOptions, Writer};
use std::collections::BTreeSet;
use std::path::Path;

/// Token ids that packing adds.
#[derive(Debug, Clone, Copy)]
pub struct SpecialTokens {
    /// Begins a span.
    pub bos: u32,
    /// Ends a document, and fills what no span covers.
    pub eos: u32,
}

/// Writes rows into an MDS dataset that still lacks its index.
pub struct RowWriter<'a> {
    writer: Writer,
    spool: &'a Spool,
    domains: &'a [String],
    special: SpecialTokens,
    row_len: usize,
    report: PackReport,
}

impl<'a> RowWriter<'a> {
    /// Starts the dataset in `dir`.
    ///
    /// # Errors
    /// [`MdsError::Exists`], [`MdsError::Io`].
    pub fn create(
        dir: &Path,
        spool: &'a Spool,
        domains: &'a [String],
        special: SpecialTokens,
        row_len: u64,
        options: WriteOptions,
    ) -> Result<Self, MdsError> {
        let columns = [
            ("domain", Encoding::Str),
            ("indices", Encoding::TypedArray(Dtype::Uint32)),
            ("input_ids", Encoding::TypedArray(Dtype::Uint32)),
            ("length", Encoding::Int),
        ];
        Ok(Self {
            writer: Writer::create(dir, &columns, options)?,
            spool,
            domains,
            special,
            row_len: usize::try_from(row_len).unwrap_or(usize::MAX),
            report: PackReport::default(),
        })
    }

    /// Writes every row of `plan`.
    ///
    /// # Errors
    /// [`PackError::Data`] if the spool, [`PackError::Mds`] if the dataset refuses.
    pub fn write_all(&mut self, plan: &Plan) -> Result<(), PackError> {
        plan.rows.iter().try_for_each(|row| self.write(row))
    }

    /// The counts of what was written, completed by what was read and dropped. The index is written by the returned
    /// writer's `finish`.
    pub fn into_report(self, plan: &Plan, settings: &PackSettings) -> (Writer, PackReport) {
        let mut report = self.report;
        let documents = &self.spool.documents;
        let kept: BTreeSet<usize> = plan
            .rows
            .iter()
            .flat_map(|row| row.pieces.iter().map(|piece| piece.document))
            .collect();
        let is_long = |len: u64| len >= settings.row_len;
        let long: u64 = documents
            .iter()
            .map(|document| document.len)
            .filter(|&len| is_long(len))
            .sum();
        report.documents_read = documents.len() as u64;
        report.bytes_read = self.spool.num_bytes;
        report.tokens_read = self.spool.num_tokens();
        report.documents_kept = kept.len() as u64;
        report.long_share = share(long, report.tokens_read);
        report.longest_document = documents
            .iter()
            .map(|document| document.len)
            .max()
            .unwrap_or(0);
        report.padding_share = share(report.padding, report.padding + report.tokens_written);
        report.dropped = plan
            .drops
            .iter()
            .map(|(reason, dropped)| (reason.name().to_owned(), *dropped))
            .collect();
        (self.writer, report)
    }

    fn write(&mut self, row: &PlannedRow) -> Result<(), PackError> {
        let mut ids: Vec<u32> = Vec::with_capacity(self.row_len);
        let mut indices: Vec<u32> = Vec::with_capacity(row.pieces.len() * 2);
        for piece in &row.pieces {
            indices.push(self.offset(ids.len())?);
            self.append(piece, &mut ids)?;
            indices.push(self.offset(ids.len())?);
            self.report
                .count_span(piece.span_len(), piece.num_bos, piece.num_eos);
        }
        let padding = self.row_len - ids.len();
        ids.resize(self.row_len, self.special.eos);
        self.report.count_row(row.kind, padding as u64);
        let spans = row.pieces.len() as u64;
        let source = self.spool.documents[row.pieces[0].document].source;
        let domain = Value::Str(self.domains[source].clone());
        let indices = self.array(&indices, vec![spans, 2])?;
        let length = Value::Int(ids.len() as i128);
        let input_ids = self.array(&ids, vec![ids.len() as u64])?;
        self.writer.write(&[
            ("domain", &domain),
            ("indices", &indices),
            ("input_ids", &input_ids),
            ("length", &length),
        ])?;
        Ok(())
    }

    fn append(&self, piece: &Piece, ids: &mut Vec<u32>) -> Result<(), PackError> {
        if piece.num_bos > 0 {
            ids.push(self.special.bos);
        }
        ids.append(
            &mut self
                .spool
                .read(piece.document, piece.start, piece.num_tokens)?,
        );
        if piece.num_eos > 0 {
            ids.push(self.special.eos);
        }
        Ok(())
    }

    fn offset(&self, offset: usize) -> Result<u32, MdsError> {
        u32::try_from(offset).map_err(|_| self.misfit("indices"))
    }

    fn array(&self, values: &[u32], shape: Vec<u64>) -> Result<Value, MdsError> {
        Array::from_u32(values, shape)
            .map(Value::Array)
            .ok_or_else(|| self.misfit("input_ids"))
    }

    fn misfit(&self, column: &str) -> MdsError {
        MdsError::Encoding {
            place: Place {
                path: self.writer.dir().to_path_buf(),
                row: Some(self.report.rows.total),
            },
            column: column.to_owned(),
            reason: "does not fit 32 bits".to_owned(),
        }
    }
}
