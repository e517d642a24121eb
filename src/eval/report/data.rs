//! What a figure says, in numbers: a table below it, and CSV inside it.

use crate::eval::text::csv_text::csv_text;
use crate::mask::heatmap_svg::escape;
use std::fmt::Write;

/// A table of texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Data {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Data {
    /// A table without rows.
    pub(super) fn new(head: &[&str]) -> Self {
        Self {
            head: head.iter().map(|name| (*name).to_owned()).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row.
    pub(super) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// The same as CSV.
    pub(super) fn csv(&self) -> String {
        csv_text(std::iter::once(&self.head).chain(&self.rows))
    }

    /// The table, first cells as names of their rows.
    pub(super) fn table(&self) -> String {
        let mut html = String::from("<div class=\"wide\"><table>\n<thead><tr>");
        for name in &self.head {
            let _ = write!(html, "<th scope=\"col\">{}</th>", escape(name));
        }
        html.push_str("</tr></thead>\n<tbody>\n");
        for row in &self.rows {
            html.push_str("<tr>");
            for (place, cell) in row.iter().enumerate() {
                let cell = escape(cell);
                let _ = match place {
                    0 => write!(html, "<th scope=\"row\">{cell}</th>"),
                    _ => write!(html, "<td>{cell}</td>"),
                };
            }
            html.push_str("</tr>\n");
        }
        html.push_str("</tbody></table></div>\n");
        html
    }

    /// The table, folded away below a figure.
    pub(super) fn folded(&self) -> String {
        format!(
            "<details><summary>The numbers</summary>\n{}</details>\n",
            self.table()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_survives_in_both_forms() {
        let mut data = Data::new(&["name", "score, %"]);
        data.row(vec!["a\"b".to_owned(), "<1".to_owned()]);
        assert_eq!(data.csv(), "name,\"score, %\"\n\"a\"\"b\",<1\n");
        assert!(
            data.table()
                .contains("<th scope=\"row\">a\"b</th><td>&lt;1</td>")
        );
    }
}
