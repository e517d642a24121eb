//! The README's commands exist with the flags it shows, and its figures are those of the stored results.

use crate::performance::{kernels, readme, results};
use assert_cmd::cargo::cargo_bin_cmd;
use std::path::{Path, PathBuf};

/// Lines of shell blocks that call `prulong`, continued lines joined, prompts removed.
fn commands(readme: &str) -> Vec<String> {
    let joined = readme.replace("\\\n", " ");
    let mut fence = None;
    let mut found = Vec::new();
    for line in joined.lines() {
        if let Some(language) = line.strip_prefix("```") {
            fence = fence.is_none().then(|| language.to_owned());
        } else if fence.as_deref() == Some("sh") {
            let call = line.trim().trim_start_matches("$ ");
            found.extend(call.starts_with("prulong ").then(|| call.to_owned()));
        }
    }
    found
}

/// The words before the first flag or argument that name a command, and the flags.
fn parts(command: &str) -> (Vec<&str>, Vec<&str>) {
    let command = command.split(" #").next().unwrap_or_default();
    let words: Vec<&str> = command
        .split_whitespace()
        .skip(1)
        .take_while(|word| !["|", ">"].contains(word))
        .collect();
    let is_name = |word: &&&str| {
        word.chars().all(|c| c.is_ascii_lowercase() || c == '-') && !word.starts_with('-')
    };
    let names = words.iter().take_while(is_name).copied().collect();
    let flags = words
        .iter()
        .filter(|word| word.starts_with('-'))
        .map(|word| word.split('=').next().unwrap_or(word));
    (names, flags.collect())
}

fn help(names: &[&str]) -> Option<String> {
    let output = cargo_bin_cmd!("prulong")
        .args(names)
        .arg("--help")
        .output()
        .unwrap();
    output
        .status
        .success()
        .then(|| String::from_utf8(output.stdout).unwrap())
}

#[test]
fn every_command_and_flag_exists() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = std::fs::read_to_string(path).unwrap();
    let commands = commands(&readme);
    assert!(
        commands.len() >= 5,
        "the README's commands were not found: {commands:?}"
    );
    for command in commands {
        let (names, flags) = parts(&command);
        // A lower-case argument may follow the name: the longest prefix with a help of its own is the command.
        let page = (1..=names.len()).rev().find_map(|len| help(&names[..len]));
        let page = page.unwrap_or_else(|| panic!("no such command: {command}"));
        let words: Vec<&str> = page.split([' ', ',', '\n', '=', '<', '[', ']']).collect();
        for flag in flags {
            assert!(words.contains(&flag), "`{flag}` is no flag of: {command}");
        }
    }
}

#[test]
fn its_tables_are_those_of_the_stored_results() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("README.md")).unwrap();
    let stored = results::load(&root.join("benches/results")).unwrap();
    let tables = readme::tables(&stored);
    let renewed = readme::replaced(Path::new("README.md"), &text, &tables).unwrap();
    assert!(renewed == text, "run `make readme-performance`");
    assert!(stored.steps.len() >= 10 && stored.prompts.len() >= 20);
    // Figures that were read off the files by hand.
    for row in [
        "| tiny (16 / 8), 4,096, f32, 16 + 128 | dense mask | AVX2, `af3f8b4` | 3.78 [3.75, 3.88] | 6 |",
        "| tiny, full, 1,024 + 64, 16,384 | AVX2, `1a6c17c` | 1.03 [0.92, 1.32] | 2.40 [1.84, 3.37] | 18 |",
        "| 124m, mask, 2,048 + 64, 1,024 | AVX2, `1a6c17c` | 0.91 | 1.94 | 1 | 24.9 / 37.1 | other rule |",
    ] {
        assert!(text.contains(row), "{row}");
    }
}

#[test]
fn the_table_of_kernels_is_that_of_the_stored_results() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let path = root.join("kernels/README.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let stored = results::load(&root.join("benches/results")).unwrap();
    let table = kernels::table(&stored.kernels);
    let renewed = readme::replaced(&path, &text, &table).unwrap();
    assert!(renewed == text, "run `make readme-performance`");
}

#[test]
fn a_document_without_markers_is_refused() {
    let error = readme::replaced(Path::new("x.md"), "no markers", "tables").unwrap_err();
    assert!(error.to_string().contains("`x.md` has no pair of markers"));
}
