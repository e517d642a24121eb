//! The training loader: rows of a mixture in their order, read ahead in the background, restorable from one integer.
//!
//! Start at [`Loader::open`]. A run stores [`Loader::position`] and [`Loader::identity`]; to continue it opens the same
//! streams, compares identities with [`DataIdentity::check`] and calls [`Loader::seek`].
//!
//! **Invariant:** what [`Loader::next_row`] yields depends on seed, streams and position only, never on timing. A loader
//! writes nothing.

use super::collate::{CollateSettings, collate};
use super::identity::{DataIdentity, StreamIdentity};
use super::mds::dataset::{Dataset, ReadOptions};
use super::mds::error::MdsError;
use super::mixture::rows_per_epoch;
use super::order::{Order, OrderKind, StreamShape};
use super::ranks::Ranks;
use super::rows::{RowNeeds, read_row};
use crate::config::data::StreamSpec;
use crate::config::instruct_mask::InstructMask;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

/// How a mixture is read.
#[derive(Debug, Clone, Copy)]
pub struct LoaderSettings {
    /// Seed of the order.
    pub seed: u64,
    /// How rows follow each other.
    pub order: OrderKind,
    /// Rows of one epoch; `None` for the streams' own.
    pub epoch_rows: Option<u64>,
    /// Which part of every step this process reads.
    pub ranks: Ranks,
    /// Tokens of a row that fit into one micro-batch; `None` for no limit.
    pub budget: Option<usize>,
    /// Whether a longer row is cut; otherwise it is an error.
    pub clip_rows: bool,
    /// Treat each row as one document.
    pub single_document: bool,
    /// Whether the `mask` column says what trains.
    pub instruct_mask: InstructMask,
    /// Ids must be below this.
    pub vocab_size: Option<u64>,
    /// Rows read ahead; at least one.
    pub prefetch_rows: usize,
    /// How shards are read.
    pub read: ReadOptions,
}

impl Default for LoaderSettings {
    fn default() -> Self {
        Self {
            seed: 0,
            order: OrderKind::Shuffled { block_rows: 0 },
            epoch_rows: None,
            ranks: Ranks::single(1),
            budget: None,
            clip_rows: false,
            single_document: false,
            instruct_mask: InstructMask::Ignored,
            vocab_size: None,
            prefetch_rows: 8,
            read: ReadOptions::default(),
        }
    }
}

/// One row, ready for the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackedRow {
    /// Token ids of the row's documents, end to end.
    pub ids: Vec<i64>,
    /// The same ids, or [`super::collate::IGNORED`]; not shifted.
    pub labels: Vec<i64>,
    /// Tokens of each document; their sum is the number of ids.
    pub doc_lens: Vec<usize>,
    /// Number of labels that are not ignored. Zero is possible with instruction masks: skip the row and count it.
    pub num_trained: usize,
    /// Tokens cut off because the row exceeds the budget.
    pub num_clipped: usize,
    /// Index of the stream it comes from.
    pub stream: usize,
    /// Its number in the stream's dataset.
    pub row: u64,
    /// The row's `domain` column.
    pub domain: Option<String>,
}

/// Reads the rows of a mixture in order.
#[derive(Debug)]
pub struct Loader {
    shared: Arc<Shared>,
    order: Order,
    identity: DataIdentity,
    /// Rows this rank has delivered.
    delivered: u64,
    ahead: Option<Rows>,
    wait: Duration,
}

#[derive(Debug)]
struct Shared {
    datasets: Vec<Dataset>,
    settings: LoaderSettings,
}

/// Rows in order, from a thread that ends at its next send once nobody receives.
type Rows = Receiver<Result<PackedRow, MdsError>>;

impl Loader {
    /// Opens every stream and reads the first row of each, so that a dataset of another kind fails here.
    ///
    /// # Errors
    /// [`MdsError::Streams`] for a contradictory mixture, [`MdsError::TooSmall`] if an epoch has fewer rows than a step,
    /// and whatever is wrong with a dataset or its first row.
    pub fn open(streams: &[StreamSpec], settings: &LoaderSettings) -> Result<Self, MdsError> {
        let datasets: Vec<Dataset> = streams
            .iter()
            .map(|stream| Dataset::open(&stream.path, settings.read))
            .collect::<Result<_, _>>()?;
        for dataset in &datasets {
            dataset.require_column("input_ids")?;
            if settings.instruct_mask == InstructMask::Needed {
                dataset.require_column("mask")?;
            }
        }
        let rows: Vec<u64> = datasets.iter().map(Dataset::num_rows).collect();
        let counts = rows_per_epoch(streams, &rows, settings.epoch_rows)?;
        let epoch_rows = counts.iter().sum();
        let needed = settings.ranks.rows_per_step();
        if epoch_rows < needed {
            return Err(MdsError::TooSmall {
                rows: epoch_rows,
                needed,
            });
        }
        let identity = identify(streams, &datasets, settings, epoch_rows);
        let order = shape_order(&datasets, &counts, settings)?;
        let shared = Arc::new(Shared {
            datasets,
            settings: *settings,
        });
        for stream in 0..streams.len() {
            shared.read(stream, 0)?;
        }
        Ok(Self {
            shared,
            order,
            identity,
            delivered: 0,
            ahead: None,
            wait: Duration::ZERO,
        })
    }

    /// The next row.
    ///
    /// # Errors
    /// Whatever is wrong with the row or its shard; the position then stays before that row.
    pub fn next_row(&mut self) -> Result<PackedRow, MdsError> {
        let started = Instant::now();
        let ahead = match self.ahead.take() {
            Some(ahead) => ahead,
            None => self.start()?,
        };
        let received = ahead.recv();
        self.wait += started.elapsed();
        let row = received.unwrap_or_else(|_| {
            Err(MdsError::Streams {
                reason: "the reading thread ended early".to_owned(),
            })
        })?;
        self.ahead = Some(ahead);
        self.delivered += 1;
        Ok(row)
    }

    /// Rows consumed since the run began, over all ranks. Save it at the end of a step.
    pub fn position(&self) -> u64 {
        self.shared.settings.ranks.position(self.delivered)
    }

    /// Continues at `position`, in constant time. With several ranks it must be the beginning of a step.
    ///
    /// # Errors
    /// [`MdsError::Streams`] if a rank cannot begin there.
    pub fn seek(&mut self, position: u64) -> Result<(), MdsError> {
        self.delivered = self.shared.settings.ranks.delivered(position)?;
        self.ahead = None;
        Ok(())
    }

    /// What decides the order: compare it with the one a checkpoint holds before [`Loader::seek`].
    pub fn identity(&self) -> &DataIdentity {
        &self.identity
    }

    /// blake3 of [`Loader::identity`], hex.
    pub fn fingerprint(&self) -> String {
        self.identity.fingerprint()
    }

    /// Rows of one epoch, over all streams and ranks.
    pub fn epoch_rows(&self) -> u64 {
        self.order.epoch_rows()
    }

    /// Tokens of one row as stored, padding included: that of the first row, which is every row's in a packed dataset.
    ///
    /// # Errors
    /// Whatever is wrong with that row.
    pub fn stored_row_len(&self) -> Result<usize, MdsError> {
        let needs = RowNeeds {
            vocab_size: None,
            instruct_mask: InstructMask::Ignored,
        };
        Ok(read_row(&self.shared.datasets[0], 0, needs)?.ids.len())
    }

    /// Time spent waiting for rows since the last call.
    pub fn take_wait(&mut self) -> Duration {
        std::mem::take(&mut self.wait)
    }

    /// What the user should know: hashes that cannot be checked.
    pub fn notes(&self) -> Vec<String> {
        self.shared
            .datasets
            .iter()
            .filter(|dataset| !dataset.unknown_hashes().is_empty())
            .map(|dataset| {
                let names: Vec<&str> = dataset.unknown_hashes().into_iter().collect();
                format!(
                    "`{}` carries hashes that cannot be checked here: {}",
                    dataset.root().display(),
                    names.join(", ")
                )
            })
            .collect()
    }

    fn start(&self) -> Result<Rows, MdsError> {
        let (sender, rows) = sync_channel(self.shared.settings.prefetch_rows.max(1));
        let shared = Arc::clone(&self.shared);
        let order = self.order.clone();
        let first = self.delivered;
        std::thread::Builder::new()
            .name("prulong-data".to_owned())
            .spawn(move || shared.produce(order, first, &sender))
            .map_err(|error| MdsError::Streams {
                reason: format!("the reading thread does not start: {error}"),
            })?;
        Ok(rows)
    }
}

impl Shared {
    fn read(&self, stream: usize, row: u64) -> Result<PackedRow, MdsError> {
        let needs = RowNeeds {
            vocab_size: self.settings.vocab_size,
            instruct_mask: self.settings.instruct_mask,
        };
        let tokens = read_row(&self.datasets[stream], row, needs)?;
        let joined = collate(
            std::slice::from_ref(&tokens),
            CollateSettings {
                budget: self.settings.budget,
                single_document: self.settings.single_document,
            },
        );
        if joined.num_clipped > 0 && !self.settings.clip_rows {
            return Err(MdsError::RowLen {
                place: tokens.place,
                row_len: joined.ids.len() + joined.num_clipped,
                budget: self.settings.budget.unwrap_or(usize::MAX),
            });
        }
        if joined.ids.is_empty() {
            return Err(MdsError::EmptySample {
                place: tokens.place,
            });
        }
        Ok(PackedRow {
            num_trained: joined.num_trained(),
            ids: joined.ids,
            labels: joined.labels,
            doc_lens: joined.doc_lens,
            num_clipped: joined.num_clipped,
            stream,
            row,
            domain: tokens.domain,
        })
    }

    /// Sends rows from the `first` of this rank on, until the receiver goes away or a row fails.
    fn produce(
        &self,
        mut order: Order,
        first: u64,
        sender: &SyncSender<Result<PackedRow, MdsError>>,
    ) {
        for nth in first.. {
            let at = order.at(self.settings.ranks.position_of(nth));
            let row = self.read(at.stream, at.row);
            let failed = row.is_err();
            if sender.send(row).is_err() || failed {
                return;
            }
        }
    }
}

fn shape_order(
    datasets: &[Dataset],
    counts: &[u64],
    settings: &LoaderSettings,
) -> Result<Order, MdsError> {
    let shapes = datasets
        .iter()
        .zip(counts)
        .map(|(dataset, &epoch_rows)| StreamShape {
            shard_rows: dataset.shards().iter().map(|shard| shard.samples).collect(),
            epoch_rows,
        })
        .collect();
    Order::new(settings.seed, settings.order, shapes).ok_or_else(|| MdsError::Streams {
        reason: "an epoch without rows".to_owned(),
    })
}

fn identify(
    streams: &[StreamSpec],
    datasets: &[Dataset],
    settings: &LoaderSettings,
    epoch_rows: u64,
) -> DataIdentity {
    let (order, block_rows) = match settings.order {
        OrderKind::Shuffled { block_rows } => ("shuffled", block_rows),
        OrderKind::Sequential => ("sequential", 0),
    };
    DataIdentity {
        format: 1,
        order: order.to_owned(),
        epoch_rows,
        block_rows,
        streams: streams
            .iter()
            .zip(datasets)
            .map(|(stream, dataset)| StreamIdentity::new(stream, dataset))
            .collect(),
    }
}
