//! Rules on the repository as a whole: every file has its place, every name its file.

use crate::tree::{Tree, declared_module, folder_of_children, root, text_files};
use std::collections::BTreeSet;
use std::path::Path;

/// Back-ticked paths that begin like this must exist.
const CHECKED_PATHS: [&str; 5] = ["src/", "kernels/", "configs/", "tests/", "benches/"];

/// Folders of one thing per file, and the files one of which must name each of them.
const REGISTRIES: [(&str, &[&str]); 6] = [
    ("src/cli", &["src/cli/program.rs"]),
    ("src/eval/metric", &["src/eval/metric/registry.rs"]),
    ("src/eval/task", &["src/eval/task/registry.rs"]),
    (
        "src/infer/policy",
        &[
            "src/eval/method.rs",
            "src/infer/policy/evicting.rs",
            "src/infer/policy/skipping.rs",
        ],
    ),
    ("src/mask", &["src/mask/foreign/registry.rs"]),
    ("src/train/method", &["src/cli/method_setup.rs"]),
];

/// Files that no `mod` line declares.
pub(crate) fn orphans(tree: &Tree) -> Vec<String> {
    let mut declared: BTreeSet<String> = ["src/lib.rs", "src/main.rs"].map(str::to_owned).into();
    for file in &tree.files {
        let folder = folder_of_children(&file.path);
        for name in file
            .code
            .lines()
            .filter_map(|line| declared_module(line.trim()))
        {
            declared.insert(format!("{folder}{name}.rs"));
            declared.insert(format!("{folder}{name}/mod.rs"));
        }
    }
    let orphans = tree
        .files
        .iter()
        .filter(|file| !declared.contains(&file.path));
    orphans
        .map(|file| format!("{}: no `mod` line declares it", file.path))
        .collect()
}

/// Files of `tests/it/` that its binary does not list.
pub(crate) fn unlisted_tests() -> Vec<String> {
    let files = text_files(&root().join("tests/it"), &["rs"]);
    let text_of = |name: &str| {
        files
            .iter()
            .find(|(path, _)| path == name)
            .map_or("", |(_, text)| text)
    };
    let main = text_of("tests/it/main.rs");
    let listed: BTreeSet<&str> = main
        .lines()
        .filter_map(|line| declared_module(line.trim()))
        .collect();
    let direct = files.iter().filter_map(|(path, _)| {
        let name = path.strip_prefix("tests/it/")?.strip_suffix(".rs")?;
        (!name.contains('/') && name != "main").then_some(name)
    });
    direct
        .filter(|name| !listed.contains(name))
        .map(|name| format!("tests/it/{name}.rs: not listed in tests/it/main.rs"))
        .collect()
}

/// Back-ticked paths that do not exist, in documents and comments.
pub(crate) fn stale_paths() -> Vec<String> {
    let mut texts: Vec<(String, String)> = ["README.md", "Makefile", "Cargo.toml"]
        .iter()
        .filter_map(|name| {
            Some((
                (*name).to_owned(),
                std::fs::read_to_string(root().join(name)).ok()?,
            ))
        })
        .collect();
    for folder in [
        "src",
        "tests",
        "kernels",
        "configs",
        "checkpoints",
        "data",
        "benches",
        "examples",
    ] {
        texts.extend(text_files(
            &root().join(folder),
            &["rs", "md", "toml", "cu", "py", "sh"],
        ));
    }
    texts.retain(|(path, _)| !path.starts_with("tests/tidy"));
    texts
        .iter()
        .flat_map(|(path, text)| stale_in(path, text))
        .collect()
}

fn stale_in(path: &str, text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    for (line, content) in text.lines().enumerate() {
        for quoted in content.split('`').skip(1).step_by(2) {
            let is_path = CHECKED_PATHS.iter().any(|start| quoted.starts_with(start))
                && quoted
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
            // `configs/NAME.toml` stands for any name.
            let stem = Path::new(quoted)
                .file_stem()
                .map_or("".into(), |stem| stem.to_string_lossy());
            let is_path = is_path && (stem.to_uppercase() != stem || stem.is_empty());
            if is_path && !root().join(quoted).exists() {
                complaints.push(format!("{path}:{}: `{quoted}` does not exist", line + 1));
            }
        }
    }
    complaints
}

/// Files of a folder of things that its registry does not name, and subcommands that the README does not.
pub(crate) fn unregistered(tree: &Tree) -> Vec<String> {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap_or_default();
    let mut complaints = Vec::new();
    for (folder, registries) in REGISTRIES {
        let missing = registries.iter().filter(|path| tree.file(path).is_none());
        complaints.extend(missing.map(|path| format!("{path}: not found")));
        let things = tree.files.iter().filter(|file| {
            let parent = Path::new(&file.path)
                .parent()
                .is_some_and(|parent| parent == Path::new(folder));
            let is_thing = match folder {
                "src/cli" => file.code.contains("pub fn run(args: Args)"),
                "src/mask" => file
                    .code
                    .contains("pub fn files(sidecar: &Sidecar) -> Option<Files>"),
                _ => true,
            };
            parent
                && is_thing
                && !registries.contains(&file.path.as_str())
                && !file.is_test
                && !file.path.ends_with("/mod.rs")
        });
        for thing in things {
            let name = Path::new(&thing.path)
                .file_stem()
                .unwrap()
                .to_string_lossy()
                .into_owned();
            let mut files = registries.iter().filter_map(|path| tree.file(path));
            if !files.any(|file| crate::lexer::words(&file.code, &name).next().is_some()) {
                let registries = registries.join(" or ");
                complaints.push(format!("{}: {registries} does not name it", thing.path));
            }
        }
    }
    if !readme.is_empty() {
        complaints.extend(unlisted_commands(tree, &readme));
    }
    complaints
}

/// Variants of `Command` that the README never shows as `prulong name`.
fn unlisted_commands(tree: &Tree, readme: &str) -> Vec<String> {
    let program = tree.file("src/cli/program.rs").unwrap();
    let body = program
        .code
        .split("pub enum Command {")
        .nth(1)
        .unwrap_or_default();
    let body = body.split("\n}").next().unwrap_or_default();
    let variants = body
        .lines()
        .filter_map(|line| line.trim().split_once('(').map(|(name, _)| name));
    let commands = variants.map(kebab_case);
    commands
        .filter(|command| !readme.contains(&format!("prulong {command}")))
        .map(|command| format!("README.md: does not show `prulong {command}`"))
        .collect()
}

fn kebab_case(name: &str) -> String {
    let mut words = String::new();
    for c in name.chars() {
        if c.is_uppercase() && !words.is_empty() {
            words.push('-');
        }
        words.extend(c.to_lowercase());
    }
    words
}

/// Device functions of `kernels/` without exactly one launcher.
pub(crate) fn unused_kernels(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for (path, text) in text_files(&root().join("kernels"), &["cu"]) {
        for (at, _) in text.match_indices("__global__ void ") {
            let rest = &text[at + "__global__ void ".len()..];
            let name: String = rest
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            let named = |file: &&crate::tree::SourceFile| file.text.contains(&name);
            let launchers = tree
                .files
                .iter()
                .filter(|file| file.path.starts_with("src/cuda/"))
                .filter(named);
            if launchers.count() != 1 {
                complaints.push(format!(
                    "{path}: `{name}` needs exactly one launcher in src/cuda/"
                ));
            }
        }
    }
    complaints
}

/// Paths of the machine on which a file was written.
pub(crate) fn absolute_paths() -> Vec<String> {
    let homes = ["work", "root"].map(|folder| format!("/{folder}/"));
    let mut complaints = Vec::new();
    for folder in [
        "src",
        "tests",
        "kernels",
        "configs",
        "checkpoints",
        "data",
        "benches",
        "examples",
        ".config",
    ] {
        for (path, text) in text_files(
            &root().join(folder),
            &["rs", "md", "toml", "cu", "py", "sh", "json", "tsv"],
        ) {
            let is_run = path.starts_with("checkpoints/runs/") || path.starts_with("data/packed/");
            let hit = homes.iter().find(|home| {
                text.contains(&format!("\"{home}")) || text.contains(&format!("`{home}"))
            });
            if let (Some(home), false) = (hit, is_run) {
                complaints.push(format!("{path}: holds a path below `{home}`"));
            }
        }
    }
    complaints
}

#[test]
fn stale_and_machine_paths_are_found() {
    assert_eq!(
        stale_in("x", "see `src/nowhere.rs` and `src/lib.rs`").len(),
        1
    );
    assert!(stale_in("x", "see `src/FILE*.rs`, `other/nowhere.rs`").is_empty());
    assert_eq!(kebab_case("ExportMask"), "export-mask");
}
