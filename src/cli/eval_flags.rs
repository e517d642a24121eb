//! The flags of `prulong eval` that spell an evaluation out: the same that a file says.

use super::compute::ComputeArgs;
use super::eval_files::FileArgs;
use super::eval_methods::MethodArgs;
use super::eval_tasks;
use super::text_args::TextArgs;
use crate::config::eval::{EvalFile, ModelUnderTest};
use crate::eval::suite::Suite;
use crate::eval::task::Task;
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// What to ask of which model.
#[derive(clap::Args, Debug)]
pub(super) struct AskArgs {
    /// Folder of the model: config.json, safetensors, tokenizer.json.
    #[arg(long, value_name = "DIR", required_unless_present_any = ["list", "config"])]
    model: Option<PathBuf>,

    /// What to ask; several tasks are separated by commas.
    #[arg(long = "task", value_name = "TASK", value_parser = eval_tasks::parser(), value_delimiter = ',', default_value = "recall")]
    tasks: Vec<&'static dyn Task>,

    /// Ask all tasks of a suite instead.
    #[arg(long, value_parser = eval_tasks::suite_parser(), conflicts_with = "tasks")]
    suite: Option<Suite>,

    /// Lengths of prompt and answer together, in tokens.
    #[arg(
        long,
        value_name = "TOKENS",
        value_delimiter = ',',
        default_value = "512,1024"
    )]
    lengths: Vec<NonZeroUsize>,

    /// Number of depths at which the answer stands: the middles of that many equal parts of the text.
    #[arg(long, value_name = "N", default_value = "5")]
    depths: NonZeroUsize,

    /// Items per length and depth.
    #[arg(long, value_name = "N", default_value = "4")]
    items: NonZeroUsize,

    /// Tokens per prefill chunk; with several, separated by commas, every method runs once for each.
    #[arg(
        long,
        value_name = "TOKENS",
        value_delimiter = ',',
        default_value = "256"
    )]
    chunk: Vec<NonZeroUsize>,

    /// Let methods compress the context before they see the question, which is then read token by token.
    #[arg(long)]
    query_agnostic: bool,

    /// End an output at its first line end, where the answer is one line.
    #[arg(long)]
    stop_newline: bool,

    #[command(flatten)]
    methods: MethodArgs,

    #[command(flatten)]
    text: TextArgs,

    #[command(flatten)]
    files: FileArgs,

    /// Names every random choice: same seed, same items.
    #[arg(long, default_value_t = 0)]
    seed: u64,

    #[command(flatten)]
    compute: ComputeArgs,
}

impl AskArgs {
    /// The file that says the same; what is named twice is asked once.
    pub(super) fn file(&self) -> EvalFile {
        let masks = self.methods.masks();
        let model = |path: &PathBuf| ModelUnderTest {
            path: path.clone(),
            masks: masks.clone(),
        };
        let tasks = self.tasks.iter().map(|task| task.card().name.to_owned());
        EvalFile {
            seeds: vec![self.seed],
            tasks: if self.suite.is_none() {
                once(tasks)
            } else {
                Vec::new()
            },
            suite: self.suite.map(|suite| suite.name.to_owned()),
            lengths: once(self.lengths.iter().map(|length| length.get())),
            num_depths: self.depths.get(),
            items_per_cell: self.items.get(),
            chunk_lens: once(self.chunk.iter().map(|chunk_len| chunk_len.get())),
            query_agnostic: self.query_agnostic,
            stop_newline: self.stop_newline,
            num_random_masks: self.methods.num_random_masks(),
            models: self.model.iter().map(model).collect(),
            methods: self.methods.settings(),
            streaming: self.methods.streaming(),
            text: self.text.settings(),
            files: self.files.settings(),
            run: self.compute.settings(),
        }
    }
}

/// The values in their order, later copies left out.
fn once<T: PartialEq>(values: impl Iterator<Item = T>) -> Vec<T> {
    values.fold(Vec::new(), |mut kept, value| {
        if !kept.contains(&value) {
            kept.push(value);
        }
        kept
    })
}
