//! Freeing that takes long goes to a thread of its own.
//!
//! A large value or a whole table is handed over under the shard's lock in O(1) and freed elsewhere, unless an option says
//! that garbage of its kind is to be freed where it falls. Who runs the thread is not known here; when nobody does,
//! everything is freed where it falls.

use super::entry::Entry;
use super::evict::Algorithm;
use super::snapshot::orphan;
use super::table::Table;
use crate::config::Config;
use crate::util::memory::{flush_drift, size_class, used_bytes};
use crate::value::object::Source;
use crate::value::string::{StringRef, StringSource};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, channel};

/// Values from this size on are freed in the background: below it, freeing is cheaper than handing over.
const BACKGROUND_BYTES: usize = 64 * 1024;

/// Collections of so many elements are freed in the background: about where Redis draws the line.
const BACKGROUND_ELEMENTS: usize = 64;

/// Why something became garbage, which is what the `lazyfree-lazy-*` options go by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// `UNLINK` and `FLUSHALL ASYNC`: in the background whatever the options say.
    Unlinked,
    /// `DEL`.
    Deleted,
    /// Another value took its place, or a command had to remove it.
    Overwritten,
    /// Its deadline came.
    Expired,
    /// Memory was short.
    Evicted,
}

impl Why {
    fn is_lazy(self, config: &Config) -> bool {
        match self {
            Why::Unlinked => true,
            Why::Deleted => config.lazyfree_lazy_user_del(),
            Why::Overwritten => config.lazyfree_lazy_server_del(),
            Why::Expired => config.lazyfree_lazy_expire(),
            Why::Evicted => config.lazyfree_lazy_eviction(),
        }
    }
}

/// Entries of a table that are freed together: a tenth of a millisecond.
const TABLE_PIECE: usize = 1000;

/// What knows so many keys is freed in the background.
const BACKGROUND_MARKS: usize = 100_000;

/// Homes of a table, of six keys each, that are looked at for how much memory its keys take.
const SAMPLED_HOMES: usize = 4;

/// Largest ones of these keys that are left out, so that a single huge value does not stand for many.
const LEFT_OUT: usize = 2;

/// Something that is no longer reachable and owns memory.
pub enum Garbage {
    /// A value without its entry.
    Value(Source<'static>),
    /// A removed entry.
    Entry(Entry),
    /// A whole table, as FLUSHALL leaves it.
    Table(Box<Table>),
    /// What an eviction algorithm knew.
    Algorithm(Box<dyn Algorithm>),
}

impl Garbage {
    fn objects(&self) -> u64 {
        match self {
            Garbage::Table(table) => table.len() as u64,
            Garbage::Algorithm(_) => 0,
            Garbage::Value(_) | Garbage::Entry(_) => 1,
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
            Garbage::Algorithm(algorithm) => algorithm.marks() < BACKGROUND_MARKS,
        }
    }

    /// About how many bytes will be free when it is gone; for tables rather fewer than more.
    fn bytes(&self) -> u64 {
        let bytes = match self {
            Garbage::Value(Source::String(StringSource::Large(bytes))) => size_class(bytes.len()),
            Garbage::Value(Source::Object(object)) => object.as_ref().memory_bytes(),
            Garbage::Value(_) => 0,
            Garbage::Entry(entry) => entry.get().memory_bytes(),
            Garbage::Table(table) => bytes_about(table),
            Garbage::Algorithm(algorithm) => algorithm.memory_bytes(),
        };
        bytes as u64
    }
}

/// About how many bytes a table and its keys take, judged by some of them.
fn bytes_about(table: &Table) -> usize {
    let (mut sizes, mut at) = (Vec::new(), Some(0));
    for _ in 0..SAMPLED_HOMES {
        at = at.and_then(|at| table.visit(at, &mut |entry| sizes.push(entry.memory_bytes())));
    }
    sizes.sort_unstable();
    sizes.truncate(sizes.len().saturating_sub(LEFT_OUT).max(1));
    let keys = (sizes.iter().sum::<usize>() / sizes.len().max(1)).saturating_mul(table.len());
    // No more than there is at all, however unlike the others those are that were looked at.
    usize::try_from(used_bytes()).unwrap_or(usize::MAX).min(keys.saturating_add(table.memory_bytes()))
}

/// What a flush has taken out of the databases, to be freed by whoever likes.
#[derive(Default)]
pub struct Flushed {
    tables: Vec<Table>,
    /// Where to go on in the last table.
    at: u64,
    /// Keys that are left to a snapshot in flight, which frees them when it has them.
    left: usize,
}

impl Flushed {
    /// Adds a table. One that a snapshot in flight still needs counts as on its way to `reclaimer`.
    pub(super) fn push(&mut self, table: Table, reclaimer: &Reclaimer) {
        match orphan(table, reclaimer) {
            Ok(table) => self.tables.push(table),
            Err(keys) => self.left += keys,
        }
    }

    /// Number of keys that are not yet freed.
    pub fn len(&self) -> usize {
        self.left + self.tables.iter().map(Table::len).sum::<usize>()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Frees some thousand keys, a tenth of a millisecond unless their values are large; `true` when nothing is left.
    pub fn free_some(&mut self) -> bool {
        let Some(table) = self.tables.last_mut() else { return true };
        match table.drain(self.at, TABLE_PIECE) {
            Some(at) => self.at = at,
            None => {
                self.tables.pop();
                self.at = 0;
            }
        }
        self.tables.is_empty()
    }

    /// Lets `reclaimer` free it.
    pub fn leave_to(self, reclaimer: &Reclaimer) {
        for table in self.tables {
            reclaimer.take(Garbage::Table(Box::new(table)), Why::Unlinked);
        }
    }
}

/// Counters of background freeing.
#[derive(Default, Debug)]
pub struct ReclaimStats {
    /// Objects handed over and not yet freed.
    pub pending: AtomicU64,
    /// Bytes of these, estimated.
    pub pending_bytes: AtomicU64,
    /// Objects freed in the background.
    pub freed: AtomicU64,
}

/// Memory that will be free when something else is through with it; when this is dropped, it is.
pub struct Expected {
    bytes: u64,
    stats: Arc<ReclaimStats>,
}

impl Expected {
    /// It is so many bytes now.
    pub fn set(&mut self, bytes: usize) {
        let bytes = bytes as u64;
        if bytes != self.bytes {
            // A difference below zero wraps around, and the sum with it.
            self.stats.pending_bytes.fetch_add(bytes.wrapping_sub(self.bytes), Relaxed);
            self.bytes = bytes;
        }
    }

    /// Leaves nothing behind.
    pub fn take(&mut self) -> Expected {
        Expected { bytes: std::mem::take(&mut self.bytes), stats: Arc::clone(&self.stats) }
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// Where garbage goes.
#[derive(Clone)]
pub struct Reclaimer {
    sender: Sender<(Garbage, u64)>,
    stats: Arc<ReclaimStats>,
    config: Arc<Config>,
}

/// Frees what a [`Reclaimer`] is given; to be run by a thread.
pub struct Reclaiming {
    receiver: Receiver<(Garbage, u64)>,
    stats: Arc<ReclaimStats>,
}

impl Reclaimer {
    /// A reclaimer and what frees for it. Without the latter, garbage is freed at once.
    pub fn new(config: Arc<Config>) -> (Reclaimer, Reclaiming) {
        let ((sender, receiver), stats) = (channel(), Arc::<ReclaimStats>::default());
        (Reclaimer { sender, stats: Arc::clone(&stats), config }, Reclaiming { receiver, stats })
    }

    /// Frees `garbage`: here when that is cheap or the option for its kind says so, else in the background.
    #[inline]
    pub fn take(&self, garbage: Garbage, why: Why) {
        if !garbage.is_cheap() {
            self.hand_over(garbage, why);
        }
    }

    #[cold]
    fn hand_over(&self, garbage: Garbage, why: Why) {
        if !why.is_lazy(&self.config) {
            return;
        }
        let (objects, bytes) = (garbage.objects(), garbage.bytes());
        self.stats.pending.fetch_add(objects, Relaxed);
        self.stats.pending_bytes.fetch_add(bytes, Relaxed);
        if self.sender.send((garbage, bytes)).is_err() {
            self.stats.pending.fetch_sub(objects, Relaxed);
            self.stats.pending_bytes.fetch_sub(bytes, Relaxed);
        }
    }

    /// Counts memory as about to be free though it cannot be handed over yet. Nothing at first.
    pub fn expect(&self) -> Expected {
        Expected { bytes: 0, stats: Arc::clone(&self.stats) }
    }

    /// Counts a table and its keys so.
    pub fn expect_table(&self, table: &Table) -> Expected {
        let mut expected = self.expect();
        expected.set(bytes_about(table));
        expected
    }

    /// Counters.
    pub fn stats(&self) -> &ReclaimStats {
        &self.stats
    }
}

impl Reclaiming {
    /// A table goes by pieces, so that the figures tell how far it has got.
    fn free_table(&self, mut table: Table) {
        let mut next = Some(0);
        while let Some(at) = next {
            let before = table.len();
            next = table.drain(at, TABLE_PIECE);
            self.count((before - table.len()) as u64);
        }
    }

    fn count(&self, objects: u64) {
        self.stats.pending.fetch_sub(objects, Relaxed);
        self.stats.freed.fetch_add(objects, Relaxed);
    }

    /// Frees until the reclaimer is gone. Blocks.
    pub fn run(self) {
        while let Ok((garbage, bytes)) = self.receiver.recv() {
            let objects = garbage.objects();
            match garbage {
                Garbage::Table(table) => self.free_table(*table),
                garbage => {
                    drop(garbage);
                    self.count(objects);
                }
            }
            flush_drift();
            self.stats.pending_bytes.fetch_sub(bytes, Relaxed);
        }
    }
}
