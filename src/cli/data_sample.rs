//! `prulong data sample`.

use crate::cli::output::Output;
use crate::cli::sources::{SourceSpec, open_sources};
use crate::config::generator::GeneratorSettings;
use crate::config::generator_kinds::{
    CodeRepeatsSettings, CopyTableSettings, JsonKvSettings, KeyValuesSettings, LabelMapSettings,
    NaturalSettings, NeedlesSettings, RandomRepeatsSettings,
};
use crate::data::error::DataError;
use crate::data::generate::build::Materials;
use crate::data::generate::corpus::{MemoryCorpus, NaturalText};
use crate::data::generate::sequence::Sequence;
use crate::data::source::select::Selection;
use crate::data::tokenizer::Tokenizer;
use crate::fault::AnyFault;
use std::path::PathBuf;
use std::sync::Arc;

/// Show what `prulong pretrain` trains on: sequences of one kind.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Kind of sequence.
    #[arg(value_enum)]
    kind: GeneratorKind,

    /// `tokenizer.json`, or the folder that holds one.
    #[arg(long, value_name = "PATH")]
    tokenizer: PathBuf,

    /// Tokens per sequence.
    #[arg(long, value_name = "N", default_value_t = 256)]
    len: usize,

    /// Number of sequences.
    #[arg(short, long, value_name = "N", default_value_t = 1)]
    num: usize,

    /// Seed; sequence `i` depends on the seed and `i` alone.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,

    /// Corpus of natural text: `crates`, `rust-books`, `text=PATH` or `text-dirs=PATH`; may be repeated.
    #[arg(long = "source", value_name = "SOURCE", default_value = "crates")]
    sources: Vec<SourceSpec>,

    /// Print one JSON object per sequence: `ids` and `weights`.
    #[arg(long)]
    json: bool,
}

/// The kinds a pretraining file knows.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum GeneratorKind {
    /// Random tokens with a period of 16 to 32.
    RandomRepeats,
    /// Spans of 16 to 64 natural tokens, half of them copies.
    CodeRepeats,
    /// 4 to 8 definitions, then 8 questions.
    KeyValues,
    /// A JSON object of 4 to 8 pairs, then 8 questions.
    JsonKv,
    /// 4 to 8 pseudo-words and their labels, shown twice, then 8 questions.
    LabelMap,
    /// A table of 4 to 8 rows, then 3 requests for the rows of a name.
    CopyTable,
    /// 1 to 4 needles in natural text, then up to 2 questions.
    Needles,
    /// Natural text.
    Natural,
}

impl GeneratorKind {
    fn settings(self) -> GeneratorSettings {
        let weight = 1.0;
        match self {
            Self::RandomRepeats => GeneratorSettings::RandomRepeats(RandomRepeatsSettings {
                weight,
                span_min: 16,
                span_max: 32,
                alphabet: None,
            }),
            Self::CodeRepeats => GeneratorSettings::CodeRepeats(CodeRepeatsSettings {
                weight,
                span_min: 16,
                span_max: 64,
            }),
            Self::KeyValues => GeneratorSettings::KeyValues(KeyValuesSettings {
                weight,
                num_pairs_min: 4,
                num_pairs_max: 8,
                num_queries: 8,
                answer_weight: 1.0,
            }),
            Self::JsonKv => GeneratorSettings::JsonKv(JsonKvSettings {
                weight,
                num_pairs_min: 4,
                num_pairs_max: 8,
                num_queries: 8,
                key_len: 4,
                value_len: 4,
                answer_weight: 1.0,
            }),
            Self::LabelMap => GeneratorSettings::LabelMap(LabelMapSettings {
                weight,
                num_words_min: 4,
                num_words_max: 8,
                num_labels: 8,
                num_rounds: 2,
                num_queries: 8,
                answer_weight: 1.0,
            }),
            Self::CopyTable => GeneratorSettings::CopyTable(CopyTableSettings {
                weight,
                num_rows_min: 4,
                num_rows_max: 8,
                num_queries: 3,
                answer_weight: 1.0,
            }),
            Self::Needles => GeneratorSettings::Needles(NeedlesSettings {
                weight,
                num_needles_min: 1,
                num_needles_max: 4,
                num_questions_max: 2,
                depth_max: 1.0,
                answer_weight: 1.0,
            }),
            Self::Natural => GeneratorSettings::Natural(NaturalSettings { weight }),
        }
    }
}

/// Prints the sequences as text, or as JSON.
///
/// # Errors
/// If the tokenizer or the corpus is missing, or the sequences are too short for their kind.
pub fn run(args: &Args) -> Result<(), AnyFault> {
    let (tokenizer, sequences) = make(args)?;
    let mut output = Output::stdout();
    for sequence in &sequences {
        if args.json {
            let Sequence { ids, weights } = sequence;
            output.json(&serde_json::json!({ "ids": ids, "weights": weights }))?;
        } else {
            output.line(describe(&tokenizer, sequence)?)?;
        }
    }
    output.finish()?;
    Ok(())
}

fn make(args: &Args) -> Result<(Arc<Tokenizer>, Vec<Sequence>), DataError> {
    let tokenizer = Arc::new(Tokenizer::from_file(&args.tokenizer)?);
    let settings = args.kind.settings();
    let text = if settings.needs_corpus() {
        Some(preview_text(&args.sources, &tokenizer)?)
    } else {
        None
    };
    let mixture = Materials::new(tokenizer.clone(), text)?.mixture(&[settings])?;
    let sequences = mixture.batch(args.seed, 0, args.num, args.len)?;
    Ok((tokenizer, sequences))
}

fn preview_text(sources: &[SourceSpec], tokenizer: &Tokenizer) -> Result<NaturalText, DataError> {
    /// More text than this makes no better preview, only a later one.
    const PREVIEW_BYTES: u64 = 4_000_000;
    let selection = Selection {
        max_bytes: Some(PREVIEW_BYTES),
        ..Selection::default()
    };
    let corpus = MemoryCorpus::build(&open_sources(sources)?, &selection, tokenizer)?;
    NaturalText::new(Arc::new(corpus), tokenizer)
}

/// The sequence's text between a line that counts its tokens and an empty line.
fn describe(tokenizer: &Tokenizer, sequence: &Sequence) -> Result<String, DataError> {
    let trained = sequence
        .weights
        .iter()
        .filter(|weight| **weight > 0.0)
        .count();
    Ok(format!(
        "--- {} tokens, {trained} of them trained\n{}\n",
        sequence.len(),
        tokenizer.decode(&sequence.ids)?
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum;

    #[test]
    fn kinds_have_the_words_of_a_pretraining_file() {
        for kind in GeneratorKind::value_variants() {
            let settings = serde_json::to_value(kind.settings()).unwrap();
            let word = kind.to_possible_value().unwrap();
            assert_eq!(settings["kind"], word.get_name());
        }
    }

    #[test]
    fn sequences_are_shown_from_a_corpus_the_user_names() {
        let folder = tempfile::tempdir().unwrap();
        let text = "pub fn answer() -> u32 { 42 }\n".repeat(200);
        for name in ["a.rs", "b.rs", "c.rs"] {
            std::fs::write(folder.path().join(name), &text).unwrap();
        }
        let args = |len| Args {
            kind: GeneratorKind::Needles,
            tokenizer: PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/checkpoints/tiny")),
            len,
            num: 2,
            seed: 1,
            sources: vec![format!("text={}", folder.path().display()).parse().unwrap()],
            json: true,
        };
        let (tokenizer, sequences) = make(&args(300)).unwrap();
        for sequence in &sequences {
            let shown = describe(&tokenizer, sequence).unwrap();
            assert!(shown.starts_with("--- 300 tokens, "), "{shown}");
            assert!(shown.contains("pub fn answer()"), "{shown}");
        }
        assert_eq!(sequences.len(), 2);
        assert_eq!(run(&args(20)).unwrap_err().code(), "generate.length");
    }
}
