//! What one logged step says.

use serde_json::{Map, Value, json};

/// Name and version of the line format.
pub const SCHEMA: &str = "prulong.metrics/1";

/// One line of `metrics.jsonl`: a step, named numbers in the order they were added, and things that happened.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Record {
    /// Optimizer steps taken.
    pub step: u64,
    /// Names (see [`super::tag`]) and values.
    pub scalars: Vec<(String, f64)>,
    /// Things that happened since the record before.
    pub events: Vec<Event>,
}

/// Something a reader of the run should know, such as a red flag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Stable `area.name` code.
    pub code: String,
    /// One sentence.
    pub text: String,
}

impl Record {
    /// A record without numbers.
    pub fn new(step: u64) -> Self {
        Self {
            step,
            ..Self::default()
        }
    }

    /// Adds one number.
    pub fn scalar(&mut self, tag: &str, value: f64) -> &mut Self {
        self.scalars.push((tag.to_owned(), value));
        self
    }

    /// Adds one event.
    pub fn event(&mut self, code: &str, text: impl Into<String>) -> &mut Self {
        self.events.push(Event {
            code: code.to_owned(),
            text: text.into(),
        });
        self
    }

    /// The number named `tag`.
    pub fn value(&self, tag: &str) -> Option<f64> {
        self.scalars
            .iter()
            .find(|(name, _)| name == tag)
            .map(|(_, value)| *value)
    }

    /// The line, with its line feed. Numbers that JSON cannot hold are `null` and listed under `nonfinite`.
    pub fn to_line(&self) -> String {
        let mut line = Map::new();
        line.insert("schema".to_owned(), json!(SCHEMA));
        line.insert("step".to_owned(), json!(self.step));
        for (tag, value) in &self.scalars {
            line.insert(tag.clone(), json!(value));
        }
        let nonfinite: Vec<&String> = self
            .scalars
            .iter()
            .filter(|(_, value)| !value.is_finite())
            .map(|(tag, _)| tag)
            .collect();
        if !nonfinite.is_empty() {
            line.insert("nonfinite".to_owned(), json!(nonfinite));
        }
        if !self.events.is_empty() {
            let event = |event: &Event| json!({"code": event.code, "text": event.text});
            line.insert("events".to_owned(), self.events.iter().map(event).collect());
        }
        format!("{}\n", Value::Object(line))
    }

    /// Reads a line back; `null` becomes NaN.
    ///
    /// # Errors
    /// What is wrong with the line, as text for [`MetricsError::Line`](super::error::MetricsError::Line).
    pub fn parse(line: &[u8]) -> Result<Self, String> {
        let line: Map<String, Value> =
            serde_json::from_slice(line).map_err(|error| error.to_string())?;
        if line.get("schema").and_then(Value::as_str) != Some(SCHEMA) {
            return Err(format!("its schema is not `{SCHEMA}`"));
        }
        let step = line
            .get("step")
            .and_then(Value::as_u64)
            .ok_or("it has no step")?;
        let mut record = Self::new(step);
        for (key, value) in line {
            match value {
                Value::Number(number) if key != "step" => record
                    .scalars
                    .push((key, number.as_f64().unwrap_or(f64::NAN))),
                Value::Null => record.scalars.push((key, f64::NAN)),
                Value::Array(items) if key == "events" => {
                    record.events.extend(items.iter().filter_map(parse_event));
                }
                _ => {}
            }
        }
        Ok(record)
    }
}

fn parse_event(event: &Value) -> Option<Event> {
    let text = |key: &str| Some(event.get(key)?.as_str()?.to_owned());
    Some(Event {
        code: text("code")?,
        text: text("text")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_keeps_order_and_every_bit_and_marks_what_is_not_finite() {
        let mut record = Record::new(3);
        record
            .scalar("loss/lm", 0.1 + 0.2)
            .scalar("a", f64::NAN)
            .scalar("b", f64::INFINITY)
            .scalar("c", 2.0);
        record.event("num.spike", "the loss jumped");
        assert_eq!(
            record.to_line(),
            "{\"schema\":\"prulong.metrics/1\",\"step\":3,\"loss/lm\":0.30000000000000004,\"a\":null,\"b\":null,\
             \"c\":2.0,\"nonfinite\":[\"a\",\"b\"],\"events\":[{\"code\":\"num.spike\",\"text\":\"the loss jumped\"}]}\n"
        );
        let parsed = Record::parse(record.to_line().as_bytes()).unwrap();
        assert_eq!(
            parsed.value("loss/lm").map(f64::to_bits),
            Some((0.1_f64 + 0.2).to_bits())
        );
        assert!(parsed.value("a").unwrap().is_nan() && parsed.value("b").unwrap().is_nan());
        assert_eq!((parsed.step, &parsed.events), (3, &record.events));
    }

    #[test]
    fn lines_of_another_kind_are_refused() {
        for line in [
            "",
            "{",
            "[]",
            "{\"step\":1}",
            "{\"schema\":\"prulong.metrics/1\"}",
            "{\"schema\":\"x\",\"step\":1}",
        ] {
            Record::parse(line.as_bytes()).unwrap_err();
        }
    }
}
