//! How a fact is written down and asked for: one definition line, one question line, in several forms.
//!
//! A question line is `cue` + `answer` + `close`; a model is given everything up to and including the cue.

use super::fact::Fact;
use super::question::QuestionText;
use crate::random::index_below;
use rand_chacha::ChaCha8Rng;

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

    /// The question about `fact`, line end included.
    pub fn question(self, fact: &Fact) -> QuestionText {
        QuestionText {
            cue: self.cue(fact),
            answer: fact.value.to_string(),
            close: format!("{}\n", self.close()),
        }
    }

    fn cue(self, fact: &Fact) -> String {
        let [a, b, c] = fact.words;
        match self {
            Self::Const => format!("assert_eq!(KEY_{a}_{b}_{c}, "),
            Self::Let => format!("check({a}_{b}_{c}, "),
            Self::Json => format!("config[\"{a}-{b}-{c}\"] == "),
            Self::Prose => format!("What is the secret number of {a} {b} {c}? It is "),
        }
    }

    fn close(self) -> &'static str {
        match self {
            Self::Const | Self::Let => ");",
            Self::Json => "",
            Self::Prose => ".",
        }
    }
}

/// Draws a form: the recall task's own half of the time, so that it is learnt well, the others for generality.
pub(super) fn draw_form(rng: &mut ChaCha8Rng) -> NeedleForm {
    let others = NeedleForm::ALL.len() - 1;
    let at = index_below(rng, 2 * others);
    NeedleForm::ALL[if at < others { 0 } else { at - others + 1 }]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::stream;

    const FACT: Fact = Fact {
        words: ["red", "lion", "apple"],
        value: 1_234_567,
    };

    #[test]
    fn the_recall_form_is_pinned() {
        let form = NeedleForm::ALL[0];
        assert_eq!(form.line(&FACT), "const KEY_red_lion_apple: u64 = 1234567;");
        let question = form.question(&FACT);
        assert_eq!(question.cue, "assert_eq!(KEY_red_lion_apple, ");
        assert_eq!(question.answer, "1234567");
        assert_eq!(question.close, ");\n");
    }

    #[test]
    fn every_form_names_the_key_twice_and_the_value_in_line_and_answer_only() {
        for form in NeedleForm::ALL {
            let cue = form.question(&FACT).cue;
            for text in [&form.line(&FACT), &cue] {
                assert!(FACT.words.iter().all(|word| text.contains(word)), "{text}");
            }
            assert!(form.line(&FACT).contains("1234567"));
            assert!(!cue.contains("1234567"));
        }
    }

    #[test]
    fn the_recall_form_is_half_of_all() {
        let mut rng = stream("form", &[]);
        let forms: Vec<NeedleForm> = (0..1200).map(|_| draw_form(&mut rng)).collect();
        let count = |form| forms.iter().filter(|drawn| **drawn == form).count();
        assert!((540..660).contains(&count(NeedleForm::Const)));
        for form in &NeedleForm::ALL[1..] {
            assert!((150..250).contains(&count(*form)), "{form:?}");
        }
    }
}
