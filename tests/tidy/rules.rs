//! Rules on a single file.

use crate::lexer::words;
use crate::tree::SourceFile;

/// Lines of a file outside tests.
const LONGEST_FILE: usize = 400;

/// Crates and the only modules that may name them.
const HOMES: [(&str, &[&str]); 14] = [
    ("anstream", &["cli"]),
    ("clap", &["cli"]),
    ("cudarc", &["cuda"]),
    ("hf_hub", &["hub"]),
    ("indicatif", &["cli"]),
    ("memmap2", &["torch", "data"]),
    ("png", &["metrics"]),
    ("protobuf", &["metrics"]),
    ("scraper", &["data"]),
    ("tensorboard_proto", &["metrics"]),
    ("tensorboard_rs", &["metrics"]),
    ("tokenizers", &["data"]),
    ("toml", &["config"]),
    ("torch_sys", &["torch"]),
];

/// Modules without torch.
const WITHOUT_TORCH: [&str; 10] = [
    "fault",
    "random",
    "real",
    "shape",
    "span",
    "schedule",
    "footprint",
    "mask",
    "config",
    "estimate",
];

/// Modules without clock and environment, besides those without torch.
const WITHOUT_CLOCK: [&str; 3] = ["attention", "gate", "model"];

/// Calls that are nowhere right, and why.
const FORBIDDEN: [(&str, &str); 13] = [
    (".size()[", "name the shape by destructuring it"),
    ("bernoulli", "random numbers come from `random`"),
    ("manual_seed", "random numbers come from `random`"),
    ("multinomial", "random numbers come from `random`"),
    ("normal_(", "random numbers come from `random`"),
    ("rand_like", "random numbers come from `random`"),
    ("randint", "random numbers come from `random`"),
    ("randn", "random numbers come from `random`"),
    ("randn_like", "random numbers come from `random`"),
    ("randperm", "random numbers come from `random`"),
    ("Tensor::rand", "random numbers come from `random`"),
    ("uniform_(", "random numbers come from `random`"),
    ("process::exit", "return an exit code"),
];

/// A file begins by saying what it owns.
pub(crate) fn header(file: &SourceFile) -> Vec<String> {
    if file.text.starts_with("//! ") {
        return Vec::new();
    }
    vec![format!("{}:1: does not begin with `//!`", file.path)]
}

/// A file is short.
pub(crate) fn length(file: &SourceFile) -> Vec<String> {
    let lines = file.without_tests().lines().count();
    if file.is_test || lines <= LONGEST_FILE {
        return Vec::new();
    }
    vec![format!(
        "{}: {lines} lines, more than {LONGEST_FILE}",
        file.path
    )]
}

/// A crate is named only at home.
pub(crate) fn homes(file: &SourceFile) -> Vec<String> {
    let module = file.module();
    let mut complaints = Vec::new();
    for (name, homes) in HOMES {
        if homes.contains(&module[0].as_str()) {
            continue;
        }
        for at in paths_of(&file.code, name) {
            complaints.push(format!(
                "{}: `{name}` belongs to `{}`",
                file.at(at),
                homes.join("`, `")
            ));
        }
    }
    complaints
}

/// Offsets where `name::` starts a path.
fn paths_of(code: &str, name: &str) -> Vec<usize> {
    let path = format!("{name}::");
    let whole = words(code, &path).filter(|at| !code[..*at].ends_with("::"));
    whole.collect()
}

/// Vocabulary and arithmetic are functions of their arguments.
pub(crate) fn purity(file: &SourceFile) -> Vec<String> {
    let module = file.module();
    let pure = WITHOUT_TORCH.contains(&module[0].as_str());
    let mut banned = Vec::new();
    if pure {
        banned.push("tch::");
    }
    if pure || WITHOUT_CLOCK.contains(&module[0].as_str()) {
        banned.extend([
            "Instant::",
            "SystemTime::",
            "env::var",
            "env::vars",
            "env::args",
        ]);
    } else if !["cli", "main", "torch"].contains(&module[0].as_str()) {
        banned.extend(["env::var", "env::vars", "env::args", "env::home_dir"]);
    }
    let hits = banned
        .iter()
        .flat_map(|word| words(file.without_tests(), word).map(move |at| (at, word)));
    hits.filter(|_| !file.is_test)
        .map(|(at, word)| format!("{}: `{word}` in `{}`", file.at(at), module[0]))
        .collect()
}

/// Calls that are wrong everywhere, or in a place.
pub(crate) fn forbidden(file: &SourceFile) -> Vec<String> {
    let mut complaints = Vec::new();
    for (call, reason) in FORBIDDEN {
        for at in words(&file.code, call) {
            complaints.push(format!("{}: `{call}`: {reason}", file.at(at)));
        }
    }
    if file.path.starts_with("src/model/") || file.path.starts_with("src/attention/") {
        for at in words(file.without_tests(), "repeat_interleave").filter(|_| !file.is_test) {
            complaints.push(format!(
                "{}: `repeat_interleave`: K and V stay grouped",
                file.at(at)
            ));
        }
    }
    complaints
}

/// A public function with a tensor in its signature documents shapes.
pub(crate) fn shapes(file: &SourceFile) -> Vec<String> {
    let code = file.without_tests();
    if file.is_test {
        return Vec::new();
    }
    let functions = words(code, "pub fn").filter(|at| {
        let end = code[*at..]
            .find(['{', ';'])
            .map_or(code.len(), |end| at + end);
        words(&code[*at..end], "Tensor").next().is_some()
    });
    functions
        .filter(|at| !docs_before(&file.text[..*at]).contains("# Shapes"))
        .map(|at| {
            let name: String = file.text[at + 7..]
                .chars()
                .take_while(|c| *c != '(' && *c != '<')
                .collect();
            format!("{}: `{name}` has a tensor and no `# Shapes`", file.at(at))
        })
        .collect()
}

/// The doc comment that ends where `text` ends, attributes between skipped.
fn docs_before(text: &str) -> String {
    let mut lines: Vec<&str> = Vec::new();
    for line in text
        .lines()
        .rev()
        .map(str::trim)
        .skip_while(|line| line.is_empty())
    {
        if line.is_empty() || line.ends_with(['}', ';', '{']) {
            break;
        }
        lines.push(line);
    }
    lines.join("\n")
}

/// Settings deny unknown fields; nothing is flattened or untagged.
pub(crate) fn settings(file: &SourceFile) -> Vec<String> {
    let mut complaints = Vec::new();
    for (at, _) in file.code.match_indices("#[serde(") {
        let end = file.code[at..]
            .find(")]")
            .map_or(file.code.len(), |end| at + end);
        for word in ["flatten", "untagged"] {
            if words(&file.code[at..end], word).next().is_some() {
                complaints.push(format!("{}: `{word}` hides unknown keys", file.at(at)));
            }
        }
    }
    if file.path.starts_with("src/config/") {
        complaints.extend(undenied(file));
    }
    complaints
}

fn undenied(file: &SourceFile) -> Vec<String> {
    let structs = words(&file.code, "struct").filter(|at| {
        let head = docs_before(&file.text[..=file.text[..*at].rfind('\n').unwrap_or(0)]);
        let named = file.code[*at..]
            .find(['{', ';'])
            .is_some_and(|end| file.code[at + end..].starts_with('{'));
        named && head.contains("Deserialize") && !head.contains("deny_unknown_fields")
    });
    structs
        .map(|at| format!("{}: settings without `deny_unknown_fields`", file.at(at)))
        .collect()
}

/// A re-export of anything but an own child would hide an arrow from the layer rule.
pub(crate) fn re_exports(file: &SourceFile) -> Vec<String> {
    if file.path == "src/lib.rs" {
        return Vec::new();
    }
    let hits = words(&file.code, "pub use").filter(|at| {
        let path = file.code[at + "pub use".len()..].trim_start();
        let head: String = path
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect();
        !file.code.contains(&format!("mod {head};"))
    });
    hits.map(|at| format!("{}: a re-export below the root", file.at(at)))
        .collect()
}

#[test]
fn every_rule_fires_on_its_violation() {
    type Rule = fn(&SourceFile) -> Vec<String>;
    let cases: [(Rule, &str, &str); 14] = [
        (header, "src/span.rs", "use std::fmt;"),
        (length, "src/span.rs", &"x\n".repeat(401)),
        (homes, "src/model/llama.rs", "use tokenizers::Tokenizer;"),
        (homes, "src/train/step.rs", "fn f() { toml::from_str(x) }"),
        (purity, "src/span.rs", "use tch::Tensor;"),
        (
            purity,
            "src/gate/bank.rs",
            "let t = std::time::Instant::now();",
        ),
        (purity, "src/data/mod.rs", "let home = std::env::var(x);"),
        (
            forbidden,
            "src/gate/noise.rs",
            "let u = Tensor::rand([2], options);",
        ),
        (forbidden, "src/model/llama.rs", "let t = q.size()[1];"),
        (
            forbidden,
            "src/attention/full.rs",
            "let k = k.repeat_interleave(2);",
        ),
        (
            shapes,
            "src/gate/bank.rs",
            "/// Adds.\n#[inline]\npub fn add(a: &Tensor) {}",
        ),
        (
            settings,
            "src/config/run.rs",
            "/// Run.\n#[derive(serde::Deserialize)]\npub struct Run { a: u8 }",
        ),
        (
            settings,
            "src/mask/sidecar.rs",
            "#[serde(default, flatten)]\nrest: Map",
        ),
        (re_exports, "src/gate/mod.rs", "pub use crate::span::Span;"),
    ];
    for (index, (rule, path, text)) in cases.into_iter().enumerate() {
        assert_eq!(
            rule(&SourceFile::new(path, text, false)).len(),
            1,
            "case {index}: {text}"
        );
    }
}

#[test]
fn rules_are_silent_on_what_is_right() {
    let text = "//! Owns.\n/// Adds.\n///\n/// # Shapes\n/// `a`: `[T]`.\npub fn add(a: &Tensor) {}\n\
                #[serde(deny_unknown_fields)]\n#[derive(Deserialize)]\npub struct Run { a: u8 }\n// tch::x toml::y\n";
    let file = SourceFile::new("src/config/run.rs", text, false);
    for rule in [
        header, length, homes, purity, forbidden, shapes, settings, re_exports,
    ] {
        assert_eq!(rule(&file), Vec::<String>::new());
    }
}
