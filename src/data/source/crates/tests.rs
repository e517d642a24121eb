use super::*;
use crate::fault::Coded;

fn write(root: &Path, path: &str, text: impl AsRef<[u8]>) {
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn ids(crates: &Crates) -> Vec<&str> {
    (0..crates.num_documents())
        .map(|i| crates.describe(i).0)
        .collect()
}

fn registry() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let manifest = "[package]\nname = \"b\"\nlicense = \"MIT OR Apache-2.0\"\n\n[dependencies.x]\nlicense = \"no\"\n";
    write(root.path(), "one/b-1.2.0/Cargo.toml", manifest);
    write(root.path(), "one/b-1.2.0/README.md", "# b");
    write(root.path(), "one/b-1.2.0/src/lib.rs", "pub fn b() {}\n");
    write(root.path(), "one/b-1.2.0/src/copy.rs", "pub fn b() {}\n");
    write(root.path(), "one/b-1.2.0/src/table.rs", "x".repeat(201));
    write(
        root.path(),
        "one/b-1.2.0/src/huge.rs",
        "x\n".repeat(256_001),
    );
    write(root.path(), "one/b-1.2.0/src/bin.rs", b"a\0b");
    write(root.path(), "one/b-1.2.0/src/latin.rs", b"caf\xe9\n");
    write(root.path(), "one/b-1.2.0/logo.png", "png");
    write(root.path(), "one/b-1.2.0/target/out.rs", "no");
    write(
        root.path(),
        "one/b-1.10.0-rc.1/src/lib.rs",
        "release candidate\n",
    );
    write(root.path(), "two/b-1.1.9/src/lib.rs", "old\n");
    write(root.path(), "two/a-0.1.0/src/lib.rs", "pub fn a() {}\n");
    write(
        root.path(),
        "two/windows-core-0.1.0/src/lib.rs",
        "bindings\n",
    );
    write(root.path(), "two/c-0.1.0/src/lib.rs", "pub fn a() {}\n");
    write(root.path(), "two/notes/lib.rs", "not a crate\n");
    root
}

#[test]
fn every_filter_leaves_its_count() {
    let root = registry();
    let crates = Crates::scan(root.path(), CratesSettings::default()).unwrap();
    assert_eq!(ids(&crates), ["a-0.1.0", "b-1.10.0-rc.1"]);
    let counts: Vec<(&str, u64)> = crates
        .dropped()
        .iter()
        .map(|(reason, n)| (reason.as_str(), *n))
        .collect();
    assert_eq!(
        counts,
        [
            ("duplicate", 1),
            ("empty-crate", 1),
            ("name", 1),
            ("not-a-crate", 1),
            ("version", 2)
        ]
    );
}

#[test]
fn a_document_joins_its_files_in_order_and_knows_its_licence() {
    let root = registry();
    std::fs::remove_dir_all(root.path().join("one/b-1.10.0-rc.1")).unwrap();
    let crates = Crates::scan(root.path(), CratesSettings::default()).unwrap();
    assert_eq!(ids(&crates), ["a-0.1.0", "b-1.2.0"]);
    for (reason, n) in [
        ("long-lines", 1),
        ("size", 1),
        ("binary", 1),
        ("not-utf8", 1),
        ("language", 1),
        ("duplicate", 2),
    ] {
        assert_eq!(crates.dropped().get(reason), Some(&n), "{reason}");
    }
    let document = crates.read(1).unwrap();
    assert_eq!(document.licence, "MIT OR Apache-2.0");
    let paths: Vec<&str> = document
        .files
        .iter()
        .map(|file| file.path.as_str())
        .collect();
    assert_eq!(paths, ["Cargo.toml", "README.md", "src/copy.rs"]);
    assert!(document.text.starts_with("# Cargo.toml\n[package]\n"));
    assert!(
        document
            .text
            .ends_with("<!-- README.md -->\n# b\n// src/copy.rs\npub fn b() {}\n")
    );
    assert_eq!(
        document.files[2].blake3,
        blake3::hash(b"pub fn b() {}\n").to_hex().to_string()
    );
    assert!(document.dropped_files.is_empty());
}

#[test]
fn a_file_that_stops_being_text_after_the_scan_is_counted() {
    let root = registry();
    let crates = Crates::scan(root.path(), CratesSettings::default()).unwrap();
    write(root.path(), "two/a-0.1.0/src/lib.rs", b"\xff");
    let document = crates.read(0).unwrap();
    assert_eq!(
        document.dropped_files,
        BTreeMap::from([("not-utf8".to_owned(), 1)])
    );
}

#[test]
fn a_missing_or_empty_registry_is_one_named_error() {
    let scan = |path: &Path| Crates::scan(path, CratesSettings::default()).err().unwrap();
    let error = scan(Path::new("/nowhere/registry/src"));
    assert_eq!(error.code(), "data.source_missing");
    assert!(
        error.to_string().contains("/nowhere/registry/src"),
        "{error}"
    );
    assert!(error.hint().unwrap().contains("cargo fetch"));
    let empty = tempfile::tempdir().unwrap();
    assert_eq!(scan(empty.path()).code(), "data.empty");
}
