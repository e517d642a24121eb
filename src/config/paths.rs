//! Relative paths become absolute; nothing is expanded.

use crate::config::error::{Bad, Problem};
use std::path::{Component, Path, PathBuf};

/// Refuses `~` and variables: what they mean depends on who starts the run.
pub(super) fn refuse_expansion(key: &str, path: &Path) -> Result<(), Bad> {
    let value = path.to_string_lossy().into_owned();
    let sign = if value == "~" || value.starts_with("~/") {
        '~'
    } else if value.contains("${") || value.starts_with('$') {
        '$'
    } else {
        return Ok(());
    };
    Err(Bad::new(key, Problem::Expansion { value, sign }))
}

/// Joins `path` to `base`; its leading `..` remove parts of `base`, which therefore must hold no links.
pub(super) fn join(base: &Path, path: &Path) -> PathBuf {
    if path.is_absolute() {
        return path.to_owned();
    }
    let mut joined = base.to_owned();
    let mut leading = true;
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir if leading => {
                joined.pop();
            }
            other => {
                leading = false;
                joined.push(other);
            }
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leading_parents_shorten_the_base_and_later_ones_stay() {
        let check = |path: &str, expected: &str| {
            assert_eq!(
                join(Path::new("/a/configs"), Path::new(path)),
                Path::new(expected)
            );
        };
        check("../data/x", "/a/data/x");
        check("./m", "/a/configs/m");
        check("/abs", "/abs");
        check("../../..", "/");
        check("link/../x", "/a/configs/link/../x");
    }

    #[test]
    fn home_and_variables_are_refused() {
        for path in ["~", "~/models", "${HOME}/m", "$HOME/m", "a/${X}"] {
            assert!(
                refuse_expansion("model.path", Path::new(path)).is_err(),
                "{path}"
            );
        }
        for path in ["a~b", "m$odel", "./x"] {
            assert!(
                refuse_expansion("model.path", Path::new(path)).is_ok(),
                "{path}"
            );
        }
    }
}
