//! Active expiry and freeing: what is due goes in bounded turns, and the lazyfree options are obeyed.

use crate::harness::Client;
use larder::keyspace::reclaim::{Reclaimer, Why};
use larder::keyspace::{KeyHasher, Keyspace};
use larder::protocol::reply::Resp;
use larder::util::clock::UnixMs;
use std::sync::atomic::Ordering::Relaxed;

/// Runs the active cycle over every shard at a time of the test's own; returns the number of turns.
fn expire_at(c: &Client, now: UnixMs) -> usize {
    let mut turns = 0;
    for shard in 0..c.shared.keyspace.shards() {
        while c.shared.keyspace.expire_turn(shard, now, &mut |db, news| c.shared.hear_all(db, &news)) {
            turns += 1;
        }
    }
    turns
}

fn info(c: &mut Client, section: &str, name: &str) -> String {
    let text = c.ask(&format!("INFO {section}"));
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name}:")));
    line.expect("a field of the section").to_owned()
}

#[test]
fn everything_due_goes_in_many_short_turns() {
    let mut c = Client::new(Resp::V2);
    let now = UnixMs::now().0;
    for number in 0..30_000 {
        c.ask(&format!("SET key:{number} v PXAT {}", now + 100_000 + i64::from(number % 3)));
    }
    c.ask("SET stays v");
    c.ask(&format!("SET later v PXAT {}", now + 500_000));
    // Nothing is due, and what is due soon is only looked at.
    assert_eq!(expire_at(&c, UnixMs(now + 1)), 0);
    expire_at(&c, UnixMs(now + 99_900));
    c.check("DBSIZE", ":30002");
    // A turn removes some 150 entries.
    let turns = expire_at(&c, UnixMs(now + 100_002));
    assert!((150..400).contains(&turns), "{turns} turns for 30,000 keys");
    c.check("DBSIZE", ":2");
    assert_eq!(info(&mut c, "stats", "expired_keys"), "30000");
    assert_eq!(info(&mut c, "keyspace", "db0").split(',').nth(1), Some("expires=1"));
}

#[test]
fn a_turn_that_finds_nothing_expired_is_short_too() {
    let mut c = Client::new(Resp::V2);
    let now = UnixMs::now().0;
    for number in 0..30_000 {
        c.ask(&format!("SET key:{number} v PXAT {}", now + 100_000));
    }
    // The coarse deadlines have come, the exact ones have not: every entry is looked at.
    expire_at(&c, UnixMs(now + 99_000));
    let turns = expire_at(&c, UnixMs(now + 100_000 - 1));
    assert!(turns == 0 || turns >= 40, "{turns} turns over 30,000 entries");
    c.check("DBSIZE", ":30000");
}

#[test]
fn fields_go_in_turns() {
    let mut c = Client::new(Resp::V2);
    let now = UnixMs::now().0;
    c.ask("HSET h stays v");
    for first in 0..50 {
        let fields: Vec<String> = (0..100).map(|field| format!("f{}", first * 100 + field)).collect();
        let pairs: Vec<String> = fields.iter().map(|field| format!("{field} v")).collect();
        c.ask(&format!("HSET h {}", pairs.join(" ")));
        c.ask(&format!("HPEXPIREAT h {} FIELDS 100 {}", now + 100_000, fields.join(" ")));
    }
    assert!(expire_at(&c, UnixMs(now + 100_000)) >= 12, "400 fields a turn");
    assert_eq!(info(&mut c, "stats", "expired_fields"), "5000");
    c.check("HLEN h", ":1");
    assert!(info(&mut c, "keyspace", "db0").ends_with("keys_with_volatile_items=0"));
}

#[test]
fn staleness_is_told() {
    let mut c = Client::new(Resp::V2);
    let now = UnixMs::now().0;
    let soon = now + 1500; // by then all is stored, also where others need the processor
    for number in 0..2_000 {
        let deadline = if number % 2 == 0 { soon } else { now + 100_000 };
        c.ask(&format!("SET key:{number} v PXAT {deadline}"));
    }
    c.ask("HSET h a 1 b 2");
    c.ask(&format!("HPEXPIREAT h {soon} FIELDS 1 a"));
    assert_eq!(info(&mut c, "stats", "expired_stale_perc"), "0.00");
    std::thread::sleep(std::time::Duration::from_millis(u64::try_from(soon + 20 - UnixMs::now().0).unwrap_or(0)));
    let stale: f64 = info(&mut c, "stats", "expired_stale_perc").parse().unwrap_or_default();
    assert!((40.0..60.0).contains(&stale), "{stale}");
    assert_eq!(info(&mut c, "stats", "expired_keys_with_volatile_items_stale_perc"), "100.00");
    expire_at(&c, UnixMs::now());
    assert_eq!(info(&mut c, "stats", "expired_stale_perc"), "0.00");
    assert_eq!(info(&mut c, "stats", "expired_keys_with_volatile_items_stale_perc"), "0.00");
    for name in ["expired_time_cap_reached_count", "expire_cycle_cpu_milliseconds"] {
        assert_eq!(info(&mut c, "stats", name), "0", "this test runs the cycle itself");
    }
}

/// A server whose garbage nobody takes away, so that it can be counted.
fn hoarder() -> (Client, larder::keyspace::reclaim::Reclaiming) {
    Client::with_reclaiming(Resp::V2)
}

fn pending(c: &Client) -> u64 {
    c.shared.keyspace.reclaimer().stats().pending.load(Relaxed)
}

fn big_set(c: &mut Client, key: &str) {
    for first in 0..5 {
        let members: Vec<String> = (0..100).map(|member| format!("member{}", first * 100 + member)).collect();
        c.ask(&format!("SADD {key} {}", members.join(" ")));
    }
}

/// Option, what makes garbage of the set at `k`.
const WAYS: [(&str, &str); 6] = [
    ("lazyfree-lazy-user-del", "DEL k"),
    ("lazyfree-lazy-server-del", "SET k v"),
    ("lazyfree-lazy-server-del", "RENAME other k"),
    ("lazyfree-lazy-server-del", "SINTERSTORE k none"),
    ("lazyfree-lazy-expire", "PEXPIRE k -1"),
    ("lazyfree-lazy-user-flush", "FLUSHALL"),
];

#[test]
fn large_values_are_freed_as_the_options_say() {
    for (option, way) in WAYS {
        for (value, expected) in [("yes", 1), ("no", 0)] {
            let (mut c, _reclaiming) = hoarder();
            c.check(&format!("CONFIG SET {option} {value}"), "+OK");
            big_set(&mut c, "k");
            if way.starts_with("RENAME") {
                c.ask("SET other v");
            }
            c.ask(way);
            assert_eq!(pending(&c), expected, "{way} with {option} {value}");
        }
    }
}

#[test]
fn unlink_and_the_words_of_a_flush_overrule_the_options() {
    let (mut c, reclaiming) = hoarder();
    for option in ["user-del", "user-flush", "server-del", "expire", "eviction"] {
        c.check(&format!("CONFIG SET lazyfree-lazy-{option} no"), "+OK");
    }
    big_set(&mut c, "k");
    c.check("UNLINK k", ":1");
    assert_eq!(pending(&c), 1);
    (0..10).for_each(|number| assert_eq!(c.ask(&format!("SET k{number} v")), "+OK"));
    c.check("FLUSHDB ASYNC", "+OK");
    assert_eq!(pending(&c), 11);
    c.check("CONFIG SET lazyfree-lazy-user-flush yes", "+OK");
    (0..5000).for_each(|number| assert_eq!(c.ask(&format!("SET k{number} v")), "+OK"));
    c.check("FLUSHALL SYNC", "+OK");
    assert_eq!(pending(&c), 11);
    c.check("DBSIZE", ":0");
    assert_eq!(info(&mut c, "memory", "lazyfree_pending_objects"), "11");
    let freeing = std::thread::spawn(move || reclaiming.run());
    while pending(&c) > 0 {
        assert!(!freeing.is_finished());
        std::thread::yield_now();
    }
    assert_eq!(info(&mut c, "memory", "lazyfreed_objects"), "11");
    c.check("CONFIG RESETSTAT", "+OK");
    assert_eq!(info(&mut c, "memory", "lazyfreed_objects"), "0");
}

#[test]
fn small_values_are_freed_where_they_fall() {
    let (mut c, _reclaiming) = hoarder();
    c.ask("SADD k a b c");
    c.ask("SET s 0123456789");
    c.check("UNLINK k s", ":2");
    assert_eq!(pending(&c), 0);
}

#[test]
fn a_flush_is_seen_at_once_and_frees_what_it_took_out() {
    let keyspace = Keyspace::new(2, 1, KeyHasher::with_seed(3), Reclaimer::new(Default::default()).0);
    let now = UnixMs(1);
    let all = larder::keyspace::LockPlan::All;
    let mut view = larder::keyspace::View::lock(&keyspace, 1, now, false, all, std::iter::empty());
    for number in 0..10_000 {
        let name = format!("key:{number}");
        let ttl = larder::keyspace::Ttl::At(UnixMs(1_000_000));
        view.put_string(keyspace.hasher().key(name.as_bytes()), larder::value::string::StringSource::Int(7), ttl);
    }
    let mut flushed = view.flush(1);
    assert_eq!((view.len(1), view.timed(1), flushed.len()), (0, 0, 10_000));
    let mut pieces = 0;
    while !flushed.free_some() {
        pieces += 1;
        assert!(flushed.len() < 10_000);
    }
    assert!(flushed.is_empty() && pieces > 3, "{pieces}");
    assert_ne!(Why::Deleted, Why::Unlinked);
}
