//! The run card: everything needed to run the same evaluation again.

use super::escaped::escape_lines;
use crate::eval::results::{Part, Results};
use std::fmt::Write;

/// Facts as a list of names and values.
#[derive(Default)]
struct Card(String);

impl Card {
    /// A fact whose value is any text.
    fn fact(&mut self, name: &str, value: &str) {
        let _ = writeln!(self.0, "<dt>{name}</dt><dd>{}</dd>", escape_lines(value));
    }

    /// A fact to be copied.
    fn code(&mut self, name: &str, value: &str) {
        let _ = writeln!(
            self.0,
            "<dt>{name}</dt><dd><code>{}</code></dd>",
            escape_lines(value)
        );
    }
}

/// The card of a run.
pub(super) fn card(results: &Results) -> String {
    let of = &results.provenance;
    let mut card = Card::default();
    card.code("command", &of.command_line());
    let commit = of
        .commit
        .as_deref()
        .map_or(String::new(), |commit| format!(", commit {commit}"));
    card.fact("program", &format!("prulong {}{commit}", of.version));
    let machine = &of.machine;
    card.fact(
        "machine",
        &format!(
            "{} on {}, attention {}, kernels {}, {} threads, libtorch {}",
            machine.dtype,
            machine.device,
            machine.backend,
            machine.kernels,
            machine.num_threads,
            machine.libtorch
        ),
    );
    let grid = &of.grid;
    card.fact("seeds", &list(&grid.seeds));
    card.fact(
        "lengths",
        &format!("{} tokens, prompt and answer together", list(&grid.lengths)),
    );
    card.fact("depths", &list(&grid.depths));
    card.fact(
        "items",
        &format!(
            "{} per seed, length and depth: {} a task",
            grid.items_per_cell,
            grid.num_items()
        ),
    );
    if let Some(haystack) = &of.haystack {
        let held_out = if haystack.held_out {
            "held out"
        } else {
            "not known to be held out"
        };
        let sources = haystack.sources.join(", ");
        card.fact(
            "text",
            &format!(
                "{}: {sources}, {} units, {held_out}",
                haystack.kind, haystack.num_units
            ),
        );
    }
    for part in &results.parts {
        about(&mut card, part);
    }
    let config = serde_json::to_string_pretty(&of.config).unwrap_or_default();
    format!(
        "<dl>\n{}</dl>\n<details><summary>Every setting</summary>\n<pre>{}</pre></details>\n",
        card.0,
        escape_lines(&config)
    )
}

fn about(card: &mut Card, part: &Part) {
    let (model, shape) = (&part.model, &part.model.shape);
    card.fact(
        "model",
        &format!(
            "{}: {} layers, {} heads, {} kv heads of {}; chunk {}",
            model.name,
            shape.num_layers,
            shape.num_heads,
            shape.num_kv_heads,
            shape.head_dim,
            part.chunk_len
        ),
    );
    card.code("weights", &model.weights_sha256);
    card.code("layout", &model.arch_sha256);
    card.code("tokenizer", &model.tokenizer_blake3);
    if let Some(streaming) = part.streaming {
        card.fact("streaming heads", &streaming.to_string());
    }
    for mask in &part.masks {
        let (kept, all) = (mask.num_retrieval, mask.num_retrieval + mask.num_streaming);
        card.fact(
            "mask",
            &format!(
                "{}: {kept} of {all} retrieval heads, blake3 {}",
                mask.name, mask.blake3
            ),
        );
    }
    let lengths = part.tasks.iter().filter_map(|task| {
        let full = &task.methods.first()?.summary;
        Some(format!(
            "{}: {:.1} prompt, {:.1} output",
            task.task.name, full.mean_prompt_len, full.mean_output_len
        ))
    });
    let lengths: Vec<String> = lengths.collect();
    card.fact("mean true tokens", &lengths.join("; "));
}

fn list(values: &[impl std::fmt::Display]) -> String {
    let texts: Vec<String> = values.iter().map(ToString::to_string).collect();
    texts.join(", ")
}
