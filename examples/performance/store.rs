//! What `cargo bench --bench engine` printed, added to the files of results as one run each.
//!
//! Attention alone goes to `attention-cpu-SET.json`, kernels to `kernels-GPU.json`, everything else to `engine-cpu-SET.json`: names
//! as `benches/peers/side_by_side.py` makes them. What was measured beside peers (`step-*`, `infer-*`) is that program's, and is
//! not mixed with this.

use super::TableError;
use super::machine::{self, Processor};
use super::results::Case;
use serde_json::ser::{PrettyFormatter, Serializer};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What all results of one call share.
#[derive(Debug)]
pub(crate) struct Run<'a> {
    /// What was measured.
    pub(crate) source: &'a machine::Source,
    /// How.
    pub(crate) command: &'a str,
    /// The day.
    pub(crate) date: String,
    /// On which processor; kernels name their own device.
    pub(crate) processor: &'a Processor,
}

/// Results of one file.
struct Part {
    device: String,
    results: Vec<Value>,
}

/// A file that gets a run, with the text that it will have.
struct Staged {
    path: PathBuf,
    text: Vec<u8>,
}

impl Run<'_> {
    /// Adds the cases in `lines`, which stand in `file`, to files of `folder`; returns these files.
    ///
    /// Everything is read before anything is written, and everything is written before a file is replaced.
    ///
    /// # Errors
    /// Lines or a file that are no results or none at all, results that are there already; what the file system says.
    pub(crate) fn store(
        &self,
        (file, lines): (&Path, &str),
        folder: &Path,
    ) -> Result<Vec<PathBuf>, TableError> {
        let parts = self.parts(file, lines)?;
        let staged = parts.into_iter().map(|(name, part)| {
            let path = folder.join(name);
            let text = self.appended(&path, part)?;
            Ok(Staged { path, text })
        });
        let staged: Vec<Staged> = staged.collect::<Result<_, TableError>>()?;
        let new = |path: &Path| path.with_extension("new");
        for Staged { path, text } in &staged {
            let new = new(path);
            std::fs::write(&new, text).map_err(|error| TableError::io(&new, error))?;
        }
        for Staged { path, .. } in &staged {
            std::fs::rename(new(path), path).map_err(|error| TableError::io(path, error))?;
        }
        Ok(staged.into_iter().map(|staged| staged.path).collect())
    }

    /// The results by the file that they belong to.
    fn parts(&self, file: &Path, lines: &str) -> Result<BTreeMap<String, Part>, TableError> {
        let mut parts = BTreeMap::new();
        for line in lines.lines().filter(|line| !line.trim().is_empty()) {
            let mut result: Map<String, Value> = TableError::parse(file, line)?;
            let case: Case = TableError::parse(file, line)?;
            result.retain(|_, value| !value.is_null());
            let (name, device) = self.place(&case);
            let part = parts.entry(name).or_insert_with(|| Part {
                device,
                results: Vec::new(),
            });
            part.results.push(Value::Object(result));
        }
        if parts.is_empty() {
            let path = file.to_path_buf();
            return Err(TableError::Empty { path });
        }
        Ok(parts)
    }

    /// The name of a case's file, and the device of its run.
    fn place(&self, case: &Case) -> (String, String) {
        let Processor { label, description } = self.processor;
        match (case.case.split('/').next(), &case.device) {
            (Some("kernel"), Some(device)) => {
                let name = format!("kernels-{}.json", machine::slug(device));
                (name, device.clone())
            }
            (Some("attention"), _) => (format!("attention-{label}.json"), description.clone()),
            _ => (format!("engine-{label}.json"), description.clone()),
        }
    }

    /// The text of the file `path` with `part` as its last run.
    fn appended(&self, path: &Path, part: Part) -> Result<Vec<u8>, TableError> {
        let mut runs: Vec<Value> = match std::fs::read_to_string(path) {
            Ok(text) => TableError::parse(path, &text)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(TableError::io(path, error)),
        };
        let results = Value::Array(part.results);
        if runs.iter().any(|run| run["results"] == results) {
            let path = path.to_path_buf();
            return Err(TableError::Stored { path });
        }
        runs.push(json!({
            "commit": self.source.commit,
            "is_clean": self.source.is_clean,
            "command": self.command,
            "date": self.date,
            "device": part.device,
            "versions": {"libtorch": machine::libtorch()},
            "results": results,
        }));
        text(path, &runs)
    }
}

/// As Python's `json` writes it with an indent of 1.
fn text(path: &Path, runs: &[Value]) -> Result<Vec<u8>, TableError> {
    let mut text = Vec::new();
    let formatter = PrettyFormatter::with_indent(b" ");
    let written =
        serde::Serialize::serialize(runs, &mut Serializer::with_formatter(&mut text, formatter));
    written.map_err(|source| TableError::json(path, source))?;
    text.push(b'\n');
    Ok(text)
}
