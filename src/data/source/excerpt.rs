//! Documents in a fixed order up to a number of bytes, for measuring on a bounded amount of text.

use super::Source;
use super::select::{Selection, nothing_selected, select};
use crate::data::error::DataError;

/// One document, or its beginning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excerpt {
    /// Name of the source it comes from.
    pub source: String,
    /// The document's id.
    pub id: String,
    /// Its text, cut at the end of a line where the bytes ran out.
    pub text: String,
}

/// Most bytes of text to take; nothing = all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Of all documents together.
    pub total: Option<u64>,
    /// Of each document, from its beginning.
    pub per_document: Option<u64>,
}

/// Reads the selected documents of `sources`, in the order of [`select`], until the limit of all together is reached.
///
/// A document is cut after a line feed; after a character if the part that fits holds none. Unlike the byte limit of a
/// selection, no document is passed over for its size, so long ones are not underrepresented. Documents without text are
/// left out.
///
/// # Errors
/// [`DataError::Empty`] if that is no text at all, or the first error of a document.
pub fn read_up_to(
    sources: &[Box<dyn Source>],
    selection: &Selection,
    limits: Limits,
) -> Result<Vec<Excerpt>, DataError> {
    let bound = |limit: Option<u64>| {
        limit.map_or(usize::MAX, |bytes| {
            usize::try_from(bytes).unwrap_or(usize::MAX)
        })
    };
    let (mut left, most) = (bound(limits.total), bound(limits.per_document));
    let mut excerpts = Vec::new();
    for document in select(sources, selection) {
        let mut text = document.read()?.text;
        let is_last = text.len().min(most) >= left;
        text.truncate(cut(&text, left.min(most)));
        left -= text.len();
        if !text.is_empty() {
            excerpts.push(Excerpt {
                source: document.domain().to_owned(),
                id: document.id().to_owned(),
                text,
            });
        }
        if is_last {
            break;
        }
    }
    if excerpts.is_empty() {
        return Err(nothing_selected(sources));
    }
    Ok(excerpts)
}

/// Length of the part of `text` to keep within `limit` bytes.
fn cut(text: &str, limit: usize) -> usize {
    if text.len() <= limit {
        return text.len();
    }
    let end = text.floor_char_boundary(limit);
    text[..end].rfind('\n').map_or(end, |newline| newline + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::source::select::Split;
    use crate::data::source::text::{Text, TextSettings};
    use crate::fault::Coded;

    fn taken(total: Option<u64>, per_document: Option<u64>) -> Result<Vec<Excerpt>, DataError> {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a", "b", "c"] {
            let lines = format!("line {name}\n").repeat(10);
            std::fs::write(folder.path().join(format!("{name}.txt")), lines).unwrap();
        }
        std::fs::write(folder.path().join("empty.txt"), "").unwrap();
        let source = Text::scan(folder.path(), &TextSettings::default()).unwrap();
        let sources: Vec<Box<dyn Source>> = vec![Box::new(source)];
        let selection = Selection {
            split: Split::HeldOut,
            held_out_share: 1.0,
            ..Selection::default()
        };
        let limits = Limits {
            total,
            per_document,
        };
        read_up_to(&sources, &selection, limits)
    }

    #[test]
    fn documents_come_whole_until_the_last_one_is_cut_at_a_line() {
        let all = taken(None, None).unwrap();
        assert_eq!(all.len(), 3);
        assert!(all.iter().all(|excerpt| excerpt.text.len() == 70));
        let some = taken(Some(100), None).unwrap();
        assert_eq!(some[0], all[0]);
        assert_eq!(some[1].id, all[1].id);
        assert_eq!(some[1].text, all[1].text[..28]);
        assert_eq!(some.len(), 2);
        assert_eq!(taken(Some(70), None).unwrap(), all[..1]);
        assert_eq!(taken(Some(3), None).unwrap()[0].text, "lin");
        let parts = taken(Some(50), Some(30)).unwrap();
        let lens: Vec<usize> = parts.iter().map(|part| part.text.len()).collect();
        assert_eq!(lens, [28, 21]);
        assert_eq!(taken(None, Some(30)).unwrap().len(), 3);
        assert_eq!(taken(Some(0), None).unwrap_err().code(), "data.empty");
    }

    #[test]
    fn a_cut_keeps_characters_whole() {
        assert_eq!(cut("\u{e9}\u{e9}", 3), 2);
        assert_eq!(cut("a\nb\u{e9}", 4), 2);
        assert_eq!(cut("a\n", 2), 2);
    }
}
