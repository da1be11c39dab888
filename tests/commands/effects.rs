//! The log of effects: what a write leaves in it, and that it does the same again on another server.

use super::harness::Client;
use larder::call::effects::Sink;
use larder::protocol::batch::{OwnedRequest, RequestView};
use larder::protocol::reply::Resp;
use std::sync::{Arc, Mutex};

/// Units, each with its effects.
#[derive(Default)]
struct Log(Mutex<Vec<Vec<(usize, OwnedRequest)>>>);

impl Sink for Log {
    fn append(&self, unit: &[(usize, RequestView<'_>)]) {
        let unit = unit.iter().map(|(db, request)| (*db, request.to_owned_request())).collect();
        self.0.lock().expect("no append panics").push(unit);
    }
}

impl Log {
    fn attach(c: &Client) -> Arc<Log> {
        let log = Arc::new(Log::default());
        c.shared.effects.attach(Some(Arc::<Log>::clone(&log)), c.shared.keyspace.attention());
        log
    }

    fn take(&self) -> Vec<Vec<(usize, OwnedRequest)>> {
        std::mem::take(&mut self.0.lock().expect("no append panics"))
    }

    /// The units as text: effects joined by ` ; `.
    fn lines(&self) -> Vec<String> {
        let show = |(db, request): &(usize, OwnedRequest)| {
            let words: Vec<_> = request.view().iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect();
            if *db == 0 { words.join(" ") } else { format!("{db}: {}", words.join(" ")) }
        };
        self.take().iter().map(|unit| unit.iter().map(show).collect::<Vec<_>>().join(" ; ")).collect()
    }
}

/// Runs `lines`, and checks what the last one leaves in the log.
fn leaves(lines: &[&str], expected: &[&str]) {
    let mut c = Client::new(Resp::V2);
    let log = Log::attach(&c);
    let (last, first) = lines.split_last().expect("a line");
    for line in first {
        c.ask(line);
    }
    log.take();
    c.ask(last);
    assert_eq!(log.lines(), expected, "{lines:?}");
}

#[test]
fn a_write_is_logged_as_it_came() {
    leaves(&["SET a 1"], &["SET a 1"]);
    leaves(&["SET a 1 GET"], &["SET a 1 GET"]);
    leaves(&["SELECT 3", "LPUSH l a b"], &["3: LPUSH l a b"]);
    leaves(&["SADD s a", "SADD s a"], &[]);
    leaves(&["SET a 1", "GET a"], &[]);
    leaves(&["SET a 1", "LPUSH a 1"], &[]);
    leaves(&["SET a 1", "FLUSHALL"], &["FLUSHALL"]);
    leaves(&["SET a 1", "MOVE a 4"], &["MOVE a 4"]);
}

#[test]
fn chance_is_logged_as_what_it_chose() {
    leaves(&["SADD s only", "SPOP s"], &["SREM s only"]);
    leaves(&["SADD s a b", "SPOP s 5"], &["DEL s"]);
    leaves(&["SET f 1.5", "INCRBYFLOAT f 0.25"], &["SET f 1.75 KEEPTTL"]);
    leaves(&["HSET h f 1.5", "HINCRBYFLOAT h f 1"], &["HSET h f 2.5"]);
    leaves(&["HSETEX h EXAT 99999999999 FIELDS 1 f 1", "HINCRBYFLOAT h f 1"], &["HSETEX h KEEPTTL FIELDS 1 f 2"]);
}

#[test]
fn deadlines_are_logged_as_times() {
    leaves(&["SET a 1 PXAT 99999999999999"], &["SET a 1 PXAT 99999999999999"]);
    leaves(&["SET a 1 XX EXAT 99999999999"], &[]);
    leaves(&["SET a 1", "EXPIREAT a 99999999999"], &["PEXPIREAT a 99999999999000"]);
    leaves(&["SET a 1", "EXPIRE a -1"], &["DEL a"]);
    leaves(&["SET a 1", "GETEX a EXAT 99999999999"], &["PEXPIREAT a 99999999999000"]);
    leaves(&["SET a 1 EX 100", "GETEX a PERSIST"], &["PERSIST a"]);
    leaves(&["SET a 1", "GETEX a EXAT 1"], &["DEL a"]);
    leaves(&["MSETEX 2 a 1 b 2 EXAT 99999999999"], &["MSETEX 2 a 1 b 2 PXAT 99999999999000"]);
    leaves(&["HSET h a 1 b 2", "HEXPIREAT h 99999999999 FIELDS 2 a c"], &["HPEXPIREAT h 99999999999000 FIELDS 1 a"]);
    leaves(&["HSET h a 1 b 2", "HEXPIREAT h 1 FIELDS 1 a"], &["HDEL h a"]);
    leaves(&["HSETEX h EXAT 99999999999 FIELDS 1 f v"], &["HSETEX h PXAT 99999999999000 FIELDS 1 f v"]);
    let mut c = Client::new(Resp::V2);
    let log = Log::attach(&c);
    let lines = ["SET a 1 EX 100", "SETEX a 100 1", "EXPIRE a 100", "GETEX a EX 100", "HSETEX h EX 100 FIELDS 1 f v"];
    for line in lines {
        c.ask(line);
        let logged = log.lines().concat();
        assert!(logged.contains("PXAT ") || logged.contains("PEXPIREAT "), "{line}: {logged}");
        assert!(!logged.contains(" EX "), "{line}: {logged}");
    }
}

#[test]
fn who_takes_and_may_wait_is_logged_as_taking() {
    leaves(&["RPUSH l a b", "BLPOP none l 0"], &["LPOP l 1"]);
    leaves(&["RPUSH l a b", "LMPOP 2 none l RIGHT COUNT 5"], &["RPOP l 2"]);
    leaves(&["RPUSH l a b", "BLMOVE l m RIGHT LEFT 0"], &["LMOVE l m RIGHT LEFT"]);
    leaves(&["RPUSH l a b", "BRPOPLPUSH l m 0"], &["LMOVE l m RIGHT LEFT"]);
    leaves(&["ZADD z 1 a 2 b", "BZPOPMAX z 0"], &["ZPOPMAX z 1"]);
    leaves(&["ZADD z 1 a 2 b", "BZMPOP 0 1 z MIN COUNT 9"], &["ZPOPMIN z 2"]);
    let mut c = Client::new(Resp::V2);
    let log = Log::attach(&c);
    let mut waiting = c.beside();
    waiting.check("BLPOP l 0", "blocked");
    c.ask("RPUSH l a");
    assert_eq!(log.lines(), ["RPUSH l a", "LPOP l 1"], "the service is logged behind the write that made it possible");
}

#[test]
fn streams_are_logged_as_what_became_of_them() {
    leaves(&["XADD s 5-* f v"], &["XADD s 5-0 f v"]);
    leaves(&["XADD s 1-1 f v", "XADD s MAXLEN = 1 2-2 f v"], &["XADD s 2-2 f v ; XTRIM s MAXLEN = 1"]);
    leaves(&["XADD s 1-1 f v", "XTRIM s MINID 9"], &["XTRIM s MAXLEN = 0"]);
    let lines = ["XADD s 1-1 f v", "XGROUP CREATE s g 0", "XCLAIM s g c 0 1-1 TIME 5 RETRYCOUNT 7 FORCE JUSTID"];
    leaves(
        &lines,
        &["XGROUP CREATECONSUMER s g c ; XCLAIM s g c 0 1-1 TIME 5 RETRYCOUNT 7 FORCE JUSTID LASTID 0-0 ; \
           XGROUP SETID s g 0-0"],
    );
    leaves(
        &["XADD s 1-1 f v", "XGROUP CREATE s g 0", "XREADGROUP GROUP g c NOACK STREAMS s >"],
        &["XGROUP CREATECONSUMER s g c ; XGROUP SETID s g 1-1 ENTRIESREAD 1"],
    );
}

#[test]
fn what_expires_is_logged_before_what_met_it() {
    let mut c = Client::new(Resp::V2);
    let log = Log::attach(&c);
    c.ask("SET a 1 PX 100");
    c.ask("HSETEX h PX 100 FIELDS 1 f v");
    c.ask("HSET h g w");
    std::thread::sleep(std::time::Duration::from_millis(120));
    log.take();
    c.ask("APPEND a x");
    c.ask("GET none");
    c.ask("HLEN h");
    c.ask("HGET h g");
    assert_eq!(log.lines(), ["DEL a ; APPEND a x", "HDEL h f"]);
    c.ask("SET b 1 PX 1");
    std::thread::sleep(std::time::Duration::from_millis(5));
    log.take();
    let shared = c.shared;
    for shard in 0..shared.keyspace.shards() {
        let now = larder::util::clock::UnixMs::now();
        while shared.keyspace.expire_turn(shard, now, &mut |db, news| shared.hear_all(db, &news)) {}
    }
    assert_eq!(log.lines(), ["DEL b"], "the active cycle says so too");
}

#[test]
fn a_transaction_is_one_unit() {
    leaves(
        &["MULTI", "SET a 1", "GET a", "SELECT 2", "SPOP none", "INCRBYFLOAT f 1", "EXEC"],
        &["SET a 1 ; 2: SET f 1 KEEPTTL"],
    );
    leaves(&["MULTI", "GET a", "EXEC"], &[]);
}

/// A few thousand commands of every group, by a small random generator.
fn random_lines(seed: u64) -> Vec<String> {
    let mut state = seed;
    let mut below = move |limit: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % limit
    };
    let templates = [
        "SET s# @",
        "SET s# @ EX 1000",
        "SET s# @ PXAT 1",
        "APPEND s# @",
        "INCRBYFLOAT n# 0.1",
        "INCR n#",
        "DEL s#",
        "GETDEL s#",
        "GETEX s# EX 500",
        "SETRANGE s# 3 @",
        "MSET s# @ s# @",
        "SETBIT b# @ 1",
        "BITFIELD b# SET u8 @ 7",
        "PFADD p# @ @",
        "PFMERGE p# p#",
        "LPUSH l# @ @",
        "RPUSH l# @",
        "LPOP l#",
        "RPOP l# 2",
        "LMOVE l# l# LEFT RIGHT",
        "BLMPOP 0.01 2 l# l# LEFT",
        "LTRIM l# 0 5",
        "LINSERT l# BEFORE @ @",
        "LSET l# 0 @",
        "LREM l# 0 @",
        "SADD t# @ @ @",
        "SPOP t#",
        "SPOP t# 2",
        "SREM t# @",
        "SMOVE t# t# @",
        "SINTERSTORE t# t# t#",
        "SUNIONSTORE t# t# t#",
        "ZADD z# @ @",
        "ZINCRBY z# 1.5 @",
        "ZPOPMIN z#",
        "ZMPOP 2 z# z# MAX COUNT 2",
        "ZREMRANGEBYRANK z# 0 0",
        "ZUNIONSTORE z# 2 z# z#",
        "ZRANGESTORE z# z# 0 3",
        "GEOADD g# 13.@ 38.@ @",
        "HSET h# @ @",
        "HINCRBYFLOAT h# @ 1.5",
        "HDEL h# @",
        "HEXPIRE h# 1000 FIELDS 1 @",
        "HPERSIST h# FIELDS 1 @",
        "HGETDEL h# FIELDS 1 @",
        "HSETEX h# EX 1000 FIELDS 1 @ @",
        "HGETEX h# PX 100000 FIELDS 2 @ @",
        "HPEXPIREAT h# 1 FIELDS 1 @",
        "EXPIRE l# 1000",
        "PERSIST l#",
        "EXPIRE t# -1",
        "RENAME z# z#",
        "COPY h# h# REPLACE",
        "MOVE l# 1",
        "SORT t# ALPHA STORE l#",
        "XADD x# * @ @",
        "XADD x# MAXLEN ~ 3 * @ @",
        "XTRIM x# MAXLEN 4",
        "XGROUP CREATE x# g 0 MKSTREAM",
        "XREADGROUP GROUP g c@ COUNT 2 STREAMS x# >",
        "XREADGROUP GROUP g c@ STREAMS x# 0",
        "XAUTOCLAIM x# g c@ 0 0 COUNT 2",
        "XSETID x# 99999999999999-@",
        "XGROUP DELCONSUMER x# g c@",
        "SWAPDB 0 1",
        "MULTI",
        "EXEC",
        "SELECT 0",
        "SELECT 1",
        "SETEX s# 100 @",
        "FLUSHDB",
    ];
    (0..3000)
        .map(|_| {
            let choice = below(templates.len() as u64 + 20);
            // A flushed database tells nothing.
            let template = templates
                .get(usize::try_from(choice).unwrap_or(0))
                .filter(|line| **line != "FLUSHDB" || below(30) == 0);
            let mut line = String::new();
            for letter in template.unwrap_or(&"ZADD z# @ @").chars() {
                match letter {
                    '#' => line.push_str(&below(3).to_string()),
                    '@' => line.push_str(&below(12).to_string()),
                    other => line.push(other),
                }
            }
            line
        })
        .collect()
}

/// Who has what pending how often; not since when, which moves.
fn pending(c: &mut Client, key: &str) -> Vec<Vec<String>> {
    let reply = c.ask(&format!("XPENDING {key} g - + 99"));
    let entries = reply.trim_matches(['[', ']']).split("], [");
    let words = entries.map(|entry| entry.split(", ").map(str::to_owned).collect::<Vec<_>>());
    words
        .map(|words| words.into_iter().enumerate().filter(|(at, _)| *at != 2).map(|(_, word)| word).collect())
        .collect()
}

#[test]
fn the_log_makes_the_same_data_again() {
    for seed in 1..=6 {
        let mut first = Client::new(Resp::V2);
        let log = Log::attach(&first);
        let mut errors = 0;
        for line in random_lines(seed) {
            errors += usize::from(first.ask(&line).starts_with("-ERR unknown"));
        }
        assert_eq!(errors, 0, "the generator writes commands");
        first.ask("DISCARD");
        let mut second = Client::new(Resp::V2);
        let units = log.take();
        assert!(units.len() > 500, "{} units", units.len());
        for (db, request) in units.into_iter().flatten() {
            second.check(&format!("SELECT {db}"), "+OK");
            let reply = second.send(&request);
            assert!(!reply.starts_with('-'), "seed {seed}: {reply}");
        }
        let digest = first.ask("DEBUG DIGEST");
        assert!(digest.len() == 41 && digest != format!("+{}", "0".repeat(40)), "{digest}");
        assert_eq!(digest, second.ask("DEBUG DIGEST"), "seed {seed}");
        for line in (0..6).map(|number| format!("{} x{}", number / 3, number % 3)) {
            let (db, key) = line.split_once(' ').expect("two words");
            let [one, two] = [&mut first, &mut second].map(|c| {
                c.check(&format!("SELECT {db}"), "+OK");
                (c.ask(&format!("XINFO GROUPS {key}")), pending(c, key))
            });
            assert_eq!(one, two, "seed {seed}: {line}");
        }
    }
}
