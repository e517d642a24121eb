//! `prulong data stats`.

use crate::cli::output;
use crate::config::data::StreamSpec;
use crate::data::mds::dataset::{Dataset, ReadOptions};
use crate::data::mixture::rows_per_epoch;
use crate::data::pack::report::share;
use crate::data::stats::{Counts, DatasetStats, count};
use crate::fault::AnyFault;
use std::fmt::Write;

/// Flags of `prulong data stats`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// MDS folder; with several, a mixture: `DIR@0.3` for a share of its rows, `DIR#2` to repeat it
    #[arg(required = true, value_name = "DIR")]
    streams: Vec<String>,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// One dataset of the mixture.
#[derive(Debug, serde::Serialize)]
struct StreamStats {
    path: String,
    stats: DatasetStats,
    /// Rows of it in one epoch.
    epoch_rows: u64,
    /// Its share of an epoch's tokens, padding left out.
    token_share: f64,
}

/// Counts every named dataset and prints what a mixture of them gives.
///
/// # Errors
/// What is wrong with a dataset or the mixture.
pub fn run(args: &Args) -> Result<(), AnyFault> {
    let specs: Vec<StreamSpec> = args
        .streams
        .iter()
        .map(|text| StreamSpec::parse(text))
        .collect();
    let mut counted = Vec::new();
    for spec in &specs {
        counted.push(count(&Dataset::open(&spec.path, ReadOptions::default())?)?);
    }
    let rows: Vec<u64> = counted.iter().map(|stats| stats.total.rows).collect();
    let epoch_rows = rows_per_epoch(&specs, &rows, None)?;
    let tokens: Vec<f64> = counted
        .iter()
        .zip(&epoch_rows)
        .map(|(stats, &rows)| epoch_tokens(stats.total, rows))
        .collect();
    let all: f64 = tokens.iter().sum();
    let streams: Vec<StreamStats> = specs
        .iter()
        .zip(counted)
        .zip(epoch_rows.iter().zip(tokens))
        .map(|((spec, stats), (&epoch_rows, tokens))| StreamStats {
            path: spec.path.display().to_string(),
            stats,
            epoch_rows,
            token_share: if all > 0.0 { tokens / all } else { 0.0 },
        })
        .collect();
    if args.json {
        output::json(&serde_json::json!({ "streams": streams }))?;
    } else {
        for stream in &streams {
            output::line(report(stream, streams.len() > 1))?;
        }
    }
    Ok(())
}

/// Tokens in `rows` rows of a dataset, if its rows are drawn evenly.
#[expect(clippy::cast_precision_loss, reason = "a share for reading")]
fn epoch_tokens(total: Counts, rows: u64) -> f64 {
    total.tokens as f64 * rows as f64 / total.rows.max(1) as f64
}

fn report(stream: &StreamStats, is_mixture: bool) -> String {
    let stats = &stream.stats;
    let row_len = if stats.shortest_row == stats.longest_row {
        stats.longest_row.to_string()
    } else {
        format!("{} to {}", stats.shortest_row, stats.longest_row)
    };
    let mut text = format!(
        "{}: {} rows of {row_len} tokens, {}, longest {}, {:.1} % padding",
        stream.path,
        stats.total.rows,
        documents(stats.total),
        stats.longest_document,
        100.0 * share(stats.padding, stats.padding + stats.total.tokens),
    );
    if is_mixture {
        let percent = 100.0 * stream.token_share;
        let rows = stream.epoch_rows;
        let _ = write!(
            text,
            "\n  of the mixture: {rows} rows per epoch, {percent:.1} % of its tokens"
        );
    }
    for (domain, counts) in &stats.domains {
        let name = if domain.is_empty() { "(none)" } else { domain };
        let _ = write!(
            text,
            "\n  domain {name}: {} rows, {}",
            counts.rows,
            documents(*counts)
        );
    }
    for bucket in &stats.document_lens {
        let percent = 100.0 * share(bucket.tokens, stats.total.tokens);
        let bar = "#".repeat(bar_len(percent));
        let _ = write!(
            text,
            "\n  {:>9} to {:<9} tokens: {:>8} documents, {percent:>5.1} % of tokens {bar}",
            bucket.from,
            2 * bucket.from - 1,
            bucket.spans,
        );
    }
    text
}

fn documents(counts: Counts) -> String {
    format!("{} documents, {} tokens", counts.documents, counts.tokens)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a percentage is between 0 and 100"
)]
fn bar_len(percent: f64) -> usize {
    (percent / 2.5).round() as usize
}
