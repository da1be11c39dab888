//! Snapshots of long collections, which are recorded in parts while they change: what is loaded again is what there was at the cut,
//! whatever is written between any two parts.

use super::faulty_disk::FaultyDisk;
use super::harness::Client;
use super::snapshot::{Content, WRITES, content_by, difference, fill};
use larder::config::EvictionPolicy;
use larder::keyspace::entry::EntryRef;
use larder::keyspace::snapshot::{Cut, Given};
use larder::persistence::rdb::bytes::finish;
use larder::persistence::rdb::load::{Progress, load_file};
use larder::persistence::rdb::save::recorder;
use larder::protocol::reply::Resp;
use larder::util::clock::UnixMs;
use larder::util::pieces::Pieces;
use larder::value::list::Side;
use larder::value::object::ObjectRef;
use larder::value::stream::Stream;
use larder::value::stream::id::StreamId;

/// Elements of each long collection.
const ELEMENTS: usize = 700;

/// What a value is, whatever its encoding and the order in which it holds its elements.
fn meaning(entry: EntryRef<'_>, now: UnixMs) -> Vec<u8> {
    let now = now.0;
    let mut parts: Vec<String> = match entry.object() {
        None => return entry.string().map(|string| string.text().to_vec()).unwrap_or_default(),
        Some(ObjectRef::List(list)) => {
            return list.iter(Side::Left).map(|item| format!("{:?}\n", item.to_vec())).collect::<String>().into_bytes();
        }
        Some(ObjectRef::Set(set)) => set.iter().map(|item| format!("{:?}", item.to_vec())).collect(),
        Some(ObjectRef::SortedSet(set)) => {
            set.iter().map(|(item, score)| format!("{score} {:?}", item.to_vec())).collect()
        }
        Some(ObjectRef::Hash(hash)) => hash
            .iter(now)
            .map(|(field, value)| {
                let deadline = hash.deadline(&field.to_vec(), now);
                format!("{:?} {:?} {deadline:?}", field.to_vec(), value.to_vec())
            })
            .collect(),
        Some(ObjectRef::Stream(stream)) => return meaning_of_stream(stream).into_bytes(),
    };
    parts.sort_unstable();
    parts.join("\n").into_bytes()
}

fn meaning_of_stream(stream: &Stream) -> String {
    let mut text = format!("{:?}\n", stream.entries().figures());
    for entry in stream.entries().range(StreamId::MIN, StreamId::MAX) {
        let fields: Vec<_> = entry.fields().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
        text += &format!("{:?} {fields:?}\n", entry.id);
    }
    for (name, group) in stream.groups().iter() {
        text += &format!("group {name:?} {:?} {:?}\n", group.last_id, group.entries_read);
        for (id, pending) in group.pending(StreamId::MIN, StreamId::MAX) {
            let consumer = group.consumer_name(pending.consumer);
            text += &format!("{id:?} {consumer:?} {} {}\n", pending.delivered_ms, pending.count);
        }
        for consumer in group.consumers() {
            let ids: Vec<_> = consumer.pending(StreamId::MIN, StreamId::MAX).collect();
            text += &format!("consumer {:?} {} {ids:?}\n", consumer.name(), consumer.seen_ms);
        }
    }
    text
}

fn content(c: &Client) -> Content {
    content_by(c, Box::new(|entry: EntryRef<'_>, now: UnixMs| meaning(entry, now)))
}

fn fill_long(c: &mut Client) {
    fill(c);
    lengthen(c);
}

/// Adds elements to the collections of [`fill`], so that all but the smallest are long.
fn lengthen(c: &mut Client) {
    let names: Vec<String> = (0..ELEMENTS).map(|n| format!("element-{n}-{}", "y".repeat(n % 60))).collect();
    let mut add = |head: &str, words: &mut dyn Iterator<Item = String>| {
        let words: Vec<String> = head.split(' ').map(str::to_owned).chain(words).collect();
        c.bytes(&words.iter().map(String::as_bytes).collect::<Vec<_>>());
    };
    for key in ["l", "l2"] {
        for name in &names {
            add(&format!("RPUSH {key}"), &mut (0..8).map(|n| format!("{name}-{n}-{}", "z".repeat(100))));
        }
    }
    for key in ["m", "m2", "bm"] {
        add(&format!("SADD {key}"), &mut names.iter().cloned());
    }
    for key in ["z", "z2", "bz", "geo"] {
        add(
            &format!("ZADD {key}"),
            &mut names.iter().enumerate().flat_map(|(n, name)| [(n % 77).to_string(), name.clone()]),
        );
    }
    for key in ["h", "bh", "ht"] {
        add(&format!("HSET {key}"), &mut names.iter().flat_map(|name| [name.clone(), format!("value of {name}")]));
    }
    for name in names.iter().step_by(3) {
        add("HEXPIRE ht 1000 FIELDS 1", &mut std::iter::once(name.clone()));
    }
    for name in &names {
        add("XADD st *", &mut (0..8).flat_map(|n| [format!("field{n}"), name.clone()]));
    }
    c.ask("XREADGROUP GROUP g c COUNT 400 STREAMS st >");
    c.ask("XREADGROUP GROUP g d COUNT 200 STREAMS st >");
    c.ask("XGROUP CREATE st other 0");
    c.ask("XREADGROUP GROUP other e COUNT 700 STREAMS st >");
}

/// A snapshot that is written by hand, turn by turn.
struct Hand {
    cut: Option<Cut<'static>>,
    file: Vec<u8>,
    db: Option<usize>,
    parts: usize,
}

impl Hand {
    fn new(c: &Client) -> Hand {
        let keyspace = &c.shared.keyspace;
        let cut = keyspace.cut(recorder(keyspace, EvictionPolicy::NoEviction), &mut || {}).expect("no other cut");
        Hand { cut: Some(cut), file: b"VALKEY080".to_vec(), db: None, parts: 0 }
    }

    /// Turns of the shortest kind, at most so many; `false` at the end.
    fn turns(&mut self, count: usize) -> bool {
        let mut pieces = Pieces::default();
        for _ in 0..count {
            let Some(cut) = &mut self.cut else { return false };
            let Some((db, given)) = cut.turn(0, &mut pieces) else {
                self.cut = None;
                return false;
            };
            self.parts += usize::from(given != Given::Entries);
            if !pieces.is_empty() && self.db != Some(db) {
                self.file.extend([254, u8::try_from(db).expect("sixteen databases")]);
                self.db = Some(db);
            }
            finish(&pieces, None, &mut self.file);
            pieces.clear();
        }
        true
    }

    /// Goes to the end, and loads what was written into a server of its own.
    fn load(mut self) -> Content {
        while self.turns(1000) {}
        self.file.push(255);
        self.file.extend([0; 8]);
        let fresh = Client::new(Resp::V2);
        let path = fresh.shared.config.dir().join("by-hand.rdb");
        let disk = FaultyDisk::new(&[fresh.shared.config.dir().to_str().expect("a path of text")]);
        disk.put(&path, &self.file);
        let options = larder::call::loading::options(&fresh.shared.config, UnixMs::now());
        let loaded = load_file(&*disk.shared(), &path, Some(&fresh.shared.keyspace), &options, &Progress::default());
        assert!(loaded.is_ok(), "{loaded:?}");
        content(&fresh)
    }
}

fn blocks(line: &str) -> bool {
    ["BL", "BR", "BZ"].iter().any(|start| line.starts_with(start))
}

#[test]
fn every_command_that_writes_leaves_long_collections_as_they_were() {
    for (number, line) in WRITES.iter().enumerate() {
        let mut c = Client::new(Resp::V2);
        fill_long(&mut c);
        let before = content(&c);
        let mut hand = Hand::new(&c);
        // At first nothing, later some, and some of the collections in part, has been walked through.
        let mut turns = number % 7 * 97;
        for _ in 0..3 {
            assert!(hand.turns(turns) || turns > 400);
            c.ask(line);
            turns = 11;
        }
        let after = hand.load();
        assert!(after == before, "{line}: {:?}", difference(&before, &after));
    }
}

struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % bound
    }

    /// A write to one element of a long collection, or to some.
    fn write(&mut self) -> String {
        let n = self.below(ELEMENTS + 200);
        let name = format!("element-{n}-{}", "y".repeat(n % 60));
        let (key, place) = (["", "b"][self.below(2)], self.below(5000));
        let other = self.below(ELEMENTS);
        let id = format!("{other}-1");
        match self.below(28) {
            0 | 1 => format!("HSET {key}h {name} new{place}"),
            2 => format!("HDEL {key}h {name}"),
            3 => format!("HSET ht {name} again"),
            4 => format!("HEXPIRE {key}h 500 FIELDS 1 {name}"),
            5 => format!("HPERSIST ht FIELDS 1 {name}"),
            6 => format!("HDEL ht {name}"),
            7 | 8 => format!("SADD {key}m {name}"),
            9 => format!("SREM {key}m {name}"),
            10 => format!("SMOVE m m2 {name}"),
            11 => format!("SPOP {key}m {}", self.below(40)),
            12 | 13 => format!("ZADD {key}z {place} {name}"),
            14 => format!("ZREM {key}z {name}"),
            15 => format!("ZREMRANGEBYRANK {key}z {other} {}", other + self.below(30)),
            16 => format!("LSET l {place} changed"),
            17 => format!("LINSERT l BEFORE {name}-3-{} inserted", "z".repeat(100)),
            18 => format!("LREM l 1 {name}-5-{}", "z".repeat(100)),
            19 => format!("LMOVE l l2 {}", ["LEFT RIGHT", "RIGHT LEFT"][self.below(2)]),
            20 => format!("LPOP l {}", self.below(90)),
            21 => format!("LTRIM l {} -{}", self.below(200), self.below(200)),
            22 => format!("RPUSH l {}", "x".repeat(self.below(9000))),
            23 => format!("LPUSH l {}", "x ".repeat(self.below(300)).trim_end().to_owned() + " y"),
            24 => format!("XADD st MAXLEN ~ {} * f v", self.below(3000)),
            25 => format!("XDEL st {id}"),
            26 => format!("XREADGROUP GROUP g {} COUNT 7 STREAMS st >", ["c", "d", "new"][self.below(3)]),
            _ => format!("XAUTOCLAIM st g {} 0 {id} COUNT 20", ["c", "d"][self.below(2)]),
        }
    }

    /// Some ids of the stream, to acknowledge or delete.
    fn stream_write(&mut self, ids: &[String]) -> String {
        let id = &ids[self.below(ids.len())];
        match self.below(5) {
            0 => format!("XACK st g {id}"),
            1 => format!("XACK st other {id}"),
            2 => format!("XDEL st {id}"),
            3 => format!("XCLAIM st g d 0 {id}"),
            _ => format!("XTRIM st MINID = {id}"),
        }
    }
}

fn ids_of(c: &mut Client) -> Vec<String> {
    let reply = c.ask("XRANGE st - +");
    let ids = reply.split(['$', ',', '[', ']']).filter(|word| word.len() > 12 && word.contains('-'));
    ids.filter(|word| word.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-')).map(str::to_owned).collect()
}

/// Writes between any two turns: of elements, and, now and then, of everything that a command can do.
#[test]
fn random_writes_between_any_two_parts_leave_the_cut_as_it_was() {
    for seed in 0..18_u64 {
        let (mut c, mut chance) = (Client::new(Resp::V2), Chance(seed * 7919 + 1));
        fill_long(&mut c);
        let ids = ids_of(&mut c);
        assert!(ids.len() >= ELEMENTS);
        let before = content(&c);
        let mut hand = Hand::new(&c);
        let (mut written, wild) = (0, seed % 3 == 2);
        loop {
            for _ in 0..chance.below(4) {
                let line = match chance.below(40) {
                    0 if wild => WRITES[chance.below(WRITES.len())].to_owned(),
                    1..6 => chance.stream_write(&ids),
                    _ => chance.write(),
                };
                if blocks(&line) || line.starts_with("FLUSH") && chance.below(9) > 0 {
                    continue;
                }
                c.ask(&line);
                written += 1;
            }
            let count = 1 + chance.below(3);
            if !hand.turns(count) {
                break;
            }
        }
        assert!(written > 200 && hand.parts > 100, "{written} writes, {} parts", hand.parts);
        let after = hand.load();
        assert!(after == before, "seed {seed}: {:?}", difference(&before, &after));
    }
}

#[test]
fn collections_that_move_or_go_while_they_are_walked_are_recorded() {
    for line in [
        "DEL h l m z st ht",
        "UNLINK h l m z st ht",
        "RENAME h l",
        "RENAME st z",
        "RENAME l fresh",
        "MOVE m 5",
        "MOVE st 5",
        "SWAPDB 0 3",
        "FLUSHALL",
        "FLUSHDB SYNC",
        "SET h v",
        "SET st v",
        "LTRIM l 1 0",
        "LTRIM l 0 3",
        "SPOP m 99999",
        "SPOP bm 690",
        "HPEXPIRE h 0 FIELDS 1 a",
        "PEXPIRE z -1",
        "XGROUP DESTROY st g",
        "XGROUP DELCONSUMER st g c",
        "XTRIM st MAXLEN 0",
        "SINTERSTORE m m m2",
        "ZRANGESTORE z z 0 5",
    ] {
        for turns in [0, 40, 160] {
            let mut c = Client::new(Resp::V2);
            fill_long(&mut c);
            let before = content(&c);
            let mut hand = Hand::new(&c);
            let go_on = hand.turns(turns);
            for first in ["HSET h x y", "RPUSH l x", "SADD m x", "ZADD z 1 x", "XADD st * f v", "HSET ht x y"] {
                c.ask(first); // begins a walk through it, wherever the other one is
            }
            assert!(go_on && hand.turns(3));
            c.ask(line);
            let more = hand.turns(9);
            c.ask(line);
            lengthen(&mut c);
            assert!(more);
            let after = hand.load();
            assert!(after == before, "{line} after {turns} turns: {:?}", difference(&before, &after));
        }
    }
}

#[test]
fn a_cut_that_is_given_up_leaves_no_walk_behind() {
    let mut c = Client::new(Resp::V2);
    fill_long(&mut c);
    for round in 0..3 {
        let mut hand = Hand::new(&c);
        for line in ["HSET h x y", "RPUSH l x", "SADD m x", "ZADD z 1 x", "XADD st * f v", "DEL bh"] {
            c.ask(line);
        }
        assert!(hand.turns(50 * round));
        drop(hand);
        lengthen(&mut c);
        let before = content(&c);
        let hand = Hand::new(&c);
        c.ask("HSET h x z");
        c.ask("XADD st * f v");
        assert!(hand.load() == before);
    }
}

/// Keeps what a long collection holds from being recorded under the lock as a whole.
#[test]
fn no_turn_and_no_write_takes_long() {
    let mut c = Client::new(Resp::V2);
    for n in 0..100_000 {
        c.ask(&format!("HSET h field:{n} value:{n}"));
    }
    let mut hand = Hand::new(&c);
    c.ask("HSET h field:1 new");
    assert_eq!(hand.cut.as_ref().map(Cut::recorded), Some(0), "a write has recorded the whole of it");
    assert!(hand.turns(2));
    assert!(hand.file.len() < 100_000, "{} bytes in two turns", hand.file.len());
    assert!(c.shared.keyspace.is_cutting());
}
