//! Canonical JSON: one spelling per value, so that equal content gives equal bytes (masks.md section 7).
//!
//! Keys sorted by code point, no spaces, ASCII only with lower-case `\uXXXX` escapes. It is what Python's
//! `json.dumps(x, sort_keys=True, separators=(",", ":"))` prints for integers, text and everyday floats. What is hashed holds
//! only integers and ASCII text, because languages spell extreme floats differently.

use serde_json::Value;
use std::fmt::Write as _;

/// The canonical text of `value`, without a line feed.
pub fn to_string(value: &Value) -> String {
    let mut text = String::new();
    write_value(&mut text, value);
    text
}

fn write_value(text: &mut String, value: &Value) {
    match value {
        Value::Null => text.push_str("null"),
        Value::Bool(flag) => text.push_str(if *flag { "true" } else { "false" }),
        Value::Number(number) => {
            let _ = write!(text, "{number}");
        }
        Value::String(string) => write_string(text, string),
        Value::Array(items) => write_list(text, ('[', ']'), items, write_value),
        Value::Object(fields) => {
            let mut sorted: Vec<_> = fields.iter().collect();
            sorted.sort_by_key(|(key, _)| *key);
            write_list(text, ('{', '}'), &sorted, |text, (key, value)| {
                write_string(text, key);
                text.push(':');
                write_value(text, value);
            });
        }
    }
}

fn write_list<T>(
    text: &mut String,
    (open, close): (char, char),
    items: &[T],
    mut write_item: impl FnMut(&mut String, &T),
) {
    text.push(open);
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        write_item(text, item);
    }
    text.push(close);
}

fn write_string(text: &mut String, string: &str) {
    text.push('"');
    for character in string.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '\u{8}' => text.push_str("\\b"),
            '\u{c}' => text.push_str("\\f"),
            ' '..='~' => text.push(character),
            _ => write_escapes(text, character),
        }
    }
    text.push('"');
}

/// `\uXXXX`, twice (a surrogate pair) above U+FFFF.
fn write_escapes(text: &mut String, character: char) {
    for unit in character.encode_utf16(&mut [0; 2]) {
        let _ = write!(text, "\\u{unit:04x}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spelling_matches_pythons_sorted_compact_dump() {
        let value = serde_json::json!({
            "b": [1, 2.5, 500_000.0, true, null, -3],
            "a": {"z": "x\"\\\n\u{7f}", "é": "𝄞", "Z": {}},
            "c": [],
        });
        let python = "{\"a\":{\"Z\":{},\"z\":\"x\\\"\\\\\\n\\u007f\",\"\\u00e9\":\"\\ud834\\udd1e\"},\
                      \"b\":[1,2.5,500000.0,true,null,-3],\"c\":[]}";
        assert_eq!(to_string(&value), python);
    }

    #[test]
    fn canonical_text_reads_back_equal() {
        let value =
            serde_json::json!({"k\u{1}": [0.1, 1e-5, 12_345_678_901_i64], "é\u{2028}": "𝄞\t"});
        let again: Value = serde_json::from_str(&to_string(&value)).unwrap();
        assert_eq!(again, value);
    }
}
