//! Payloads of RESTORE that were tampered with, their checksums made right again: none may crash the server, make it
//! allocate much more than the payload, or leave a value behind that a command stumbles over.
//!
//! `LARDER_RESTORE_CASES` says how many are tried (20,000 unless told otherwise), `LARDER_RESTORE_SEED` which (7).

#![expect(unsafe_code, reason = "an allocator that counts what a restore takes at most")]

#[path = "commands/harness.rs"]
#[expect(dead_code, reason = "only part of the harness is used here")]
mod harness;

use harness::Client;
use larder::persistence::rdb::bytes::checksum;
use larder::protocol::reply::Resp;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static HELD: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator, with the most that this thread has held.
struct Counting;

// SAFETY: every call goes to the system's allocator as it comes.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.with(|held| {
            held.set(held.get().wrapping_add(layout.size()));
            held.get()
        });
        PEAK.with(|peak| peak.set(peak.get().max(held)));
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        HELD.with(|held| held.set(held.get().wrapping_sub(layout.size())));
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes that this thread held at most while `work` ran, beyond those that it held before.
fn peak<R>(work: impl FnOnce() -> R) -> (R, usize) {
    let before = HELD.with(Cell::get);
    PEAK.with(|peak| peak.set(before));
    let result = work();
    (result, PEAK.with(Cell::get).saturating_sub(before))
}

/// Commands that make values of every type and form; `{n}` runs through numbers.
const SEEDS: &[(&str, usize)] = &[
    ("SET k hello", 1),
    ("SET k 12345", 1),
    ("APPEND k aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 40),
    ("RPUSH k {n} text{n}", 5),
    ("RPUSH k {n} some-longer-text-for-{n}", 700),
    ("SADD k {n}", 20),
    ("SADD k member{n} {n}", 10),
    ("SADD k member{n}", 300),
    ("HSET k field{n} value{n}", 10),
    ("HSET k field{n} value{n}", 300),
    ("ZADD k {n}.5 member{n}", 10),
    ("ZADD k {n} member{n}", 300),
    ("XADD k {n}-1 name value{n} other {n}", 150),
    ("PFADD k {n}", 50),
];

fn seeds() -> Vec<Vec<u8>> {
    let mut payloads = Vec::new();
    for (command, times) in SEEDS {
        let mut client = Client::new(Resp::V2);
        for n in 1..=*times {
            client.ask(&command.replace("{n}", &n.to_string()));
        }
        if command.starts_with("XADD") {
            for line in ["XGROUP CREATE k g 0", "XREADGROUP GROUP g alice COUNT 10 STREAMS k >", "XDEL k 3-1"] {
                client.ask(line);
            }
        }
        if command.starts_with("HSET") && *times == 300 {
            payloads.push(client.bytes(&[b"DUMP", b"k"]));
            client.ask("HEXPIRE k 1000 FIELDS 2 field1 field2");
        }
        payloads.push(client.bytes(&[b"DUMP", b"k"]));
    }
    payloads
}

/// Changes some bytes, and makes the checksum right.
fn tamper(random: &mut StdRng, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut payload = seeds[random.random_range(0..seeds.len())].clone();
    let envelope = payload.split_off(payload.len() - 10);
    for _ in 0..random.random_range(1..6) {
        if payload.is_empty() {
            break;
        }
        // Headers are where the interesting numbers are.
        let near = if random.random_bool(0.5) { payload.len().min(40) } else { payload.len() };
        let at = random.random_range(0..near);
        match random.random_range(0..8) {
            0 | 1 => payload[at] ^= 1 << random.random_range(0..8),
            2 => payload[at] = [0, 1, 0x3f, 0x40, 0x7f, 0x80, 0x81, 0xc0, 0xc3, 0xfe, 0xff][random.random_range(0..11)],
            3 => payload.truncate(at),
            4 => payload.insert(at, random.random()),
            5 => {
                payload.remove(at);
            }
            6 => {
                let other = &seeds[random.random_range(0..seeds.len())];
                let from = random.random_range(0..other.len());
                let piece = other[from..other.len().min(from + random.random_range(1..64))].to_vec();
                payload.splice(at..at, piece);
            }
            _ => payload[0] = random.random_range(0..27),
        }
    }
    let version: u16 = [10, 10, 12, 80][random.random_range(0..4)];
    let written = u16::from_le_bytes([envelope[0], envelope[1]]);
    payload.extend_from_slice(&(if random.random_bool(0.7) { written } else { version }).to_le_bytes());
    let sum = checksum(&payload);
    payload.extend_from_slice(&sum.to_le_bytes());
    payload
}

/// Commands that walk the whole value, one of which fits its type.
const WALKS: &[&str] = &[
    "GET k",
    "STRLEN k",
    "LRANGE k 0 -1",
    "LPOP k 3",
    "RPOP k 3",
    "LINDEX k -2",
    "SMEMBERS k",
    "SPOP k 2",
    "SADD k new",
    "HGETALL k",
    "HSET k new value",
    "HDEL k field1",
    "ZRANGE k 0 -1 WITHSCORES",
    "ZRANK k member3",
    "ZADD k 3 new",
    "ZREMRANGEBYRANK k 0 1",
    "XRANGE k - +",
    "XREVRANGE k + -",
    "XADD k * a b",
    "XINFO STREAM k FULL",
    "XTRIM k MAXLEN 5",
    "PFCOUNT k",
    "OBJECT ENCODING k",
    "MEMORY USAGE k",
    "COPY k copy REPLACE",
    "DEBUG DIGEST-VALUE k",
    "DUMP k",
];

#[test]
fn tampered_payloads_do_no_harm() {
    let cases: u32 = std::env::var("LARDER_RESTORE_CASES").map_or(20_000, |cases| cases.parse().unwrap());
    let seeds = seeds();
    let seed = std::env::var("LARDER_RESTORE_SEED").map_or(7, |seed| seed.parse().unwrap());
    let (mut random, mut client) = (StdRng::seed_from_u64(seed), Client::new(Resp::V2));
    let (mut taken, mut most) = (0_u32, (0, 0));
    for case in 0..cases {
        let payload = tamper(&mut random, &seeds);
        let ((), bytes) = peak(|| drop(client.bytes(&[b"RESTORE", b"k", b"0", &payload, b"REPLACE"])));
        assert!(bytes <= 4 * payload.len() + (1 << 20), "case {case}: {bytes} bytes for {}", payload.len());
        most = most.max((bytes, payload.len()));
        if client.ask("EXISTS k") == ":1" {
            taken += 1;
            for walk in WALKS {
                client.ask(walk);
            }
            client.ask("DEL k copy");
        }
    }
    println!("{cases} payloads, {taken} taken; {} bytes at most, for one of {}", most.0, most.1);
    assert!(taken > cases / 100, "some tampering leaves a value: {taken}");
}
