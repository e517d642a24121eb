//! Sequences of quizzes: a text drawn at random, then questions about it, again and again until the sequence is full.

use super::Generate;
use super::question::QuestionText;
use super::sequence::{Sequence, loss_weight};
use crate::data::error::DataError;
use crate::data::tokenizer::Tokenizer;
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;

/// A text and questions that it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quiz {
    /// What is read first; ends with a line end.
    pub context: String,
    /// What is asked right after it, at least one question.
    pub questions: Vec<QuestionText>,
}

/// Draws quizzes of one form.
pub trait DrawQuiz: Send + Sync {
    /// The form's word in settings and logs, e.g. `json-kv`.
    fn name(&self) -> &'static str;

    /// Draws a quiz.
    fn draw(&self, rng: &mut ChaCha8Rng) -> Quiz;
}

/// Quizzes one after the other until the sequence is full.
///
/// # Decisions
/// Contexts carry no loss: they are drawn at random, so what could be learnt from them is noise.
pub struct Quizzes<D> {
    tokenizer: Arc<Tokenizer>,
    form: D,
    answer_weight: f32,
}

impl<D: DrawQuiz> Quizzes<D> {
    /// Quizzes of `form`; an answer's tokens weigh `answer_weight`, the other trained tokens 1.
    pub fn new(tokenizer: Arc<Tokenizer>, form: D, answer_weight: f64) -> Self {
        Self {
            tokenizer,
            form,
            answer_weight: loss_weight(answer_weight),
        }
    }

    fn push(&self, quiz: &Quiz, sequence: &mut Sequence) -> Result<(), DataError> {
        sequence.push_all(&self.tokenizer.encode(&quiz.context)?, 0.0);
        for question in &quiz.questions {
            let question = question.encode(&self.tokenizer)?;
            sequence.push_all(&question.cue, 1.0);
            sequence.push_all(&question.answer, self.answer_weight);
            sequence.push_all(&question.close, 1.0);
        }
        Ok(())
    }
}

impl<D: DrawQuiz> Generate for Quizzes<D> {
    fn name(&self) -> &'static str {
        self.form.name()
    }

    fn sequence(&self, rng: &mut ChaCha8Rng, len: usize) -> Result<Sequence, DataError> {
        let mut sequence = Sequence::default();
        sequence.push_all(&[self.tokenizer.bos()], 0.0);
        while sequence.len() < len {
            self.push(&self.form.draw(rng), &mut sequence)?;
        }
        let trained = sequence.weights.iter().position(|weight| *weight > 0.0);
        let trained = trained.unwrap_or(sequence.len());
        if trained >= len {
            return Err(DataError::GeneratorLength {
                generator: self.name(),
                len,
                min_len: trained + 1,
            });
        }
        sequence.truncate(len);
        Ok(sequence)
    }
}

/// Draws `num` indices below `bound` in rounds: none comes again before all have come.
pub fn draw_rounds(rng: &mut ChaCha8Rng, bound: usize, num: usize) -> Vec<usize> {
    let mut drawn = Vec::with_capacity(num + bound);
    while drawn.len() < num {
        let mut round: Vec<usize> = (0..bound).collect();
        crate::random::shuffle(rng, &mut round);
        drawn.append(&mut round);
    }
    drawn.truncate(num);
    drawn
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::generate::corpus::tests::TOKENIZER;
    use crate::fault::Coded;
    use crate::random::{below, stream};

    /// One number, asked for twice.
    struct Number;

    impl DrawQuiz for Number {
        fn name(&self) -> &'static str {
            "number"
        }
        fn draw(&self, rng: &mut ChaCha8Rng) -> Quiz {
            let number = (1000 + below(rng, 9000)).to_string();
            let question = QuestionText {
                cue: "again ".to_owned(),
                answer: number.clone(),
                close: ";\n".to_owned(),
            };
            Quiz {
                context: format!("first {number}\n"),
                questions: vec![question.clone(), question],
            }
        }
    }

    #[test]
    fn contexts_weigh_nothing_and_answers_more_than_their_surroundings() {
        let generator = Quizzes::new(TOKENIZER.clone(), Number, 3.0);
        let sequence = generator.sequence(&mut stream("t", &[1]), 100).unwrap();
        assert_eq!((sequence.len(), sequence.weights.len()), (100, 100));
        let part = |weight: f32| {
            let tokens = sequence.ids.iter().zip(&sequence.weights).skip(1);
            let ids: Vec<u32> = tokens
                .filter(|(_, w)| (**w - weight).abs() < 1e-6)
                .map(|(id, _)| *id)
                .collect();
            TOKENIZER.decode(&ids).unwrap()
        };
        assert!(part(3.0).bytes().all(|byte| byte.is_ascii_digit()));
        assert!(part(1.0).starts_with("again ;\nagain ;\n"));
        assert!(part(0.0).lines().all(|line| line.starts_with("first")));
        let heads = part(3.0).as_bytes()[..8].to_vec();
        assert_eq!(heads[..4], heads[4..]);
    }

    #[test]
    fn a_sequence_without_room_for_a_question_is_refused() {
        let generator = Quizzes::new(TOKENIZER.clone(), Number, 1.0);
        let error = generator.sequence(&mut stream("t", &[1]), 5).unwrap_err();
        assert_eq!(error.code(), "generate.length");
    }

    #[test]
    fn rounds_come_whole() {
        let drawn = draw_rounds(&mut stream("t", &[1]), 5, 13);
        assert_eq!(drawn.len(), 13);
        for round in drawn.chunks(5) {
            let distinct: std::collections::BTreeSet<_> = round.iter().collect();
            assert_eq!(distinct.len(), round.len());
        }
    }
}
