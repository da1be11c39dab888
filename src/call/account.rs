//! What is written about a request that has run: slow and large commands, latency events, lines for monitors.
//!
//! Must not know: how it was run, whether alone, in a transaction or by a script.

use super::clients::Client;
use super::logs::{LogEntry, LogKind, is_secret};
use super::pubsub::push_limit;
use super::shared::Shared;
use super::spec::Flags;
use super::table::Command;
use crate::config::ClientClass;
use crate::protocol::batch::RequestView;
use crate::util::clock::{UnixMs, unix_us};
use bytes::Bytes;
use std::sync::atomic::Ordering::Relaxed;

impl Shared {
    /// Enters what is no request among the latency events, under the name that Redis gives it, if it took long.
    pub fn note_latency(&self, event: &'static str, nanos: u64) {
        let (ms, threshold_ms) = (nanos / 1_000_000, self.config.latency_monitor_threshold_ms());
        if threshold_ms > 0 && ms >= threshold_ms {
            self.latency.add(event, ms, UnixMs::now());
        }
    }
}

/// A request that has run.
#[derive(Clone, Copy)]
pub struct Record<'a> {
    /// Its row.
    pub command: &'a Command,
    /// Its arguments.
    pub request: RequestView<'a>,
    /// Who sent it.
    pub client: &'a Client,
    /// The database it ran in.
    pub db: usize,
    /// The time of its batch.
    pub now: UnixMs,
    /// A script ran it.
    pub by_script: bool,
}

/// Which requests [`Record::note`] has something to do for, as the options and monitors are now.
#[derive(Clone, Copy)]
pub struct Wanted {
    /// From so many bytes on requests and replies are large.
    request: usize,
    reply: usize,
    /// Somebody is shown requests.
    shown: bool,
}

impl Wanted {
    /// No request.
    pub const NONE: Wanted = Wanted { request: usize::MAX, reply: usize::MAX, shown: false };

    /// As it is now: a few loads.
    pub fn of(shared: &Shared) -> Wanted {
        let at_least = |bytes: i64| usize::try_from(bytes).unwrap_or(usize::MAX);
        Wanted {
            request: at_least(shared.config.commandlog_request_larger_than_bytes()),
            reply: at_least(shared.config.commandlog_reply_larger_than_bytes()),
            shown: shared.clients.monitors() > 0,
        }
    }

    /// Whether this request, with a reply of so many bytes, may be one of them.
    #[inline]
    pub fn has(&self, request: RequestView<'_>, replied: usize) -> bool {
        request.may_hold(self.request) || replied >= self.reply || self.shown
    }
}

impl Record<'_> {
    /// Enters it in the slow log and among the latency events, if it took long.
    pub fn note_time(self, shared: &Shared, nanos: u64) {
        let config = &shared.config;
        let slower_than = config.slowlog_log_slower_than_us();
        let micros = i64::try_from(nanos / 1000).unwrap_or(i64::MAX);
        if slower_than >= 0 && micros >= slower_than {
            self.log(shared, LogKind::Slow, micros);
        }
        let latency_ms = config.latency_monitor_threshold_ms();
        if latency_ms > 0 && nanos / 1_000_000 >= latency_ms {
            let event = if self.command.spec.flags.has(Flags::FAST) { "fast-command" } else { "command" };
            shared.latency.add(event, nanos / 1_000_000, self.now);
        }
    }

    /// Enters it in the logs of large requests and large replies, if it belongs there, and shows it to the monitors, unless its
    /// row says that it is not shown. `replied`: bytes.
    #[cold]
    pub fn note(self, shared: &Shared, replied: usize) {
        let wanted = Wanted::of(shared);
        if replied >= wanted.reply {
            self.log(shared, LogKind::LargeReply, i64::try_from(replied).unwrap_or(i64::MAX));
        }
        let bytes = self.request.payload_bytes();
        if bytes >= wanted.request {
            self.log(shared, LogKind::LargeRequest, i64::try_from(bytes).unwrap_or(i64::MAX));
        }
        if wanted.shown && !self.command.spec.flags.has(Flags::SKIP_MONITOR) {
            self.show(shared);
        }
    }

    #[cold]
    fn log(self, shared: &Shared, kind: LogKind, amount: i64) {
        if self.command.spec.flags.has(Flags::SKIP_SLOWLOG) {
            return;
        }
        let config = &shared.config;
        let len = match kind {
            LogKind::Slow => config.slowlog_max_len(),
            LogKind::LargeRequest => config.commandlog_large_request_max_len(),
            LogKind::LargeReply => config.commandlog_large_reply_max_len(),
        };
        let entry = LogEntry::new(self.request, self.client, self.now, amount);
        shared.logs.add(kind, entry, usize::try_from(len).unwrap_or(usize::MAX));
    }

    /// Shows it to the monitors. Administrative commands are not shown, as in Redis.
    #[cold]
    pub fn show(self, shared: &Shared) {
        if self.command.spec.flags.has(Flags::ADMIN) {
            return;
        }
        let line = Bytes::from(self.monitor_line());
        let limit_bytes = push_limit(&shared.config, ClientClass::Normal);
        for client in shared.clients.all() {
            if client.monitor.load(Relaxed) {
                client.push(&line, limit_bytes);
            }
        }
    }

    /// One line of MONITOR.
    fn monitor_line(self) -> Vec<u8> {
        let Record { request, client, db, .. } = self;
        let us = unix_us();
        let place = match (self.by_script, client.unix) {
            (true, _) => "lua",
            (false, true) => &format!("unix:{}", client.laddr),
            (false, false) => client.addr.as_str(),
        };
        let mut line = format!("+{}.{:06} [{db} {place}]", us / 1_000_000, us % 1_000_000).into_bytes();
        for (index, argument) in request.iter().enumerate() {
            line.push(b' ');
            quote_argument(if is_secret(request, index) { b"(redacted)" } else { argument }, &mut line);
        }
        line.extend_from_slice(b"\r\n");
        line
    }
}

/// Appends `argument` in double quotes, with escapes for what is not printable.
fn quote_argument(argument: &[u8], line: &mut Vec<u8>) {
    line.push(b'"');
    for byte in argument {
        match byte {
            b'\\' | b'"' => line.extend_from_slice(&[b'\\', *byte]),
            b'\n' => line.extend_from_slice(b"\\n"),
            b'\r' => line.extend_from_slice(b"\\r"),
            b'\t' => line.extend_from_slice(b"\\t"),
            0x07 => line.extend_from_slice(b"\\a"),
            0x08 => line.extend_from_slice(b"\\b"),
            0x20..=0x7e => line.push(*byte),
            _ => line.extend_from_slice(format!("\\x{byte:02x}").as_bytes()),
        }
    }
    line.push(b'"');
}
