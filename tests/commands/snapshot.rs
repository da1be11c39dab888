//! Snapshots: what a cut holds is what there was at the cut, whatever is written behind it; SAVE, BGSAVE, LASTSAVE.

use super::faulty_disk::{FaultyDisk, Op};
use super::harness::Client;
use larder::call::saving;
use larder::call::shared::Shared;
use larder::call::spec::{Flags, Scope};
use larder::config::{CommandLine, Config};
use larder::keyspace::entry::EntryRef;
use larder::keyspace::snapshot::{Cut, NoCut, Recorder};
use larder::persistence::rdb::dump::dump;
use larder::persistence::rdb::load::{Progress, load_file};
use larder::protocol::reply::Resp;
use larder::util::clock::UnixMs;
use larder::util::pieces::Pieces;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Content by database and key: deadline and dump.
pub type Content = BTreeMap<(usize, Vec<u8>), (i64, Vec<u8>)>;

/// What is to be known of an entry's value.
pub type Meaning = dyn Fn(EntryRef<'_>, UnixMs) -> Vec<u8> + Send + Sync;

/// Records an entry so that [`rest_of`] can read it.
fn record(meaning: Box<Meaning>) -> Box<dyn Recorder> {
    Box::new(move |entry: EntryRef<'_>, now: UnixMs, out: &mut Pieces| {
        let deadline = entry.deadline().map_or(0, |deadline| deadline.0);
        let value = meaning(entry, now);
        out.bytes.extend_from_slice(&deadline.to_le_bytes());
        for part in [entry.key(), &value] {
            out.bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
            out.bytes.extend_from_slice(part);
        }
    })
}

fn dumps() -> Box<dyn Recorder> {
    record(Box::new(|entry: EntryRef<'_>, now: UnixMs| dump(entry, now)))
}

fn cut(c: &Client) -> Cut<'static> {
    c.shared.keyspace.cut(dumps(), &mut || {}).expect("no other cut is in flight")
}

/// Everything there is, as `meaning` shows it.
pub fn content_by(c: &Client, meaning: Box<Meaning>) -> Content {
    let cut = c.shared.keyspace.cut(record(meaning), &mut || {}).expect("no other cut is in flight");
    rest_of(cut, Content::new())
}

/// Turns of the shortest kind, into `content`, at most so many.
fn turns(cut: &mut Cut<'_>, count: usize, content: &mut Content) -> bool {
    let mut pieces = Pieces::default();
    for _ in 0..count {
        let Some((db, _)) = cut.turn(0, &mut pieces) else { return false };
        let mut rest = &pieces.bytes[..];
        while !rest.is_empty() {
            let deadline = i64::from_le_bytes(take(&mut rest, 8).try_into().expect("8 bytes"));
            let [key, value] = [(); 2].map(|()| {
                let len = u64::from_le_bytes(take(&mut rest, 8).try_into().expect("8 bytes"));
                take(&mut rest, usize::try_from(len).expect("a length")).to_vec()
            });
            let twice = content.insert((db, key.clone()), (deadline, value));
            assert!(twice.is_none(), "{} is recorded twice", String::from_utf8_lossy(&key));
        }
        pieces.clear();
    }
    true
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> &'a [u8] {
    let (taken, behind) = rest.split_at(len);
    *rest = behind;
    taken
}

fn rest_of(mut cut: Cut<'_>, mut content: Content) -> Content {
    assert!(!turns(&mut cut, usize::MAX, &mut content));
    content
}

fn content(c: &Client) -> Content {
    rest_of(cut(c), Content::new())
}

pub fn fill(c: &mut Client) {
    for line in [
        "MSET i 7 s text t tail bits abc empty x f 1.5",
        "SETEX timed 1000 v",
        "RPUSH l a b c d e",
        "RPUSH l2 x y",
        "SADD is 1 2 3",
        "SADD m a b c d",
        "SADD m2 b c x",
        "HSET h a 1 b 2 c 1.5",
        "HSET ht a 1 b 2",
        "HEXPIRE ht 1000 FIELDS 1 a",
        "ZADD z 1 a 2 b 3 c 4 d",
        "ZADD z2 5 b 6 x",
        "ZADD zlex 0 a 0 b 0 c",
        "GEOADD geo 13.361389 38.115556 p 15.087269 37.502669 q",
        "PFADD hll a b c",
        "PFADD hll2 d e",
        "XADD st 1-1 f v",
        "XADD st 2-1 f v",
        "XADD st 3-1 f v",
        "XGROUP CREATE st g 0",
        "XREADGROUP GROUP g c COUNT 2 STREAMS st >",
        "SELECT 3",
        "MSET other 1 third 2",
        "SELECT 0",
    ] {
        let reply = c.ask(line);
        assert!(!reply.contains("ERR"), "{line}: {reply}");
    }
    let large = "x".repeat(3000);
    c.ask(&format!("SET big {large}"));
    for number in 0..300 {
        for line in ["RPUSH bl", "SADD bm", "ZADD bz 1", "HSET bh f"] {
            c.ask(&format!("{line} element-{number}-{}", "y".repeat(70)));
        }
        c.ask(&format!("HSET bh f{number} v"));
        c.ask(&format!("SET filler:{number} v"));
    }
}

/// Every command that writes, in forms that change something there is.
pub const WRITES: &[&str] = &[
    "APPEND s more",
    "APPEND big more",
    "APPEND t x",
    "DECR i",
    "DECRBY i 5",
    "DELIFEQ s text",
    "GETDEL s",
    "GETEX s EX 100",
    "GETEX timed PERSIST",
    "GETSET s new",
    "INCR i",
    "INCRBY i 3",
    "INCRBYFLOAT f 0.5",
    "MSET s 1 big 2 new 3",
    "MSETEX 2 s 1 t 2 EX 100",
    "MSETNX new1 1 new2 2",
    "PSETEX s 1000 v",
    "SET s v",
    "SET big v",
    "SET l v",
    "SET s v EX 100",
    "SET new v",
    "SET timed w KEEPTTL",
    "SETEX s 100 v",
    "SETNX new v",
    "SETRANGE s 1 zz",
    "SETRANGE big 100 zz",
    "SETBIT bits 3 1",
    "SETBIT bits 900 1",
    "BITFIELD bits SET u8 0 1",
    "BITOP NOT bits bits",
    "BITOP AND t bits s",
    "PFADD hll zz",
    "PFMERGE hll hll2",
    "PFDEBUG TODENSE hll",
    "PFCOUNT hll hll2",
    "LPUSH l x",
    "RPUSH l x",
    "LPUSHX l x",
    "RPUSHX l x",
    "RPUSH bl x",
    "LPUSH bl x",
    "LPOP l",
    "RPOP l",
    "LPOP l 9",
    "RPOP bl 3",
    "LSET l 1 q",
    "LSET bl 100 q",
    "LREM l 0 a",
    "LINSERT l BEFORE b n",
    "LTRIM l 1 2",
    "LTRIM bl 5 100",
    "LMOVE l l2 LEFT RIGHT",
    "LMOVE l l LEFT RIGHT",
    "RPOPLPUSH l l2",
    "LMPOP 1 l LEFT",
    "BLPOP l 0",
    "BRPOP l 0",
    "BLMOVE l l2 LEFT RIGHT 0",
    "BLMPOP 0 1 l LEFT",
    "BRPOPLPUSH l l2 0",
    "SORT l ALPHA DESC STORE l",
    "SORT l ALPHA STORE s",
    "SADD m z",
    "SADD is 9",
    "SADD is word",
    "SADD bm z",
    "SREM m a",
    "SREM m a b c d",
    "SPOP m",
    "SPOP bm 9",
    "SMOVE m m2 a",
    "SINTERSTORE m m m2",
    "SUNIONSTORE s m m2",
    "SDIFFSTORE m2 m m2",
    "HSET h a 9",
    "HSET bh f1 9",
    "HMSET h a 9",
    "HSETNX h new 9",
    "HDEL h a",
    "HDEL h a b c",
    "HINCRBY h a 4",
    "HINCRBYFLOAT h c 1",
    "HEXPIRE h 100 FIELDS 1 a",
    "HPEXPIRE h 100000 FIELDS 1 a",
    "HEXPIREAT h 99999999999 FIELDS 1 a",
    "HPEXPIREAT h 99999999999000 FIELDS 1 a",
    "HPERSIST ht FIELDS 1 a",
    "HGETDEL h FIELDS 1 a",
    "HGETEX h EX 100 FIELDS 1 a",
    "HSETEX h EX 100 FIELDS 1 a 1",
    "HPEXPIREAT ht 1 FIELDS 1 a",
    "ZADD z 9 a",
    "ZADD z 9 new",
    "ZADD bz 9 new",
    "ZINCRBY z 3 a",
    "ZREM z a",
    "ZREM z a b c d",
    "ZPOPMIN z",
    "ZPOPMAX bz 4",
    "ZMPOP 1 z MIN",
    "BZPOPMIN z 0",
    "BZPOPMAX z 0",
    "BZMPOP 0 1 z MIN",
    "ZREMRANGEBYRANK z 0 1",
    "ZREMRANGEBYSCORE z 0 2",
    "ZREMRANGEBYLEX zlex [a [b",
    "ZRANGESTORE z z 0 1",
    "ZUNIONSTORE z 2 z z2",
    "ZINTERSTORE s 2 z z2",
    "ZDIFFSTORE z2 2 z z2",
    "GEOADD geo 1 1 p",
    "GEORADIUS geo 15 37 200 km STORE s",
    "GEORADIUSBYMEMBER geo p 300 km STORE z",
    "GEOSEARCHSTORE z geo FROMMEMBER p BYRADIUS 300 km",
    "XADD st 9-1 f v",
    "XADD st MAXLEN = 1 9-1 f v",
    "XDEL st 1-1",
    "XDELEX st DELREF IDS 1 1-1",
    "XTRIM st MAXLEN 1",
    "XSETID st 99-1",
    "XACK st g 1-1",
    "XACKDEL st g IDS 1 1-1",
    "XCLAIM st g other 0 1-1",
    "XAUTOCLAIM st g other 0 0",
    "XREADGROUP GROUP g c STREAMS st >",
    "XGROUP CREATE st g2 0",
    "XGROUP CREATECONSUMER st g fresh",
    "XGROUP DELCONSUMER st g c",
    "XGROUP DESTROY st g",
    "XGROUP SETID st g 1-1",
    "COPY s new",
    "COPY s t REPLACE",
    "COPY l other DB 3 REPLACE",
    "DEL s l z",
    "UNLINK bl",
    "EXPIRE s 100",
    "EXPIRE timed 5",
    "EXPIRE s -1",
    "EXPIREAT s 99999999999",
    "PEXPIRE s 100000",
    "PEXPIREAT s 99999999999000",
    "PERSIST timed",
    "MOVE s 3",
    "RENAME s l",
    "RENAME s new",
    "RENAMENX s new",
    "FLUSHALL",
    "FLUSHALL SYNC",
    "FLUSHDB",
    "FLUSHDB SYNC",
    "SWAPDB 0 3",
    "SWAPDB 0 7",
];

/// Write commands that have no line above, and why.
const LEFT_OUT: &[&str] = &[
    "restore",  // its argument is binary: a test of its own
    "cluster",  // refused
    "function", // no keys
    "script",
];

#[test]
fn every_command_that_writes_leaves_the_cut_as_it_was() {
    let mut quiet = Vec::new();
    for (number, line) in WRITES.iter().filter(|line| line.contains(' ') || line.starts_with("FLUSH")).enumerate() {
        let mut c = Client::new(Resp::V2);
        fill(&mut c);
        let before = content(&c);
        let (mut cut, mut begun) = (cut(&c), Content::new());
        // At first nothing, later some, has been walked through.
        assert!(turns(&mut cut, number % 3 * 12, &mut begun));
        let reply = c.ask(line);
        assert!(!reply.contains("ERR") && !reply.contains("WRONGTYPE"), "{line}: {reply}");
        let after = rest_of(cut, begun);
        assert!(after == before, "{line}: {:?}", difference(&before, &after));
        if content(&c) == before {
            quiet.push(*line);
        }
    }
    assert_eq!(quiet, ["PFCOUNT hll hll2"], "these change nothing, and so prove nothing");
}

pub fn difference(before: &Content, after: &Content) -> Vec<String> {
    let keys: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let differ = keys.into_iter().filter(|key| before.get(*key) != after.get(*key));
    differ.map(|(db, key)| format!("{db} {}", String::from_utf8_lossy(key))).collect()
}

#[test]
fn no_command_that_writes_is_missing_above() {
    let c = Client::new(Resp::V2);
    let tried: BTreeSet<String> =
        WRITES.iter().map(|line| line.split(' ').next().unwrap_or_default().to_ascii_lowercase()).collect();
    for command in c.shared.commands.all() {
        let full = command.full_name();
        let name = full.split('|').next().unwrap_or_default();
        let writes = command.spec.flags.has(Flags::WRITE) && !matches!(command.spec.scope, Scope::Transaction);
        assert!(!writes || tried.contains(name) || LEFT_OUT.contains(&name), "{full} writes and is not tried");
    }
}

#[test]
fn what_is_restored_or_expires_or_is_evicted_leaves_the_cut_as_it_was() {
    let mut c = Client::new(Resp::V2);
    fill(&mut c);
    let bytes = c.bytes(&[b"DUMP", b"z"]);
    c.ask("PSETEX soon 60 v");
    c.ask("HSET fading a 1 b 2");
    c.ask("HPEXPIRE fading 60 FIELDS 1 a");
    let before = content(&c);
    let cut = cut(&c);
    c.bytes(&[b"RESTORE", b"s", b"0", &bytes, b"REPLACE"]);
    c.bytes(&[b"RESTORE", b"new", b"0", &bytes]);
    std::thread::sleep(Duration::from_millis(100));
    c.expire();
    c.check("EXISTS soon", ":0");
    c.check("HLEN fading", ":1");
    let mut after = rest_of(cut, Content::new());
    // A key that has expired meanwhile would not be loaded either.
    let soon = (0, b"soon".to_vec());
    after.entry(soon.clone()).or_insert_with(|| before[&soon].clone());
    assert!(after == before, "{:?}", difference(&before, &after));
}

#[test]
fn walks_meet_every_key_once_while_tables_grow_and_shrink() {
    let mut c = Client::new(Resp::V2);
    for number in 0..20_000 {
        c.ask(&format!("SET key:{number} {number}"));
    }
    let before = content(&c);
    let (mut cut, mut recorded, mut number) = (cut(&c), Content::new(), 0_u64);
    while turns(&mut cut, 3, &mut recorded) {
        for _ in 0..20 {
            number += 1;
            match number % 5 {
                0 => c.ask(&format!("DEL key:{}", number * 7919 % 20_000)),
                1 => c.ask(&format!("SET key:{} again", number * 104_729 % 20_000)),
                2 => c.ask(&format!("APPEND key:{} more", number * 15_485_863 % 20_000)),
                _ => c.ask(&format!("SET new:{number} {number}")),
            };
        }
    }
    assert!(number > 10_000, "{number}");
    assert!(recorded == before, "{:?}", difference(&before, &recorded));
}

#[test]
fn a_flush_hands_its_table_to_the_snapshot_and_a_second_cut_waits_for_the_first() {
    let mut c = Client::new(Resp::V2);
    fill(&mut c);
    let before = content(&c);
    let first = cut(&c);
    assert_eq!(c.shared.keyspace.cut(dumps(), &mut || {}).err(), Some(NoCut::InFlight));
    c.check("SWAPDB 0 3", "+OK");
    c.check("FLUSHALL", "+OK");
    c.check("SET s new", "+OK");
    assert!(rest_of(first, Content::new()) == before);
    let second = cut(&c);
    c.check("FLUSHALL", "+OK");
    drop(second); // given up before it has begun
    assert!(content(&c).is_empty());
    c.check("SET s new", "+OK");
    assert_eq!(content(&c).len(), 1);
}

#[test]
fn what_waits_for_a_snapshot_counts_as_about_to_be_free() {
    let mut c = Client::new(Resp::V2);
    let pending = |c: &Client| c.shared.keyspace.reclaimer().stats().pending_bytes.load(Relaxed);
    // Nothing that a dump could make much shorter.
    let value: String =
        (1_u64..=56).map(|number| (number.wrapping_mul(6_364_136_223_846_793_005)).to_string()).collect();
    (0..400).for_each(|number| c.check(&format!("SET key:{number} {value}"), "+OK"));
    let cut = cut(&c);
    (0..100).for_each(|number| c.check(&format!("SET key:{number} new"), "+OK"));
    let recorded = pending(&c);
    assert!((100_000..300_000).contains(&recorded), "{recorded} bytes for 100 old values");
    c.check("FLUSHALL ASYNC", "+OK");
    let flushed = pending(&c) - recorded;
    assert!((250_000..600_000).contains(&flushed), "{flushed} bytes for 300 values and their tables");
    assert_eq!(rest_of(cut, Content::new()).len(), 400);
    assert_eq!(pending(&c), 0);
}

#[test]
fn a_cut_between_databases_that_come_into_being() {
    let mut c = Client::new(Resp::V2);
    let cut = cut(&c);
    c.check("SET a 1", "+OK");
    c.check("SELECT 9", "+OK");
    c.check("SET b 1", "+OK");
    assert!(rest_of(cut, Content::new()).is_empty());
    assert_eq!(content(&c).len(), 2);
}

const ACCOUNTS: u32 = 64;
const EACH: i64 = 1000;

/// Moves money between random accounts, by transactions and by scripts, until told to stop.
fn transfer(shared: &'static Shared, seed: u32, stop: &AtomicBool, count: &AtomicU64) {
    let (mut c, mut chance) = (Client::of(shared, Resp::V2), seed);
    while !stop.load(Relaxed) {
        chance = chance.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let (from, to, sum) = (chance >> 8 & 63, chance >> 16 & 63, chance >> 24 & 15);
        if chance >> 30 == 0 {
            let script = "redis.call('DECRBY',KEYS[1],ARGV[1])redis.call('INCRBY',KEYS[2],ARGV[1])";
            c.ask(&format!("EVAL {script} 2 account:{from} account:{to} {sum}"));
        } else {
            c.check("MULTI", "+OK");
            c.ask(&format!("DECRBY account:{from} {sum}"));
            c.ask(&format!("INCRBY account:{to} {sum}"));
            assert!(c.ask("EXEC").starts_with('['));
        }
        count.fetch_add(1, Relaxed);
    }
}

#[test]
fn no_money_is_lost_or_made_in_any_snapshot_while_it_moves() {
    let mut c = Client::new(Resp::V2);
    for account in 0..ACCOUNTS {
        c.ask(&format!("SET account:{account} {EACH}"));
    }
    let (shared, stop, moved) = (c.shared, AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for seed in 1..4 {
            let (stop, moved) = (&stop, &moved);
            scope.spawn(move || transfer(shared, seed, stop, moved));
        }
        let (mut kept, mut cuts, began) = (0, 0, UnixMs::now());
        // On a busy machine the writers may come late.
        while cuts < 100 || (kept == 0 || moved.load(Relaxed) <= 100) && UnixMs::now().0 < began.0 + 60_000 {
            cuts += 1;
            let balance: Box<dyn Recorder> = Box::new(|entry: EntryRef<'_>, _: UnixMs, out: &mut Pieces| {
                let value = entry.string().and_then(|string| string.integer()).expect("an account holds a number");
                out.bytes.extend_from_slice(&value.to_le_bytes());
            });
            let mut cut = shared.keyspace.cut(balance, &mut || {}).expect("no other cut is in flight");
            let (mut pieces, mut all) = (Pieces::default(), Vec::new());
            while cut.turn(0, &mut pieces).is_some() {
                all.append(&mut pieces.bytes);
                pieces.clear();
                std::thread::yield_now();
            }
            kept += cut.saved_bytes();
            let (balances, _) = all.as_chunks::<8>();
            assert_eq!(balances.len(), ACCOUNTS as usize);
            let sum: i64 = balances.iter().map(|balance| i64::from_le_bytes(*balance)).sum();
            assert_eq!(sum, EACH * i64::from(ACCOUNTS));
        }
        stop.store(true, Relaxed);
        let moved = moved.load(Relaxed);
        assert!(moved > 100 && kept > 0, "{moved} transfers, of which snapshots had to keep {kept} bytes");
    });
}

/// A client of a server with these options, which saves on a disk that fails when it is told to.
fn on_a_faulty_disk(options: &[&str]) -> (Client, FaultyDisk) {
    let line = CommandLine::read(options.iter().map(OsStr::new));
    let config = Config::load(&line, &mut std::io::empty()).expect("good options");
    let disk = FaultyDisk::new(&[config.dir().to_str().expect("a path of text")]);
    let (c, _) = Client::with(Resp::V2, config, |shared| shared.saving.disk = disk.shared());
    let shared = c.shared;
    std::thread::spawn(move || saving::run(shared));
    (c, disk)
}

fn file(c: &Client, disk: &FaultyDisk) -> Vec<u8> {
    disk.bytes(c.shared.config.dir().join("dump.rdb")).expect("a snapshot")
}

fn wait_for_the_background(c: &Client) {
    while c.shared.saving.running().is_some() || c.shared.saving.is_wanted() {
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn saves_and_says_so() {
    let (mut c, disk) = on_a_faulty_disk(&["--rdb-key-save-delay", "0"]);
    c.check("SAVE", "+OK");
    assert!(c.ask("INFO stats").contains("latest_fork_usec:0\r\ntotal_forks:0\r\n"), "elsewhere SAVE does not fork");
    let bytes = file(&c, &disk);
    assert_eq!(&bytes[..9], b"REDIS0010");
    let (content, sum) = bytes.split_at(bytes.len() - 8);
    assert_eq!(larder::persistence::rdb::bytes::checksum(content).to_le_bytes(), sum);
    c.ask("SET a 1");
    c.ask("SET b 1");
    let started = c.shared.saving.report().saved_at.seconds();
    c.check("LASTSAVE", &format!(":{started}"));
    assert!(c.ask("INFO persistence").contains("rdb_changes_since_last_save:2\r\n"));
    c.check("CONFIG SET rdb-key-save-delay 10000000", "+OK");
    c.check("BGSAVE", "+Background saving started");
    c.check("BGSAVE", "-ERR Background save already in progress");
    c.check("BGSAVE SCHEDULE", "-ERR Background save already in progress");
    c.check("SAVE", "-ERR Background save already in progress");
    assert!(c.ask("INFO persistence").contains("rdb_bgsave_in_progress:1\r\n"));
    assert!(c.ask("INFO stats").contains("total_forks:1\r\n"));
    c.check("BGSAVE CANCEL", "+Background saving cancelled");
    wait_for_the_background(&c);
    c.check("BGSAVE CANCEL", "-ERR Background saving is currently not in progress or scheduled");
    c.check("BGSAVE x", "-ERR syntax error");
    assert_eq!(file(&c, &disk), bytes, "a snapshot that is given up leaves the file of the last one");
    c.check("CONFIG SET rdb-key-save-delay 0", "+OK");
    c.check("MULTI", "+OK");
    c.check("SAVE", "-ERR Command 'save' not allowed inside a transaction");
    c.check("DISCARD", "+OK");
    c.check("MULTI", "+OK");
    c.check("BGSAVE", "+QUEUED");
    c.check("EXEC", "[+Background saving scheduled]");
    wait_for_the_background(&c);
    let info = c.ask("INFO persistence");
    for line in
        ["rdb_changes_since_last_save:0", "rdb_saves:2", "rdb_last_bgsave_status:ok", "rdb_bgsave_in_progress:0"]
    {
        assert!(info.contains(line), "{line}: {info}");
    }
    c.check("CONFIG RESETSTAT", "+OK");
    assert!(c.ask("INFO persistence").contains("rdb_saves:0\r\n") && c.ask("INFO stats").contains("total_forks:0\r\n"));
    assert!(file(&c, &disk).len() > bytes.len());
}

#[test]
fn a_disk_that_fails_stops_writes_where_there_are_save_points() {
    const MISCONF: &str = "-MISCONF Valkey is configured to save RDB snapshots";
    let (mut c, disk) = on_a_faulty_disk(&["--save", "3600", "1"]);
    c.check("SET a 1", "+OK");
    c.check("SAVE", "+OK");
    for op in [Op::Create, Op::Write, Op::Sync, Op::Rename, Op::SyncDir] {
        let before = file(&c, &disk);
        c.check("SET a 2", "+OK");
        disk.fail(op, 1, libc::EIO);
        c.check("BGSAVE", "+Background saving started");
        wait_for_the_background(&c);
        assert!(c.ask("INFO persistence").contains("rdb_last_bgsave_status:err"), "{op:?}");
        for line in ["SET a 3", "PING", "EVAL redis.call('SET','a','3') 0"] {
            let reply = c.ask(line);
            assert!(reply.starts_with(MISCONF), "{op:?} {line}: {reply}");
        }
        c.check("GET a", "$2");
        let names = disk.shared().list(&c.shared.config.dir()).expect("a directory");
        assert_eq!(names, ["dump.rdb"], "{op:?}");
        if op != Op::SyncDir {
            assert_eq!(file(&c, &disk), before, "{op:?}");
        }
        c.check("CONFIG SET stop-writes-on-bgsave-error no", "+OK");
        c.check("PING", "+PONG");
        c.check("CONFIG SET stop-writes-on-bgsave-error yes", "+OK");
        c.check("CONFIG SET save \"\"", "+OK");
        c.check("SET b 1", "+OK");
        c.ask("CONFIG SET save \"3600 1\"");
        assert!(c.ask("PING").starts_with(MISCONF));
        c.check("SAVE", "+OK");
        c.check("PING", "+PONG");
        disk.heal();
        if op == Op::Create {
            disk.fail(Op::Create, 1, libc::EIO);
            c.check("SAVE", "-ERR");
            c.check("SET a 2", "+OK");
            disk.heal();
            c.check("SAVE", "+OK");
        }
    }
}

#[test]
fn save_points_and_flushes_want_snapshots() {
    let (mut c, disk) = on_a_faulty_disk(&["--save", "10", "2"]);
    let due = |c: &Client, seconds: i64| {
        let later = UnixMs(UnixMs::now().0 + seconds * 1000);
        let cuts = c.shared.saving.report().cuts;
        saving::look(c.shared, later);
        wait_for_the_background(c);
        c.shared.saving.report().cuts > cuts
    };
    c.ask("SET a 1");
    assert!(!due(&c, 20), "one change is too few");
    c.ask("SET b 1");
    assert!(!due(&c, 5), "it is too early");
    assert!(due(&c, 20));
    let before = file(&c, &disk);
    c.check("FLUSHALL", "+OK");
    wait_for_the_background(&c);
    assert!(file(&c, &disk).len() < before.len(), "what was flushed is not in the file any more");
}

/// Moves members, amounts and elements between pairs of collections that are saved in parts.
fn shuffle(shared: &'static Shared, seed: u32, stop: &AtomicBool) {
    let (mut c, mut chance) = (Client::of(shared, Resp::V2), seed);
    while !stop.load(Relaxed) {
        chance = chance.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let (n, forth) = (chance >> 8 & 8191, chance >> 31 == 0);
        let (from, to) = if forth { ("a", "b") } else { ("b", "a") };
        match chance >> 24 & 15 {
            0..4 => drop(c.ask(&format!("SMOVE set:{from} set:{to} member:{n}"))),
            4..12 => {
                c.check("MULTI", "+OK");
                c.ask(&format!("HINCRBY hash:{from} field:{n} -3"));
                c.ask(&format!("HINCRBY hash:{to} field:{n} 3"));
                c.ask(&format!("ZINCRBY zset:{from} -2 member:{n}"));
                c.ask(&format!("ZINCRBY zset:{to} 2 member:{n}"));
                assert!(c.ask("EXEC").starts_with('['));
            }
            12..15 => drop(c.ask(&format!("LMOVE list:{from} list:{to} LEFT RIGHT"))),
            _ => {
                c.check("MULTI", "+OK");
                for line in ["RENAME hash:a hash:c", "RENAME hash:b hash:a", "RENAME hash:c hash:b"] {
                    c.ask(line);
                }
                assert!(c.ask("EXEC").starts_with('['));
            }
        }
        std::thread::sleep(Duration::from_micros(u64::from(chance >> 12 & 1023)));
    }
}

#[test]
fn long_collections_are_saved_in_parts_and_whole() {
    let (mut c, disk) = on_a_faulty_disk(&["--rdbcompression", "yes"]);
    for n in 0..8192 {
        for name in ["a", "b"] {
            c.ask(&format!("HSET hash:{name} field:{n} 100"));
            c.ask(&format!("ZADD zset:{name} 100 member:{n}"));
            c.ask(&format!("RPUSH list:{name} element-{name}-{n}-of-some-length"));
        }
        c.ask(&format!("SADD set:{} member:{n}", if n % 2 == 0 { "a" } else { "b" }));
        c.ask(&format!("HSET quiet field:{n} {n}"));
        c.ask(&format!("XADD stream {n}-1 field some-value"));
    }
    c.ask("HPEXPIRE quiet 100000000 FIELDS 2 field:7 field:8");
    let quiet = |c: &mut Client| {
        [
            "HLEN quiet",
            "HGET quiet field:77",
            "HPEXPIRETIME quiet FIELDS 3 field:7 field:8 field:9",
            "XLEN stream",
            "XRANGE stream 77 77",
        ]
        .map(|line| c.ask(line))
    };
    let expected = quiet(&mut c);
    let (shared, stop) = (c.shared, AtomicBool::new(false));
    std::thread::scope(|scope| {
        for seed in 1..3 {
            let stop = &stop;
            scope.spawn(move || shuffle(shared, seed, stop));
        }
        for _ in 0..25 {
            c.check("SAVE", "+OK");
            let mut fresh = Client::new(Resp::V2);
            let (now, path) = (UnixMs::now(), shared.config.dir().join("dump.rdb"));
            let (options, progress) = (larder::call::loading::options(&shared.config, now), Progress::default());
            let loaded = load_file(&*disk.shared(), &path, Some(&fresh.shared.keyspace), &options, &progress);
            assert!(loaded.is_ok(), "{loaded:?}");
            assert_eq!(quiet(&mut fresh), expected);
            let sum = |reply: String| {
                reply
                    .split(", $")
                    .filter_map(|word| word.trim_matches(['[', ']', '$']).parse::<i64>().ok())
                    .sum::<i64>()
            };
            let hashes = [fresh.ask("HVALS hash:a"), fresh.ask("HVALS hash:b")].map(sum);
            assert_eq!(hashes[0] + hashes[1], 2 * 8192 * 100);
            assert_eq!((fresh.ask("HLEN hash:a"), fresh.ask("ZCARD zset:b")), (":8192".to_owned(), ":8192".to_owned()));
            fresh.check("ZUNIONSTORE all 2 zset:a zset:b", ":8192");
            fresh.check("ZCOUNT all 200 200", ":8192");
            fresh.check("SUNIONSTORE both set:a set:b", ":8192");
            fresh.check("SINTERCARD 2 set:a set:b", ":0");
            let lengths = [fresh.ask("LLEN list:a"), fresh.ask("LLEN list:b")];
            let length = |reply: &String| reply[1..].parse::<i64>().unwrap_or(0);
            assert_eq!(length(&lengths[0]) + length(&lengths[1]), 2 * 8192);
        }
        stop.store(true, Relaxed);
    });
}
