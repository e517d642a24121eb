//! Lines of CSV.

/// `cells` as one line, quoted as RFC 4180 says, with a line feed.
pub fn csv_line<'a>(cells: impl Iterator<Item = &'a str>) -> String {
    let cells: Vec<String> = cells.map(quoted).collect();
    cells.join(",") + "\n"
}

fn quoted(cell: &str) -> String {
    if cell.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_find_every_cell_as_it_was() {
        let cells = ["", "a b", "a,b", "say \"x\"", "two\nlines", "\r"];
        let line = csv_line(cells.into_iter());
        let mut builder = csv::ReaderBuilder::new();
        let mut reader = builder.has_headers(false).from_reader(line.as_bytes());
        let record = reader.records().next().unwrap().unwrap();
        assert_eq!(record.iter().collect::<Vec<_>>(), cells);
    }
}
