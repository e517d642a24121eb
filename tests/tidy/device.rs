//! Tests that compute on a device, and the lists by which `benches/gpu/checklist.sh` finds them.

use crate::lexer::words;
use crate::tree::{SourceFile, Tree, root, text_files};

/// What a test that wants a device calls.
const ASKING: [&str; 4] = [
    "on_every_device",
    "on_device",
    "usable_devices",
    "Cuda::is_available",
];

/// Tests on a device that the checklist leaves out, and names in its lists that no file has.
pub(crate) fn unlisted(tree: &Tree) -> Vec<String> {
    let checklist =
        std::fs::read_to_string(root().join("benches/gpu/checklist.sh")).unwrap_or_default();
    let modules = listed(&checklist, "DEVICE_MODULES");
    let mut complaints: Vec<String> = tree
        .files
        .iter()
        .filter_map(|file| missing(file, &modules))
        .collect();
    complaints.extend(stale(tree, &modules));
    complaints.extend(unlisted_files(&listed(&checklist, "DEVICE_TEST_FILES")));
    complaints
}

/// The words of `NAME='...'` in a shell script.
fn listed<'a>(script: &'a str, name: &str) -> Vec<&'a str> {
    let start = format!("\n{name}='");
    let list = script.split(&start).nth(1).unwrap_or_default();
    let list = list.split('\'').next().unwrap_or_default();
    list.split_whitespace().collect()
}

/// A complaint if tests of `file` ask for a device and no listed module holds them.
fn missing(file: &SourceFile, modules: &[&str]) -> Option<String> {
    let tests = if file.is_test {
        &file.code
    } else {
        &file.code[file.without_tests().len()..]
    };
    let word = ASKING
        .iter()
        .find(|word| words(tests, word).next().is_some())?;
    let module = file.module().join("::");
    let is_listed = modules.iter().any(|listed| {
        module
            .strip_prefix(listed)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    });
    let complaint = || {
        let list = "DEVICE_MODULES of benches/gpu/checklist.sh";
        format!(
            "{}: tests call `{word}`, and {list} lacks `{module}`",
            file.path
        )
    };
    (!is_listed).then(complaint)
}

/// Listed modules without a file.
fn stale(tree: &Tree, modules: &[&str]) -> Vec<String> {
    let is_there = |listed: &str| {
        tree.files
            .iter()
            .any(|file| file.module().join("::") == listed)
    };
    let gone = modules.iter().filter(|listed| !is_there(listed));
    gone.map(|listed| format!("benches/gpu/checklist.sh: there is no module `{listed}`"))
        .collect()
}

/// Files of `tests/it/` that ask for a device, against those that are listed.
fn unlisted_files(listed: &[&str]) -> Vec<String> {
    let files = text_files(&root().join("tests/it"), &["rs"]);
    let asking: Vec<&str> = files
        .iter()
        .filter(|(_, text)| ASKING.iter().any(|word| text.contains(word)))
        .filter_map(|(path, _)| path.strip_prefix("tests/it/")?.strip_suffix(".rs"))
        .collect();
    let missing = asking.iter().filter(|name| !listed.contains(name));
    let stale = listed.iter().filter(|name| !asking.contains(name));
    let missing =
        missing.map(|name| format!("tests/it/{name}.rs: asks for a device and is in no list"));
    let stale = stale
        .map(|name| format!("benches/gpu/checklist.sh: tests/it/{name}.rs asks for no device"));
    missing.chain(stale).collect()
}

#[test]
fn a_test_on_a_device_is_missed_unless_its_module_is_listed() {
    let tests = "fn f() {}\n#[cfg(test)]\nmod tests {\n fn t() { on_every_device(check); }\n}\n";
    let file = SourceFile::new("src/model/norm.rs", tests, false);
    assert!(missing(&file, &["model::normal", "attention"]).is_some());
    assert!(missing(&file, &["attention", "model::norm"]).is_none());
    assert!(missing(&file, &["model"]).is_none());
    let whole = SourceFile::new("src/model/tests.rs", "fn t() { usable_devices(); }", true);
    assert!(missing(&whole, &[]).is_some());
    // Code that is no test chooses devices as it likes.
    let code = SourceFile::new("src/cli/doctor.rs", "fn f() { usable_devices(); }", false);
    assert!(missing(&code, &[]).is_none());
    assert_eq!(listed("a\nLIST='b\n  c::d'\ne", "LIST"), ["b", "c::d"]);
    assert!(listed("a", "LIST").is_empty());
}
