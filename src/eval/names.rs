//! Names of files and folders in results: short, and different from each other.

use std::path::{Component, Path, PathBuf};

/// The end of each path that tells it from every other one: at least its last `least` parts, and no more than that takes, as
/// where files lay is nobody's business.
pub fn names(paths: &[PathBuf], least: usize) -> Vec<String> {
    let parts: Vec<Vec<String>> = paths.iter().map(|path| parts(path)).collect();
    let end = |of: &[String], len: usize| of[of.len().saturating_sub(len)..].join("/");
    let name = |of: &Vec<String>| {
        let others = || parts.iter().filter(|other| *other != of);
        let tells = |len: &usize| others().all(|other| end(other, *len) != end(of, *len));
        let len = (least..of.len()).find(tells).unwrap_or(of.len());
        end(of, len)
    };
    parts.iter().map(name).collect()
}

fn parts(path: &Path) -> Vec<String> {
    let whole = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let normal = whole.components().filter_map(|part| match part {
        Component::Normal(part) => Some(part.to_string_lossy().into_owned()),
        _ => None,
    });
    normal.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_hold_as_many_folders_as_tell_paths_apart() {
        let of = |paths: &[&str], least| {
            let paths: Vec<PathBuf> = paths.iter().map(PathBuf::from).collect();
            names(&paths, least)
        };
        assert_eq!(of(&["/nowhere/a/8-of-16/m"], 2), ["8-of-16/m"]);
        let several = [
            "/nowhere/a/masks/8-of-16/m",
            "/nowhere/b/masks/8-of-16/m",
            "/nowhere/b/masks/4-of-16/m",
            "/nowhere/b/masks/4-of-16/m",
        ];
        let expected = [
            "a/masks/8-of-16/m",
            "b/masks/8-of-16/m",
            "4-of-16/m",
            "4-of-16/m",
        ];
        assert_eq!(of(&several, 2), expected);
        assert_eq!(of(&["/m", "/nowhere/m"], 2), ["m", "nowhere/m"]);
        assert_eq!(
            of(&["/nowhere/a/tiny", "/nowhere/b/large"], 1),
            ["tiny", "large"]
        );
        assert_eq!(of(&["/nowhere/a/m", "/nowhere/b/m"], 1), ["a/m", "b/m"]);
    }
}
