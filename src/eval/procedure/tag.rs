//! The part of an output between an opening and a closing tag.

use crate::eval::text::chars::trim;

/// The text between the first `<name>` and the first `</name>` of `text`, without outer spaces: empty if the closing one
/// comes first, nothing if either is missing.
pub fn tagged<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let opening = format!("<{name}>");
    let start = text.find(&opening)? + opening.len();
    let end = text.find(&format!("</{name}>"))?;
    Some(trim(text.get(start..end).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::tagged;

    #[test]
    fn the_first_tags_count() {
        for (text, expected) in [
            ("x <T> a\nb </T> y", Some("a\nb")),
            ("<T>a</T> <T>b</T>", Some("a")),
            ("<T></T>", Some("")),
            ("</T> <T>a</T>", Some("")),
            ("<T>a", None),
            ("a</T>", None),
            ("<t>a</t>", None),
        ] {
            assert_eq!(tagged(text, "T"), expected, "{text:?}");
        }
    }
}
