//! Trains this project's own tokenizer: byte-level BPE that never joins digits.
//!
//! # Decisions
//! Every digit is a token of its own. A number that was never seen is then copied digit by digit, like any other text; with
//! digits joined in groups, its tokens depend on where the groups fall, and a small model cannot copy what it has to
//! re-divide.

use crate::data::error::DataError;
use tokenizers::decoders::DecoderWrapper;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::normalizers::NormalizerWrapper;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::processors::PostProcessorWrapper;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{AddedToken, SplitDelimiterBehavior, TokenizerImpl};

/// Token that begins every text, id 0.
pub const BEGIN_OF_TEXT: &str = "<|begin_of_text|>";
/// Token that ends every text, id 1.
pub const END_OF_TEXT: &str = "<|end_of_text|>";

/// Smallest vocabulary: the two special tokens and one token per byte.
pub const MIN_VOCAB_SIZE: usize = 258;

/// Pieces that merges stay inside of: a word with the mark or blank before it, one digit, a run of signs with its line
/// ends, line ends with the blanks before them, blanks up to the last, remaining blanks.
const PIECES: &str = concat!(
    r"[^\r\n\p{L}\p{N}]?\p{L}+",
    r"|\p{N}",
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*",
    r"|\s*[\r\n]+",
    r"|\s+(?!\S)",
    r"|\s+",
);

type Trainable = TokenizerImpl<
    BPE,
    NormalizerWrapper,
    PreTokenizerWrapper,
    PostProcessorWrapper,
    DecoderWrapper,
>;

/// Trains a byte-level BPE of exactly `vocab_size` tokens on `texts` and returns its `tokenizer.json`.
///
/// The result depends on the texts' content only, not on their order or the number of threads.
///
/// # Errors
/// [`DataError::TokenizerTraining`] if `vocab_size` is below [`MIN_VOCAB_SIZE`] or the texts are too few to fill it.
pub fn train_bpe(
    texts: impl Iterator<Item = String> + Send,
    vocab_size: usize,
) -> Result<String, DataError> {
    let failed = |reason: String| DataError::TokenizerTraining { vocab_size, reason };
    if vocab_size < MIN_VOCAB_SIZE {
        return Err(failed(format!(
            "the two special tokens and all bytes already are {MIN_VOCAB_SIZE}"
        )));
    }
    let upstream = |error: tokenizers::Error| failed(error.to_string());
    let mut tokenizer = untrained().map_err(upstream)?;
    let mut trainer = BpeTrainer::builder()
        .vocab_size(vocab_size)
        .min_frequency(2)
        .show_progress(false)
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .special_tokens(vec![
            AddedToken::from(BEGIN_OF_TEXT, true),
            AddedToken::from(END_OF_TEXT, true),
        ])
        .build();
    tokenizer.train(&mut trainer, texts).map_err(upstream)?;
    let learnt = tokenizer.get_vocab_size(true);
    if learnt != vocab_size {
        return Err(failed(format!(
            "the texts yield only {learnt} tokens that occur at least twice"
        )));
    }
    tokenizer.to_string(true).map_err(upstream)
}

fn untrained() -> Result<Trainable, tokenizers::Error> {
    let split = Split::new(
        SplitPattern::Regex(PIECES.to_owned()),
        SplitDelimiterBehavior::Isolated,
        false,
    )?;
    let bytes = ByteLevel::new(false, true, false);
    let template = TemplateProcessing::builder()
        .try_single(format!("{BEGIN_OF_TEXT} $A"))?
        .try_pair(format!("{BEGIN_OF_TEXT} $A {BEGIN_OF_TEXT}:1 $B:1"))?
        .special_tokens(vec![(BEGIN_OF_TEXT, 0)])
        .build()?;
    let mut tokenizer = Trainable::new(BPE::default());
    tokenizer
        .with_pre_tokenizer(Some(Sequence::new(vec![split.into(), bytes.into()])))
        .with_post_processor(Some(template))
        .with_decoder(Some(bytes));
    Ok(tokenizer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::tokenizer::Tokenizer;
    use crate::fault::Coded;

    fn texts() -> Vec<String> {
        let syllables = ["ba", "ke", "li", "mo", "nu", "ra", "se", "ti", "vo", "wy"];
        let word = |i: usize| {
            [i % 10, i / 10 % 10, i / 100]
                .map(|s| syllables[s])
                .concat()
        };
        (0..400_usize)
            .map(|i| {
                format!(
                    "let {} = {}({i}); // line {}\n",
                    word(i),
                    word(i * 7 % 400),
                    1_234_567 + 7919 * i
                )
            })
            .collect()
    }

    fn load(json: &str) -> Tokenizer {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokenizer.json");
        std::fs::write(&path, json).unwrap();
        Tokenizer::from_file(&path).unwrap()
    }

    #[test]
    fn the_same_texts_give_the_same_bytes_in_any_order() {
        let forward = train_bpe(texts().into_iter(), 320).unwrap();
        let backward = train_bpe(texts().into_iter().rev(), 320).unwrap();
        assert_eq!(forward, backward);
    }

    #[test]
    fn a_seven_digit_number_is_seven_tokens_after_any_context() {
        let tokenizer = load(&train_bpe(texts().into_iter(), 320).unwrap());
        let digits = tokenizer.encode("1234567").unwrap();
        assert_eq!(digits.len(), 7);
        for (before, after) in [
            ("f(", ")"),
            ("= ", ";\n"),
            ("is ", "."),
            ("x: ", ""),
            ("\n", "\n"),
        ] {
            let ids = tokenizer
                .encode(&format!("{before}1234567{after}"))
                .unwrap();
            let start = tokenizer.encode(before).unwrap();
            assert_eq!(ids[..start.len()], start, "{before:?}");
            assert_eq!(ids[start.len()..start.len() + 7], digits, "{before:?}");
        }
    }

    #[test]
    fn special_tokens_are_the_first_two_ids() {
        let tokenizer = load(&train_bpe(texts().into_iter(), 300).unwrap());
        assert_eq!((tokenizer.bos(), tokenizer.eos()), (0, 1));
        assert_eq!(tokenizer.vocab_size(), 300);
    }

    #[test]
    fn impossible_sizes_are_refused() {
        for vocab_size in [0, 257, 100_000] {
            let error = train_bpe(texts().into_iter(), vocab_size).unwrap_err();
            assert_eq!(error.code(), "tok.training");
        }
        assert!(train_bpe(std::iter::empty(), 258).is_ok());
    }
}
