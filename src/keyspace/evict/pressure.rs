//! What shards need to know of eviction: whether uses are to be noted, and how; and what they have to tell.
//!
//! One of these is shared by all shards. While memory is not limited and no LFU policy is set, [`Pressure::mode`] is 0, and noting a use
//! is what it was: one load more. Invariant: the inbox is a leaf, its lock is taken under those of shards and nothing is locked under
//! it. Must not know: tables, clients.

use super::MAX_USES;
use crate::keyspace::entry::EntryMut;
use crate::util::clock::UnixMs;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};

/// Entries count their uses, and the algorithm hears of new keys.
pub const COUNTED: u8 = 1;
/// Entries keep a logarithmic counter of uses in place of the access clock.
pub const FREQUENCY: u8 = 2;
/// Entries keep the ordinal of their last use.
pub const ORDINAL: u8 = 4;

/// What a new key's logarithmic counter starts with, so that it is not the first to go.
pub const INITIAL_FREQUENCY: u8 = 5;

/// Ordinals are kept in so many bits.
const ORDINAL_BITS: u32 = 10;

/// So many steps of the ordinal are as many new keys as there are keys: the oldest key has then seen a quarter of all ordinals.
const STEPS: u64 = 256;

/// Before it is known how many keys there are, the ordinal steps on so many times while their number doubles: of a thousand million keys
/// that leaves all but one in 65,536 in their order.
const STEPS_A_DOUBLING: u64 = 64;

/// Uses beyond so many untold news are not told.
const MAX_NEWS: usize = 4096;

/// News for the algorithm.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum News {
    /// A key was stored that was not there, or has become one that may be evicted.
    New {
        /// Its database.
        db: usize,
        /// The topmost 32 bits of its hash.
        mark: u32,
    },
    /// A key was used that the algorithm asks for.
    Used {
        /// Its database.
        db: usize,
        /// The topmost 32 bits of its hash.
        mark: u32,
    },
    /// Databases were emptied or exchanged: nothing that is known of keys holds any more.
    Replaced,
}

/// See the module.
#[derive(Default)]
pub struct Pressure {
    mode: AtomicU8,
    /// Bits of a mark that must be zero for the algorithm to hear of its uses.
    wanted: AtomicU32,
    /// Whether only keys with a deadline are told of.
    volatile: AtomicU8,
    log_factor: AtomicU32,
    decay_minutes: AtomicU32,
    /// New keys since the ordinal was last fitted, and after how many of them it steps on.
    fresh: AtomicU64,
    step: AtomicU64,
    ordinal: AtomicU16,
    inbox: Mutex<Vec<News>>,
    news: AtomicUsize,
}

impl Pressure {
    /// How uses are noted: some of [`COUNTED`], [`FREQUENCY`] and [`ORDINAL`].
    #[inline]
    pub fn mode(&self) -> u8 {
        self.mode.load(Relaxed)
    }

    /// Notes uses in this way from now on.
    pub fn set_mode(&self, mode: u8, volatile: bool) {
        self.volatile.store(u8::from(volatile), Relaxed);
        self.mode.store(mode, Relaxed);
        if mode & COUNTED == 0 {
            self.inbox.lock().clear();
            self.news.store(0, Relaxed);
        }
    }

    /// Sets how the logarithmic counters grow and fall.
    pub fn set_frequency(&self, log_factor: u32, decay_minutes: u32) {
        self.log_factor.store(log_factor, Relaxed);
        self.decay_minutes.store(decay_minutes, Relaxed);
    }

    /// Asks for the uses of keys whose marks have none of these bits.
    pub fn want(&self, wanted: u32) {
        self.wanted.store(wanted, Relaxed);
    }

    /// Lets the ordinal step on so that it fits about `keys` keys.
    pub fn fit_ordinal(&self, keys: usize) {
        self.step.store(keys as u64 / STEPS, Relaxed);
        self.fresh.store(0, Relaxed);
    }

    /// How many steps ago a key was used, at most 1023.
    pub fn age(&self, ordinal: u16) -> u16 {
        self.ordinal.load(Relaxed).wrapping_sub(ordinal) & ((1 << ORDINAL_BITS) - 1)
    }

    /// Notes a use of an entry at `now`; [`Pressure::mode`] is not 0. `hash` is its key's.
    #[cold]
    pub fn note_use(&self, entry: &mut EntryMut<'_>, hash: u64, db: usize, seconds: u32, now: UnixMs) {
        let mode = self.mode();
        if mode & FREQUENCY != 0 {
            let access = self.grown(entry.get().access(), now);
            entry.set_access(access);
        } else if entry.get().access() != seconds {
            entry.set_access(seconds);
        }
        if mode & ORDINAL != 0 {
            entry.set_tally(self.ordinal.load(Relaxed));
        }
        if mode & COUNTED != 0 {
            let tally = entry.get().tally();
            if (tally >> 2) & 3 < u16::from(MAX_USES) {
                entry.set_tally(tally + 4);
            }
            let mark = mark_of(hash);
            if mark & self.wanted.load(Relaxed) == 0 && self.concerns(entry.get().deadline()) {
                self.tell(News::Used { db, mark });
            }
        }
    }

    /// Prepares a new entry and tells of it; [`Pressure::mode`] is not 0.
    #[cold]
    pub fn note_new(&self, entry: &mut EntryMut<'_>, hash: u64, db: usize, now: UnixMs) {
        let mode = self.mode();
        if mode & FREQUENCY != 0 {
            entry.set_access(minutes(now) << 8 | u32::from(INITIAL_FREQUENCY));
        }
        if mode & ORDINAL != 0 {
            entry.set_tally(self.ordinal_of_new());
        }
        if mode & COUNTED != 0 {
            // In the window, until the algorithm says otherwise.
            entry.set_tally(1);
            if self.concerns(entry.get().deadline()) {
                self.tell(News::New { db, mark: mark_of(hash) });
            }
        }
    }

    /// The ordinal of one more new key.
    fn ordinal_of_new(&self) -> u16 {
        let fresh = self.fresh.fetch_add(1, Relaxed);
        let doublings = (fresh / STEPS_A_DOUBLING).checked_ilog2().unwrap_or(0);
        let step = self.step.load(Relaxed).max(1 << doublings);
        if fresh.is_multiple_of(step) {
            self.ordinal.fetch_add(1, Relaxed);
        }
        self.ordinal.load(Relaxed) & ((1 << ORDINAL_BITS) - 1)
    }

    /// As [`Pressure::note_new`], for an entry of a file, with the counter that it had there. Nobody is told: [`Pressure::note_replaced`]
    /// is to be called behind the last.
    pub fn note_loaded(&self, entry: &mut EntryMut<'_>, frequency: Option<u8>, now: UnixMs) {
        let mode = self.mode();
        if mode & FREQUENCY != 0 {
            entry.set_access(Pressure::with_frequency(frequency.unwrap_or(INITIAL_FREQUENCY), now));
        }
        if mode & ORDINAL != 0 {
            entry.set_tally(self.ordinal.load(Relaxed) & ((1 << ORDINAL_BITS) - 1));
        }
        if mode & COUNTED != 0 {
            entry.set_tally(1);
        }
    }

    /// Tells of a key that has got a deadline, where that is what makes it one that may go.
    #[inline]
    pub fn note_candidate(&self, hash: u64, db: usize) {
        if self.mode() & COUNTED != 0 && self.is_volatile() {
            self.tell(News::New { db, mark: mark_of(hash) });
        }
    }

    /// Whether only keys with a deadline may go.
    pub fn is_volatile(&self) -> bool {
        self.volatile.load(Relaxed) != 0
    }

    /// Tells that databases were emptied or exchanged.
    pub fn note_replaced(&self) {
        if self.mode() & COUNTED != 0 {
            self.tell(News::Replaced);
        }
    }

    fn concerns(&self, deadline: Option<UnixMs>) -> bool {
        deadline.is_some() || !self.is_volatile()
    }

    fn tell(&self, news: News) {
        let mut inbox = self.inbox.lock();
        if inbox.len() < MAX_NEWS || !matches!(news, News::Used { .. }) {
            inbox.push(news);
            self.news.store(inbox.len(), Relaxed);
        }
    }

    /// How much there is to tell.
    pub fn untold(&self) -> usize {
        self.news.load(Relaxed)
    }

    /// News that the inbox holds without growing.
    pub fn room_for_news(&self) -> usize {
        self.inbox.lock().capacity()
    }

    /// Exchanges all news for the empty `into`.
    pub fn take_news(&self, into: &mut Vec<News>) {
        debug_assert!(into.is_empty());
        let mut inbox = self.inbox.lock();
        std::mem::swap(&mut *inbox, into);
        self.news.store(0, Relaxed);
    }

    /// The logarithmic counter in `access`, fallen to what it is at `now`.
    pub fn frequency(&self, access: u32, now: UnixMs) -> u8 {
        let [counter, ..] = access.to_le_bytes();
        let decay = self.decay_minutes.load(Relaxed);
        let periods = (minutes(now).wrapping_sub(access >> 8) & 0xffff).checked_div(decay).unwrap_or(0);
        counter.saturating_sub(u8::try_from(periods).unwrap_or(u8::MAX))
    }

    /// `access` after a use: the counter grows by one with a chance that falls as it grows.
    fn grown(&self, access: u32, now: UnixMs) -> u32 {
        let counter = self.frequency(access, now);
        let over = u32::from(counter.saturating_sub(INITIAL_FREQUENCY));
        let odds = u64::from(over) * u64::from(self.log_factor.load(Relaxed)) + 1;
        let grows = counter < u8::MAX && u64::from(rand::random::<u32>()) * odds < 1 << 32;
        minutes(now) << 8 | u32::from(counter + u8::from(grows))
    }

    /// `access` for a key with this counter.
    pub fn with_frequency(counter: u8, now: UnixMs) -> u32 {
        minutes(now) << 8 | u32::from(counter)
    }
}

/// Minutes since the epoch, 16 bits.
fn minutes(now: UnixMs) -> u32 {
    u32::try_from((now.seconds() / 60) & 0xffff).unwrap_or(0)
}

/// The mark of a key with this hash.
pub fn mark_of(hash: u64) -> u32 {
    let [.., a, b, c, d] = hash.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cache that was filled before the first eviction had ordinals that had gone round many times: the first turnover went by chance.
    #[test]
    fn ordinals_do_not_go_round_while_a_cache_fills() {
        let pressure = Pressure::default();
        let ordinals: Vec<u16> = (0..300_000).map(|_| pressure.ordinal_of_new()).collect();
        let ages: Vec<u16> = ordinals.iter().skip(1000).map(|ordinal| pressure.age(*ordinal)).collect();
        assert!(ages.is_sorted_by(|older, newer| older >= newer));
        assert!(ages[0] > 450 && ages[150_000] > 50, "{} {}", ages[0], ages[150_000]);
        pressure.fit_ordinal(300_000);
        let next: Vec<u16> = (0..300_000).map(|_| pressure.ordinal_of_new()).collect();
        assert!((180..=257).contains(&pressure.age(next[0])));
    }
}
