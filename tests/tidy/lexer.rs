//! Blanks out comments and literals, so that rules see code only.

/// `text` with the contents of comments, strings and characters replaced by spaces; lines and offsets stay.
pub(crate) fn code_only(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = literal_end(bytes, at);
        if end == at {
            at += 1;
            continue;
        }
        for byte in &mut code[at..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end;
    }
    String::from_utf8_lossy(&code).into_owned()
}

/// End of the comment or literal that starts at `at`, or `at` itself.
fn literal_end(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    if rest.starts_with(b"//") {
        return at + find(rest, b"\n").unwrap_or(rest.len());
    }
    if rest.starts_with(b"/*") {
        return at + find(rest, b"*/").map_or(rest.len(), |end| end + 2);
    }
    let after_word = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
    match rest[0] {
        b'"' => quoted_end(bytes, at),
        b'r' if !after_word => raw_end(bytes, at),
        b'\'' => character_end(bytes, at),
        _ => at,
    }
}

fn quoted_end(bytes: &[u8], at: usize) -> usize {
    let mut end = at + 1;
    while end < bytes.len() {
        match bytes[end] {
            b'\\' => end += 2,
            b'"' => return end + 1,
            _ => end += 1,
        }
    }
    bytes.len()
}

fn raw_end(bytes: &[u8], at: usize) -> usize {
    let hashes = bytes[at + 1..]
        .iter()
        .take_while(|byte| **byte == b'#')
        .count();
    let open = at + 1 + hashes;
    if bytes.get(open) != Some(&b'"') {
        return at;
    }
    let close: Vec<u8> = std::iter::once(b'"')
        .chain(std::iter::repeat_n(b'#', hashes))
        .collect();
    find(&bytes[open + 1..], &close).map_or(bytes.len(), |end| open + 1 + end + close.len())
}

/// A lifetime has no closing quote.
fn character_end(bytes: &[u8], at: usize) -> usize {
    if bytes.get(at + 1) == Some(&b'\\') {
        return find(&bytes[at + 3..], b"'").map_or(at, |end| at + 3 + end + 1);
    }
    let width = bytes.get(at + 1).map_or(1, |byte| match byte {
        0xC0..0xE0 => 2,
        0xE0..0xF0 => 3,
        0xF0.. => 4,
        _ => 1,
    });
    if bytes.get(at + 1 + width) == Some(&b'\'') {
        at + width + 2
    } else {
        at
    }
}

fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes
        .windows(needle.len())
        .position(|window| window == needle)
}

/// Byte offsets where `word` stands in `code` with no letter, digit or `_` before or after it.
pub(crate) fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    let open = word.starts_with(part);
    let closed = word.ends_with(part);
    code.match_indices(word)
        .map(|(at, _)| at)
        .filter(move |at| {
            let before = code[..*at].chars().next_back();
            let after = code[at + word.len()..].chars().next();
            !(open && before.is_some_and(part) || closed && after.is_some_and(part))
        })
}

#[test]
fn comments_and_literals_vanish_and_the_rest_stays() {
    let text = "a // b\n\"c\\\"d\" 'e' '\\n' '\u{e9}' r#\"f\"g\"# &'h i /* j\n */ k";
    let code = code_only(text);
    assert_eq!(code.len(), text.len());
    assert_eq!(code.matches('\n').count(), 2);
    let left: String = code.split_whitespace().collect();
    assert_eq!(left, "a&'hik");
}

#[test]
fn words_are_whole() {
    assert_eq!(
        words("use tch; fetch tch::x tchx", "tch").collect::<Vec<_>>(),
        [4, 15]
    );
}
