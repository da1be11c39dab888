//! SCAN's promises, on the keyspace in process: schedules of inserts, deletes, expiries, growth and flushes between its
//! pages, through the walk that the command itself uses.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use larder::command::generic::scan::{Budget, Walk};
use larder::keyspace::entry::EntryRef;
use larder::keyspace::reclaim::Reclaimer;
use larder::keyspace::{KeyHasher, Keyspace, LockPlan, Ttl, View};
use larder::util::clock::UnixMs;
use larder::value::string::StringSource;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

const SCHEDULES: u64 = 1000;

/// What a page may overshoot beyond ten times COUNT: the keys of a bucket and of those it has overflowed into.
const SLACK: usize = 64;

const DB: usize = 3;

/// One keyspace and what is known of it.
struct Schedule {
    keyspace: Keyspace,
    random: SmallRng,
    now: UnixMs,
    /// Deadlines (or none) of the keys that come and go.
    passing: HashMap<u32, Option<UnixMs>>,
    next: u32,
}

impl Schedule {
    fn new(seed: u64) -> Schedule {
        let workers = [1, 1, 1, 16][(seed % 4) as usize];
        let keyspace = Keyspace::new(16, workers, KeyHasher::with_seed(seed), Reclaimer::new(Arc::default()).0);
        let random = SmallRng::seed_from_u64(seed);
        Schedule { keyspace, random, now: UnixMs(1_700_000_000_000), passing: HashMap::new(), next: 0 }
    }

    /// A number up to `most`, small ones more often.
    fn some(&mut self, most: usize) -> usize {
        let bits = self.random.random_range(0..=most.max(1).ilog2());
        self.random.random_range(0..=1_usize << bits).min(most)
    }

    fn view<R>(&self, key: &str, work: impl FnOnce(&mut View<'_>, larder::keyspace::Key<'_>) -> R) -> R {
        let key = self.keyspace.hasher().key(key.as_bytes());
        let hashes = std::iter::once(key.hash);
        work(&mut View::lock(&self.keyspace, DB, self.now, true, LockPlan::Keys, hashes), key)
    }

    fn set(&self, name: &str, ttl: Ttl) {
        self.view(name, |view, key| view.put_string(key, StringSource::new(b"v"), ttl));
    }

    fn insert_passing(&mut self, count: usize) {
        for _ in 0..count {
            let deadline =
                (self.random.random_range(0..4) == 0).then(|| UnixMs(self.now.0 + self.random.random_range(1..3000)));
            self.set(&passing(self.next), deadline.map_or(Ttl::Clear, Ttl::At));
            self.passing.insert(self.next, deadline);
            self.next += 1;
        }
    }

    fn remove_passing(&mut self, count: usize) {
        let gone: Vec<u32> = self.passing.keys().copied().take(count).collect();
        for number in gone {
            self.view(&passing(number), |view, key| view.remove(key));
            self.passing.remove(&number);
        }
    }

    /// Something that may happen between two pages.
    fn disturb(&mut self, size: usize) {
        match self.random.random_range(0..10) {
            0..4 => {
                let count = self.some(size);
                self.insert_passing(count);
            }
            4..7 => {
                let count = self.some(size);
                self.remove_passing(count);
            }
            7 => self.remove_passing(usize::MAX),
            8 => self.now.0 += self.random.random_range(0..1500),
            _ => {
                self.now.0 += self.random.random_range(0..1500);
                for shard in 0..self.keyspace.shards() {
                    while self.keyspace.expire_turn(shard, self.now, &mut |_, _| {}) {}
                }
            }
        }
    }

    /// One page, as SCAN makes it; returns the cursor, the keys, and how many homes it may have looked at.
    fn page(&self, cursor: u64, count: usize) -> (u64, Vec<String>) {
        let (mut walk, mut budget) = (Walk::resume(DB, cursor), Budget::count(count));
        let mut view = View::lock(&self.keyspace, DB, self.now, true, LockPlan::Keys, std::iter::empty());
        let mut found = Vec::new();
        while !walk.is_over() && !budget.is_spent() {
            walk.step(&mut view, &mut budget, &mut |entry: EntryRef<'_>| {
                found.push(String::from_utf8_lossy(entry.key()).into_owned());
            });
        }
        (walk.cursor(), found)
    }

    fn check_page(&self, keys: &[String], count: usize) {
        assert!(keys.len() <= 10 * count + SLACK, "COUNT {count} met {} keys", keys.len());
        for number in keys.iter().filter_map(|key| key.strip_prefix("passing:")) {
            let deadline = number.parse().ok().and_then(|number: u32| self.passing.get(&number));
            assert!(deadline.is_some_and(|at| at.is_none_or(|at| at > self.now)), "passing:{number} is not there");
        }
    }
}

fn passing(number: u32) -> String {
    format!("passing:{number}")
}

fn stable(number: usize) -> String {
    format!("stable:{number}")
}

/// Runs one schedule from cursor 0 to cursor 0.
fn run(seed: u64) {
    let mut schedule = Schedule::new(seed);
    let size = 4 + schedule.some(20_000);
    let stables = schedule.random.random_range(0..size);
    let before = schedule.random.random_range(0..2 * size);
    schedule.insert_passing(before);
    (0..stables).for_each(|number| schedule.set(&stable(number), Ttl::Clear));

    // Pages such that a schedule has some dozens.
    let most = (stables + before) / 25 + 2;
    let (mut cursor, mut seen, mut pages) = (0, HashSet::new(), 0);
    loop {
        let count = 1 + schedule.some(most);
        let (next, keys) = schedule.page(cursor, count);
        schedule.check_page(&keys, count);
        for key in keys {
            assert!(seen.insert(key.clone()), "seed {seed}: {key} was met twice");
        }
        pages += 1;
        assert!(pages < 100_000, "seed {seed}: the walk does not end");
        assert!(next == 0 || next > cursor, "seed {seed}: the walk went back");
        if next == 0 {
            break;
        }
        cursor = next;
        schedule.disturb(size);
    }
    for number in 0..stables {
        assert!(seen.contains(&stable(number)), "seed {seed}: stable:{number} of {stables} was not met");
    }
}

#[test]
fn every_key_there_from_start_to_end_is_met_once() {
    std::thread::scope(|scope| {
        for half in 0..2 {
            scope.spawn(move || (0..SCHEDULES).filter(|seed| seed % 2 == half).for_each(run));
        }
    });
}

#[test]
fn count_is_kept_within_a_factor_of_ten() {
    let mut schedule = Schedule::new(0);
    let keys = 50_000;
    schedule.insert_passing(keys);
    schedule.passing.clear();
    for count in [1, 10, 100, 1000, 10_000] {
        let (mut cursor, mut pages) = (0, 0);
        loop {
            let (next, met) = schedule.page(cursor, count);
            assert!(met.len() <= 10 * count + SLACK, "COUNT {count} met {} keys", met.len());
            pages += 1;
            cursor = next;
            if next == 0 {
                break;
            }
        }
        let average = keys / pages;
        assert!(average <= 10 * count && average * 10 >= count.min(keys), "COUNT {count} met {average} on average");
    }
}

#[test]
fn a_sparse_database_is_walked_in_few_pages() {
    let mut schedule = Schedule::new(3);
    assert_eq!(schedule.page(0, 10), (0, Vec::new()));
    schedule.insert_passing(100_000);
    schedule.set("stable:0", Ttl::Clear);
    schedule.remove_passing(usize::MAX);
    let (mut cursor, mut pages, mut found) = (0, 0, Vec::new());
    loop {
        let (next, keys) = schedule.page(cursor, 10);
        found.extend(keys);
        pages += 1;
        cursor = next;
        if next == 0 {
            break;
        }
    }
    assert_eq!(found, ["stable:0"]);
    assert!(pages < 20, "{pages} pages for one key");
}

#[test]
fn any_cursor_is_taken() {
    let mut schedule = Schedule::new(1);
    schedule.insert_passing(5000);
    for _ in 0..1000 {
        let cursor = schedule.random.random();
        let (next, keys) = schedule.page(cursor, 10);
        assert!(next < 1 << 53 && keys.len() <= 100 + SLACK);
    }
}
