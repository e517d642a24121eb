//! Text of tokens as they are decoded: whole characters only, and nothing that may still turn out to begin a stop text.
//!
//! **Invariant:** the pieces put together are the text of all tokens at once, up to the first stop text.

use crate::data::tokenizer::Tokenizer;

/// What a broken or unfinished character is decoded to.
const REPLACEMENT: char = '\u{fffd}';

/// Turns tokens into text as they come.
pub(super) struct TextStream<'a> {
    tokenizer: &'a Tokenizer,
    stop_texts: &'a [String],
    /// The tokens of the latest whole piece, which decide how the next one is spaced, and those that came after it.
    window: Vec<i64>,
    /// How many of them are the latest piece's.
    num_whole: usize,
    /// Text that may begin a stop text.
    held: String,
}

/// What one more token, or the end, lets out.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// Text that is final.
    pub(super) text: String,
    /// Place of the stop text that came, in the list of them.
    pub(super) stop: Option<usize>,
}

impl<'a> TextStream<'a> {
    /// A stream that ends before the first of `stop_texts`, none of which is empty.
    pub(super) fn new(tokenizer: &'a Tokenizer, stop_texts: &'a [String]) -> Self {
        Self {
            tokenizer,
            stop_texts,
            window: Vec::new(),
            num_whole: 0,
            held: String::new(),
        }
    }

    /// The text that `token` completes.
    pub(super) fn push(&mut self, token: i64) -> Piece {
        self.window.push(token);
        let new = self.unseen();
        if new.ends_with(REPLACEMENT) {
            return self.release("");
        }
        self.window.drain(..self.num_whole);
        self.num_whole = self.window.len();
        self.release(&new)
    }

    /// The text that was held back, an unfinished character as the replacement for one.
    pub(super) fn end(mut self) -> Piece {
        let new = self.unseen();
        let mut last = self.release(&new);
        last.text.push_str(&self.held);
        last
    }

    /// Text of the tokens after the latest whole piece.
    fn unseen(&self) -> String {
        let whole = self.tokenizer.decode_output(&self.window[..self.num_whole]);
        let all = self.tokenizer.decode_output(&self.window);
        all.get(whole.len()..).unwrap_or_default().to_owned()
    }

    /// Everything held and `new`, but for an end that may begin a stop text.
    fn release(&mut self, new: &str) -> Piece {
        self.held.push_str(new);
        let stops = self.stop_texts.iter().enumerate();
        let found = stops.filter_map(|(at, stop)| Some((self.held.find(stop.as_str())?, at)));
        if let Some((end, stop)) = found.min() {
            let text = self.held[..end].to_owned();
            self.held.clear();
            return Piece {
                text,
                stop: Some(stop),
            };
        }
        let begins_stop = |start: &usize| {
            let mut stops = self.stop_texts.iter();
            stops.any(|stop| stop.starts_with(&self.held[*start..]))
        };
        let mut starts = self.held.char_indices().map(|(start, _)| start);
        let cut = starts.find(begins_stop).unwrap_or(self.held.len());
        let rest = self.held.split_off(cut);
        Piece {
            text: std::mem::replace(&mut self.held, rest),
            stop: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn tokenizer() -> Tokenizer {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        Tokenizer::from_file(&root.join("checkpoints/tiny")).unwrap()
    }

    /// The pieces of `ids`, and the stop text that ended them.
    fn pieces(tokenizer: &Tokenizer, ids: &[i64], stops: &[&str]) -> (Vec<String>, Option<usize>) {
        let stops: Vec<String> = stops.iter().map(|stop| (*stop).to_owned()).collect();
        let mut stream = TextStream::new(tokenizer, &stops);
        let mut pieces = Vec::new();
        for id in ids {
            let Piece { text, stop } = stream.push(*id);
            pieces.push(text);
            if stop.is_some() {
                return (pieces, stop);
            }
        }
        let Piece { text, stop } = stream.end();
        pieces.push(text);
        (pieces, stop)
    }

    fn ids(tokenizer: &Tokenizer, text: &str) -> Vec<i64> {
        tokenizer
            .encode(text)
            .unwrap()
            .into_iter()
            .map(i64::from)
            .collect()
    }

    #[test]
    fn pieces_are_whole_characters_and_add_up() {
        let tokenizer = tokenizer();
        for text in [
            "fn main() {}\n",
            "naïve – 漢字 🦀🦀 ok",
            "  two  spaces ",
            "\u{fffd} real",
        ] {
            let ids = ids(&tokenizer, text);
            let (pieces, _) = pieces(&tokenizer, &ids, &[]);
            assert_eq!(pieces.concat(), text);
            let broken = pieces.iter().filter(|piece| piece.contains(REPLACEMENT));
            assert_eq!(
                broken.count(),
                usize::from(text.contains(REPLACEMENT)),
                "{pieces:?}"
            );
        }
        let crab = ids(&tokenizer, "🦀");
        assert!(crab.len() > 1, "the character is made of several tokens");
        let (cut, _) = pieces(&tokenizer, &crab[..1], &[]);
        assert_eq!(cut.concat(), tokenizer.decode_output(&crab[..1]));
        let beyond = [crab.as_slice(), &[1 << 40, 5]].concat();
        let (lossy, _) = pieces(&tokenizer, &beyond, &[]);
        assert_eq!(lossy.concat(), tokenizer.decode_output(&beyond));
    }

    #[test]
    fn text_ends_before_the_first_stop_text_wherever_tokens_end() {
        let tokenizer = tokenizer();
        for (text, stops, shown, stop) in [
            (
                "let x = 1;\nlet y = 2;\n",
                &["\n"][..],
                "let x = 1;",
                Some(0),
            ),
            (
                "let x = 1;\nlet y = 2;\n",
                &["y =", " = 1"],
                "let x",
                Some(1),
            ),
            ("aaab", &["aab"], "a", Some(0)),
            ("let x = 1;", &["1;\n"], "let x = 1;", None),
            ("ends in a 🦀 here", &["🦀"], "ends in a ", Some(0)),
        ] {
            let (pieces, found) = pieces(&tokenizer, &ids(&tokenizer, text), stops);
            assert_eq!(
                (pieces.concat().as_str(), found),
                (shown, stop),
                "{pieces:?}"
            );
        }
    }

    #[test]
    fn text_that_cannot_begin_a_stop_text_is_shown_at_once() {
        let tokenizer = tokenizer();
        let ids = ids(&tokenizer, "let x = 1; let y = 2;");
        let (pieces, _) = pieces(&tokenizer, &ids, &["\n\n"]);
        let early = pieces
            .iter()
            .take(ids.len())
            .filter(|piece| !piece.is_empty());
        assert_eq!(early.count(), ids.len());
    }
}
