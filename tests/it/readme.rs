//! The README's commands exist with the flags it shows.

use assert_cmd::cargo::cargo_bin_cmd;
use std::path::PathBuf;

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
