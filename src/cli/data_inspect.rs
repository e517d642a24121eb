//! `prulong data inspect`.

use crate::cli::output::Output;
use crate::config::instruct_mask::InstructMask;
use crate::data::mds::dataset::{Dataset, ReadOptions};
use crate::data::mds::shard::Row;
use crate::data::mds::value::Value;
use crate::data::rows::{RowNeeds, TokenRow, parse_row};
use crate::data::tokenizer::Tokenizer;
use crate::fault::AnyFault;
use serde_json::{Map, Value as Json, json};
use std::path::PathBuf;

/// Rows printed as text unless told otherwise.
const FEW_ROWS: u64 = 3;

/// Documents of a row printed as text.
const MAX_DOCUMENTS: usize = 4;

/// Tokens shown at each end of a document.
const EDGE_TOKENS: usize = 48;

/// Flags of `prulong data inspect`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// MDS folder
    dir: PathBuf,

    /// `tokenizer.json`, or the folder that holds one: shows documents as text
    #[arg(long, value_name = "PATH")]
    tokenizer: Option<PathBuf>,

    /// First row
    #[arg(long, value_name = "ROW", default_value_t = 0)]
    start: u64,

    /// Rows to print [default: 3, with --json all]
    #[arg(short, value_name = "N")]
    n: Option<u64>,

    /// Print one JSON object per row, with every column raw
    #[arg(long)]
    json: bool,
}

/// Prints rows.
///
/// # Errors
/// What is wrong with the dataset, a row or the tokenizer.
pub fn run(args: &Args) -> Result<(), AnyFault> {
    let dataset = Dataset::open(&args.dir, ReadOptions::default())?;
    let tokenizer = match &args.tokenizer {
        Some(path) => Some(Tokenizer::from_file(path)?),
        None => None,
    };
    let default = if args.json { u64::MAX } else { FEW_ROWS };
    let end = args.start.saturating_add(args.n.unwrap_or(default));
    let mut output = Output::stdout();
    for number in args.start..end.min(dataset.num_rows()) {
        let row = dataset.row(number)?;
        if args.json {
            output.json(&json!({ "row": number, "columns": columns(&row)? }))?;
        } else {
            for line in describe(number, &row, tokenizer.as_ref())? {
                output.line(line)?;
            }
        }
    }
    output.finish()?;
    Ok(())
}

fn columns(row: &Row) -> Result<Map<String, Json>, AnyFault> {
    let names = row.columns().iter().map(|column| column.name.clone());
    let values = row.values()?;
    Ok(names.zip(values.iter().map(Value::to_json)).collect())
}

fn describe(
    number: u64,
    row: &Row,
    tokenizer: Option<&Tokenizer>,
) -> Result<Vec<String>, AnyFault> {
    let mut lines = vec![format!("row {number}: {}", row.place())];
    let is_packed = row
        .columns()
        .iter()
        .any(|column| column.name == "input_ids");
    if is_packed {
        let needs = RowNeeds {
            vocab_size: tokenizer.map(|tokenizer| tokenizer.vocab_size() as u64),
            instruct_mask: InstructMask::Ignored,
        };
        let tokens = parse_row(row, needs)?;
        describe_tokens(&tokens, tokenizer, &mut lines)?;
    } else {
        for (name, value) in columns(row)? {
            lines.push(format!("  {name}: {}", shorten(&value.to_string())));
        }
    }
    Ok(lines)
}

fn describe_tokens(
    row: &TokenRow,
    tokenizer: Option<&Tokenizer>,
    lines: &mut Vec<String>,
) -> Result<(), AnyFault> {
    let domain = row.domain.as_deref().unwrap_or("none");
    let num_documents = row.spans.len();
    lines.push(format!(
        "  domain {domain}, {} tokens, {num_documents} documents",
        row.ids.len()
    ));
    for span in row.spans.iter().take(MAX_DOCUMENTS) {
        let ids = &row.ids[span.clone()];
        lines.push(format!(
            "  [{}, {}) {} tokens: {}",
            span.start,
            span.end,
            ids.len(),
            excerpt(ids, tokenizer)?
        ));
    }
    if num_documents > MAX_DOCUMENTS {
        lines.push(format!(
            "  ... {} more documents",
            num_documents - MAX_DOCUMENTS
        ));
    }
    Ok(())
}

/// The document's first and last tokens, as quoted text or as ids.
fn excerpt(ids: &[i64], tokenizer: Option<&Tokenizer>) -> Result<String, AnyFault> {
    if ids.len() <= 2 * EDGE_TOKENS {
        return show(ids, tokenizer);
    }
    let (head, tail) = (&ids[..EDGE_TOKENS], &ids[ids.len() - EDGE_TOKENS..]);
    Ok(format!(
        "{} ... {}",
        show(head, tokenizer)?,
        show(tail, tokenizer)?
    ))
}

fn show(ids: &[i64], tokenizer: Option<&Tokenizer>) -> Result<String, AnyFault> {
    let Some(tokenizer) = tokenizer else {
        let words: Vec<String> = ids.iter().map(i64::to_string).collect();
        return Ok(words.join(" "));
    };
    let ids: Vec<u32> = ids
        .iter()
        .filter_map(|&id| u32::try_from(id).ok())
        .collect();
    Ok(format!("{:?}", tokenizer.decode(&ids)?))
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(200) {
        Some((end, _)) => format!("{} ...", &text[..end]),
        None => text.to_owned(),
    }
}
