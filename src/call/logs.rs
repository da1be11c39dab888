//! The logs that clients read: slow and large commands, latency events.
//!
//! Invariant: both are bounded, in entries and in the bytes of each; what a log held once costs nothing once it is gone.

use super::clients::Client;
use crate::config::is_sensitive;
use crate::protocol::batch::RequestView;
use crate::util::clock::UnixMs;
use crate::util::shrink::shrink;
use parking_lot::Mutex;
use std::collections::{BTreeMap, VecDeque};

/// Arguments that an entry keeps; the last one says how many more there were.
const ENTRY_ARGS: usize = 32;

/// Bytes that an entry keeps of an argument.
const ENTRY_ARG_BYTES: usize = 128;

/// What is logged in place of a password.
const REDACTED: &[u8] = b"(redacted)";

/// One logged command.
#[derive(Clone, Debug)]
pub struct LogEntry {
    /// Number, never used twice in its log.
    pub id: u64,
    /// Unix time in seconds.
    pub unix_s: i64,
    /// Microseconds for the slow log, bytes for the logs of large requests and replies.
    pub amount: i64,
    /// Arguments, cut to what SLOWLOG shows.
    pub args: Vec<Vec<u8>>,
    /// Address of the client.
    pub addr: String,
    /// Name of the client.
    pub name: Vec<u8>,
}

impl LogEntry {
    /// An entry about a request of `client`, its id yet to be given. `amount`: microseconds or bytes. O(bytes kept).
    pub fn new(request: RequestView<'_>, client: &Client, now: UnixMs, amount: i64) -> LogEntry {
        let addr = client.addr.clone();
        let name = client.labels.lock().name.clone();
        LogEntry { id: 0, unix_s: now.seconds(), amount, args: entry_args(request), addr, name }
    }
}

fn entry_args(request: RequestView<'_>) -> Vec<Vec<u8>> {
    let whole = if request.argc() > ENTRY_ARGS { ENTRY_ARGS - 1 } else { request.argc() };
    let mut args: Vec<Vec<u8>> = (0..whole)
        .map(|index| if is_secret(request, index) { REDACTED.to_vec() } else { entry_arg(request.arg(index)) })
        .collect();
    if whole < request.argc() {
        args.push(format!("... ({} more arguments)", request.argc() - whole).into_bytes());
    }
    args
}

fn entry_arg(argument: &[u8]) -> Vec<u8> {
    let Some((head, rest)) = argument.split_at_checked(ENTRY_ARG_BYTES).filter(|(_, rest)| !rest.is_empty()) else {
        return argument.to_vec();
    };
    [head, format!("... ({} more bytes)", rest.len()).as_bytes()].concat()
}

/// Whether argument `index` is a password: of AUTH, of HELLO's AUTH (the user's name included), of CONFIG SET.
pub fn is_secret(request: RequestView<'_>, index: usize) -> bool {
    let is = |index: usize, word: &str| request.arg(index).eq_ignore_ascii_case(word.as_bytes());
    if is(0, "auth") {
        return index > 0;
    }
    if is(0, "hello") {
        return (2..index).any(|at| index - at <= 2 && is(at, "auth"));
    }
    is(0, "config") && is(1, "set") && index > 2 && index % 2 == 1 && is_sensitive(request.arg(index - 1))
}

/// Which log of `COMMANDLOG`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogKind {
    /// Commands that took long.
    Slow,
    /// Requests of many bytes.
    LargeRequest,
    /// Replies of many bytes.
    LargeReply,
}

/// The three logs.
#[derive(Default)]
pub struct CommandLogs([Mutex<Log>; 3]);

#[derive(Default)]
struct Log {
    entries: VecDeque<LogEntry>,
    next_id: u64,
}

impl CommandLogs {
    fn log(&self, kind: LogKind) -> &Mutex<Log> {
        &self.0[kind as usize]
    }

    /// Adds an entry, whose id is set here, and drops the oldest beyond `max_len`. As Valkey: a log that is switched off by
    /// the length 0 keeps what it has.
    pub fn add(&self, kind: LogKind, mut entry: LogEntry, max_len: usize) {
        if max_len == 0 {
            return;
        }
        let mut log = self.log(kind).lock();
        entry.id = log.next_id;
        log.next_id += 1;
        log.entries.push_front(entry);
        if log.entries.len() > max_len {
            log.entries.truncate(max_len);
            shrink(&mut log.entries); // the limit may have been much higher
        }
    }

    /// The newest `count` entries, newest first.
    pub fn newest(&self, kind: LogKind, count: usize) -> Vec<LogEntry> {
        self.log(kind).lock().entries.iter().take(count).cloned().collect()
    }

    /// Number of entries.
    pub fn len(&self, kind: LogKind) -> usize {
        self.log(kind).lock().entries.len()
    }

    /// Forgets all entries, and gives their room back. O(entries), without the lock.
    pub fn reset(&self, kind: LogKind) {
        let entries = std::mem::take(&mut self.log(kind).lock().entries);
        drop(entries);
    }
}

/// Samples kept for each latency event.
pub const LATENCY_SAMPLES: usize = 160;

/// The history of one event.
#[derive(Clone, Default, Debug)]
pub struct LatencyEvent {
    /// (Unix seconds, milliseconds), oldest first; at most one a second, the largest.
    pub samples: VecDeque<(i64, u64)>,
    /// The largest since the reset, in milliseconds.
    pub max_ms: u64,
    /// The sum since the reset, in milliseconds, of those too that share a second.
    pub sum_ms: u64,
    /// How many there were since the reset.
    pub count: u64,
}

/// `LATENCY`: events that took longer than `latency-monitor-threshold`.
#[derive(Default)]
pub struct LatencyMonitor {
    events: Mutex<BTreeMap<&'static str, LatencyEvent>>,
}

impl LatencyMonitor {
    /// Adds a sample; the caller has compared it with the threshold.
    pub fn add(&self, event: &'static str, ms: u64, now: UnixMs) {
        let mut events = self.events.lock();
        let event = events.entry(event).or_default();
        event.max_ms = event.max_ms.max(ms);
        event.sum_ms = event.sum_ms.saturating_add(ms);
        event.count += 1;
        match event.samples.back_mut() {
            Some((second, worst)) if *second == now.seconds() => *worst = ms.max(*worst),
            _ => event.samples.push_back((now.seconds(), ms)),
        }
        if event.samples.len() > LATENCY_SAMPLES {
            event.samples.pop_front();
        }
    }

    /// All events with their histories.
    pub fn events(&self) -> BTreeMap<&'static str, LatencyEvent> {
        self.events.lock().clone()
    }

    /// Forgets the named events, or all; returns how many it forgot.
    pub fn reset(&self, names: &[&[u8]]) -> usize {
        let mut events = self.events.lock();
        let before = events.len();
        events.retain(|name, _| {
            !names.is_empty() && !names.iter().any(|given| given.eq_ignore_ascii_case(name.as_bytes()))
        });
        before - events.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::batch::OwnedRequest;

    fn kept(args: &[&[u8]]) -> Vec<String> {
        let request = OwnedRequest::from_args(args.iter().copied());
        entry_args(request.view()).into_iter().map(|arg| String::from_utf8_lossy(&arg).into_owned()).collect()
    }

    /// A log of a million entries was reset, and kept the 96 MB that had held them.
    #[test]
    fn a_log_that_was_long_gives_its_room_back() {
        let entry =
            || LogEntry { id: 0, unix_s: 0, amount: 0, args: Vec::new(), addr: String::new(), name: Vec::new() };
        let logs = CommandLogs::default();
        for kind in [LogKind::Slow, LogKind::LargeRequest, LogKind::LargeReply] {
            let room = || logs.log(kind).lock().entries.capacity();
            let fill = || (0..10_000).for_each(|_| logs.add(kind, entry(), 10_000));
            fill();
            logs.add(kind, entry(), 100);
            assert!(logs.len(kind) == 100 && room() <= 200, "trimmed: {}", room());
            fill();
            logs.reset(kind);
            assert_eq!((logs.len(kind), room()), (0, 0), "reset");
            logs.add(kind, entry(), 100);
            assert_eq!(logs.newest(kind, 9)[0].id, 20_001, "numbers go on");
        }
    }

    #[test]
    fn long_arguments_are_cut() {
        assert_eq!(kept(&[b"SET", &[b'x'; 128]])[1].len(), 128);
        let cut = kept(&[b"SET", &[b'x'; 130]])[1].clone();
        assert_eq!(cut.strip_prefix(&"x".repeat(128)), Some("... (2 more bytes)"));
    }

    #[test]
    fn many_arguments_are_counted() {
        assert_eq!(kept(&[b"x".as_slice(); 32]).len(), 32);
        let many = kept(&[b"x".as_slice(); 33]);
        assert_eq!((many.len(), many[31].as_str()), (32, "... (2 more arguments)"));
    }

    #[test]
    fn passwords_are_hidden() {
        let hidden = "(redacted)";
        assert_eq!(kept(&[b"Auth", b"user", b"pw"]), ["Auth", hidden, hidden]);
        assert_eq!(
            kept(&[b"HELLO", b"2", b"AUTH", b"u", b"p", b"SETNAME", b"n"])[2..],
            ["AUTH", hidden, hidden, "SETNAME", "n"]
        );
        let config = kept(&[b"CONFIG", b"SET", b"timeout", b"1", b"requirepass", b"pw"]);
        assert_eq!(config[2..], ["timeout", "1", "requirepass", hidden]);
    }
}
