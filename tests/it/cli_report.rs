//! The page of a run: its structure, its bytes, what it never contains.

use crate::hand_made_run::{Asked, MARKUP, Place, fail, with_markup, write};
use assert_cmd::cargo::cargo_bin_cmd;
use prulong::eval::brief;
use prulong::eval::categories::categories;
use prulong::eval::results::Results;
use prulong::eval::table;
use prulong::footprint::eviction::{LayerBudget, TokenEviction, TokenSparsity};
use prulong::footprint::holdings::Holdings;
use prulong::footprint::workload::{Convention, Workload};
use scraper::{Html, Selector};
use std::path::Path;

const ASKED: Asked<'static> = Asked {
    tasks: &["recall", "json_kv"],
    lengths: &[256, 512],
    num_depths: 3,
    items_per_cell: 4,
    masks: &[3, 1],
    num_random: 1,
    words: &[
        "all-streaming",
        "snapkv:0.3:window=8",
        "snapkv:0.6:window=8",
        "streaming-llm",
        "knorm:0.5:window=8",
        "moba:top=1:block=32",
    ],
};

fn answer(place: &Place<'_>) -> (f64, f64) {
    let (footprint, share) = match place.method {
        "full" | "moba:top=1:block=32" => (1.0, 1.0),
        "mask-1" => (0.8, 1.0),
        "mask-2" => (0.4, 0.75),
        "snapkv:0.3:window=8" => (0.75, 0.9),
        "snapkv:0.6:window=8" => (0.5, 0.5),
        "all-streaming" | "streaming-llm" => (0.15, 0.1),
        _ => (0.6, 0.4),
    };
    let share = if place.task == "json_kv" {
        share * 0.5
    } else {
        share
    };
    (
        footprint,
        f64::from(u8::from(f64::from(place.index) < 12.0 * share)),
    )
}

fn report(folder: &Path, extra: &[&str]) -> (Option<i32>, String, String) {
    let output = cargo_bin_cmd!("prulong")
        .arg("report")
        .arg(folder)
        .args(extra)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

/// The page of these results, whose names end with markup.
fn html_of(results: &Results) -> String {
    let place = tempfile::tempdir().unwrap();
    write(place.path(), &with_markup(results.clone()));
    let (code, stdout, stderr) = report(place.path(), &[]);
    assert_eq!(code, Some(0), "{stderr}");
    let path = place.path().join("report.html");
    assert_eq!(stdout.trim_end(), path.display().to_string());
    std::fs::read_to_string(path).unwrap()
}

fn texts(html: &Html, selector: &str) -> Vec<String> {
    let selector = Selector::parse(selector).unwrap();
    html.select(&selector)
        .map(|element| element.text().collect::<String>())
        .collect()
}

#[test]
fn the_page_has_every_section_and_every_figure_its_words_and_numbers() {
    let html = Html::parse_document(&html_of(&ASKED.results(&answer)));
    assert!(html.errors.is_empty(), "{:?}", html.errors);
    assert_eq!(
        texts(&html, "title")[0],
        format!("Evaluation of tiny{MARKUP}")
    );
    let sections = texts(&html, "h2");
    let expected = [
        "Before you trust it",
        "Critical KV footprint",
        "tiny <b>&, chunks of 64 tokens",
        "How to run it again",
    ];
    assert_eq!(sections, expected);
    let parts = texts(&html, "h3");
    let expected = [
        "Score over KV footprint",
        "Memory over time",
        "Where answers are found",
        "Masks under test",
        "All results",
    ];
    assert_eq!(parts, expected);
    // Two tasks at two lengths; two masks; columns of methods: full, masks, random masks, and the five words.
    let count = |selector: &str| texts(&html, selector).len();
    assert_eq!(count(".panels > figure"), 4);
    assert_eq!(count(".masks > figure"), 2);
    assert_eq!(count(".maps > svg"), 2 * 11);
    // Masks with all heads streaming, StreamingLLM, SnapKV and key norms; random masks hold what masks hold.
    assert_eq!(count(".plots > figure"), 4);
    let drawn = count("svg");
    assert_eq!(count("svg[role=img] > title:first-child"), drawn);
    for part in ["svg > desc", "svg > metadata"] {
        let texts = texts(&html, part);
        assert_eq!(texts.len(), drawn, "{part}");
        assert!(texts.iter().all(|text| !text.trim().is_empty()), "{part}");
    }
    assert_eq!(count(".panels > figure > details table"), 4);
    assert_eq!(count(".panels .threshold"), 4);
    assert_eq!(count(".panels .baseline"), 4);
    // Each family has a bar of its interval in each panel.
    assert_eq!(count(".panels .interval"), 4 * 5);
    assert_eq!(count("p.warn"), 2, "json_kv leaves no room");
    let notes = texts(&html, ".remarks li");
    let place = format!("tiny{MARKUP} at 256 tokens, chunk 64: recall{MARKUP}, mask less the best");
    assert!(
        notes.iter().any(|note| note.starts_with(&place)),
        "{notes:?}"
    );
    let card = texts(&html, "dl").concat();
    for words in [
        "'it'\\''s & <tiny>'",
        "0123abc",
        "sliding with sink 4 and window 16",
        "0b",
        "cpu-flash",
    ] {
        assert!(card.contains(words), "{words} is missing: {card}");
    }
    assert!(
        texts(&html, ".warnings li")
            .iter()
            .any(|text| text == "the text may <be> known")
    );
}

#[test]
fn a_plot_of_the_page_is_drawn_as_a_file_of_its_own() {
    let place = tempfile::tempdir().unwrap();
    write(place.path(), &with_markup(ASKED.results(&answer)));
    let svg = place.path().join("recall.svg");
    let draw = |extra: &[&str]| {
        let output = cargo_bin_cmd!("prulong")
            .arg("critical")
            .arg(place.path())
            .arg("--svg")
            .arg(&svg)
            .args(extra)
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (
            output.status.code(),
            text(output.stdout),
            text(output.stderr),
        )
    };
    let task = format!("recall{MARKUP}");
    let (code, _, stderr) = draw(&["--task", &task]);
    assert_eq!(code, Some(2), "{stderr}");
    for words in ["[eval.plots]", "2 plots", "at 512 tokens, chunk 64, tiny"] {
        assert!(stderr.contains(words), "{words} is missing: {stderr}");
    }
    let (code, _, stderr) = draw(&["--task", "recal"]);
    assert!(code == Some(2) && stderr.contains("0 plots"), "{stderr}");
    assert!(!svg.exists());
    let one = ["--task", &task, "--length", "512"];
    for _ in 0..2 {
        let (code, table, stderr) = draw(&one);
        assert_eq!(code, Some(0), "{stderr}");
        assert!(table.contains(&format!("tiny{MARKUP} at 512 tokens")));
        assert!(!table.contains(&format!("tiny{MARKUP} at 256 tokens")));
    }
    let (code, _, stderr) = draw(&["--task", &task, "--length", "256"]);
    assert!(
        code == Some(2) && stderr.contains("[data.exists]"),
        "{stderr}"
    );
    let drawn = std::fs::read_to_string(&svg).unwrap();
    assert!(drawn.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\" "));
    let page = html_of(&ASKED.results(&answer));
    // What the page shows, and the style that the page has for it.
    let (start, rest) = drawn.split_once("<style>\n").unwrap();
    let (style, shapes) = rest.split_once("</style>\n").unwrap();
    let (ground, shapes) = shapes.split_once('\n').unwrap();
    assert!(ground.starts_with("<rect width=\"100%\" height=\"100%\""));
    assert!(page.contains(&[start, shapes].concat()));
    assert!(page.contains(style) && style.contains(".s0{"));
}

/// Places along a path of straight lines.
fn points(path: &str) -> Vec<(f64, f64)> {
    let place = |text: &str| {
        let (x, y) = text.split_once(' ').unwrap();
        (x.parse().unwrap(), y.parse().unwrap())
    };
    let texts = path.split(['M', 'L']).filter(|text| !text.is_empty());
    texts.map(place).collect()
}

/// What lies between a path and the level `ground`.
fn area(points: &[(f64, f64)], ground: f64) -> f64 {
    let strip = |pair: &[(f64, f64)]| {
        let [(from, a), (to, b)] = [pair[0], pair[1]];
        (to - from) * (ground - 0.5 * (a + b))
    };
    points.windows(2).map(strip).sum()
}

#[test]
fn the_area_below_a_line_of_many_teeth_is_the_footprint() {
    let asked = Asked {
        tasks: &["recall"],
        // Every 240th part begins a chunk: evenly spaced points would all stand at the feet of teeth.
        lengths: &[15_298],
        num_depths: 1,
        items_per_cell: 1,
        masks: &[],
        num_random: 0,
        words: &["snapkv:0.9:window=1"],
    };
    let html = Html::parse_document(&html_of(&asked.results(&answer)));
    let path = |class: &str| {
        let selector = Selector::parse(&format!(".plots path.{class}")).unwrap();
        points(html.select(&selector).next().unwrap().attr("d").unwrap())
    };
    let (full, drawn) = (path("baseline"), path("curve"));
    assert!((100..=240).contains(&drawn.len()), "{}", drawn.len());
    let ground = full[0].1;
    let share = area(&drawn, ground) / area(&full, ground);
    let workload = Workload::new(15_290, 8, 64, Convention::Counted).unwrap();
    let held = Holdings::Ranked {
        eviction: TokenEviction {
            observation_len: 1,
            sparsity: TokenSparsity::new(0.9).unwrap(),
            patch: false,
            layers: LayerBudget::Uniform,
        },
        num_layers: 2,
        num_choosers: 1,
    };
    let real = held.predict(&workload).kv_footprint;
    assert!((share / real - 1.0).abs() < 0.01, "{share} for {real}");
}

#[test]
fn a_method_that_answered_nothing_has_blank_cells() {
    let mut results = ASKED.results(&answer);
    let method = &mut results.parts[0].tasks[0].methods[1];
    results.failures = fail(method, |_| true, "no room:\n  128 of 24 GiB");
    for lines in [table::lines(&results), brief::lines(&results)] {
        let row = lines.iter().find(|line| line.starts_with("mask 3"));
        let cells: Vec<&str> = row.unwrap().split_whitespace().skip(2).collect();
        assert!(cells.iter().all(|cell| *cell == "-"), "{lines:#?}");
    }
    let means = categories(&results.parts[0].tasks);
    let mean = means.iter().find(|of| of.method == "mask-1").unwrap();
    assert_eq!(mean.tasks, ["json_kv"]);
    let html = html_of(&results);
    let rows = texts(&Html::parse_document(&html), "h4 ~ .wide tbody tr");
    let row = rows.iter().find(|row| row.starts_with("mask-1"));
    assert_eq!(row.unwrap(), "mask-1 <b>&, 3 retrieval heads0 of 2424");
    assert!(
        html.contains("no room:\n  128 of 24 GiB [gpu.oom]"),
        "the failure is told in lines"
    );
}

#[test]
fn the_page_needs_nothing_and_the_same_results_give_the_same_bytes() {
    let results = ASKED.results(&answer);
    let html = html_of(&results);
    assert_eq!(html, html_of(&results));
    assert!(html.len() < 1 << 20, "{} bytes", html.len());
    for foreign in [
        "<script", "<link", "<img", "<iframe", "@import", "url(", "src=", "href=", "onload",
        "onclick",
    ] {
        assert!(!html.contains(foreign), "{foreign}");
    }
    let addresses: Vec<&str> = html.matches("http").collect();
    let names = html.matches("http://www.w3.org/2000/svg").count();
    assert_eq!(addresses.len(), names, "nothing but the name of SVG");
    for words in [
        "prefers-color-scheme:dark",
        "width=device-width",
        "lang=\"en\"",
    ] {
        assert!(html.contains(words), "{words}");
    }
}

#[test]
fn another_file_is_written_where_nothing_is_and_a_lone_cell_has_no_map() {
    let place = tempfile::tempdir().unwrap();
    let asked = Asked {
        tasks: &["recall"],
        lengths: &[256],
        num_depths: 1,
        masks: &[],
        num_random: 0,
        words: &["snapkv:0.5:window=8:patch"],
        ..ASKED
    };
    write(place.path(), &asked.results(&|_| (0.6, 0.0)));
    let file = place.path().join("page.html");
    let name = file.display().to_string();
    for _ in 0..2 {
        let (code, stdout, stderr) = report(place.path(), &["-o", &name]);
        assert_eq!(
            (code, stdout.trim_end()),
            (Some(0), name.as_str()),
            "{stderr}"
        );
    }
    assert!(!place.path().join("report.html").exists());
    let html = Html::parse_document(&std::fs::read_to_string(&file).unwrap());
    assert!(texts(&html, ".maps").is_empty() && texts(&html, ".masks").is_empty());
    assert!(texts(&html, ".panels").concat().contains("nothing to keep"));
    std::fs::write(&file, "mine").unwrap();
    let (code, _, stderr) = report(place.path(), &["-o", &name]);
    assert_eq!(code, Some(2), "{stderr}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
}
