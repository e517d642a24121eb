//! Tables of tab-separated values in the text that a model wrote.

use super::chars::trim;
use super::normalise::normalise;
use csv::{ReaderBuilder, StringRecord, Terminator};
use std::collections::BTreeSet;

/// Opens and closes a table in an output.
const FENCE: &str = "```";

/// What stands in the cells of a row that does not fit its table.
const NOT_AVAILABLE: &str = "na";

/// Rows of cells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Cells of the header.
    pub num_columns: usize,
    /// The rows below the header, as many normalised cells each, without blanks.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// Reads the table between fences in `text`, or of all the text where none is opened. A last row of another width is
    /// taken as cut off and left out, other such rows are unreadable.
    ///
    /// Nothing if there is no row below the header, or if two columns have one name.
    pub fn parse(text: &str) -> Option<Self> {
        let mut records = records(trim(fenced(text)));
        if records.is_empty() {
            return None;
        }
        let header = records.remove(0);
        let num_columns = header.len();
        let names: BTreeSet<&str> = header.iter().map(String::as_str).collect();
        if records.last().is_some_and(|row| row.len() != num_columns) {
            records.pop();
        }
        if records.is_empty() || names.len() < num_columns {
            return None;
        }
        let rows = records.into_iter().map(|row| cells(&row, num_columns));
        Some(Self {
            num_columns,
            rows: rows.collect(),
        })
    }
}

fn cells(row: &[String], num_columns: usize) -> Vec<String> {
    if row.len() == num_columns {
        row.iter()
            .map(|cell| normalise(cell).replace(' ', ""))
            .collect()
    } else {
        vec![NOT_AVAILABLE.to_owned(); num_columns]
    }
}

/// The text from behind the opening fence to the last one.
fn fenced(text: &str) -> &str {
    let Some((_, inside)) = text.split_once("```tsv") else {
        return text;
    };
    inside.rfind(FENCE).map_or(inside, |end| &inside[..end])
}

/// The records of `text`, one per line except that quoted fields go on behind line ends, which they lose. A blank line is
/// a record without fields, as in Python; the reader leaves it out, so it is found by counting lines.
fn records(text: &str) -> Vec<Vec<String>> {
    let text = format!("{text}\n");
    let mut reader = ReaderBuilder::new()
        .delimiter(b'\t')
        .terminator(Terminator::Any(b'\n'))
        .has_headers(false)
        .flexible(true)
        .from_reader(text.as_bytes());
    let mut records = Vec::new();
    let mut record = StringRecord::new();
    let mut line = reader.position().line();
    while reader.read_record(&mut record).unwrap_or(false) {
        let inside: usize = record.iter().map(|field| field.matches('\n').count()).sum();
        let end = reader.position().line();
        let own = 1 + u64::try_from(inside).unwrap_or(u64::MAX);
        records.extend((line + own..end).map(|_| Vec::new()));
        records.push(record.iter().map(|field| field.replace('\n', "")).collect());
        line = end;
    }
    records
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[&[&str]]) {
        let found = records(text);
        assert_eq!(found, expected, "{text:?}");
    }

    #[test]
    fn records_are_those_of_python() {
        check("a\tb\nc\td", &[&["a", "b"], &["c", "d"]]);
        check("a\tb\n\n\nc", &[&["a", "b"], &[], &[], &["c"]]);
        check("a\t\"b\nc\"\nd\t\"\"", &[&["a", "bc"], &["d", ""]]);
        check("\"b\n\nc\"\n\nd", &[&["bc"], &[], &["d"]]);
        check("\"a\"\"b\"x\ty\"z\"", &[&["a\"bx", "y\"z\""]]);
        check("a\t\"open\nb\tc", &[&["a", "openb\tc"]]);
        check("a\t", &[&["a", ""]]);
        check("", &[]);
    }

    #[test]
    fn rows_of_another_width_are_unreadable_and_a_last_one_is_cut_off() {
        let table = Table::parse("```tsv\nx\ty\nThe a\t1,5 \nbad\n\nB C\td\ncut").unwrap();
        assert_eq!(table.num_columns, 2);
        let rows = [["", "15"], ["na", "na"], ["na", "na"], ["bc", "d"]];
        assert_eq!(table.rows, rows);
        for text in ["", "x\ty", "x\tx\n1\t2", "```tsv\n```\nx\ty\n1\t2"] {
            assert_eq!(Table::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn the_last_fence_closes() {
        for (text, inside) in [
            ("a ```tsv b``` c", " b"),
            ("```tsv b", " b"),
            ("```tsv b ```tsv c", " b "),
            ("```tsv b``` c ```tsv d```", " b``` c ```tsv d"),
            ("```TSV b```", "```TSV b```"),
        ] {
            assert_eq!(fenced(text), inside);
        }
    }
}
