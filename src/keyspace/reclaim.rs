//! Freeing that takes long goes to a thread of its own.
//!
//! A large value or a whole table is handed over under the shard's lock in O(1) and freed elsewhere. Who runs the thread
//! is not known here; when nobody does, garbage is freed where it falls.

use super::entry::Entry;
use super::table::Table;
use crate::value::object::Source;
use crate::value::string::{StringRef, StringSource};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, channel};

/// Values from this size on are freed in the background: below it, freeing is cheaper than handing over.
const BACKGROUND_BYTES: usize = 64 * 1024;

/// Collections of so many elements are freed in the background: about where Redis draws the line.
const BACKGROUND_ELEMENTS: usize = 64;

/// Something that is no longer reachable and owns memory.
pub enum Garbage {
    /// A value without its entry.
    Value(Source<'static>),
    /// A removed entry.
    Entry(Entry),
    /// A whole table, as FLUSHALL leaves it.
    Table(Box<Table>),
}

impl Garbage {
    fn objects(&self) -> u64 {
        match self {
            Garbage::Table(table) => table.len() as u64,
            _ => 1,
        }
    }

    fn is_cheap(&self) -> bool {
        match self {
            Garbage::Value(Source::String(StringSource::Large(bytes))) => bytes.len() < BACKGROUND_BYTES,
            Garbage::Value(Source::Object(object)) => object.as_ref().len() < BACKGROUND_ELEMENTS,
            Garbage::Value(_) => true,
            Garbage::Entry(entry) => match (entry.get().string(), entry.get().object()) {
                (Some(StringRef::Large(bytes)), _) => bytes.len() < BACKGROUND_BYTES,
                (_, Some(object)) => object.len() < BACKGROUND_ELEMENTS,
                _ => true,
            },
            Garbage::Table(table) => table.is_empty(),
        }
    }
}

/// Counters of background freeing.
#[derive(Default, Debug)]
pub struct ReclaimStats {
    /// Objects handed over and not yet freed.
    pub pending: AtomicU64,
    /// Objects freed in the background.
    pub freed: AtomicU64,
}

/// Where garbage goes.
#[derive(Clone)]
pub struct Reclaimer {
    sender: Sender<Garbage>,
    stats: Arc<ReclaimStats>,
}

/// Frees what a [`Reclaimer`] is given; to be run by a thread.
pub struct Reclaiming {
    receiver: Receiver<Garbage>,
    stats: Arc<ReclaimStats>,
}

impl Reclaimer {
    /// A reclaimer and what frees for it. Without the latter, garbage is freed at once.
    pub fn new() -> (Reclaimer, Reclaiming) {
        let ((sender, receiver), stats) = (channel(), Arc::<ReclaimStats>::default());
        (Reclaimer { sender, stats: Arc::clone(&stats) }, Reclaiming { receiver, stats })
    }

    /// Frees `garbage`: here when that is cheap, else in the background.
    #[inline]
    pub fn take(&self, garbage: Garbage) {
        if !garbage.is_cheap() {
            self.hand_over(garbage);
        }
    }

    #[cold]
    fn hand_over(&self, garbage: Garbage) {
        let objects = garbage.objects();
        self.stats.pending.fetch_add(objects, Relaxed);
        if self.sender.send(garbage).is_err() {
            self.stats.pending.fetch_sub(objects, Relaxed);
        }
    }

    /// Counters.
    pub fn stats(&self) -> &ReclaimStats {
        &self.stats
    }
}

impl Reclaiming {
    /// Frees until the reclaimer is gone. Blocks.
    pub fn run(self) {
        while let Ok(garbage) = self.receiver.recv() {
            let objects = garbage.objects();
            drop(garbage);
            self.stats.pending.fetch_sub(objects, Relaxed);
            self.stats.freed.fetch_add(objects, Relaxed);
        }
    }
}
