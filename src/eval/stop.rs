//! What ends an output before its limit.

use crate::data::tokenizer::Tokenizer;

/// What ends an output before its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stop {
    /// A token that ends a text, nothing else.
    #[default]
    End,
    /// Also a line end; the answer is what stands before it.
    Newline,
}

impl Stop {
    /// The part of an output's `text` that is the answer.
    pub fn cut(self, text: &str) -> &str {
        match self {
            Self::End => text,
            Self::Newline => text.split_once('\n').map_or(text, |(line, _)| line),
        }
    }
}

/// The ids of `tokenizer` whose text has a line end.
pub fn newline_ids(tokenizer: &Tokenizer) -> Vec<i64> {
    let num_ids = u32::try_from(tokenizer.vocab_size()).unwrap_or(u32::MAX);
    // Ids may have gaps; what cannot be decoded has no line end.
    let has_newline = |id: &u32| {
        tokenizer
            .decode(&[*id])
            .is_ok_and(|text| text.contains('\n'))
    };
    (0..num_ids).filter(has_newline).map(i64::from).collect()
}
