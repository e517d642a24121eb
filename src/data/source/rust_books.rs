//! The Rust books that rustup installs: one book is one document.

use super::html::text_of_main;
use super::walk::{count, sorted_entries};
use super::{Document, FileRecord, Source};
use crate::data::error::DataError;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The file in which mdBook writes a whole book.
const WHOLE_BOOK: &str = "print.html";

struct Book {
    name: String,
    path: PathBuf,
    bytes: u64,
}

/// The books below one documentation folder.
pub struct RustBooks {
    books: Vec<Book>,
    dropped: BTreeMap<String, u64>,
}

impl RustBooks {
    /// Scans `root`, a toolchain's `share/doc/rust/html`, for folders with a whole book in one page.
    ///
    /// # Errors
    /// [`DataError::SourceMissing`] if there is no book, [`DataError::Io`] if a folder cannot be read.
    pub fn scan(root: &Path) -> Result<Self, DataError> {
        let missing = || {
            DataError::SourceMissing {
            what: "the Rust books",
            path: root.join("*").join(WHOLE_BOOK),
            remedy: "run `rustup component add rust-docs`, or use another source such as `crates` or `text`"
                .to_owned(),
        }
        };
        if !root.is_dir() {
            return Err(missing());
        }
        let mut dropped = BTreeMap::new();
        let mut books = Vec::new();
        for (name, folder) in sorted_entries(root, &mut dropped)? {
            let path = folder.join(WHOLE_BOOK);
            match std::fs::metadata(&path) {
                Ok(info) if info.is_file() => books.push(Book {
                    name,
                    path,
                    bytes: info.len(),
                }),
                // API documentation and single pages: not books.
                _ => count(&mut dropped, "no-book", 1),
            }
        }
        if books.is_empty() {
            return Err(missing());
        }
        Ok(Self { books, dropped })
    }
}

impl Source for RustBooks {
    fn name(&self) -> &'static str {
        "rust-books"
    }

    fn num_documents(&self) -> usize {
        self.books.len()
    }

    fn describe(&self, index: usize) -> (&str, u64) {
        let book = &self.books[index];
        (&book.name, book.bytes)
    }

    fn read(&self, index: usize) -> Result<Document, DataError> {
        let book = &self.books[index];
        let page = std::fs::read(&book.path)
            .map_err(|source| DataError::io("read", &book.path, source))?;
        let html = std::str::from_utf8(&page).map_err(|error| DataError::Utf8 {
            path: book.path.clone(),
            offset: error.valid_up_to(),
        })?;
        let text = text_of_main(html).ok_or_else(|| DataError::Empty {
            path: book.path.clone(),
            reason: "the page has no `<main>` element with text".to_owned(),
        })?;
        Ok(Document {
            id: book.name.clone(),
            licence: "MIT OR Apache-2.0".to_owned(),
            files: vec![FileRecord {
                path: format!("{}/{WHOLE_BOOK}", book.name),
                bytes: page.len() as u64,
                blake3: blake3::hash(&page).to_hex().to_string(),
            }],
            text,
            dropped_files: BTreeMap::new(),
        })
    }

    fn dropped(&self) -> &BTreeMap<String, u64> {
        &self.dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Coded;

    #[test]
    fn folders_with_a_whole_book_are_documents() {
        let root = tempfile::tempdir().unwrap();
        for (name, page) in [
            ("book", "<main><p>One</p></main>"),
            ("nomicon", "<p>no main</p>"),
        ] {
            std::fs::create_dir(root.path().join(name)).unwrap();
            std::fs::write(root.path().join(name).join("print.html"), page).unwrap();
        }
        std::fs::create_dir(root.path().join("std")).unwrap();
        let books = RustBooks::scan(root.path()).unwrap();
        assert_eq!(books.num_documents(), 2);
        assert_eq!(books.describe(0), ("book", 23));
        let book = books.read(0).unwrap();
        assert_eq!(book.text, "One\n\n");
        assert_eq!(book.files[0].path, "book/print.html");
        assert_eq!(books.read(1).unwrap_err().code(), "data.empty");
        assert_eq!(books.dropped().get("no-book"), Some(&1));
    }

    #[test]
    fn missing_books_say_where_and_how() {
        let error = RustBooks::scan(Path::new("/nowhere/html")).err().unwrap();
        assert_eq!(error.code(), "data.source_missing");
        assert!(
            error.to_string().contains("/nowhere/html/*/print.html"),
            "{error}"
        );
        let hint = error.hint().unwrap();
        assert!(hint.contains("rustup component add rust-docs") && hint.contains("`crates`"));
        let empty = tempfile::tempdir().unwrap();
        assert_eq!(
            RustBooks::scan(empty.path()).err().unwrap().code(),
            "data.source_missing"
        );
    }
}
