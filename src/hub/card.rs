//! The card of a repository: what its front matter says about the base model.

use serde::Deserialize;

/// Most names of base models that are shown.
const FENCE: &str = "---";

/// The part of the front matter that matters here; cards have many other keys.
#[derive(Deserialize)]
struct FrontMatter {
    base_model: Option<serde_norway::Value>,
}

/// The base models that a card names.
///
/// # Errors
/// Why there are none: a text that reads after "the card".
pub fn base_models(card: &str) -> Result<Vec<String>, CardProblem> {
    let matter = front_matter(card).ok_or(CardProblem::NoFrontMatter)?;
    let matter: Option<FrontMatter> =
        serde_norway::from_str(matter).map_err(|source| CardProblem::Yaml { source })?;
    let named = matter.and_then(|matter| matter.base_model);
    let named: Vec<serde_norway::Value> = match named {
        Some(serde_norway::Value::Sequence(names)) => names,
        Some(other) => vec![other],
        None => Vec::new(),
    };
    let names = named.iter().filter_map(serde_norway::Value::as_str);
    let names: Vec<String> = names
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect();
    if names.is_empty() {
        return Err(CardProblem::NoBaseModel);
    }
    Ok(names)
}

/// What is wrong with a card.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CardProblem {
    /// It is not text.
    #[error("is not UTF-8")]
    Encoding,
    /// It does not start with a block between lines of three dashes.
    #[error("has no front matter between two lines `---`")]
    NoFrontMatter,
    /// The block is no YAML.
    #[error("has front matter that is no YAML")]
    Yaml {
        /// What the parser says.
        source: serde_norway::Error,
    },
    /// The block does not say which model it is about.
    #[error("names no `base_model` in its front matter")]
    NoBaseModel,
}

fn front_matter(card: &str) -> Option<&str> {
    let text = card.strip_prefix('\u{feff}').unwrap_or(card);
    let mut lines = text.split_inclusive('\n');
    let first = lines.next()?;
    if first.trim_end() != FENCE {
        return None;
    }
    let start = first.len();
    let mut end = start;
    for line in lines {
        if line.trim_end() == FENCE {
            return text.get(start..end);
        }
        end += line.len();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_model_is_one_name_or_several() {
        let one = "---\ntags: [prulong]\nbase_model: a/b\n---\n# Card\n";
        assert_eq!(base_models(one).unwrap(), ["a/b"]);
        let several = "\u{feff}---\r\nbase_model:\r\n- a/b\r\n- c/d\r\n---\r\n";
        assert_eq!(base_models(several).unwrap(), ["a/b", "c/d"]);
    }

    #[test]
    fn what_a_card_lacks_is_named() {
        let problem = |card: &str| base_models(card).unwrap_err().to_string();
        for card in [
            "",
            "# Card",
            "---\nbase_model: a/b\n",
            "x\n---\nbase_model: a/b\n---\n",
        ] {
            assert!(problem(card).contains("no front matter"), "{card:?}");
        }
        for card in [
            "---\n---\n",
            "---\ntags: []\n---\n",
            "---\nbase_model:\n---\n",
            "---\nbase_model: ['']\n---\n",
            "---\nbase_model: 3\n---\n",
        ] {
            assert!(problem(card).contains("no `base_model`"), "{card:?}");
        }
        assert!(problem("---\n: [\n---\n").contains("no YAML"));
    }
}
