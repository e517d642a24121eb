//! The page: its frame, its style, and its sections in order.

use super::escaped::escape_lines;
use super::looks::Looks;
use super::picture::STYLE as FIGURES;
use super::{
    critical_table, depth_map, footprint_panel, mask_pictures, rent_picture, results_table,
    run_card,
};
use crate::eval::critical::study::Study;
use crate::eval::results::{Failure, Part, Results};
use crate::mask::heatmap_svg::escape;
use std::collections::BTreeSet;
use std::fmt::Write;

/// Name of the file inside a run folder.
pub const FILE_NAME: &str = "report.html";

/// Rules that need no computation, besides those of figures.
const STYLE: &str = include_str!("style.css");

/// Failed items that are named.
const MOST_NAMED: usize = 50;

/// Sections while they are written: writing to a string cannot fail.
struct Page {
    html: String,
}

/// The whole page of `results`, whose methods have their items.
pub fn page(results: &Results, study: &Study) -> String {
    let looks = Looks::of(study);
    let title = format!("Evaluation of {}", names(results));
    let mut page = Page {
        html: String::new(),
    };
    page.line(&format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{0}</title>\n<style>\n{FIGURES}{STYLE}{1}\n</style>\n</head>\n<body>\n<header>\n<h1>{0}</h1>\n\
         <p>{2}</p>\n</header>\n<main>",
        escape(&title),
        depth_map::style(),
        escape(&summary(results))
    ));
    page.warnings(results, study);
    if !study.panels.is_empty() {
        page.section("Critical KV footprint", &critical_table::table(study));
    }
    for (place, part) in results.parts.iter().enumerate() {
        page.part(results, study, (place, part), &looks);
    }
    page.failures(&results.failures);
    page.section("How to run it again", &run_card::card(results));
    page.line("</main>\n</body>\n</html>");
    page.html
}

fn names(results: &Results) -> String {
    let mut names: Vec<&str> = Vec::new();
    for part in &results.parts {
        if !names.contains(&part.model.name.as_str()) {
            names.push(&part.model.name);
        }
    }
    names.join(", ")
}

fn summary(results: &Results) -> String {
    let grid = &results.provenance.grid;
    let tasks = results.parts.first().map_or(&[][..], |part| &part.tasks);
    let nums: BTreeSet<usize> = tasks.iter().map(|of| of.task.num_items(grid)).collect();
    let nums: Vec<String> = nums.iter().map(ToString::to_string).collect();
    let tasks: Vec<&str> = tasks.iter().map(|task| task.task.name.as_str()).collect();
    let lengths: Vec<String> = grid.lengths.iter().map(ToString::to_string).collect();
    format!(
        "{}; {} items a task, up to {} tokens. KV footprint: of all (query, key) pairs of prompt and answer, the share whose key is still held, counted \
         from the caches.",
        tasks.join(", "),
        nums.join(" or "),
        lengths.join(", ")
    )
}

impl Page {
    fn line(&mut self, text: &str) {
        let _ = writeln!(self.html, "{text}");
    }

    fn section(&mut self, title: &str, body: &str) {
        self.line(&format!(
            "<section>\n<h2>{}</h2>\n{body}</section>",
            escape(title)
        ));
    }

    fn warnings(&mut self, results: &Results, study: &Study) {
        let mut warnings: Vec<&String> = results.warnings.iter().collect();
        warnings.extend(
            study
                .warnings
                .iter()
                .filter(|warning| !results.warnings.contains(warning)),
        );
        if warnings.is_empty() {
            return;
        }
        self.line("<section class=\"warnings\">\n<h2>Before you trust it</h2>\n<ul>");
        for warning in warnings {
            self.line(&format!("<li>{}</li>", escape_lines(warning)));
        }
        self.line("</ul>\n</section>");
    }

    fn part(
        &mut self,
        results: &Results,
        study: &Study,
        (place, part): (usize, &Part),
        looks: &Looks,
    ) {
        let name = &part.model.name;
        let heading = format!("{name}, chunks of {} tokens", part.chunk_len);
        let mut body = String::new();
        let panels = study.panels.iter();
        let own = panels.filter(|panel| panel.model == *name && panel.chunk_len == part.chunk_len);
        let figures: String = own
            .map(|panel| footprint_panel::figure_of(panel, study.keep, looks))
            .collect();
        if !figures.is_empty() {
            let _ = write!(
                body,
                "<h3>Score over KV footprint</h3>\n<p>The footprint falls to the right: a method that stays above the red line further to the right \
                 needs less memory. Strokes on the line: critical footprints, repeated below each plot with their intervals.</p>\n<div \
                 class=\"panels\">\n{figures}</div>\n"
            );
        }
        if let Some(figure) = rent_picture::figure(part, looks) {
            let _ = write!(body, "<h3>Memory over time</h3>\n{figure}");
        }
        let maps: String = part
            .tasks
            .iter()
            .filter_map(|task| depth_map::figure(results, task))
            .collect();
        if !maps.is_empty() {
            let _ = write!(body, "<h3>Where answers are found</h3>\n{maps}");
        }
        // The masks of a model are the same in all of its parts.
        let first = results
            .parts
            .iter()
            .position(|other| other.model == part.model);
        if let Some(figures) = mask_pictures::figures(part).filter(|_| first == Some(place)) {
            let _ = write!(body, "<h3>Masks under test</h3>\n{figures}");
        }
        let tables: String = part.tasks.iter().map(results_table::table).collect();
        let _ = write!(body, "<h3>All results</h3>\n{tables}");
        self.section(&heading, &body);
    }

    fn failures(&mut self, failures: &[Failure]) {
        if failures.is_empty() {
            return;
        }
        let mut body = String::from("<p>They are part of no mean.</p>\n<ul>\n");
        for failure in failures.iter().take(MOST_NAMED) {
            let place = format!(
                "{} chunk {} {} {} {}: {} [{}]",
                failure.model,
                failure.chunk_len,
                failure.task,
                failure.method,
                failure.id,
                failure.error.message,
                failure.error.code
            );
            let _ = writeln!(body, "<li>{}</li>", escape_lines(&place));
        }
        body.push_str("</ul>\n");
        if failures.len() > MOST_NAMED {
            let more = failures.len() - MOST_NAMED;
            let _ = writeln!(
                body,
                "<p>And {more} more: see <code>predictions.jsonl</code>.</p>"
            );
        }
        self.section(&format!("{} items failed", failures.len()), &body);
    }
}
