//! The logs that clients read: slow and large commands, latency events.
//!
//! Invariant: both are bounded, in entries and in the bytes of each.

use crate::util::clock::UnixMs;
use parking_lot::Mutex;
use std::collections::{BTreeMap, VecDeque};

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

    /// Adds an entry, whose id is set here, and drops the oldest beyond `max_len`.
    pub fn add(&self, kind: LogKind, mut entry: LogEntry, max_len: usize) {
        let mut log = self.log(kind).lock();
        entry.id = log.next_id;
        log.next_id += 1;
        log.entries.push_front(entry);
        log.entries.truncate(max_len);
    }

    /// The newest `count` entries, newest first.
    pub fn newest(&self, kind: LogKind, count: usize) -> Vec<LogEntry> {
        self.log(kind).lock().entries.iter().take(count).cloned().collect()
    }

    /// Number of entries.
    pub fn len(&self, kind: LogKind) -> usize {
        self.log(kind).lock().entries.len()
    }

    /// Forgets all entries.
    pub fn reset(&self, kind: LogKind) {
        self.log(kind).lock().entries.clear();
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
