//! Where the user's files of published evaluations lie, and how their items are asked.

use crate::config::eval_files::{ChatUse, FileSettings, Overflow};
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use std::path::PathBuf;

/// Files of published evaluations; nothing is downloaded.
#[derive(clap::Args, Debug)]
pub(super) struct FileArgs {
    /// HELMET's folder `data`, for the tasks that read it.
    #[arg(long, value_name = "DIR")]
    helmet: Option<PathBuf>,

    /// LongProc's folder `data`; by default the one in HELMET's, `longproc_addon/longproc/data`.
    #[arg(long, value_name = "DIR")]
    longproc: Option<PathBuf>,

    /// Folder of RULER's files, or of an export of kvpress's data set.
    #[arg(long, value_name = "DIR")]
    ruler: Option<PathBuf>,

    /// Folder of wordings, `NAME.toml`, in place of ours around the items of HELMET's files.
    #[arg(long, value_name = "DIR")]
    prompts: Option<PathBuf>,

    /// What happens to items of files that are longer than the length asked for; by default contexts of HELMET's are cut, and
    /// other items fail.
    #[arg(long, value_name = "WHAT", value_parser = overflow_parser())]
    on_overflow: Option<Overflow>,

    /// Whether tasks that are published as chats are asked through the model's chat template.
    #[arg(long, value_name = "WHEN", default_value = "auto", value_parser = chat_parser())]
    chat: ChatUse,
}

impl FileArgs {
    /// The same as a configuration says it.
    pub(super) fn settings(&self) -> FileSettings {
        FileSettings {
            helmet: self.helmet.clone(),
            longproc: self.longproc.clone(),
            ruler: self.ruler.clone(),
            prompts: self.prompts.clone(),
            on_overflow: self.on_overflow,
            chat: self.chat,
        }
    }
}

fn overflow_parser() -> impl TypedValueParser<Value = Overflow> {
    PossibleValuesParser::new([
        PossibleValue::new("cut").help("the end of the context is left out, as in HELMET"),
        PossibleValue::new("skip").help("the item is left out"),
        PossibleValue::new("error").help("the item fails"),
    ])
    .map(|word| match word.as_str() {
        "cut" => Overflow::Cut,
        "skip" => Overflow::Skip,
        _ => Overflow::Error,
    })
}

fn chat_parser() -> impl TypedValueParser<Value = ChatUse> {
    PossibleValuesParser::new([
        PossibleValue::new("auto").help("where the model has a template"),
        PossibleValue::new("never").help("every prompt is a text to be completed"),
    ])
    .map(|word| match word.as_str() {
        "never" => ChatUse::Never,
        _ => ChatUse::Auto,
    })
}
