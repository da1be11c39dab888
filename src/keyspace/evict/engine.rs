//! Eviction at work: hears the news, keeps within the budget, finds its way from a mark to its entry.
//!
//! One engine serves the whole keyspace, all its databases and shards, because the order of keys is the server's: with a few hundred
//! keys no shard knows anything worth knowing. Invariant: the engine's lock is taken before any shard's, and one shard's at a time, so
//! [`Engine::make_room`] and [`Engine::follow`] are called by who holds none. Must not know: clients, commands.

use super::pressure::{COUNTED, FREQUENCY, News, ORDINAL};
use super::sampled::{Random, Sampled};
use super::{ALGORITHMS, Algorithm, Fate, Place, Resident, Residents, Turn};
use crate::config::EvictionPolicy;
use crate::keyspace::Keyspace;
use crate::keyspace::reclaim::{Garbage, Why};
use crate::keyspace::shard::Shard;
use crate::util::clock::{Ticks, UnixMs};
use crate::util::memory::{own_bytes, set_drift_for, size_class, used_bytes};
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};

/// What the configuration says of memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Budget {
    /// Bytes that may be in use; 0 is no limit.
    pub limit: u64,
    /// Which keys go.
    pub policy: EvictionPolicy,
    /// Row of [`ALGORITHMS`] for the LRU and LFU policies.
    pub algorithm: usize,
    /// Keys that sampling compares.
    pub samples: usize,
    /// How long a turn may take, 0 to 100.
    pub tenacity: u32,
    /// How slowly logarithmic counters of uses grow.
    pub log_factor: u32,
    /// Minutes in which they fall by one.
    pub decay_minutes: u32,
}

impl Budget {
    /// The row of the algorithm in use, if the policy leaves the choice.
    fn row(&self) -> Option<usize> {
        let chosen = matches!(
            self.policy,
            EvictionPolicy::AllkeysLru
                | EvictionPolicy::AllkeysLfu
                | EvictionPolicy::VolatileLru
                | EvictionPolicy::VolatileLfu
        );
        chosen.then_some(self.algorithm % ALGORITHMS.len())
    }

    fn make(&self, live: usize) -> Box<dyn Algorithm> {
        match (self.row(), self.policy) {
            (Some(row), _) => ALGORITHMS[row].0(live, self.samples),
            (_, EvictionPolicy::VolatileTtl) => Box::new(Sampled::new(self.samples)),
            _ => Box::new(Random),
        }
    }

    fn mode(&self) -> u8 {
        let lfu = if self.policy.is_lfu() { FREQUENCY } else { 0 };
        let counted = match self.row() {
            Some(row) if self.limit > 0 && ALGORITHMS[row].1 => COUNTED,
            Some(_) if self.limit > 0 && lfu == 0 => ORDINAL,
            _ => 0,
        };
        lfu | counted
    }

    /// Nanoseconds that a turn may take, as Valkey reckons it: 50 us a step up to 10, then 15 % more a step; 100 is no limit.
    fn slice_nanos(&self) -> u64 {
        let tenacity = u64::from(self.tenacity);
        match tenacity {
            0..=10 => tenacity * 50_000,
            100.. => u64::MAX,
            _ => (10..tenacity).fold(500_000, |nanos: u64, _| nanos.saturating_mul(115) / 100),
        }
    }
}

/// What became of the wish for room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Room {
    /// There is room.
    Made,
    /// There is not yet: the rest goes bit by bit.
    Soon,
    /// There is none, and nothing may be evicted.
    Full,
}

/// News that are left untold until somebody needs room.
const UNTOLD: usize = 256;

/// Walk steps of one turn: some six keys each.
const WALK_HOMES: usize = 32;

/// Bytes over the limit beyond which a command frees twice what it needs and leaves the rest to the background.
const FAR_OVER: u64 = 1 << 20;

/// With fewer keys than this, a command waits for all that can be had.
const MANY_KEYS: usize = 10_000;

/// A batch of requests makes room for at most one part in so many of the limit at once.
const AHEAD_SHARE: u64 = 4096;

/// Nanoseconds of one turn in the background.
const BACKGROUND_NANOS: u64 = 250_000;

/// Below this limit, what the server and eviction keep about keys is not charged to them: it comes and goes by as much as a few
/// hundred keys take.
const SMALL_LIMIT: u64 = 4 << 20;

struct State {
    budget: Budget,
    algorithm: Box<dyn Algorithm>,
    /// Where the walk stands that tells the algorithm of the keys that were there before it: database and hash.
    walk: Option<(usize, u64)>,
    cursor: (usize, u64),
    live: usize,
    /// Number of keys of each database that has any.
    sizes: Vec<(usize, usize)>,
    until_count: usize,
    news: Vec<News>,
    /// Keys whose turn is near: their buckets were requested from memory, their entries are to be.
    near: Vec<u32>,
}

/// What was said of memory, until a turn follows it.
struct Order {
    budget: Budget,
    /// The algorithm begins again.
    anew: bool,
}

/// See the module.
pub struct Engine {
    state: Mutex<State>,
    /// A leaf: taken under any other lock, and nothing that waits is done under it.
    order: Mutex<Order>,
    /// Whether there is news in `order`.
    ordered: AtomicBool,
    /// Since when memory has been over the limit; 0: it is not.
    over_since_ms: AtomicI64,
    over_ms: AtomicU64,
    /// Bytes that the algorithm took when last asked.
    bookkeeping: AtomicU64,
}

const NOTHING: Budget = Budget {
    limit: 0,
    policy: EvictionPolicy::NoEviction,
    algorithm: 0,
    samples: 5,
    tenacity: 10,
    log_factor: 10,
    decay_minutes: 1,
};

impl Default for Engine {
    fn default() -> Engine {
        let state = State {
            budget: NOTHING,
            algorithm: Box::new(Random),
            walk: None,
            cursor: (0, 0),
            live: 0,
            sizes: Vec::new(),
            until_count: 0,
            news: Vec::new(),
            near: Vec::new(),
        };
        Engine {
            state: Mutex::new(state),
            order: Mutex::new(Order { budget: NOTHING, anew: false }),
            ordered: AtomicBool::new(false),
            over_since_ms: AtomicI64::new(0),
            over_ms: AtomicU64::new(0),
            bookkeeping: AtomicU64::new(0),
        }
    }
}

impl Engine {
    /// Says that what `budget` tells holds from now on, which the next turn follows: whoever asks in a transaction holds shards, so this
    /// waits for nobody who takes them. Uses are noted in the new way at once. Of several that ask at once the last is told the latest.
    pub fn configure(&self, budget: impl FnOnce() -> Budget, keyspace: &Keyspace) {
        let mut order = self.order.lock();
        let budget = budget();
        let pressure = keyspace.pressure();
        set_drift_for(budget.limit);
        pressure.set_frequency(budget.log_factor, budget.decay_minutes);
        let (old, mode) = (std::mem::replace(&mut order.budget, budget), budget.mode());
        let same = (old.row(), old.policy, old.samples) == (budget.row(), budget.policy, budget.samples);
        if !same || pressure.mode() != mode {
            pressure.set_mode(mode, budget.policy.is_volatile());
            order.anew = true;
        }
        self.ordered.store(true, Relaxed);
    }

    /// Follows what was last said. The keys that are there are told to the algorithm bit by bit. To be called without any lock.
    pub fn follow(&self, keyspace: &Keyspace) {
        self.state.lock().follow(self, keyspace);
    }

    /// Makes room for `need` bytes within the limit. To be called without any lock.
    #[inline]
    pub fn make_room(&self, limit: u64, need: u64, keyspace: &Keyspace, now: UnixMs) -> Room {
        let freeing = keyspace.reclaimer().stats().pending_bytes.load(Relaxed);
        if used_bytes() + need <= limit + self.allowance(limit) + freeing && keyspace.pressure().untold() < UNTOLD {
            if self.over_since_ms.load(Relaxed) != 0 {
                self.note_over(false, now);
            }
            return Room::Made;
        }
        self.make_room_now(limit, need, keyspace, now)
    }

    #[cold]
    fn make_room_now(&self, limit: u64, need: u64, keyspace: &Keyspace, now: UnixMs) -> Room {
        if keyspace.is_impatient() {
            return Room::Soon; // whoever holds locks for long keeps what asks for room from running, too
        }
        let mut state = self.state.lock();
        state.follow(self, keyspace);
        let nanos = state.budget.slice_nanos();
        let over = used_bytes().saturating_sub(limit);
        // What a command does not have to wait for it does not wait for.
        let far = over > FAR_OVER && state.live > MANY_KEYS;
        let enough = if far { used_bytes().saturating_sub(need * 2) } else { 0 };
        let room = state.make_room(limit, need, enough, nanos, keyspace, now);
        self.note_bookkeeping(&state, keyspace);
        drop(state);
        self.note_over(room != Room::Made, now);
        room
    }

    /// Makes room for a batch of requests that are going to need `need` bytes together; `false` when that was not to be had, or the
    /// limit is so low that it matters whether a key goes a few requests early. To be called without any lock.
    #[inline]
    pub fn make_room_ahead(&self, limit: u64, need: u64, keyspace: &Keyspace, now: UnixMs) -> bool {
        (1..=limit / AHEAD_SHARE).contains(&need)
            && keyspace.pressure().mode() & COUNTED != 0
            && self.make_room(limit, need, keyspace, now) == Room::Made
    }

    /// Bytes that do not count towards this limit, of which 0 is none: what is on its way to be free, and the server's own where the limit
    /// is low. Takes no lock: whoever asks in a transaction holds shards.
    pub fn uncounted_bytes(&self, limit: u64, keyspace: &Keyspace) -> u64 {
        if limit == 0 { 0 } else { self.allowance(limit) + keyspace.reclaimer().stats().pending_bytes.load(Relaxed) }
    }

    /// Bytes above the limit that are not the keys' fault, when last asked.
    fn allowance(&self, limit: u64) -> u64 {
        if limit < SMALL_LIMIT { own_bytes() + self.bookkeeping.load(Relaxed) } else { 0 }
    }

    /// Looks what eviction takes itself, where that counts.
    fn note_bookkeeping(&self, state: &State, keyspace: &Keyspace) {
        if state.budget.limit < SMALL_LIMIT {
            self.bookkeeping.store(state.memory_bytes(keyspace) as u64, Relaxed);
        }
    }

    /// One turn in the background: `true` while there is more to do.
    pub fn relieve(&self, keyspace: &Keyspace, now: UnixMs) -> bool {
        if keyspace.is_impatient() {
            return false;
        }
        let Some(mut state) = self.state.try_lock() else { return false };
        state.follow(self, keyspace);
        if state.budget.limit == 0 {
            return false;
        }
        let limit = state.budget.limit;
        let room = state.make_room(limit, 0, 0, BACKGROUND_NANOS, keyspace, now);
        let walking = state.walk.is_some();
        if walking && room == Room::Made {
            state.walk_on(WALK_HOMES * 8, keyspace, now);
        }
        self.note_bookkeeping(&state, keyspace);
        drop(state);
        self.note_over(room != Room::Made, now);
        room == Room::Soon || walking
    }

    fn note_over(&self, over: bool, now: UnixMs) {
        if over {
            let _ = self.over_since_ms.compare_exchange(0, now.0, Relaxed, Relaxed);
            return;
        }
        let since = self.over_since_ms.swap(0, Relaxed);
        if since != 0 {
            self.over_ms.fetch_add(u64::try_from(now.0 - since).unwrap_or(0), Relaxed);
        }
    }

    /// Milliseconds that memory has been over the limit, in all and in this stretch.
    pub fn exceeded_ms(&self, now: UnixMs) -> (u64, u64) {
        let since = self.over_since_ms.load(Relaxed);
        let current = if since == 0 { 0 } else { u64::try_from(now.0 - since).unwrap_or(0) };
        (self.over_ms.load(Relaxed) + current, current)
    }

    /// Forgets how long memory was over the limit.
    pub fn reset_exceeded(&self) {
        self.over_ms.store(0, Relaxed);
    }
}

impl State {
    fn memory_bytes(&self, keyspace: &Keyspace) -> usize {
        let room_for = |news: usize| size_class(news * size_of::<News>());
        self.algorithm.memory_bytes()
            + room_for(self.news.capacity())
            + room_for(keyspace.pressure().room_for_news())
            + size_class(self.near.capacity() * size_of::<u32>())
    }

    /// See [`Engine::allowance`]; as it is now.
    fn allowance(&self, limit: u64, keyspace: &Keyspace) -> u64 {
        if limit < SMALL_LIMIT { own_bytes() + self.memory_bytes(keyspace) as u64 } else { 0 }
    }

    fn follow(&mut self, engine: &Engine, keyspace: &Keyspace) {
        if !engine.ordered.swap(false, Relaxed) {
            return;
        }
        let anew = {
            let mut order = engine.order.lock();
            self.budget = order.budget;
            std::mem::take(&mut order.anew)
        };
        if anew {
            self.restart(keyspace);
        }
    }

    fn restart(&mut self, keyspace: &Keyspace) {
        self.count(keyspace);
        let old = std::mem::replace(&mut self.algorithm, self.budget.make(self.live));
        keyspace.reclaimer().take(Garbage::Algorithm(old), Why::Unlinked);
        self.walk = (keyspace.pressure().mode() & COUNTED != 0 && self.live > 0).then_some((0, 0));
        keyspace.pressure().want(self.algorithm.wants());
    }

    /// Counts the keys: a lock for each shard.
    fn count(&mut self, keyspace: &Keyspace) {
        self.sizes = keyspace.sizes();
        self.live = self.sizes.iter().map(|(_, keys)| keys).sum();
        self.until_count = (self.live / 16).clamp(16, 4096);
        keyspace.pressure().fit_ordinal(self.live);
    }

    /// Evicts until there is room, or no more than `enough` bytes are in use, or time is up.
    fn make_room(&mut self, limit: u64, need: u64, enough: u64, nanos: u64, keyspace: &Keyspace, now: UnixMs) -> Room {
        self.hear(keyspace, now);
        self.look_ahead(keyspace);
        let (mut started, mut turns) = (None, 0_u32);
        loop {
            let (used, freeing) = (used_bytes(), keyspace.reclaimer().stats().pending_bytes.load(Relaxed));
            // What the algorithm takes changes from turn to turn.
            let limit = limit + self.allowance(limit, keyspace);
            if used + need <= limit + freeing {
                return Room::Made;
            }
            if used <= enough + freeing {
                return Room::Soon;
            }
            let turn =
                if self.budget.policy == EvictionPolicy::NoEviction { Turn::Empty } else { self.turn(keyspace, now) };
            if keyspace.is_impatient() {
                return Room::Soon; // it may be for that that nothing was found
            }
            if turn == Turn::Empty && !self.walk_on(WALK_HOMES, keyspace, now) {
                return if used > limit + freeing { Room::Full } else { Room::Made };
            }
            turns += 1;
            let started = *started.get_or_insert_with(Ticks::now);
            if turns % 8 == 0 && Ticks::now().nanos_since(started) > nanos {
                return Room::Soon;
            }
        }
    }

    fn turn(&mut self, keyspace: &Keyspace, now: UnixMs) -> Turn {
        self.until_count = self.until_count.saturating_sub(1);
        if self.until_count == 0 {
            self.count(keyspace);
        }
        let State { algorithm, budget, sizes, cursor, live, .. } = self;
        let turn = algorithm.evict(&mut Keys { keyspace, policy: budget.policy, now, sizes, cursor });
        *live = live.saturating_sub(usize::from(turn == Turn::Evicted));
        turn
    }

    /// Requests from memory what the evictions after the coming ones will look at: entries, where the call before has requested the
    /// buckets that name them, and buckets of more.
    fn look_ahead(&mut self, keyspace: &Keyspace) {
        let State { algorithm, near, sizes, .. } = self;
        let guard = &crossbeam_epoch::pin();
        let Some((db, _)) = sizes.first() else { return };
        near.drain(..).for_each(|mark| keyspace.prefetch_marked_entry(*db, with_db(mark, *db), guard));
        algorithm.name_next(&mut |mark| near.push(mark));
        near.iter().for_each(|mark| keyspace.prefetch_marked_bucket(*db, with_db(*mark, *db), guard));
    }

    /// Tells the algorithm what has happened.
    fn hear(&mut self, keyspace: &Keyspace, now: UnixMs) {
        let mut news = std::mem::take(&mut self.news);
        keyspace.pressure().take_news(&mut news);
        for piece in &news {
            if let News::New { db, mark } = *piece {
                self.algorithm.expect(with_db(mark, db));
            }
        }
        for piece in news.drain(..) {
            match piece {
                News::Used { db, mark } => self.algorithm.used(with_db(mark, db)),
                News::New { db, mark } => self.hear_new(db, mark, keyspace, now),
                News::Replaced => self.restart(keyspace),
            }
        }
        self.news = news;
        keyspace.pressure().want(self.algorithm.wants());
    }

    fn hear_new(&mut self, db: usize, mark: u32, keyspace: &Keyspace, now: UnixMs) {
        if self.walk.is_some_and(|(at_db, at)| (db, u64::from(mark) << 32) >= (at_db, at)) {
            return; // the walk will come by
        }
        self.live += 1;
        self.until_count = self.until_count.saturating_sub(1);
        if self.until_count == 0 {
            self.count(keyspace);
        }
        let State { algorithm, budget, sizes, cursor, live, .. } = self;
        let mut keys = Keys { keyspace, policy: budget.policy, now, sizes, cursor };
        algorithm.insert(with_db(mark, db), *live, &mut keys);
        if algorithm.marks() > *live * 2 + 512 {
            algorithm.scrub(8, &mut keys);
        }
    }

    /// Goes on with the walk; `false` when there is none, or it is over.
    fn walk_on(&mut self, homes: usize, keyspace: &Keyspace, now: UnixMs) -> bool {
        let Some((mut db, mut at)) = self.walk else { return false };
        let State { algorithm, budget, sizes, cursor, .. } = self;
        let mut found = Vec::new();
        for _ in 0..homes {
            let next = keyspace.candidates(db, at, budget.policy, now, &mut |mark, _| found.push(with_db(mark, db)));
            (db, at) = next.map_or((db + 1, 0), |at| (db, at));
            if db >= keyspace.databases() {
                break;
            }
        }
        let mut keys = Keys { keyspace, policy: budget.policy, now, sizes, cursor };
        found.into_iter().for_each(|mark| algorithm.adopt(mark, &mut keys));
        self.walk = (db < keyspace.databases()).then_some((db, at));
        true
    }
}

/// Marks of the same key in different databases differ.
fn with_db(mark: u32, db: usize) -> u32 {
    // Above the lowest bits, by which uses are chosen to be told.
    mark ^ u32::try_from(db & 0x3ff).unwrap_or(0) << 22
}

/// Homes that one sample looks at before it gives up.
const SAMPLE_HOMES: usize = 512;

/// The keys, as an algorithm sees them.
struct Keys<'a> {
    keyspace: &'a Keyspace,
    policy: EvictionPolicy,
    now: UnixMs,
    sizes: &'a [(usize, usize)],
    /// Where the last sample of a volatile policy ended: keys with a deadline may be few.
    cursor: &'a mut (usize, u64),
}

impl Keys<'_> {
    /// A position chosen by chance, every key as likely.
    fn anywhere(&self) -> (usize, u64) {
        let total: usize = self.sizes.iter().map(|(_, keys)| keys).sum();
        let mut rest = rand::random_range(0..total.max(1));
        let chosen = self.sizes.iter().find(|(_, keys)| match rest.checked_sub(*keys) {
            Some(left) => {
                rest = left;
                false
            }
            None => true,
        });
        (chosen.map_or(0, |(db, _)| *db), rand::random())
    }
}

impl Residents for Keys<'_> {
    fn look(&mut self, mark: u32) -> Option<Resident> {
        let Keys { keyspace, policy, now, .. } = self;
        keyspace.allocated().find_map(|db| {
            keyspace.with_mark(db, with_db(mark, db), |shard, mark| shard.resident(mark, *policy, *now)).flatten()
        })
    }

    fn set(&mut self, mark: u32, place: Place, uses: u8) {
        let keyspace = self.keyspace;
        keyspace.allocated().any(|db| {
            keyspace.with_mark(db, with_db(mark, db), |shard, mark| shard.set_place(mark, place, uses)) == Some(true)
        });
    }

    fn welcome(&mut self, mark: u32) {
        // Where every key may go, the one that was stored says so of itself.
        if self.policy.is_volatile() {
            self.set(mark, Place::Window, 0);
        }
    }

    fn evict(&mut self, mark: u32) -> bool {
        let Keys { keyspace, now, .. } = self;
        let gone = keyspace.allocated().any(|db| {
            let evict = |shard: &mut Shard, mark| shard.evict(mark, *now, keyspace.victims());
            keyspace.with_mark(db, with_db(mark, db), evict) == Some(true)
        });
        if gone {
            keyspace.note_news();
        }
        gone
    }

    fn decide(&mut self, mark: u32, decide: &mut dyn FnMut(Resident) -> Fate) -> Option<Fate> {
        let Keys { keyspace, policy, now, .. } = self;
        let fate = keyspace.allocated().find_map(|db| {
            let with = |shard: &mut Shard, mark| shard.decide(mark, *policy, *now, keyspace.victims(), decide);
            keyspace.with_mark(db, with_db(mark, db), with).flatten()
        });
        if fate == Some(Fate::Goes) {
            keyspace.note_news();
        }
        fate
    }

    fn sample(&mut self, count: usize, visit: &mut dyn FnMut(u32, Resident)) {
        let volatile = self.policy.is_volatile();
        let (mut db, mut at) = if volatile { *self.cursor } else { self.anywhere() };
        let (mut seen, mut turns) = (0, 0);
        for _ in 0..SAMPLE_HOMES {
            let next = self.keyspace.candidates(db, at, self.policy, self.now, &mut |mark, resident| {
                // All of a home, or the keys that stand last in it would never go.
                seen += 1;
                visit(with_db(mark, db), resident);
            });
            (db, at) = match next {
                Some(at) => (db, at),
                None => {
                    turns += 1;
                    ((db + 1) % self.keyspace.databases(), 0)
                }
            };
            if seen >= count || turns > self.keyspace.databases() {
                break;
            }
        }
        *self.cursor = (db, at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyspace::reclaim::Reclaimer;
    use crate::keyspace::{Key, KeyHasher, LockPlan, Ttl, View};
    use crate::value::string::StringSource;
    use std::collections::BTreeSet;

    const NOW: UnixMs = UnixMs(1_700_000_000_000);

    struct World {
        keyspace: &'static Keyspace,
    }

    impl World {
        fn new(policy: EvictionPolicy, algorithm: usize) -> World {
            let config = std::sync::Arc::default();
            let keyspace = Keyspace::new(4, 1, KeyHasher::with_seed(3), Reclaimer::new(config).0);
            let keyspace: &'static Keyspace = Box::leak(Box::new(keyspace));
            keyspace
                .engine()
                .configure(|| Budget { limit: u64::MAX, policy, algorithm, samples: 5, ..NOTHING }, keyspace);
            keyspace.engine().follow(keyspace);
            World { keyspace }
        }

        fn with<R>(&self, db: usize, name: &str, work: impl FnOnce(&mut View<'_>, Key<'_>) -> R) -> R {
            let key = self.keyspace.hasher().key(name.as_bytes());
            let mut view = View::lock(self.keyspace, db, NOW, true, LockPlan::Keys, std::iter::once(key.hash));
            work(&mut view, key)
        }

        fn set(&self, db: usize, name: &str, ttl: Ttl) {
            self.with(db, name, |view, key| view.put_string(key, StringSource::Int(1), ttl));
        }

        fn get(&self, db: usize, name: &str) -> bool {
            self.with(db, name, |view, key| view.read(key).is_some())
        }

        fn evict(&self) -> bool {
            let mut state = self.keyspace.engine().state.lock();
            state.hear(self.keyspace, NOW);
            loop {
                match state.turn(self.keyspace, NOW) {
                    Turn::Evicted => return true,
                    Turn::Searching => {}
                    Turn::Empty => {
                        if !state.walk_on(WALK_HOMES, self.keyspace, NOW) {
                            return false;
                        }
                    }
                }
            }
        }

        fn left(&self, names: &[&'static str]) -> BTreeSet<&'static str> {
            let there = |name: &&str| self.with(0, name, |view, key| view.peek(key).is_some());
            names.iter().copied().filter(there).collect()
        }
    }

    #[test]
    fn the_nearest_deadline_goes_first() {
        let world = World::new(EvictionPolicy::VolatileTtl, 0);
        world.set(0, "never", Ttl::Clear);
        for (name, seconds) in [("c", 30), ("a", 10), ("b", 20)] {
            world.set(0, name, Ttl::At(UnixMs(NOW.0 + seconds * 1000)));
        }
        for left in [&["b", "c", "never"][..], &["c", "never"], &["never"]] {
            assert!(world.evict());
            assert_eq!(world.left(&["a", "b", "c", "never"]), left.iter().copied().collect());
        }
        assert!(!world.evict());
    }

    #[test]
    fn every_key_of_every_database_is_found() {
        for (policy, algorithm) in [
            (EvictionPolicy::AllkeysLru, 0),
            (EvictionPolicy::AllkeysLfu, 0),
            (EvictionPolicy::AllkeysLru, 1),
            (EvictionPolicy::AllkeysLfu, 1),
            (EvictionPolicy::AllkeysRandom, 0),
        ] {
            let world = World::new(policy, algorithm);
            for number in 0..2000 {
                world.set(number % 3, &format!("key:{number}"), Ttl::Clear);
                if number % 5 == 0 {
                    world.get(0, "key:0");
                }
            }
            let evicted = std::iter::repeat_with(|| world.evict()).take_while(|done| *done).count();
            assert_eq!(evicted, 2000, "{policy:?} {algorithm}");
        }
    }

    #[test]
    fn what_was_there_before_is_found() {
        let world = World::new(EvictionPolicy::NoEviction, 0);
        (0..1000).for_each(|number| world.set(0, &format!("key:{number}"), Ttl::Clear));
        let budget = Budget { limit: u64::MAX, policy: EvictionPolicy::AllkeysLru, ..NOTHING };
        world.keyspace.engine().configure(|| budget, world.keyspace);
        world.keyspace.engine().follow(world.keyspace);
        (1000..1100).for_each(|number| world.set(0, &format!("key:{number}"), Ttl::Clear));
        assert_eq!(std::iter::repeat_with(|| world.evict()).take_while(|done| *done).count(), 1100);
    }

    #[test]
    fn a_key_in_use_outlives_others() {
        for (policy, algorithm) in
            [(EvictionPolicy::AllkeysLru, 0), (EvictionPolicy::AllkeysLru, 1), (EvictionPolicy::AllkeysLfu, 1)]
        {
            let world = World::new(policy, algorithm);
            (0..300).for_each(|number| world.set(0, &format!("key:{number}"), Ttl::Clear));
            for number in 300..3000 {
                assert!(world.get(0, "key:7"), "{policy:?} {algorithm} at {number}");
                assert!(world.evict());
                world.set(0, &format!("key:{number}"), Ttl::Clear);
            }
        }
    }

    #[test]
    fn keys_that_come_and_go_leave_no_marks() {
        let world = World::new(EvictionPolicy::AllkeysLru, 0);
        for number in 0..50_000 {
            let name = format!("key:{number}");
            world.set(0, &name, Ttl::Clear);
            world.with(0, &name, |view, key| view.remove(key));
            if number % 100 == 0 {
                world.keyspace.engine().state.lock().hear(world.keyspace, NOW);
            }
        }
        let marks = world.keyspace.engine().state.lock().algorithm.marks();
        assert!(marks < 2_000, "{marks} marks for no key");
    }
}
