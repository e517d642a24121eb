//! How a fact is written down and asked for: one definition line, one question line, in several forms.
//!
//! A question line is `cue` + `answer` + `close`; a model is given everything up to and including the cue.

use super::fact::Fact;

/// A way to write a fact and its question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NeedleForm {
    /// `const KEY_red_lion_apple: u64 = 1234567;`, asked by `assert_eq!(KEY_red_lion_apple, `.
    Const,
    /// `let red_lion_apple = 1234567;`, asked by `check(red_lion_apple, `.
    Let,
    /// `  "red-lion-apple": 1234567,`, asked by `config["red-lion-apple"] == `.
    Json,
    /// A sentence, asked by a sentence.
    Prose,
}

impl NeedleForm {
    /// Every form; the recall task uses the first.
    pub const ALL: [Self; 4] = [Self::Const, Self::Let, Self::Json, Self::Prose];

    /// The definition, without its line end.
    pub fn line(self, fact: &Fact) -> String {
        let ([a, b, c], value) = (fact.words, fact.value);
        match self {
            Self::Const => format!("const KEY_{a}_{b}_{c}: u64 = {value};"),
            Self::Let => format!("let {a}_{b}_{c} = {value};"),
            Self::Json => format!("  \"{a}-{b}-{c}\": {value},"),
            Self::Prose => format!("The secret number of {a} {b} {c} is {value}."),
        }
    }

    /// The question up to where the answer begins.
    pub fn cue(self, fact: &Fact) -> String {
        let [a, b, c] = fact.words;
        match self {
            Self::Const => format!("assert_eq!(KEY_{a}_{b}_{c}, "),
            Self::Let => format!("check({a}_{b}_{c}, "),
            Self::Json => format!("config[\"{a}-{b}-{c}\"] == "),
            Self::Prose => format!("What is the secret number of {a} {b} {c}? It is "),
        }
    }

    /// The answer: the digits alone.
    pub fn answer(self, fact: &Fact) -> String {
        fact.value.to_string()
    }

    /// What stands after the answer on the question's line.
    pub fn close(self) -> &'static str {
        match self {
            Self::Const | Self::Let => ");",
            Self::Json => "",
            Self::Prose => ".",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recall_form_is_pinned() {
        let fact = Fact {
            words: ["red", "lion", "apple"],
            value: 1_234_567,
        };
        let form = NeedleForm::ALL[0];
        assert_eq!(form.line(&fact), "const KEY_red_lion_apple: u64 = 1234567;");
        assert_eq!(form.cue(&fact), "assert_eq!(KEY_red_lion_apple, ");
        assert_eq!(form.answer(&fact), "1234567");
        assert_eq!(form.close(), ");");
    }

    #[test]
    fn every_form_names_the_key_twice_and_the_value_in_line_and_answer_only() {
        let fact = Fact {
            words: ["red", "lion", "apple"],
            value: 1_234_567,
        };
        for form in NeedleForm::ALL {
            for text in [form.line(&fact), form.cue(&fact)] {
                assert!(fact.words.iter().all(|word| text.contains(word)), "{text}");
            }
            assert!(form.line(&fact).contains("1234567"));
            assert!(!form.cue(&fact).contains("1234567"));
        }
    }
}
