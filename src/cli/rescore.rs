//! `prulong rescore`.

use super::output::{self, Output};
use super::rescore_report::{lines, list, list_object};
use crate::eval::metric::registry::{ALL, Metric};
use crate::eval::reading::Reading;
use crate::eval::rescore::lines::Lines;
use crate::eval::rescore::report::report;
use crate::fault::AnyFault;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use std::path::PathBuf;

/// Score answers that are written down again, without a model.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// File of answers, or run folder of `prulong eval`.
    ///
    /// A file holds one JSON object per line: `output`, the text that a model wrote, and a right answer. That is `answers`
    /// (or `answer`), a text or a list of texts any of which is right, or `gold`, as in the predictions of `prulong eval`:
    /// one of the kinds that --list names. These may be added: `cue`, text that begins the answer; `scores`, as in the
    /// predictions; `output_ids` and `gold_ids`, token ids of both answers for the metrics that compare those. `schema` marks a
    /// prediction. All other fields are left alone.
    ///
    /// Every metric has two scores: `compat` is that of the literature's scorer, quirks included, `strict` closes its
    /// loopholes. Means come with n and a 95 % bootstrap interval.
    ///
    /// A run folder, or its predictions.jsonl, is scored method by method, each task by its own metrics and prefix. Scores
    /// written down in a file are compared with the new ones: exit code 1 if any differs.
    #[arg(value_name = "FILE", required_unless_present = "list")]
    file: Option<PathBuf>,

    /// Metrics, separated by commas; --list names them [default: those stored in the file, else all that can read the right
    /// answers].
    #[arg(
        long,
        value_name = "METRIC",
        value_delimiter = ',',
        hide_possible_values = true,
        ignore_case = true,
        value_parser = parser()
    )]
    metrics: Vec<Metric>,

    /// Also read the rest of the line behind this prefix as the answer, e.g. `Answer:`. The higher score counts for
    /// `compat`, that line alone for `strict`. Refused for run folders, whose tasks say where answers stand [default: all of the
    /// output is the answer].
    #[arg(long, value_name = "TEXT")]
    prefix: Option<String>,

    /// With --prefix: that line alone counts for both, as for labels.
    #[arg(long, requires = "prefix")]
    prefix_only: bool,

    /// List all metrics with the kinds of gold that they read, and do nothing else.
    #[arg(long)]
    list: bool,

    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Prints the means, and says whether they are those that were stored.
///
/// # Errors
/// [`crate::eval::rescore::error::RescoreError`].
pub fn run(args: Args) -> Result<(), AnyFault> {
    let Some(file) = args.file.as_ref().filter(|_| !args.list) else {
        return print(args.json, &list_object(), list());
    };
    let mut answers = Lines::open(file)?;
    let report = report(&mut answers, &args.metrics, args.reading())?;
    print(args.json, &report, lines(&report))?;
    Ok(report.judge()?)
}

impl Args {
    fn reading(&self) -> Option<Reading<'_>> {
        let prefix = self.prefix.as_deref()?;
        Some(if self.prefix_only {
            Reading::Line { prefix }
        } else {
            Reading::Either { prefix }
        })
    }
}

/// Turns a name into its metric; a wrong one is answered with the most similar.
fn parser() -> impl TypedValueParser<Value = Metric> {
    let values = ALL.map(|metric| {
        let value = PossibleValue::new(metric.name()).help(metric.title());
        value.aliases(metric.other_name())
    });
    PossibleValuesParser::new(values)
        .try_map(|word| Metric::called(&word).ok_or("it is not registered"))
}

fn print(
    as_json: bool,
    object: &impl serde::Serialize,
    lines: Vec<String>,
) -> Result<(), AnyFault> {
    if as_json {
        output::json(object)?;
        return Ok(());
    }
    let mut out = Output::stdout();
    for line in lines {
        out.line(line)?;
    }
    out.finish()?;
    Ok(())
}
