//! `prulong train-tokenizer`.

use crate::cli::amounts::{parse_bytes, parse_training_share};
use crate::cli::new_file::write_new;
use crate::cli::output::line as print_line;
use crate::cli::sources::{SourceSpec, open_sources};
use crate::data::source::held_out::DEFAULT_SHARE;
use crate::data::source::select::{Selection, Split, select};
use crate::data::tokenizer::Tokenizer;
use crate::data::tokenizer::train::train_bpe;
use crate::fault::AnyFault;
use rayon::prelude::*;
use std::path::PathBuf;

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
    #[arg(long, value_name = "SHARE", default_value_t = DEFAULT_SHARE, value_parser = parse_training_share)]
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

#[cfg(test)]
mod tests {
    use super::*;

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
