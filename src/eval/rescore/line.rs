//! One written answer with what it is scored against.

use crate::eval::answered::{Answered, Tokens};
use crate::eval::error::EvalError;
use crate::eval::gold::Gold;
use crate::eval::item_result::{ItemResult, Key, SCHEMA};
use crate::eval::metric::registry::{ALL, Metric, Scores};
use crate::eval::procedure::trace::has_steps;
use crate::eval::reading::Reading;
use crate::eval::scoring::ScorePair;
use crate::eval::task::registry::find;
use crate::eval::task::{Card, Task};
use crate::eval::text::choice::LETTERS;
use serde_json::{Map, Value};

/// Names for the list of right answers: ours, and that of most data sets.
const ANSWERS: [&str; 2] = ["answers", "answer"];

/// Repairs what a kill may have cut.
const TORN: &str =
    "remove that line; of a run folder, give the evaluation's command again to finish it";

/// What a line without a gold may hold.
const FORMS: &str =
    "give `answers`, one text or a list of them, or `gold` as in the predictions of `prulong eval`";

/// What is wrong with a line, and the way out where there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw {
    /// What is wrong.
    pub reason: String,
    /// The way out.
    pub remedy: Option<&'static str>,
}

/// One written answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Which item of which run it answers; nothing where another program wrote it.
    pub key: Option<Key>,
    /// Whether there is an answer at all.
    pub is_failed: bool,
    /// Scores written down with it.
    pub stored: Scores<ScorePair>,
    cue: String,
    output: String,
    gold: Gold,
    /// Answer given and right answer.
    tokens: Option<[Vec<i64>; 2]>,
}

impl Line {
    /// Reads a prediction of ours, or an object with `output` and a right answer.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Self, Flaw> {
        let value: Value = serde_json::from_slice(bytes).map_err(|error| flaw_of(&error))?;
        let Value::Object(fields) = value else {
            return Err(Flaw::new("it is no JSON object"));
        };
        match fields.get("schema").and_then(Value::as_str) {
            Some(SCHEMA) => Self::prediction(fields),
            Some(other) => Err(Flaw::new(format!(
                "its schema is `{other}`, not `{SCHEMA}`"
            ))),
            None => Self::foreign(&fields),
        }
    }

    fn prediction(fields: Map<String, Value>) -> Result<Self, Flaw> {
        let result: ItemResult = serde_json::from_value(Value::Object(fields))
            .map_err(|error| Flaw::new(format!("not a prediction: {error}")))?;
        Ok(Self {
            key: Some(result.key()),
            is_failed: result.error.is_some(),
            stored: result.scores,
            cue: result.cue,
            output: result.output,
            gold: checked(result.gold)?,
            tokens: Some([result.output_ids, result.gold_ids]),
        })
    }

    fn foreign(fields: &Map<String, Value>) -> Result<Self, Flaw> {
        let text = |name: &str| match fields.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(other) => Err(Flaw::new(format!(
                "its `{name}` is {}, not text",
                kind(other)
            ))),
        };
        let Some(output) = text("output")? else {
            return Err(Flaw::new("it has no `output`"));
        };
        let ids = |name: &str| {
            let ids = fields.get(name).cloned();
            let ids = ids.map(serde_json::from_value::<Vec<i64>>).transpose();
            ids.map_err(|_| Flaw::new(format!("its `{name}` are no list of token ids")))
        };
        Ok(Self {
            key: None,
            is_failed: false,
            stored: stored(fields)?,
            cue: text("cue")?.unwrap_or_default(),
            output,
            gold: gold(fields)?,
            tokens: ids("output_ids")?.zip(ids("gold_ids")?).map(<[_; 2]>::from),
        })
    }

    /// The scores by `asked`; where nothing is asked for, by the metrics written down with it, or else by all that can read
    /// its gold. Answers of tasks are read as the task says, others by `reading`, without one as a whole.
    ///
    /// # Errors
    /// The first metric that cannot read its gold, a task that does not exist, or a reading for a task's answer.
    pub fn scores(
        &self,
        asked: &[Metric],
        reading: Option<Reading<'_>>,
    ) -> Result<Scores<ScorePair>, Flaw> {
        let reading = match (&self.key, reading) {
            (Some(key), None) => card(&key.task)?.reading,
            (Some(key), Some(_)) => return Err(Flaw::read_otherwise(&key.task)),
            (None, reading) => reading.unwrap_or(Reading::Whole),
        };
        let answered = Answered::new(&self.cue, &self.output, reading, &self.gold);
        let answered = match &self.tokens {
            Some([output, answer]) => answered.with_tokens(Tokens { output, answer }),
            None => answered,
        };
        if !asked.is_empty() {
            return Ok(answered.scores(asked)?);
        }
        if !self.stored.is_empty() {
            let metrics: Vec<Metric> = self.stored.keys().copied().collect();
            return Ok(answered.scores(&metrics)?);
        }
        let all = ALL.into_iter();
        let scores = all.filter_map(|metric| Some((metric, metric.score(&answered)?)));
        Ok(scores.collect())
    }
}

impl Flaw {
    fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            remedy: None,
        }
    }

    fn read_otherwise(task: &str) -> Self {
        Self {
            reason: format!("it is an answer to `{task}`, which says itself where answers stand"),
            remedy: Some("leave out --prefix"),
        }
    }
}

impl From<EvalError> for Flaw {
    fn from(error: EvalError) -> Self {
        Self {
            reason: error.to_string(),
            remedy: Some("`prulong rescore --list` shows what each metric reads"),
        }
    }
}

fn flaw_of(error: &serde_json::Error) -> Flaw {
    let is_torn = error.is_eof();
    let word = if is_torn { "cut off" } else { "broken" };
    Flaw {
        reason: format!("{word} JSON: {error}"),
        remedy: is_torn.then_some(TORN),
    }
}

fn card(task: &str) -> Result<Card, Flaw> {
    let found = find(task).map(Task::card);
    found.ok_or_else(|| Flaw {
        reason: format!("there is no task `{task}`"),
        remedy: Some("`prulong eval --list` shows every task"),
    })
}

fn stored(fields: &Map<String, Value>) -> Result<Scores<ScorePair>, Flaw> {
    let Some(scores) = fields.get("scores") else {
        return Ok(Scores::new());
    };
    serde_json::from_value(scores.clone())
        .map_err(|error| Flaw::new(format!("its `scores` are none of ours: {error}")))
}

fn gold(fields: &Map<String, Value>) -> Result<Gold, Flaw> {
    let answers = ANSWERS
        .iter()
        .find_map(|name| Some((*name, fields.get(*name)?)));
    match (fields.get("gold"), answers) {
        (Some(_), Some((name, _))) => Err(Flaw::new(format!("it has both `gold` and `{name}`"))),
        (Some(gold), None) => {
            let gold = serde_json::from_value(gold.clone());
            checked(gold.map_err(|error| Flaw::new(format!("its `gold` is none: {error}")))?)
        }
        (None, Some((name, value))) => {
            let mut answers = Vec::new();
            collect(name, value, &mut answers)?;
            checked(Gold::Answers { answers })
        }
        (None, None) => Err(Flaw {
            reason: "it has no right answer".to_owned(),
            remedy: Some(FORMS),
        }),
    }
}

/// Adds the texts of a text, of a list, or of a list of lists.
fn collect(name: &str, value: &Value, answers: &mut Vec<String>) -> Result<(), Flaw> {
    match value {
        Value::String(text) => answers.push(text.clone()),
        Value::Array(values) => {
            for value in values {
                collect(name, value, answers)?;
            }
        }
        other => {
            let what = kind(other);
            return Err(Flaw::new(format!("its `{name}` hold {what}, not text")));
        }
    }
    Ok(())
}

fn checked(gold: Gold) -> Result<Gold, Flaw> {
    let reason = match &gold {
        Gold::Answers { answers } if answers.is_empty() => {
            "its list of right answers is empty".to_owned()
        }
        Gold::Choice { letter, .. } if !LETTERS.contains(letter) => {
            format!("its gold's `{letter}` is none of the letters A to D")
        }
        Gold::Trace { text } if !has_steps(text) => {
            "its gold is a trace of no line with a step behind a `-`".to_owned()
        }
        Gold::Travel {
            cities, durations, ..
        } if cities.len() != durations.len() => {
            "its gold has not as many durations as cities".to_owned()
        }
        _ => return Ok(gold),
    };
    Err(Flaw::new(reason))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::item_result::samples::{failed, result};

    fn parse(text: &str) -> Result<Line, Flaw> {
        Line::parse(text.as_bytes())
    }

    #[test]
    fn answers_may_be_a_text_a_list_or_lists() {
        for (answers, expected) in [
            (r#""answers": "a""#, &["a"][..]),
            (r#""answer": ["a", "b"]"#, &["a", "b"]),
            (r#""answers": [["a"], ["b", "c"]]"#, &["a", "b", "c"]),
            (r#""gold": {"kind": "answers", "answers": ["a"]}"#, &["a"]),
        ] {
            let line = parse(&format!(r#"{{"output": "x", {answers}, "other": 1}}"#)).unwrap();
            assert_eq!(line.gold.answers().unwrap(), expected, "{answers}");
            assert_eq!(line.key, None);
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, part) in [
            (r#"{"output": "a", "answers": ["b"#, "cut off JSON"),
            (r#"{"output": "a" "answers": "b"}"#, "broken JSON"),
            ("[1]", "no JSON object"),
            (r#"{"answers": "b"}"#, "no `output`"),
            (
                r#"{"output": 7, "answers": "b"}"#,
                "`output` is a number, not text",
            ),
            (r#"{"output": "a"}"#, "no right answer"),
            (r#"{"output": "a", "answers": []}"#, "is empty"),
            (r#"{"output": "a", "answers": [[]]}"#, "is empty"),
            (r#"{"output": "a", "answers": ["b", 7]}"#, "hold a number"),
            (r#"{"output": "a", "answer": null}"#, "hold null"),
            (
                r#"{"output": "a", "gold": {"kind": "answers", "answers": []}}"#,
                "is empty",
            ),
            (
                r#"{"output": "a", "gold": {"kind": "tale"}}"#,
                "`gold` is none",
            ),
            (
                r#"{"output": "a", "gold": {"kind": "travel", "cities": ["b"], "durations": [], "procedure": ""}}"#,
                "durations",
            ),
            (
                r#"{"output": "a", "gold": {"kind": "choice", "letter": "E", "text": "b"}}"#,
                "`E` is none of the letters A to D",
            ),
            (
                r#"{"output": "a", "gold": {"kind": "choice", "letter": "b", "text": "b"}}"#,
                "`b` is none",
            ),
            (
                r#"{"output": "a", "gold": {"kind": "trace", "text": "Step 1\n * - 2\n-"}}"#,
                "no line with a step",
            ),
            (
                r#"{"output": "a", "answer": "b", "gold": {"kind": "rows", "text": "b"}}"#,
                "both",
            ),
            (
                r#"{"output": "a", "answer": "b", "gold_ids": "c", "output_ids": []}"#,
                "`gold_ids`",
            ),
            (
                r#"{"output": "a", "answer": "b", "scores": {"em": 1}}"#,
                "`scores`",
            ),
            (
                r#"{"schema": "prulong.prediction/9"}"#,
                "`prulong.prediction/9`",
            ),
            (r#"{"schema": "prulong.prediction/1"}"#, "not a prediction"),
        ] {
            let flaw = parse(text).unwrap_err();
            assert!(flaw.reason.contains(part), "{text}: {}", flaw.reason);
        }
    }

    #[test]
    fn predictions_are_scored_as_their_tasks_are() {
        let of = |result: &ItemResult| Line::parse(&serde_json::to_vec(result).unwrap()).unwrap();
        let written = ItemResult {
            output_ids: vec![3, 4],
            gold_ids: vec![3, 5],
            output: "c\nand more".to_owned(),
            scores: Scores::from([
                (Metric::ExactMatch, ScorePair::default()),
                (Metric::TokenAccuracy, ScorePair::default()),
            ]),
            ..result("x")
        };
        let line = of(&written);
        assert_eq!(line.key, Some(written.key()));
        let found = line.scores(&[], None).unwrap();
        let metrics: Vec<Metric> = found.keys().copied().collect();
        assert_eq!(metrics, [Metric::ExactMatch, Metric::TokenAccuracy]);
        assert!((found[&Metric::TokenAccuracy].strict - 0.5).abs() < 1e-12);
        let is_first_line_read = (found[&Metric::ExactMatch].compat - 1.0).abs() < 1e-12;
        assert!(is_first_line_read, "{found:?}");
        assert!(of(&failed("x")).is_failed);
        let unknown = ItemResult {
            task: "riddles".to_owned(),
            ..result("x")
        };
        let flaw = of(&unknown).scores(&[], None).unwrap_err();
        assert!(flaw.reason.contains("no task `riddles`"));
        let flaw = line.scores(&[Metric::RowF1], None).unwrap_err();
        assert!(flaw.reason.contains("`row_f1` cannot score"), "{flaw:?}");
    }

    #[test]
    fn without_tokens_every_metric_of_texts_scores() {
        for ids in [
            "",
            r#", "gold_ids": [], "output_ids": [7]"#,
            r#", "gold_ids": [7]"#,
        ] {
            let line = r#"{"output": "Answer: b", "answers": ["b"]IDS}"#.replace("IDS", ids);
            let line = parse(&line).unwrap();
            let found = line.scores(&[], None).unwrap();
            assert_eq!(found.len(), 9, "{found:?}");
            assert_eq!(found[&Metric::ExactMatch], ScorePair::default());
            let either = line.scores(&[Metric::ExactMatch], Some(Reading::ANSWER));
            assert!((either.unwrap()[&Metric::ExactMatch].strict - 1.0).abs() < 1e-12);
            let flaw = line.scores(&[Metric::TokenAccuracy], None).unwrap_err();
            assert!(flaw.reason.contains("has no token ids"), "{flaw:?}");
        }
    }

    #[test]
    fn answers_of_tasks_are_read_as_the_task_says_alone() {
        let line = Line::parse(&serde_json::to_vec(&result("x")).unwrap()).unwrap();
        let flaw = line.scores(&[], Some(Reading::ANSWER)).unwrap_err();
        assert!(flaw.reason.contains("an answer to `recall`"), "{flaw:?}");
        assert_eq!(flaw.remedy, Some("leave out --prefix"));
    }
}
