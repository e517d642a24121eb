//! The reference of the command line: the long help of every command in one snapshot, so that no flag appears, vanishes
//! or changes its default unseen.

use std::process::{Command, Stdio};

/// The help as printed where there is no terminal, whose width would change its lines.
fn help(path: &[String]) -> String {
    let output = Command::new(assert_cmd::cargo::cargo_bin!("prulong"))
        .args(path)
        .arg("--help")
        .env("COLUMNS", "100")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{path:?} has no help");
    String::from_utf8(output.stdout).unwrap()
}

/// Names below `Commands:` in a help text.
fn subcommands(help: &str) -> Vec<String> {
    let list = help.split("\nCommands:\n").nth(1).unwrap_or_default();
    let lines = list.lines().take_while(|line| !line.is_empty());
    let names = lines.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

fn reference(path: &mut Vec<String>, text: &mut String) {
    let help = help(path);
    text.push_str(&format!("# prulong {}\n\n{help}\n", path.join(" ")).replace(" \n", "\n"));
    for name in subcommands(&help) {
        path.push(name);
        reference(path, text);
        path.pop();
    }
}

#[test]
fn the_reference_is_up_to_date() {
    let mut text = String::new();
    reference(&mut Vec::new(), &mut text);
    assert!(
        text.contains("# prulong config show"),
        "subcommands were not found"
    );
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.bind(|| insta::assert_snapshot!("help", text));
}
