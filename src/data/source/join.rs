//! How the files of one document are ordered and joined: `Cargo.toml`, `README*`, then everything else by path.

use std::cmp::Ordering;

/// What stands before each file inside a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileHeader {
    /// One comment line with the file's path, in the comment syntax of its language.
    #[default]
    Path,
    /// Nothing.
    None,
}

/// Orders paths of one document (`/`-separated, relative to its root) as they are joined.
pub(super) fn compare_paths(left: &str, right: &str) -> Ordering {
    rank(left)
        .cmp(&rank(right))
        .then_with(|| left.as_bytes().cmp(right.as_bytes()))
}

fn rank(path: &str) -> u8 {
    if path == "Cargo.toml" {
        0
    } else if path.starts_with("README") && !path.contains('/') {
        1
    } else {
        2
    }
}

/// Appends one file to a document: header line, content, and a final newline where it has none.
pub(super) fn append_file(document: &mut String, path: &str, text: &str, header: FileHeader) {
    if header == FileHeader::Path {
        let (open, close) = comment_marks(extension(path));
        document.push_str(open);
        document.push_str(path);
        document.push_str(close);
        document.push('\n');
    }
    document.push_str(text);
    if !text.ends_with('\n') {
        document.push('\n');
    }
}

/// The part of the file name after its last dot, or nothing.
pub(super) fn extension(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.rsplit_once('.').map_or("", |(_, extension)| extension)
}

fn comment_marks(extension: &str) -> (&'static str, &'static str) {
    match extension {
        "py" | "toml" | "txt" | "sh" | "yaml" | "yml" => ("# ", ""),
        "md" | "html" => ("<!-- ", " -->"),
        _ => ("// ", ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifest_and_readme_come_first_then_bytes_decide() {
        let mut paths = [
            "src/lib.rs",
            "a.rs",
            "README.md",
            "Z.rs",
            "doc/README.md",
            "Cargo.toml",
        ];
        paths.sort_by(|left, right| compare_paths(left, right));
        assert_eq!(
            paths,
            [
                "Cargo.toml",
                "README.md",
                "Z.rs",
                "a.rs",
                "doc/README.md",
                "src/lib.rs"
            ]
        );
    }

    #[test]
    fn each_file_gets_its_header_and_a_final_newline() {
        let mut document = String::new();
        append_file(&mut document, "Cargo.toml", "[package]\n", FileHeader::Path);
        append_file(&mut document, "README.md", "# Title", FileHeader::Path);
        append_file(&mut document, "src/lib.rs", "fn f() {}", FileHeader::Path);
        append_file(&mut document, "src/x.rs", "", FileHeader::None);
        assert_eq!(
            document,
            "# Cargo.toml\n[package]\n<!-- README.md -->\n# Title\n// src/lib.rs\nfn f() {}\n\n"
        );
    }
}
