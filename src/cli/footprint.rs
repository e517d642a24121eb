//! `prulong footprint`.

use crate::cli::amounts::parse_word;
use crate::cli::footprint_methods::{HeldArgs, SpanArgs};
use crate::cli::footprint_report::{self, CacheDtype, Lengths, Report};
use crate::cli::output::{self, Output};
use crate::cli::shape_args::ShapeArgs;
use crate::fault::AnyFault;
use crate::footprint::workload::Convention;

/// Say what a method would cost in keys and values, without a model.
///
/// KV footprint: of all causal (query, key) pairs of prefill and decode, the share whose entry is still held. KV peak: the
/// largest number of entries held at once, as a share of the total length. Both by the formula that `prulong eval` checks its
/// caches against. Where a figure leaves something out, the report says what and by how much.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Tokens of the prompt.
    #[arg(long, value_name = "TOKENS")]
    prompt_len: usize,

    /// Tokens of the output, the end-of-text token included.
    #[arg(long, value_name = "TOKENS")]
    output_len: usize,

    /// Tokens per prefill chunk; several are separated by commas.
    #[arg(
        long = "chunk",
        value_name = "TOKENS",
        value_delimiter = ',',
        required = true
    )]
    chunk_lens: Vec<usize>,

    #[command(flatten)]
    held: HeldArgs,

    #[command(flatten)]
    span: SpanArgs,

    #[command(flatten)]
    shape: ShapeArgs,

    /// Whose rules count: `counted`, as the caches do, or `reference`, as the authors' script does, for comparison with
    /// published numbers.
    #[arg(long, value_name = "WHOSE", default_value = "counted", value_parser = parse_word::<Convention>)]
    convention: Convention,

    /// Dtype of keys and values. Unless named, that of the model's weights, else bf16.
    #[arg(long, value_enum)]
    dtype: Option<CacheDtype>,

    /// Print every layer of methods whose layers differ, too.
    #[arg(long)]
    layers: bool,

    /// Print one JSON object; layers that differ are always part of it.
    #[arg(long)]
    json: bool,
}

/// Prints a row for every method and chunk.
///
/// # Errors
/// What is wrong with a length, a mask, a method or the model.
pub fn run(args: Args) -> Result<(), AnyFault> {
    let masks = args.held.masks()?;
    let model = args.shape.model(masks.arch())?;
    let mut warnings = masks.check(&model)?;
    let subjects = args
        .held
        .subjects(&args.span, &masks, (&model, args.convention))?;
    let lengths = Lengths {
        prompt_len: args.prompt_len,
        output_len: args.output_len,
        convention: args.convention,
    };
    let report = Report::new(&model, args.dtype, lengths);
    let rows = report.rows(&subjects, &args.chunk_lens, &mut warnings)?;
    if args.json {
        output::json(&report.object(&rows, &warnings))?;
        return Ok(());
    }
    let mut out = Output::stdout();
    for line in footprint_report::lines(&report, &rows, args.layers) {
        out.line(line)?;
    }
    out.finish()?;
    for warning in warnings {
        output::note(format!("warning: {warning}"));
    }
    Ok(())
}
