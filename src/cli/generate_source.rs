//! Where the prompts of `prulong generate` come from.

use super::failure::Failure;
use super::output;
use crate::data::error::DataError;
use crate::data::source::text;
use crate::fault::AnyFault;
use std::io::{BufRead, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

/// Stands where errors name a file.
const STDIN: &str = "standard input";

/// Where the prompt comes from.
#[derive(clap::Args, Debug)]
pub(super) struct SourceArgs {
    /// The prompt; special tokens spelt out in it are plain text, and the begin-of-text token is put first.
    #[arg(long, value_name = "TEXT", conflicts_with = "prompt_file")]
    prompt: Option<String>,

    /// A file with the prompt, every byte of it: a line end at its end is part of the prompt.
    #[arg(long, value_name = "FILE")]
    prompt_file: Option<PathBuf>,

    /// Text that follows the prompt and is read token by token, so that methods compress the prompt before they have seen it.
    #[arg(long, value_name = "TEXT")]
    question: Option<String>,
}

/// One prompt, or those that a user types.
pub(super) enum Texts {
    /// This one.
    One(String),
    /// Every line of a terminal.
    Lines,
}

impl SourceArgs {
    /// Reads the prompt, if it is not typed line by line.
    ///
    /// # Errors
    /// [`DataError`] if it cannot be read or is not UTF-8.
    pub(super) fn open(&self) -> Result<Texts, DataError> {
        let stdin = std::io::stdin();
        Ok(match (&self.prompt, &self.prompt_file) {
            (Some(text), _) => Texts::One(text.clone()),
            (None, Some(path)) => Texts::One(text::read_utf8(path)?),
            (None, None) if stdin.is_terminal() => Texts::Lines,
            (None, None) => Texts::One(read_all(stdin.lock())?),
        })
    }

    /// What follows the prompt.
    pub(super) fn question(&self) -> Option<&str> {
        self.question.as_deref()
    }
}

impl Texts {
    /// Answers every line that is typed until the end of the input.
    ///
    /// # Errors
    /// [`DataError`] if the terminal cannot be read; a failure that the next prompt would meet too.
    pub(super) fn each_line(
        answer: impl FnMut(&str) -> Result<(), AnyFault>,
    ) -> Result<(), AnyFault> {
        converse(std::io::stdin().lock(), answer)
    }
}

/// What is wrong with one prompt is shown and the next one asked for; anything else ends it.
fn converse(
    mut lines: impl BufRead,
    mut answer: impl FnMut(&str) -> Result<(), AnyFault>,
) -> Result<(), AnyFault> {
    let mark = || {
        let mut out = std::io::stderr().lock();
        // A closed standard error is nobody's loss.
        let _ = write!(out, "> ").and_then(|()| out.flush());
    };
    loop {
        mark();
        let mut bytes = Vec::new();
        let len = lines.read_until(b'\n', &mut bytes).map_err(unread)?;
        if len == 0 {
            break;
        }
        let answered = match text_of(bytes) {
            Ok(line) if line.trim_end_matches(['\r', '\n']).is_empty() => continue,
            Ok(line) => answer(line.trim_end_matches(['\r', '\n'])),
            Err(error) => Err(error.into()),
        };
        match answered {
            Err(fault) if fault.kind() != crate::fault::Kind::Input => return Err(fault),
            Err(fault) => {
                if let Some(failure) = Failure::from_fault(&fault) {
                    output::note(failure.text().trim_end());
                }
            }
            Ok(()) => {}
        }
    }
    output::note("");
    Ok(())
}

fn read_all(mut from: impl Read) -> Result<String, DataError> {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).map_err(unread)?;
    text_of(bytes)
}

fn unread(source: std::io::Error) -> DataError {
    DataError::io("read", Path::new(STDIN), source)
}

fn text_of(bytes: Vec<u8>) -> Result<String, DataError> {
    text::utf8(bytes, Path::new(STDIN))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::infer::error::InferError;

    #[test]
    fn every_line_is_answered_and_a_bad_one_ends_nothing() {
        let mut asked = Vec::new();
        converse(&b"one\n\ntoo long\r\na\xff\nthree"[..], |line| {
            asked.push(line.to_owned());
            match line {
                "too long" => Err(InferError::EmptyPrompt.into()),
                _ => Ok(()),
            }
        })
        .unwrap();
        assert_eq!(asked, ["one", "too long", "three"]);
        let mut num_asked = 0;
        let ended = converse(&b"one\ntwo\n"[..], |_| {
            num_asked += 1;
            Err(InferError::NotFinite { position: 1 }.into())
        });
        assert_eq!(ended.unwrap_err().code(), "infer.not_finite");
        assert_eq!(num_asked, 1);
    }

    #[test]
    fn what_is_no_text_is_refused() {
        assert_eq!(read_all(&b"a\n"[..]).unwrap(), "a\n");
        let error = read_all(&b"a\xff"[..]).unwrap_err().to_string();
        assert!(error.contains(STDIN), "{error}");
    }
}
