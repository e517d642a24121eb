//! `metrics.jsonl`: one line per logged step, the record of the run.

use super::error::MetricsError;
use super::record::Record;
use crate::checkpoint::durable;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Name of the file inside a run directory.
pub const FILE_NAME: &str = "metrics.jsonl";

/// Name of the file that receives lines of steps that are done again.
pub const ORPHAN_NAME: &str = "metrics.orphan.jsonl";

/// The open file.
#[derive(Debug)]
pub struct JsonlSink {
    path: PathBuf,
    file: File,
}

impl JsonlSink {
    /// Opens `run_dir/metrics.jsonl` to continue after `resume_step` (0 for a new run).
    ///
    /// Lines of later steps, which will be written again, and lines that are no records (a kill cut them) move to
    /// `metrics.orphan.jsonl`; their number is returned.
    ///
    /// # Errors
    /// [`MetricsError::Io`].
    pub fn open(run_dir: &Path, resume_step: u64) -> Result<(Self, usize), MetricsError> {
        let path = run_dir.join(FILE_NAME);
        let num_orphans = move_orphans(run_dir, &path, resume_step)?;
        let file = append_to(&path)?;
        Ok((Self { path, file }, num_orphans))
    }

    /// Appends one line in one write; if that fails, the file ends where it ended before.
    ///
    /// # Errors
    /// [`MetricsError::Io`].
    pub fn record(&mut self, record: &Record) -> Result<(), MetricsError> {
        append(&mut self.file, record.to_line().as_bytes())
            .map_err(MetricsError::io("append to", &self.path))
    }

    /// Makes every line so far durable; called before a checkpoint that covers them.
    ///
    /// # Errors
    /// [`MetricsError::Io`].
    pub fn sync(&self) -> Result<(), MetricsError> {
        self.file
            .sync_all()
            .map_err(MetricsError::io("sync", &self.path))
    }
}

/// Reads every record of a `metrics.jsonl`; a last line that a kill cut is left out.
///
/// # Errors
/// [`MetricsError::Io`]; [`MetricsError::Line`] for a complete line that is not a record.
pub fn read(path: &Path) -> Result<Vec<Record>, MetricsError> {
    let bytes = std::fs::read(path).map_err(MetricsError::io("read", path))?;
    let complete = bytes
        .split_inclusive(|byte| *byte == b'\n')
        .filter(|line| line.ends_with(b"\n"));
    let parse = |(index, line): (usize, &[u8])| {
        Record::parse(line).map_err(|reason| MetricsError::Line {
            path: path.to_path_buf(),
            line: index + 1,
            reason,
        })
    };
    complete.enumerate().map(parse).collect()
}

/// Writes all of `bytes` to a file in append mode, or takes back what was written.
///
/// # Errors
/// The operating system's.
pub fn append(file: &mut File, bytes: &[u8]) -> io::Result<()> {
    let len = file.metadata()?.len();
    file.write_all(bytes).inspect_err(|_| {
        // Shrinking needs no space; if it fails too, readers still cope with a torn line.
        let _ = file.set_len(len);
    })
}

fn append_to(path: &Path) -> Result<File, MetricsError> {
    let file = OpenOptions::new().create(true).append(true).open(path);
    file.map_err(MetricsError::io("open", path))
}

fn move_orphans(run_dir: &Path, path: &Path, resume_step: u64) -> Result<usize, MetricsError> {
    let bytes = match std::fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        other => other.map_err(MetricsError::io("read", path))?,
    };
    let is_kept = |line: &&[u8]| {
        line.ends_with(b"\n") && Record::parse(line).is_ok_and(|record| record.step <= resume_step)
    };
    let (kept, orphans): (Vec<&[u8]>, Vec<&[u8]>) = bytes
        .split_inclusive(|byte| *byte == b'\n')
        .partition(is_kept);
    if orphans.is_empty() {
        return Ok(0);
    }
    let orphan_path = run_dir.join(ORPHAN_NAME);
    let mut text = orphans.concat();
    if !text.ends_with(b"\n") {
        text.push(b'\n');
    }
    let mut file = append_to(&orphan_path)?;
    append(&mut file, &text)
        .and_then(|()| file.sync_all())
        .map_err(MetricsError::io("append to", &orphan_path))?;
    durable::replace(path, &kept.concat()).map_err(MetricsError::io("replace", path))?;
    Ok(orphans.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(sink: &mut JsonlSink, steps: std::ops::RangeInclusive<u64>) {
        for step in steps {
            let mut record = Record::new(step);
            record.scalar("loss/lm", 1.0);
            sink.record(&record).unwrap();
        }
    }

    fn steps(path: &Path) -> Vec<u64> {
        read(path)
            .unwrap()
            .iter()
            .map(|record| record.step)
            .collect()
    }

    #[test]
    fn a_resumed_run_has_one_line_per_step_and_loses_none() {
        let run = tempfile::tempdir().unwrap();
        let path = run.path().join(FILE_NAME);
        let (mut sink, num_orphans) = JsonlSink::open(run.path(), 0).unwrap();
        assert_eq!(num_orphans, 0);
        write(&mut sink, 1..=5);
        std::fs::OpenOptions::new()
            .append(true)
            .open(&path)
            .unwrap()
            .write_all(b"{\"schema\":\"pru")
            .unwrap();
        assert_eq!(steps(&path), [1, 2, 3, 4, 5], "a torn line is no record");

        let (mut sink, num_orphans) = JsonlSink::open(run.path(), 3).unwrap();
        assert_eq!(num_orphans, 3);
        write(&mut sink, 4..=6);
        assert_eq!(steps(&path), [1, 2, 3, 4, 5, 6]);
        let orphans = std::fs::read_to_string(run.path().join(ORPHAN_NAME)).unwrap();
        let starts: Vec<&str> = orphans
            .lines()
            .map(|line| line.get(30..38).unwrap_or("torn"))
            .collect();
        assert_eq!(starts, ["\"step\":4", "\"step\":5", "torn"]);
    }

    #[test]
    fn a_complete_line_that_is_no_record_is_named_by_its_place() {
        let run = tempfile::tempdir().unwrap();
        let path = run.path().join(FILE_NAME);
        std::fs::write(&path, format!("{}oops\n", Record::new(1).to_line())).unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains("metrics.jsonl:2: not a record"), "{error}");
    }
}
