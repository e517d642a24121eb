//! Which tokens of a prompt are context, question and cue.

use std::ops::Range;

/// Token ranges of a prompt, none overlapping another. Tokens in none of them, such as the begin token, an instruction or
/// demonstrations, stand before the context and are never cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    /// The long part, the only one that may be cut; known before the question.
    pub context: Range<usize>,
    /// What is asked, and how to answer.
    pub question: Range<usize>,
    /// The start of the answer, such as `Answer:`.
    pub cue: Range<usize>,
}

impl Parts {
    /// The parts of a prompt of `prompt_len` tokens in the usual order: the last `cue_len` tokens are the cue, the
    /// `question_len` ones before them the question, and all others from `context_start` on the context.
    pub fn in_order(
        prompt_len: usize,
        context_start: usize,
        question_len: usize,
        cue_len: usize,
    ) -> Self {
        let cue_start = prompt_len - cue_len;
        let question_start = cue_start - question_len;
        Self {
            context: context_start..question_start,
            question: question_start..cue_start,
            cue: cue_start..prompt_len,
        }
    }

    /// Tokens before the question, and before the cue if there is no question: what a method that does not know the
    /// question compresses. Nothing if context comes after the question, or neither question nor cue has tokens.
    pub fn before_question(&self) -> Option<usize> {
        let asked = if self.question.is_empty() {
            &self.cue
        } else {
            &self.question
        };
        let start = (!asked.is_empty()).then_some(asked.start)?;
        (self.context.is_empty() || self.context.end <= start).then_some(start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_before_the_question_is_known() {
        let parts = Parts::in_order(20, 3, 4, 2);
        assert_eq!(
            (
                parts.context.clone(),
                parts.question.clone(),
                parts.cue.clone()
            ),
            (3..14, 14..18, 18..20)
        );
        assert_eq!(parts.before_question(), Some(14));
        assert_eq!(Parts::in_order(20, 3, 0, 2).before_question(), Some(18));
        assert_eq!(Parts::in_order(20, 3, 4, 0).before_question(), Some(16));
        assert_eq!(Parts::in_order(20, 3, 0, 0).before_question(), None);
        let asked_first = Parts {
            context: 5..18,
            question: 1..5,
            cue: 18..20,
        };
        assert_eq!(asked_first.before_question(), None);
    }
}
