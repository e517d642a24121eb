//! `examples/read_mask.cpp`: compiles without a warning, prints what `prulong mask show` prints, and refuses broken files.

use crate::hand_made_mask::{arch, sidecar};
use assert_cmd::cargo::cargo_bin_cmd;
use prulong::mask::sidecar::read::parse;
use prulong::mask::sidecar::write::to_bytes;
use prulong::span::Span;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

struct Reader {
    folder: tempfile::TempDir,
}

impl Reader {
    /// Compiles the example with the C++ compiler that builds this project.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let compiler = option_env!("CXX").unwrap_or("c++");
        let done = Command::new(compiler)
            .args([
                "-std=c++17",
                "-O1",
                "-Wall",
                "-Wextra",
                "-Wpedantic",
                "-Werror",
            ])
            .arg(Path::new(ROOT).join("examples/read_mask.cpp"))
            .arg("-o")
            .arg(folder.path().join("read_mask"))
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.success() && text.is_empty(), "{text}");
        Self { folder }
    }

    fn file(&self, bytes: &[u8]) -> PathBuf {
        let path = self.folder.path().join("mask.safetensors");
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn read(&self, path: &Path) -> Output {
        let program = self.folder.path().join("read_mask");
        Command::new(program).arg(path).output().unwrap()
    }

    /// What it says of bytes that it must refuse, as our own reader must.
    fn refusal(&self, bytes: &[u8]) -> String {
        let path = self.file(bytes);
        let done = self.read(&path);
        assert_eq!(done.status.code(), Some(2));
        assert!(done.stdout.is_empty());
        assert!(parse(bytes, &path).is_err());
        let text = String::from_utf8(done.stderr).unwrap();
        let (_, reason) = text.trim_end().rsplit_once("`: ").unwrap();
        reason.to_owned()
    }
}

fn show(path: &Path) -> Output {
    cargo_bin_cmd!("prulong")
        .args(["mask", "show"])
        .arg(path)
        .output()
        .unwrap()
}

fn golden() -> Vec<u8> {
    std::fs::read(Path::new(ROOT).join("tests/golden/mask/head_mask_v1.safetensors")).unwrap()
}

fn replaced(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len(), "offsets must stay");
    let mut bytes = bytes.to_vec();
    let mut windows = bytes.windows(from.len());
    let at = windows.position(|window| window == from.as_bytes());
    let at = at.unwrap_or_else(|| panic!("no `{from}`"));
    bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
    bytes
}

/// The last value of the mask set to `value`.
fn with_last_value(mut bytes: Vec<u8>, value: u8) -> Vec<u8> {
    *bytes.last_mut().unwrap() = value;
    bytes
}

#[test]
fn it_prints_what_mask_show_prints() {
    let reader = Reader::new();
    let span = Span::new(4, 32, 4).unwrap();
    let mut named = sidecar(arch(2, 3, 2), span, 1, 3);
    // Escapes: quotes, letters beyond ASCII and beyond 16 bits.
    named.base.model = "a \"b\" \\ \u{e9}\u{4e16}\u{1f600}".to_owned();
    for bytes in [
        golden(),
        to_bytes(&sidecar(arch(120, 8, 4), span, 2, 300)),
        to_bytes(&sidecar(arch(1, 1, 1), span, 3, 0)),
        to_bytes(&named),
    ] {
        let path = reader.file(&bytes);
        let done = reader.read(&path);
        assert_eq!(done.status.code(), Some(0), "{done:?}");
        let found = String::from_utf8(done.stdout).unwrap();
        let shown = show(&path);
        assert_eq!(shown.status.code(), Some(0));
        let shown = String::from_utf8(shown.stdout).unwrap();
        let mut found = found.lines();
        let grid = shown.lines().take_while(|line| !line.starts_with("layers"));
        for line in grid {
            assert_eq!(found.next(), Some(line));
        }
        let facts: Vec<&str> = found.collect();
        let shown = shown.lines().filter(|line| facts.contains(line));
        assert_eq!(shown.count(), 2, "deploy and base: {facts:?}");
        assert_eq!(facts.len(), 2);
    }
}

/// Files of no use, and how the reason begins.
fn broken() -> Vec<(Vec<u8>, &'static str)> {
    let whole = golden();
    let mut longer = whole.clone();
    longer.push(0);
    let mut endless = whole.clone();
    endless[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    vec![
        (Vec::new(), "0 bytes are too few for a safetensors file"),
        (
            whole[..whole.len() - 1].to_vec(),
            "its tensors take 156 bytes, the file holds 155",
        ),
        (longer, "its tensors take 156 bytes, the file holds 157"),
        (
            whole[..1000].to_vec(),
            "the header claims 1792 bytes: this is no safetensors file, or a part of one",
        ),
        (
            endless,
            "the header claims 18446744073709551615 bytes: this is no safetensors file, or a part of one",
        ),
        (
            replaced(&whole, "\"U8\"", "\"I8\""),
            "`retrieval_mask` is I8, expected U8",
        ),
        (
            with_last_value(whole.clone(), 2),
            "`retrieval_mask` holds 2, expected 0 or 1",
        ),
        (
            with_last_value(whole.clone(), 1),
            "the counts of the metadata are not those of `retrieval_mask`",
        ),
        (
            replaced(&whole, "1=retrieval,0=streaming", "0=retrieval,1=streaming"),
            "metadata `prulong.mask_values` is `0=retrieval,1=streaming`, expected `1=retrieval,0=streaming`",
        ),
        (
            replaced(&whole, "format_version\":\"1\"", "format_version\":\"2\""),
            "metadata `prulong.format_version` is `2`, expected `1`",
        ),
        (
            replaced(&whole, "\"retrieval_mask\":", "\"retrieval_rank\":"),
            "the header is not a safetensors header: `retrieval_rank` a second time",
        ),
        (
            replaced(&whole, "\"retrieval_mask\":", "\"retrieval_musk\":"),
            "there is no tensor `retrieval_mask`",
        ),
        (
            replaced(
                &whole,
                "\"prulong.num_layers\":\"3\"",
                "\"prulong.num_layers\":\"9\"",
            ),
            "`retrieval_mask` is not [num_layers, num_kv_heads]",
        ),
        (
            b"version https://git-lfs.github.com/spec/v1\n".to_vec(),
            "it is a git-lfs pointer, not the file itself",
        ),
        (
            b"<!doctype html><html><body>404</body></html>".to_vec(),
            "it is a web page",
        ),
    ]
}

#[test]
fn broken_files_end_with_two_and_a_reason() {
    let reader = Reader::new();
    for (bytes, reason) in broken() {
        let found = reader.refusal(&bytes);
        assert!(found.starts_with(reason), "{found}\n{reason}");
    }
    let missing = reader.read(Path::new("no-such-file"));
    assert_eq!(missing.status.code(), Some(2));
    let folder = reader.read(reader.folder.path());
    assert_eq!(folder.status.code(), Some(2));
}

/// Every cut of the file is refused, and no damaged byte of the header ends the program in another way than it should.
#[test]
fn damage_is_never_fatal() {
    let reader = Reader::new();
    let whole = golden();
    for len in (0..whole.len()).step_by(37) {
        reader.refusal(&whole[..len]);
    }
    for at in (0..whole.len()).step_by(17) {
        for damage in [b'"', b'\\', b'}', 0xff] {
            let mut bytes = whole.clone();
            bytes[at] = damage;
            let code = reader.read(&reader.file(&bytes)).status.code();
            assert!(
                matches!(code, Some(0 | 2)),
                "byte {at} as {damage}: {code:?}"
            );
        }
    }
}
