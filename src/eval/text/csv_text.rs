//! Tables as CSV in memory.

use csv::WriterBuilder;

/// `records` as CSV with line feeds, cells quoted where RFC 4180 asks for it.
pub fn csv_text<R>(records: impl IntoIterator<Item = R>) -> String
where
    R: IntoIterator<Item: AsRef<[u8]>>,
{
    let mut writer = WriterBuilder::new().flexible(true).from_writer(Vec::new());
    for record in records {
        // Nothing that is written to memory fails, and records may be of any length.
        let _ = writer.write_record(record);
    }
    let bytes = writer.into_inner().unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_find_every_cell_as_it_was() {
        let cells = ["", "a b", "a,b", "say \"x\"", "two\nlines", "\r"];
        let text = csv_text([cells, ["1"; 6]]);
        assert!(text.ends_with("\n1,1,1,1,1,1\n"), "{text}");
        let mut builder = csv::ReaderBuilder::new();
        let mut reader = builder.has_headers(false).from_reader(text.as_bytes());
        let record = reader.records().next().unwrap().unwrap();
        assert_eq!(record.iter().collect::<Vec<_>>(), cells);
    }
}
