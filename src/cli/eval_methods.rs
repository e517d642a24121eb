//! The arguments of `prulong eval` that say what full attention is compared with.

use crate::config::eval::{MethodSettings, StreamingSettings};
use crate::eval::method_spec::MethodSpec;
use crate::span::StreamingRule;
use std::path::PathBuf;

/// Which methods run beside full attention.
#[derive(clap::Args, Debug)]
pub(super) struct MethodArgs {
    /// Masks to test: each a `head_mask.safetensors`, or the folder that holds it. Masks with as many retrieval heads share a
    /// column: their mean, their lowest and their highest.
    #[arg(long = "mask", value_name = "PATH", num_args = 1..)]
    masks: Vec<PathBuf>,

    /// Also run that many random masks with as many retrieval heads as the mask has; of every size, if there are several.
    #[arg(long, value_name = "N", default_value_t = 0, requires = "masks")]
    random_masks: usize,

    /// Also run with every head streaming.
    #[arg(long)]
    all_streaming: bool,

    /// Further methods, separated by commas: `streaming-llm` (sinks and window of every head at positions inside the cache),
    /// tokens evicted from every chunk, or everything kept and a part of it attended.
    ///
    /// Eviction is `NAME:SPARSITY[:OPTION]...`, as in `snapkv:0.5,pyramidkv:0.7:patch`. NAME ranks a chunk's tokens:
    /// `snapkv` by the attention of its last tokens, `pyramidkv` likewise with more kept in early layers, `knorm` by short
    /// keys, `random-tokens` at random (`seed=N` draws others). SPARSITY is the share evicted, in [0, 1). Options: `patch`
    /// appends the prompt's end to every chunk but the last to rank by it; `head` lets every head choose for itself, not
    /// its group; `window=N` is how many last tokens rank and always stay, 64 unless given; `max-pool` smooths scores by
    /// their largest neighbour, not their mean. `full`, `mask` and `all-streaming` name what other flags bring.
    ///
    /// Methods that save compute while the prompt is read, and no memory, are `NAME[:SETTING=N]...`: `a-shape` attends to
    /// sinks and a window (`sink=128:window=3968`), `vertical-slash` to keys and distances that each head picks
    /// (`columns=1000:slashes=6096`), `block-sparse` to the blocks of keys that match a block of queries
    /// (`top=100:block=64`), `moba` to those that match each query, its own among them (`top=3:block=512`). `nsa` runs a model
    /// that was trained with native sparse attention and carries its gates as that, prompt and output (`top=16:block=64:window=512`).
    #[arg(long = "method", value_name = "METHOD", value_delimiter = ',')]
    methods: Vec<MethodSpec>,

    #[command(flatten)]
    streaming: StreamingArgs,
}

/// How streaming heads stream.
#[derive(clap::Args, Debug)]
pub(super) struct StreamingArgs {
    /// What a streaming head sees of a chunk; the mask file's rule, else `sliding`, unless named.
    #[arg(long, value_enum)]
    rule: Option<RuleName>,

    /// Leading tokens a streaming head always sees; the mask file's unless named.
    #[arg(long, value_name = "TOKENS")]
    sink: Option<usize>,

    /// Most recent tokens a streaming head sees, the query's own included; the mask file's unless named.
    #[arg(long, value_name = "TOKENS")]
    window: Option<usize>,
}

#[derive(clap::ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
enum RuleName {
    /// Sink and the most recent tokens, token-exact; the result does not depend on the chunk.
    Sliding,
    /// Sink and window from before the chunk, then the whole chunk: what the published numbers use.
    DuoChunk,
    /// Dense prefill, one cut at its end, then everything is kept.
    FrozenPrompt,
}

impl From<RuleName> for StreamingRule {
    fn from(name: RuleName) -> Self {
        match name {
            RuleName::Sliding => Self::Sliding,
            RuleName::DuoChunk => Self::DuoChunk,
            RuleName::FrozenPrompt => Self::FrozenPrompt,
        }
    }
}

impl MethodArgs {
    /// The masks to test.
    pub(super) fn masks(&self) -> Vec<PathBuf> {
        self.masks.clone()
    }

    /// Random masks of each size.
    pub(super) fn num_random_masks(&self) -> usize {
        self.random_masks
    }

    /// The methods asked for, as a configuration says them.
    pub(super) fn settings(&self) -> Vec<MethodSettings> {
        let all_streaming = self.all_streaming.then_some(MethodSpec::AllStreaming);
        let methods = all_streaming.iter().chain(&self.methods);
        methods
            .map(|method| MethodSettings::from_word(&method.to_string()))
            .collect()
    }

    /// How streaming heads stream, as a configuration says it.
    pub(super) fn streaming(&self) -> StreamingSettings {
        self.streaming.settings()
    }
}

impl StreamingArgs {
    /// The same as a configuration says it.
    pub(super) fn settings(&self) -> StreamingSettings {
        StreamingSettings {
            rule: self.rule.map(StreamingRule::from),
            sink_len: self.sink,
            window_len: self.window,
        }
    }
}
