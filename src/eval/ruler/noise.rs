//! The haystack that says the same in every line.

/// Five short sentences, all that this haystack says.
pub const LINE: &str = "The road is long. The fields are wide. The rain has stopped. A cart goes by. It will be back.\n";

/// No tokenizer writes a line, twenty words with five full stops, in fewer.
pub const MIN_LINE_TOKENS: usize = 20;

/// A text of lines of noise with other lines among them, and the bytes of it up to the end of the last other line.
///
/// `others` are in the order of their places among all lines.
pub fn hide(num_lines: usize, others: &[(usize, String)]) -> (String, usize) {
    let mut text = String::new();
    let mut end = 0;
    let mut others = others.iter().peekable();
    for at in 0..num_lines {
        match others.next_if(|(place, _)| *place == at) {
            Some((_, line)) => {
                text.push_str(line);
                text.push('\n');
                end = text.len();
            }
            None => text.push_str(LINE),
        }
    }
    (text, end)
}
