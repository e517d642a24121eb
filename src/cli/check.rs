//! One line of `prulong doctor`: what was looked at, how it ended, and how to mend it.

use crate::fault::Coded;
use serde_json::{Value, json};

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Status {
    Ok,
    Note,
    Broken,
}

/// One thing that a run depends on.
#[derive(Debug, serde::Serialize)]
pub(super) struct Check {
    pub(super) name: &'static str,
    pub(super) status: Status,
    pub(super) detail: String,
    pub(super) fix: Option<String>,
    pub(super) values: Value,
}

impl Check {
    pub(super) fn ok(name: &'static str, detail: impl Into<String>, values: Value) -> Self {
        Self {
            name,
            status: Status::Ok,
            detail: detail.into(),
            fix: None,
            values,
        }
    }

    /// The same check with a worse result and the way out.
    pub(super) fn but(self, status: Status, fix: impl Into<String>) -> Self {
        Self {
            status,
            fix: Some(fix.into()),
            ..self
        }
    }

    pub(super) fn failed(name: &'static str, status: Status, error: &dyn Coded) -> Self {
        let values = json!({ "code": error.code() });
        Self {
            name,
            status,
            detail: error.to_string(),
            fix: error.hint(),
            values,
        }
    }
}

/// Everything as one object.
pub(super) fn report(checks: &[Check]) -> Value {
    json!({
        "schema": "prulong.doctor/1",
        "version": env!("CARGO_PKG_VERSION"),
        "healthy": checks.iter().all(|check| check.status != Status::Broken),
        "checks": checks,
    })
}

/// One line per check, and one per way out.
pub(super) fn lines(checks: &[Check]) -> Vec<String> {
    let mut lines = vec![format!("prulong {}", env!("CARGO_PKG_VERSION"))];
    for check in checks {
        let word = match check.status {
            Status::Ok => "ok",
            Status::Note => "note",
            Status::Broken => "broken",
        };
        lines.push(format!("{word:<7} {:<16} {}", check.name, check.detail));
        if let Some(fix) = &check.fix {
            lines.push(format!("{:24} fix: {fix}", ""));
        }
    }
    lines
}
