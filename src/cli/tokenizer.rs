//! `prulong train-tokenizer`.

use crate::cli::output::line as print_line;
use crate::cli::sources::{SourceSpec, open_sources};
use crate::data::error::DataError;
use crate::data::source::held_out::DEFAULT_SHARE;
use crate::data::source::select::{Selection, Split, select};
use crate::data::tokenizer::Tokenizer;
use crate::data::tokenizer::train::train_bpe;
use crate::fault::AnyFault;
use rayon::prelude::*;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Train a byte-level BPE tokenizer on text found on this machine.
///
/// Documents are sampled by a hash of their names and held-out ones are never used, so the same corpora give the same
/// file. Digits are never joined. The file has Hugging Face's `tokenizer.json` format.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Corpus: `crates`, `rust-books`, `text=PATH` or `text-dirs=PATH`; may be repeated.
    #[arg(long = "source", value_name = "SOURCE", required = true)]
    sources: Vec<SourceSpec>,

    /// Number of tokens, the two special ones included.
    #[arg(long, value_name = "N")]
    vocab_size: usize,

    /// Most bytes of text to learn from, e.g. `40MB` (powers of 1000).
    #[arg(long, value_name = "SIZE", default_value = "40MB", value_parser = parse_bytes)]
    sample_bytes: u64,

    /// Share of documents held out of training.
    #[arg(long, value_name = "SHARE", default_value_t = DEFAULT_SHARE, value_parser = parse_share)]
    held_out: f64,

    /// File to write.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

/// Trains the tokenizer, writes it, and prints what it was trained on.
///
/// # Errors
/// If a corpus is missing, the text does not fill the vocabulary, or the output holds something else already.
pub fn run(args: Args) -> Result<(), AnyFault> {
    let Args {
        sources,
        vocab_size,
        sample_bytes,
        held_out,
        output,
    } = args;
    let sources = open_sources(&sources)?;
    let selection = Selection {
        split: Split::Train,
        held_out_share: held_out,
        max_bytes: Some(sample_bytes),
        seed: 0,
    };
    let texts = select(&sources, &selection)
        .par_iter()
        .map(|selected| selected.read().map(|document| document.text))
        .collect::<Result<Vec<_>, _>>()?;
    let (num_documents, num_bytes) = (texts.len(), texts.iter().map(String::len).sum::<usize>());
    let json = train_bpe(texts.into_iter(), vocab_size)?;
    write_new(&output, json.as_bytes())?;
    let tokenizer = Tokenizer::from_file(&output)?;
    print_line(format!(
        "{}: {} tokens learnt from {num_documents} documents, {num_bytes} bytes; blake3 {}",
        output.display(),
        tokenizer.vocab_size(),
        tokenizer.fingerprint(),
    ))?;
    Ok(())
}

/// Writes a file that does not exist yet; an equal one is left alone, a different one is an error.
fn write_new(path: &Path, bytes: &[u8]) -> Result<(), DataError> {
    match std::fs::read(path) {
        Ok(present) if present == bytes => return Ok(()),
        Ok(_) => {
            return Err(DataError::Exists {
                path: path.to_path_buf(),
            });
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(DataError::io("read", path, error)),
    }
    let io = |error| DataError::io("write", path, error);
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    // Temporary files are private by default; this one is published, with whatever the umask leaves.
    let mode = std::fs::Permissions::from_mode(0o666);
    let mut file = tempfile::Builder::new()
        .permissions(mode)
        .tempfile_in(folder.unwrap_or(Path::new(".")))
        .map_err(io)?;
    file.write_all(bytes).map_err(io)?;
    file.as_file().sync_all().map_err(io)?;
    file.persist_noclobber(path)
        .map_err(|error| io(error.error))?;
    Ok(())
}

/// Parses `40MB`, `500kB`, `1GB` or plain bytes.
fn parse_bytes(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor: u64 = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        _ => return Err("expected a number and `kB`, `MB` or `GB`".to_owned()),
    };
    let number: u64 = digits
        .parse()
        .map_err(|_| format!("`{digits}` is not a whole number"))?;
    number
        .checked_mul(factor)
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| "the size must be above zero and below 2^64 bytes".to_owned())
}

/// Parses a share that leaves something to train on.
fn parse_share(text: &str) -> Result<f64, String> {
    let share: f64 = text
        .parse()
        .map_err(|_| format!("`{text}` is not a number"))?;
    (0.0..1.0)
        .contains(&share)
        .then_some(share)
        .ok_or_else(|| "a share is at least 0 and below 1".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_a_thousand() {
        assert_eq!(parse_bytes("40MB"), Ok(40_000_000));
        assert_eq!(parse_bytes("1gb"), Ok(1_000_000_000));
        assert_eq!(parse_bytes("512"), Ok(512));
        for text in ["", "MB", "0", "1.5MB", "3TB", "99999999999GB", "-1"] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn shares_leave_something_to_train_on() {
        assert_eq!(parse_share("0"), Ok(0.0));
        assert_eq!(parse_share("0.05"), Ok(0.05));
        for text in ["", "x", "1", "-0.1", "nan", "inf"] {
            assert!(parse_share(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_whole_command_is_repeatable_and_overwrites_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let text = "let value = compute(argument); // and so on\n".repeat(100);
        for name in ["a.rs", "b.rs", "c.rs", "d.rs"] {
            std::fs::write(folder.path().join(name), format!("{text}{name}")).unwrap();
        }
        let train = |vocab_size| {
            run(Args {
                sources: vec![format!("text={}", folder.path().display()).parse().unwrap()],
                vocab_size,
                sample_bytes: 1_000_000,
                held_out: 0.05,
                output: folder.path().join("tokenizer.json"),
            })
        };
        train(270).unwrap();
        let first = std::fs::read(folder.path().join("tokenizer.json")).unwrap();
        train(270).unwrap();
        assert_eq!(train(271).unwrap_err().code(), "data.exists");
        assert_eq!(
            std::fs::read(folder.path().join("tokenizer.json")).unwrap(),
            first
        );
    }
}
