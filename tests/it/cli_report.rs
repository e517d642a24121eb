//! The page of a run: its structure, its bytes, what it never contains.

use crate::hand_made_run::{Asked, Place, write};
use assert_cmd::cargo::cargo_bin_cmd;
use prulong::eval::results::Results;
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

fn html_of(results: &Results) -> String {
    let place = tempfile::tempdir().unwrap();
    write(place.path(), results);
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
    assert_eq!(texts(&html, "title")[0], "Evaluation of tiny");
    let sections = texts(&html, "h2");
    let expected = [
        "Before you trust it",
        "Critical KV footprint",
        "tiny, chunks of 64 tokens",
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
    assert_eq!(count(".maps > svg"), 2 * 10);
    // Masks with all heads streaming, StreamingLLM and SnapKV; random masks hold what masks hold.
    assert_eq!(count(".plots > figure"), 3);
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
    assert_eq!(count(".panels .interval"), 4 * 4);
    assert_eq!(count("p.warn"), 2, "json_kv leaves no room");
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
