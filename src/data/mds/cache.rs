//! The shards that are open: a small least-recently-used set bounded by bytes and by open files.

use super::shard::Shard;
use std::sync::Arc;

/// Open files are limited per process; a reader needs few at a time.
const MAX_OPEN: usize = 64;

/// Opened shards, most recently used last.
#[derive(Debug)]
pub struct Cache {
    entries: Vec<(usize, Arc<Shard>)>,
    cap_bytes: u64,
}

impl Cache {
    /// An empty set that keeps at most `cap_bytes` of memory beyond the shard in use.
    pub fn new(cap_bytes: u64) -> Self {
        Self {
            entries: Vec::new(),
            cap_bytes,
        }
    }

    /// Shard number `index`, if it is open.
    pub fn find(&mut self, index: usize) -> Option<Arc<Shard>> {
        let at = self.entries.iter().position(|entry| entry.0 == index)?;
        let entry = self.entries.remove(at);
        let shard = Arc::clone(&entry.1);
        self.entries.push(entry);
        Some(shard)
    }

    /// Makes room, so that the set stays within its bounds once a shard of `bytes` is inserted.
    pub fn make_room(&mut self, bytes: u64) {
        let room = self.cap_bytes.saturating_sub(bytes);
        while !self.entries.is_empty()
            && (self.entries.len() >= MAX_OPEN || self.resident_bytes() > room)
        {
            self.entries.remove(0);
        }
    }

    /// Adds an opened shard.
    pub fn insert(&mut self, index: usize, shard: Arc<Shard>) {
        self.entries.push((index, shard));
    }

    fn resident_bytes(&self) -> u64 {
        self.entries.iter().fold(0, |total, entry| {
            entry.1.resident_bytes().saturating_add(total)
        })
    }
}
