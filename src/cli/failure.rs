//! The only place that turns an error into text.
//!
//! ```text
//! error[area.name]: what happened
//!   caused by: what lies below
//!
//! hint: the way out
//! ```
//!
//! With `--json` the same facts are one object on standard error.

use crate::cli::output::OutputError;
use crate::fault::{AnyFault, Kind};
use std::error::Error;
use std::fmt::Write as _;

/// What the process says about a failed command, and how it ends.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Failure {
    /// Stable `area.name`.
    pub code: &'static str,
    /// The process's exit code.
    pub exit: u8,
    /// The error's own text.
    pub message: String,
    /// Texts of the chained sources, outermost first.
    pub causes: Vec<String>,
    /// The way out, where the error knows one.
    pub hint: Option<String>,
    #[serde(skip)]
    kind: Kind,
}

impl Failure {
    /// Reads everything there is to say from `fault`; `None` if it only means that nobody reads our output any more.
    pub fn from_fault(fault: &AnyFault) -> Option<Self> {
        let error: &(dyn Error + 'static) = &**fault;
        if error
            .downcast_ref::<OutputError>()
            .is_some_and(OutputError::is_broken_pipe)
        {
            return None;
        }
        let causes = std::iter::successors(error.source(), |&cause| cause.source());
        Some(Self {
            code: fault.code(),
            exit: fault.kind().exit_code(),
            message: error.to_string(),
            causes: causes.map(ToString::to_string).collect(),
            hint: fault.hint(),
            kind: fault.kind(),
        })
    }

    /// The text for a person, with colour escapes that the stream may strip.
    pub fn text(&self) -> String {
        let (word, colour) = match self.kind {
            Kind::Interrupted => ("interrupted", "\x1b[1;33m"),
            Kind::Answer => ("no", "\x1b[1;33m"),
            _ => ("error", "\x1b[1;31m"),
        };
        let mut text = format!("{colour}{word}[{}]\x1b[0m: {}\n", self.code, self.message);
        for cause in &self.causes {
            let _ = writeln!(text, "  caused by: {}", cause.replace('\n', "\n    "));
        }
        if let Some(hint) = &self.hint {
            let _ = write!(text, "\n\x1b[1;36mhint\x1b[0m: {hint}\n");
        }
        if self.kind == Kind::Environment {
            text.push_str("\nrun `prulong doctor` to see what this machine lacks\n");
        }
        text
    }

    /// The one-line object for a program.
    pub fn json(&self) -> String {
        let mut object = serde_json::json!({ "schema": "prulong.error/1" });
        if let (Some(object), Ok(serde_json::Value::Object(fields))) =
            (object.as_object_mut(), serde_json::to_value(self))
        {
            object.extend(fields);
        }
        format!("{object}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Coded;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot start the device")]
    struct Broken {
        kind: Kind,
        source: std::io::Error,
    }

    impl Coded for Broken {
        fn code(&self) -> &'static str {
            "env.broken"
        }
        fn kind(&self) -> Kind {
            self.kind
        }
        fn hint(&self) -> Option<String> {
            Some("plug it in".to_owned())
        }
    }

    fn broken(kind: Kind) -> AnyFault {
        let source = std::io::Error::other("no power");
        Box::new(Broken { kind, source })
    }

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn the_text_holds_code_causes_hint_and_the_doctor_line_only_for_the_machine() {
        let failure = Failure::from_fault(&broken(Kind::Environment)).unwrap();
        let expected = "error[env.broken]: cannot start the device\n  caused by: no power\n\n\
                        hint: plug it in\n\nrun `prulong doctor` to see what this machine lacks\n";
        assert_eq!(plain(&failure.text()), expected);
        assert_eq!(failure.exit, 3);
        for kind in [Kind::Input, Kind::Storage, Kind::Numerical, Kind::Answer] {
            let text = Failure::from_fault(&broken(kind)).unwrap().text();
            assert!(!text.contains("doctor"), "{kind:?}: {text}");
        }
    }

    #[test]
    fn the_object_holds_the_same_facts() {
        let json = Failure::from_fault(&broken(Kind::Storage)).unwrap().json();
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value["schema"], "prulong.error/1");
        assert_eq!(value["code"], "env.broken");
        assert_eq!(value["exit"], 4);
        assert_eq!(value["causes"][0], "no power");
        assert_eq!(value["hint"], "plug it in");
    }

    #[test]
    fn a_reader_that_went_away_is_no_failure() {
        let closed = |kind: std::io::ErrorKind| -> AnyFault {
            Box::new(OutputError::Stdout {
                source: kind.into(),
            })
        };
        assert!(Failure::from_fault(&closed(std::io::ErrorKind::BrokenPipe)).is_none());
        assert!(Failure::from_fault(&closed(std::io::ErrorKind::StorageFull)).is_some());
    }
}
