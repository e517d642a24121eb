//! Long documents that are brought to a number of tokens before anything else is done with them.
//!
//! # Decisions
//! HELMET counts Llama-2 tokens; here it is the model's own, so that a prompt fills the same length for every model.

use crate::data::tokenizer::Tokenizer;
use crate::eval::error::EvalError;

/// What stands in place of what was left out.
const SUFFIX: &str = " [the rest of this text is left out]";

/// `text` if it has at most `max_tokens`, else its beginning with a suffix that says so.
pub(super) fn shortened(
    text: &str,
    max_tokens: usize,
    tokenizer: &Tokenizer,
) -> Result<String, EvalError> {
    let starts = tokenizer.token_starts(text)?;
    if starts.len() <= max_tokens {
        return Ok(text.to_owned());
    }
    let suffix_len = tokenizer.encode(SUFFIX)?.len();
    let end = starts[max_tokens.saturating_sub(suffix_len)];
    Ok(format!("{}{SUFFIX}", &text[..end]))
}

/// Tokens left for a document in a prompt of `length`.
pub(super) fn room(length: usize, others: usize, max_new_tokens: usize) -> usize {
    length.saturating_sub(others + max_new_tokens)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn long_documents_end_with_the_suffix_and_fill_their_room() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("checkpoints/tiny");
        let tokenizer = Tokenizer::from_file(&folder).unwrap();
        let text = "One line of a story, and then another one.\n".repeat(40);
        let len = |text: &str| tokenizer.encode(text).unwrap().len();
        assert_eq!(shortened(&text, len(&text), &tokenizer).unwrap(), text);
        for max_tokens in [40, 100, 201] {
            let short = shortened(&text, max_tokens, &tokenizer).unwrap();
            let (start, _) = short.split_once(SUFFIX).unwrap();
            assert!(text.starts_with(start));
            assert!(
                len(&short) <= max_tokens && len(&short) + 2 > max_tokens,
                "{max_tokens}"
            );
        }
        assert_eq!(room(1000, 200, 100), 700);
    }
}
