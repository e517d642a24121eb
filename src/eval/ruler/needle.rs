//! Needles, and the questions about them.

use super::kind::ValueKind;
use crate::eval::gold::Gold;
use crate::eval::prompt_text::Asked;

/// A key with one of its values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needle {
    /// What is named.
    pub key: String,
    /// What is told of it.
    pub value: String,
}

/// How needles and questions are worded.
#[derive(Debug, Clone, Copy)]
pub struct Wording {
    /// What the values are.
    pub values: ValueKind,
    /// Values of each key.
    pub num_values: usize,
    /// Whether the text has one needle.
    pub is_alone: bool,
}

impl Wording {
    /// The sentence that tells `needle`.
    pub fn sentence(&self, needle: &Needle) -> String {
        let Needle { key, value } = needle;
        let noun = self.values.noun();
        if self.num_values == 1 {
            format!("The secret {noun} of {key} is {value}.")
        } else {
            format!("One of the secret {noun}s of {key} is {value}.")
        }
    }

    /// The question for the values of `needles`, all those of some keys; outputs end after `limit` tokens.
    pub fn ask(&self, needles: &[Needle], limit: usize) -> Asked {
        let mut keys: Vec<&str> = needles.iter().map(|needle| needle.key.as_str()).collect();
        keys.dedup();
        let (keys, noun) = (listed(&keys), self.values.noun());
        let values: Vec<&str> = needles.iter().map(|needle| needle.value.as_str()).collect();
        let (question, cue) = if needles.len() == 1 {
            (
                format!("What is the secret {noun} of {keys} in the text above?\n"),
                format!("In the text above, the secret {noun} of {keys} is"),
            )
        } else {
            (
                format!("What are all the secret {noun}s of {keys} in the text above?\n"),
                format!("In the text above, the secret {noun}s of {keys} are"),
            )
        };
        Asked {
            instruction: self.announcement(needles.len()),
            question,
            cue,
            answer: format!(" {}", listed(&values)),
            gold: Gold::Answers {
                answers: values.into_iter().map(str::to_owned).collect(),
            },
            limit,
        }
    }

    fn announcement(&self, num_asked: usize) -> String {
        let noun = self.values.noun();
        let article = if noun.starts_with('i') { "an" } else { "a" };
        match (self.is_alone, num_asked) {
            (true, _) => format!(
                "The text below tells {article} {noun} that is secret. Keep it in mind: it is asked for at the end.\n"
            ),
            (false, 1) => format!(
                "The text below tells several secret {noun}s. Keep them in mind: one of them is asked for at the end.\n"
            ),
            (false, _) => format!(
                "The text below tells several secret {noun}s. Keep them in mind: some of them are asked for at the end.\n"
            ),
        }
    }
}

/// `a`, `a and b`, `a, b, and c`.
pub fn listed(things: &[&str]) -> String {
    match things {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [first, second] => format!("{first} and {second}"),
        [firsts @ .., last] => format!("{}, and {last}", firsts.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_read_as_english() {
        for (things, text) in [
            (&["a"][..], "a"),
            (&["a", "b"], "a and b"),
            (&["a", "b", "c", "d"], "a, b, c, and d"),
        ] {
            assert_eq!(listed(things), text);
        }
    }
}
