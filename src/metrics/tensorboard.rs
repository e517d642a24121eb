//! TensorBoard event files: scalars, histograms and pictures.
//!
//! **Invariant:** nothing here can stop a run. An event that cannot be written is counted, and the first failure is kept for one
//! warning.

use super::heatmap::Picture;
use super::jsonl;
use super::record::Record;
use protobuf::{Message, RepeatedField};
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use tensorboard_proto::event::{Event, SessionLog, SessionLog_SessionStatus};
use tensorboard_proto::summary::{HistogramProto, Summary, Summary_Image, Summary_Value};
use tensorboard_rs::record_writer::RecordWriter;

/// Name of the folder inside a run directory.
pub const DIR_NAME: &str = "events";

const PREFIX: &str = "events.out.tfevents.";
const NUM_BUCKETS: u32 = 30;

/// One event file of a run.
#[derive(Debug)]
pub struct TensorBoardSink {
    dir: PathBuf,
    file: Option<File>,
    num_dropped: u64,
    warning: Option<String>,
}

impl TensorBoardSink {
    /// Starts a new event file in `dir`, to continue after `resume_step` (0 for a new run).
    ///
    /// Every file begins with a session start: the second one and later ones tell readers to forget points of later steps.
    pub fn open(dir: impl Into<PathBuf>, resume_step: u64) -> Self {
        let mut sink = Self {
            dir: dir.into(),
            file: None,
            num_dropped: 0,
            warning: None,
        };
        match start_file(&sink.dir) {
            Ok(file) => sink.file = Some(file),
            Err(error) => sink.drop_event(&error),
        }
        let mut start = SessionLog::new();
        start.set_status(SessionLog_SessionStatus::START);
        let mut event = Event::new();
        event.set_session_log(start);
        // Readers forget the step named here too, and the last finished step must stay.
        sink.write(event, resume_step + 1);
        sink
    }

    /// Writes the finite scalars of `record`.
    pub fn record(&mut self, record: &Record) {
        let finite = record.scalars.iter().filter(|(_, value)| value.is_finite());
        let values: Vec<Summary_Value> = finite.map(|(tag, value)| scalar(tag, *value)).collect();
        if !values.is_empty() {
            self.summary(record.step, values);
        }
    }

    /// Writes the distribution of the finite values; nothing if there are none.
    pub fn histogram(&mut self, step: u64, tag: &str, values: &[f32]) {
        let Some(histogram) = histogram(values) else {
            return;
        };
        let mut value = Summary_Value::new();
        value.set_tag(tag.to_owned());
        value.set_histo(histogram);
        self.summary(step, vec![value]);
    }

    /// Writes a picture.
    pub fn picture(&mut self, step: u64, tag: &str, picture: Picture) {
        let pixels = |extent: u32| i32::try_from(extent).unwrap_or(i32::MAX);
        let mut image = Summary_Image::new();
        image.set_width(pixels(picture.width));
        image.set_height(pixels(picture.height));
        image.set_colorspace(3);
        image.set_encoded_image_string(picture.png);
        let mut value = Summary_Value::new();
        value.set_tag(tag.to_owned());
        value.set_image(image);
        self.summary(step, vec![value]);
    }

    /// Events that could not be written.
    pub fn num_dropped(&self) -> u64 {
        self.num_dropped
    }

    /// The first failure, once.
    pub fn take_warning(&mut self) -> Option<String> {
        self.warning.take()
    }

    fn summary(&mut self, step: u64, values: Vec<Summary_Value>) {
        let mut summary = Summary::new();
        summary.set_value(RepeatedField::from_vec(values));
        let mut event = Event::new();
        event.set_summary(summary);
        self.write(event, step);
    }

    fn write(&mut self, mut event: Event, step: u64) {
        event.set_step(i64::try_from(step).unwrap_or(i64::MAX));
        let result = match &mut self.file {
            Some(file) => append(file, event),
            None => Err(io::Error::from(io::ErrorKind::NotFound)),
        };
        if let Err(error) = result {
            self.drop_event(&error);
        }
    }

    fn drop_event(&mut self, error: &io::Error) {
        if self.num_dropped == 0 {
            self.warning = Some(format!(
                "cannot write TensorBoard events to `{}`: {error}",
                self.dir.display()
            ));
        }
        self.num_dropped += 1;
    }
}

/// Creates a file that sorts behind every earlier one, and writes the version event that readers expect first.
///
/// Readers order files by the seconds in their names, so a clock that went backwards must not show.
fn start_file(dir: &Path) -> io::Result<File> {
    std::fs::create_dir_all(dir)?;
    let mut newest = 0;
    for entry in std::fs::read_dir(dir)? {
        newest = newest.max(seconds_of(&entry?.file_name().to_string_lossy()).unwrap_or(0));
    }
    let seconds = now().as_secs().max(newest.saturating_add(1));
    let path = dir.join(format!(
        "{PREFIX}{seconds:010}.prulong.{}.0",
        std::process::id()
    ));
    let mut file = OpenOptions::new()
        .create_new(true)
        .append(true)
        .open(path)?;
    let mut version = Event::new();
    version.set_file_version("brain.Event:2".to_owned());
    append(&mut file, version)?;
    Ok(file)
}

fn seconds_of(name: &str) -> Option<u64> {
    name.strip_prefix(PREFIX)?.split('.').next()?.parse().ok()
}

/// Appends one framed record in one write.
fn append(file: &mut File, mut event: Event) -> io::Result<()> {
    event.set_wall_time(now().as_secs_f64());
    let message = event.write_to_bytes().map_err(io::Error::other)?;
    let mut framed = Vec::with_capacity(message.len() + 16);
    RecordWriter::new(&mut framed).write(&message)?;
    jsonl::append(file, &framed)
}

fn now() -> std::time::Duration {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the event format stores scalars as f32"
)]
fn scalar(tag: &str, value: f64) -> Summary_Value {
    let mut scalar = Summary_Value::new();
    scalar.set_tag(tag.to_owned());
    scalar.set_simple_value(value as f32);
    scalar
}

/// Equal-width buckets between the extremes; the last edge is at or above the maximum, as readers require.
fn histogram(values: &[f32]) -> Option<HistogramProto> {
    let finite: Vec<f64> = values
        .iter()
        .filter(|value| value.is_finite())
        .map(|value| f64::from(*value))
        .collect();
    let min = finite.iter().copied().reduce(f64::min)?;
    let max = finite.iter().copied().reduce(f64::max)?;
    let width = if max > min {
        (max - min) / f64::from(NUM_BUCKETS)
    } else {
        1.0 / f64::from(NUM_BUCKETS)
    };
    let mut edges: Vec<f64> = (1..NUM_BUCKETS)
        .map(|index| min + f64::from(index) * width)
        .collect();
    edges.push(max.max(min + f64::from(NUM_BUCKETS) * width));
    let mut counts = vec![0.0; edges.len()];
    for value in &finite {
        let bucket = edges
            .partition_point(|edge| edge < value)
            .min(edges.len() - 1);
        counts[bucket] += 1.0;
    }
    let mut histogram = HistogramProto::new();
    histogram.set_min(min);
    histogram.set_max(max);
    histogram.set_num(counts.iter().sum());
    histogram.set_sum(finite.iter().sum());
    histogram.set_sum_squares(finite.iter().map(|value| value * value).sum());
    histogram.set_bucket_limit(edges);
    histogram.set_bucket(counts);
    Some(histogram)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::heatmap::Heatmap;

    fn files(dir: &Path) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> = std::fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        files
    }

    /// Steps of the events in a file, in order; the framing is checked by lengths.
    fn events(path: &Path) -> Vec<Event> {
        let bytes = std::fs::read(path).unwrap();
        let mut rest = bytes.as_slice();
        let mut events = Vec::new();
        while let Some((len, tail)) = rest.split_first_chunk::<8>() {
            let len = usize::try_from(u64::from_le_bytes(*len)).unwrap();
            events.push(Event::parse_from_bytes(&tail[4..4 + len]).unwrap());
            rest = &tail[4 + len + 4..];
        }
        events
    }

    #[test]
    fn a_resumed_run_starts_a_later_file_with_a_session_start() {
        let dir = tempfile::tempdir().unwrap();
        let mut sink = TensorBoardSink::open(dir.path(), 0);
        let mut record = Record::new(1);
        record.scalar("loss/lm", 2.5).scalar("bad", f64::NAN);
        sink.record(&record);
        sink.histogram(1, "gates/z", &[0.0, 0.5, 1.0, f32::NAN]);
        let picture = Heatmap::new(1, 2, &[0.0, 1.0]).unwrap().picture().unwrap();
        sink.picture(1, "mask/heatmap", picture);
        TensorBoardSink::open(dir.path(), 7);

        let files = files(dir.path());
        let first = events(&files[0]);
        assert_eq!(first[0].get_file_version(), "brain.Event:2");
        assert_eq!(
            first[1].get_session_log().get_status(),
            SessionLog_SessionStatus::START,
            "readers ignore the first one"
        );
        assert_eq!(first[2].get_summary().get_value().len(), 1);
        assert_eq!(
            first[2].get_summary().get_value()[0]
                .get_simple_value()
                .to_bits(),
            2.5_f32.to_bits()
        );
        let image = first[4].get_summary().get_value()[0].get_image();
        assert_eq!((image.get_width(), image.get_height()), (24, 12));
        let second = events(&files[1]);
        assert_eq!(
            second[1].get_session_log().get_status(),
            SessionLog_SessionStatus::START
        );
        assert_eq!(second[1].get_step(), 8);
    }

    #[test]
    fn histograms_count_every_finite_value_and_their_last_edge_holds_the_maximum() {
        for values in [
            vec![0.0, 0.1, 0.1, 1.0],
            vec![3.0; 5],
            vec![-4.0, 2.0e6],
            vec![0.3, f32::INFINITY],
        ] {
            let histogram = histogram(&values).unwrap();
            let num_finite = values.iter().filter(|value| value.is_finite()).count();
            let num: f64 = histogram.get_bucket().iter().sum();
            assert!((num - f64::from(u32::try_from(num_finite).unwrap())).abs() < 1e-9);
            assert!(histogram.get_bucket_limit().is_sorted());
            assert!(*histogram.get_bucket_limit().last().unwrap() >= histogram.get_max());
        }
        assert!(histogram(&[]).is_none());
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_reported_once_and_counted() {
        let dir = tempfile::tempdir().unwrap();
        let blocked = dir.path().join("events");
        std::fs::write(&blocked, "a file").unwrap();
        let mut sink = TensorBoardSink::open(&blocked, 0);
        let mut record = Record::new(1);
        record.scalar("a", 1.0);
        sink.record(&record);
        assert!(sink.take_warning().unwrap().contains("events"));
        assert_eq!(sink.take_warning(), None);
        assert_eq!(sink.num_dropped(), 3);
    }
}
