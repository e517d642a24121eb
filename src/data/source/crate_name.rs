//! Names of unpacked crates: `name-version` folders, which version is newer, which names are generated code.

use std::cmp::Ordering;

/// A crate folder's name, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CrateName {
    /// Package name.
    pub name: String,
    /// Semantic version as written.
    pub version: String,
}

impl CrateName {
    /// Splits `name-version` at the first dash that is followed by a whole semantic version.
    pub(super) fn parse(folder: &str) -> Option<Self> {
        folder.match_indices('-').find_map(|(dash, _)| {
            let (name, version) = (&folder[..dash], &folder[dash + 1..]);
            (!name.is_empty() && is_version(version)).then(|| Self {
                name: name.to_owned(),
                version: version.to_owned(),
            })
        })
    }
}

fn core_and_pre(version: &str) -> (&str, Option<&str>) {
    let version = version.split_once('+').map_or(version, |(front, _)| front);
    version
        .split_once('-')
        .map_or((version, None), |(core, pre)| (core, Some(pre)))
}

fn is_version(text: &str) -> bool {
    let (core, _) = core_and_pre(text);
    core.split('.').count() == 3 && core.split('.').all(is_number)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Orders two versions by semantic-version precedence (build metadata last, as bytes, so that the order is total).
pub(super) fn compare_versions(left: &str, right: &str) -> Ordering {
    let ((left_core, left_pre), (right_core, right_pre)) =
        (core_and_pre(left), core_and_pre(right));
    compare_dotted(left_core, right_core)
        .then_with(|| match (left_pre, right_pre) {
            (None, None) => Ordering::Equal,
            (None, Some(_)) => Ordering::Greater,
            (Some(_), None) => Ordering::Less,
            (Some(left), Some(right)) => compare_dotted(left, right),
        })
        .then_with(|| left.cmp(right))
}

fn compare_dotted(left: &str, right: &str) -> Ordering {
    let (mut left, mut right) = (left.split('.'), right.split('.'));
    loop {
        let ordering = match (left.next(), right.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (Some(left), Some(right)) => compare_identifiers(left, right),
        };
        if ordering != Ordering::Equal {
            return ordering;
        }
    }
}

fn compare_identifiers(left: &str, right: &str) -> Ordering {
    match (is_number(left), is_number(right)) {
        (true, true) => {
            let (left, right) = (left.trim_start_matches('0'), right.trim_start_matches('0'));
            left.len().cmp(&right.len()).then_with(|| left.cmp(right))
        }
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
        (false, false) => left.cmp(right),
    }
}

/// Matches a name against a pattern in which `*` stands for any run of characters.
pub(super) fn matches_pattern(name: &str, pattern: &str) -> bool {
    match pattern.split_once('*') {
        None => name == pattern,
        Some((prefix, rest)) => name.strip_prefix(prefix).is_some_and(|tail| {
            (0..=tail.len())
                .filter(|at| tail.is_char_boundary(*at))
                .any(|at| matches_pattern(&tail[at..], rest))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_split_at_the_version() {
        let check = |folder: &str, expected: Option<(&str, &str)>| {
            let parsed = CrateName::parse(folder);
            let parsed = parsed
                .as_ref()
                .map(|c| (c.name.as_str(), c.version.as_str()));
            assert_eq!(parsed, expected, "{folder}");
        };
        check("serde-1.0.228", Some(("serde", "1.0.228")));
        check("md-5-0.10.6", Some(("md-5", "0.10.6")));
        check("rand-0.9.0-alpha.1", Some(("rand", "0.9.0-alpha.1")));
        check(
            "zstd-sys-2.0.16+zstd.1.5.7",
            Some(("zstd-sys", "2.0.16+zstd.1.5.7")),
        );
        check("src", None);
        check("-1.0.0", None);
        check("a-1.0", None);
    }

    #[test]
    fn versions_order_as_semver_says() {
        let ascending = [
            "0.9.9",
            "0.10.0",
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-alpha.beta",
            "1.0.0-beta.2",
            "1.0.0-beta.11",
            "1.0.0-rc.1",
            "1.0.0",
            "1.0.0+a",
            "1.0.1",
            "99999999999999999999.0.0",
        ];
        for (i, left) in ascending.iter().enumerate() {
            for (j, right) in ascending.iter().enumerate() {
                assert_eq!(compare_versions(left, right), i.cmp(&j), "{left} {right}");
            }
        }
    }

    #[test]
    fn patterns_match_whole_names() {
        assert!(matches_pattern("windows-core", "windows-*"));
        assert!(matches_pattern("aws-lc-sys", "*-sys"));
        assert!(matches_pattern("winapi", "winapi*"));
        assert!(!matches_pattern("system", "*-sys"));
        assert!(!matches_pattern("windowsill", "windows-*"));
        assert!(matches_pattern("a-b-c", "a*b*c"));
    }
}
