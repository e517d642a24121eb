//! `prulong mask show --from FMT`: a mask of another program as a grid.

use crate::cli::coded_text::{coded, note_all};
use crate::cli::foreign_file;
use crate::cli::mask_show::{ShowArgs, grid, loaders, streaming_layers};
use crate::cli::output::{self, Output};
use crate::fault::AnyFault;
use crate::mask::foreign::content::Foreign;
use crate::mask::foreign::import::decide;
use crate::mask::foreign::registry::Format;
use crate::mask::head_mask::HeadMask;
use serde_json::json;

/// Prints a foreign mask, or the one that scores give at the number of heads asked for.
///
/// # Errors
/// What is wrong with the file, or that scores need a number of heads.
pub(super) fn show(args: &ShowArgs) -> Result<(), AnyFault> {
    let model = args.model.as_deref();
    let (format, foreign) = foreign_file::load(&args.file, &args.foreign, model)?;
    let (mask, ties) = decide(&foreign.content, args.cut.target())?;
    let mut warnings = foreign.warnings.clone();
    warnings.extend(ties);
    if args.json {
        let flags = mask.flags().iter().map(|flag| u8::from(*flag));
        let flags: Vec<u8> = flags.collect();
        output::json(&json!({
            "schema": "prulong.mask-show-foreign/1",
            "from": format.name,
            "meaning": format.meaning,
            "retrieval_mask": flags.chunks(mask.num_kv_heads()).collect::<Vec<_>>(),
            "num_retrieval": mask.num_retrieval(),
            "sparsity": mask.sparsity(),
            "sink_len": foreign.sink_len,
            "window_len": foreign.window_len,
            "warnings": coded(&warnings),
        }))?;
        return Ok(());
    }
    note_all(&warnings);
    let mut out = Output::stdout();
    for line in grid(&mask)
        .into_iter()
        .chain(facts(&mask, &foreign, format))
    {
        out.line(line)?;
    }
    out.line(format!("file       {}", args.file.display()))?;
    out.finish()?;
    Ok(())
}

fn facts(mask: &HeadMask, foreign: &Foreign, format: &Format) -> Vec<String> {
    let mut lines = vec![
        streaming_layers(mask),
        format!("sparsity   {}", mask.sparsity()),
    ];
    lines.extend(loaders(mask));
    let len = |len: Option<usize>| len.map_or("not stated".to_owned(), |len| len.to_string());
    let (sink, window) = (len(foreign.sink_len), len(foreign.window_len));
    lines.push(format!("deploy     sink {sink}, window {window}"));
    lines.push(format!("format     {}: {}", format.name, format.meaning));
    lines
}
