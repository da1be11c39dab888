//! The append-only file: what writes leave in it makes the same data again, whatever part of it is left.

use super::harness::Client;
use larder::dispatch::Dispatcher;
use larder::persistence::aof::reader::{End, Reader};
use larder::persistence::aof::writer::LogFile;
use larder::persistence::disk::DiskFile;
use larder::protocol::batch::{Batch, RequestView};
use larder::protocol::reply::{Output, Resp};
use std::io::{self, Cursor};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A file in memory with little or much room.
#[derive(Clone, Default)]
struct Paper(Arc<Mutex<(Vec<u8>, Option<usize>)>>);

impl Paper {
    fn bytes(&self) -> Vec<u8> {
        self.0.lock().expect("no write panics").0.clone()
    }

    fn leave_room(&self, room: Option<usize>) {
        self.0.lock().expect("no write panics").1 = room;
    }
}

impl DiskFile for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (text, room) = &mut *self.0.lock().expect("no write panics");
        let count = room.map_or(bytes.len(), |room| bytes.len().min(room.saturating_sub(text.len())));
        if count == 0 {
            return Err(io::Error::from_raw_os_error(28));
        }
        text.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.0.lock().expect("no write panics").0.truncate(usize::try_from(len).expect("a short file"));
        Ok(())
    }

    fn again(&self) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(self.clone()))
    }
}

/// A server whose effects go to a file.
fn logging() -> (Client, Paper) {
    let (c, paper) = (Client::new(Resp::V2), Paper::default());
    c.shared.append_log.log.switch_to(LogFile::new(Box::new(paper.clone()), Path::new("paper"), 0));
    c.shared.append_log.attach(c.shared);
    (c, paper)
}

/// A server that has run what `bytes` hold; and how they end.
fn replayed(bytes: &[u8]) -> (Client, End) {
    let c = Client::new(Resp::V2);
    let mut reader = Reader::new(Box::new(Cursor::new(bytes.to_vec())), 0);
    let (mut dispatcher, mut session) = (Dispatcher::new(c.shared, 0), c.new_session());
    let (mut batch, mut out) = (Batch::new(), Output::new());
    let end = loop {
        match reader.next(&mut batch).expect("a log") {
            Ok(buffer) => {
                let mut errors = Vec::new();
                let mut warn =
                    |_: RequestView<'_>, text: &[u8]| errors.push(String::from_utf8_lossy(text).into_owned());
                let run = dispatcher.replay((&batch, buffer), &mut session, &mut out, &mut warn);
                assert!(run.is_ok(), "{:?}", run.err().map(|(_, error)| error.to_string()));
                assert!(errors.is_empty(), "{errors:?}");
            }
            Err(end) => break end,
        }
    };
    (c, end)
}

#[test]
fn every_prefix_of_the_log_is_a_state_that_was() {
    let (mut c, paper) = logging();
    let lines = [
        "SET a 1",
        "LPUSH l x y z",
        "MULTI",
        "INCR a",
        "SELECT 3",
        "HSET h f 1 g 2",
        "SELECT 0",
        "EXEC",
        "SADD s a b c d",
        "SPOP s 2",
        "ZADD z 1 a 2 b",
        "EVAL \"redis.call('INCR', 'a') redis.call('ZINCRBY', 'z', 1.5, 'a') return 1\" 0",
        "XADD x * f v",
        "XGROUP CREATE x g 0",
        "XREADGROUP GROUP g c STREAMS x >",
        "SETEX t 1000 v",
        "EXPIRE l 1000",
        "RENAME a b",
        "SELECT 1",
        "APPEND q text",
        "DEL q",
        "SWAPDB 0 1",
    ];
    let mut states = vec![(0, "+".to_owned() + &"0".repeat(40))];
    for line in lines {
        c.ask(line);
        let in_transaction = c.ask("DEBUG DIGEST");
        c.shared.append_log.log.write().expect("room");
        if !in_transaction.contains("QUEUED") {
            states.push((paper.bytes().len(), in_transaction));
        }
    }
    let bytes = paper.bytes();
    // The queued DEBUG DIGESTs of the transaction leave nothing.
    for len in 0..=bytes.len() {
        let (whole, digest) = states.iter().rev().find(|(end, _)| *end <= len).expect("the empty state");
        let at_edge = states.iter().any(|(end, _)| end.abs_diff(len) <= 1);
        if !at_edge && len % 17 != 0 {
            continue; // each costs a server
        }
        let (mut again, end) = replayed(&bytes[..len]);
        assert_eq!(&again.ask("DEBUG DIGEST"), digest, "{len} of {} bytes", bytes.len());
        // A change of the database alone is whole too.
        let select = b"*2\r\n$6\r\nSELECT\r\n$1\r\n";
        let selects = bytes[*whole..len].strip_prefix(select).is_some_and(|rest| rest.len() == 3);
        assert_eq!(end == End::Whole, len == *whole || selects, "{len}: {end:?}");
    }
}

#[test]
fn nothing_expires_while_the_log_is_run_again() {
    let (mut c, paper) = logging();
    for line in
        ["SET a 1 PX 60", "HSET h f 1 g 2", "HPEXPIRE h 60 FIELDS 1 f", "SET gone 1 PX 60", "SADD s 1", "PEXPIRE s 60"]
    {
        c.ask(line);
    }
    for line in ["PERSIST a", "HPERSIST h FIELDS 1 f", "SADD s 2", "PERSIST s"] {
        c.ask(line);
    }
    c.shared.append_log.log.write().expect("room");
    std::thread::sleep(Duration::from_millis(80));
    let (mut again, _) = replayed(&paper.bytes());
    again.check("GET a", "$1");
    again.check("HGET h f", "$1");
    again.check("SCARD s", ":2");
    again.check("GET gone", "nil");
}

#[test]
fn a_log_that_fails_refuses_writes_until_it_goes_on() {
    let (mut c, paper) = logging();
    c.check("SET a 1", "+OK");
    c.shared.append_log.log.write().expect("room");
    paper.leave_room(Some(paper.bytes().len() + 10));
    c.check("SET b 2", "+OK");
    assert!(c.shared.append_log.log.write().is_err());
    let refused = "-MISCONF Errors writing to the AOF file: No space left on device";
    for line in ["SET c 3", "DEL a", "PING"] {
        c.check(line, refused);
    }
    c.check("GET b", "$2");
    assert!(c.ask("EVAL \"return redis.call('SET', 'c', '3')\" 0").starts_with(refused));
    assert!(c.ask("INFO persistence").contains("aof_last_write_status:err"));
    paper.leave_room(None);
    c.shared.append_log.log.write().expect("room");
    c.shared.append_log.log.forgive_write();
    c.check("SET c 3", "+OK");
    c.shared.append_log.log.write().expect("room");
    let (mut again, end) = replayed(&paper.bytes());
    assert_eq!((again.ask("MGET a b c"), end), ("[$1, $2, $3]".to_owned(), End::Whole));
}

/// Another thread may find the disk full while a transaction runs. Scripts of it were refused then, beside commands that had run.
#[test]
fn a_log_that_fails_during_a_transaction_refuses_nothing_of_it() {
    let (mut c, paper) = logging();
    c.check("SET a 1", "+OK");
    paper.leave_room(Some(0));
    let wait = "for i = 1, 1e7 do if string.find(redis.call('INFO', 'persistence'), 'aof_last_write_status:err', 1, true) \
                then return 1 end end return 'it never failed'";
    c.check("MULTI", "+OK");
    c.check("SET b 2", "+QUEUED");
    for text in [wait, "return redis.call('SET', 'c', '3')", "#!lua\nreturn redis.call('SET', 'd', '4')"] {
        c.check(&format!("EVAL \"{text}\" 0"), "+QUEUED");
    }
    let shared = c.shared;
    let processed = || shared.stats.workers.iter().map(|worker| worker.processed.load()).sum::<u64>();
    let before = processed();
    let failing = std::thread::spawn(move || {
        while processed() == before {
            std::thread::yield_now(); // SET b counts when it has run, EXEC when it has ended
        }
        assert!(shared.append_log.log.write().is_err());
    });
    c.check("EXEC", "[+OK, :1, +OK, +OK]");
    failing.join().expect("a log that fails");
    c.check("MULTI", "+OK");
    c.check("EVAL \"return redis.call('SET', 'e', '5')\" 0", "+QUEUED");
    assert!(c.ask("EXEC").contains("MISCONF"));
    paper.leave_room(None);
    shared.append_log.log.write().expect("room");
    let (mut again, end) = replayed(&paper.bytes());
    assert_eq!((again.ask("MGET a b c d e"), end), ("[$1, $2, $3, $4, nil]".to_owned(), End::Whole));
}

#[test]
fn waitaof_is_answered_as_by_valkey() {
    let mut c = Client::new(Resp::V2);
    let off = "-ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.";
    for (line, expected) in [
        ("WAITAOF 0 0 0", "[:0, :0]"),
        ("WAITAOF 1 0 0", off),
        ("WAITAOF 2 0 0", "-ERR value is out of range, value must between 0 and 1"),
        ("WAITAOF -1 0 0", "-ERR value is out of range, value must between 0 and 1"),
        ("WAITAOF x 0 0", "-ERR value is not an integer or out of range"),
        ("WAITAOF 0 -1 0", "-ERR value is out of range, must be positive"),
        ("WAITAOF 0 x 0", "-ERR value is out of range, must be positive"),
        ("WAITAOF 0 0 -1", "-ERR timeout is negative"),
        ("WAITAOF 0 0 x", "-ERR timeout is not an integer or out of range"),
        ("WAITAOF 0 1 10", "blocked"),
    ] {
        c.check(line, expected);
    }
    let (mut c, _) = logging();
    c.check("WAITAOF 1 0 0", "[:1, :0]");
    c.check("SET a 1", "+OK");
    c.check("WAITAOF 1 0 0", "blocked");
    c.shared.append_log.log.write().expect("room");
    c.shared.append_log.sync().expect("a paper");
    c.shared.append_log.wake();
    assert_eq!(c.served(), "[:1, :0]");
}

#[test]
fn a_rewrite_is_asked_for_once() {
    let (mut c, _) = logging();
    c.check("BGREWRITEAOF", "+Background append only file rewriting started");
    c.check("BGREWRITEAOF", "-ERR Background append only file rewriting already in progress");
    c.check("BGREWRITEAOF x", "-ERR wrong number of arguments for 'bgrewriteaof' command");
}

/// Replicas and logs of Valkey have each FLUSHDB and FLUSHALL, whatever there was; here those of an empty database were left out.
#[test]
fn a_flush_of_nothing_is_logged() {
    for sync in ["", " SYNC", " ASYNC"] {
        let (mut c, paper) = logging();
        for line in ["FLUSHDB", "FLUSHALL"] {
            c.check(&format!("{line}{sync}"), "+OK");
        }
        c.ask("MULTI");
        c.ask(&format!("FLUSHDB{sync}"));
        c.ask("EXEC");
        c.shared.append_log.log.write().expect("a file with room");
        let text = String::from_utf8(paper.bytes()).expect("text").to_ascii_uppercase();
        assert_eq!((text.matches("FLUSHDB").count(), text.matches("FLUSHALL").count()), (2, 1), "{sync}: {text}");
    }
}
