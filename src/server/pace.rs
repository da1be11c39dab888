//! Few requests at a time from many clients are let gather for some microseconds, as network cards gather packets.
//!
//! Where a worker is faster than its clients, it finds one or two of fifty sockets ready each time it looks, and every look, every sleep
//! and every wake-up of a client is paid for one or two requests. When that goes on at a high rate, a pause of some ten microseconds before
//! the next look saves up to a fifth of the processor time of a request, and a twentieth where it brings 16. Invariant: no pause where somebody would notice, see [`Pace::is_worth`].
//! Must not know: requests. Source: interrupt moderation of network cards.

use crate::util::clock::Ticks;
use std::num::NonZeroU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::time::Duration;

/// What is looked at to decide: what has happened in at least this time.
const SPAN_NANOS: u64 = 1_000_000;

/// With fewer clients that send, each would wait longer than it does for the others.
const MIN_CLIENTS: u32 = 16;

/// Reads in a span below which a pause gathers too little.
const MIN_READS: u64 = 32;

/// A worker that rests less than this part of the time finds enough each time it looks.
const MIN_REST: u64 = 64;

/// Reads after one look that are always enough.
const ENOUGH_READS: u32 = 24;

/// Requests after one look that are always enough, by however few clients: they are work for longer than a pause.
const ENOUGH_REQUESTS: u32 = 400;

/// How far behind its time the kernel may end a pause.
const SLACK_NANOS: NonZeroU64 = NonZeroU64::new(1_000).unwrap();

/// The pace of one worker. Only its thread uses it; the atomics are for the runtime's hooks, which have to be shareable.
pub struct Pace {
    start: Ticks,
    /// Number of the span.
    span: AtomicU32,
    /// When it began, in nanoseconds since `start`.
    began: AtomicU64,
    /// Reads in it, and clients that they came from.
    reads: AtomicU64,
    clients: AtomicU32,
    /// Clients in the span before: a pause lasts a microsecond for each at most, or few would have nothing left to do in it.
    senders: AtomicU32,
    /// Nanoseconds of rest in it, and when the present rest began.
    rest: AtomicU64,
    rest_began: AtomicU64,
    /// When the last one ended.
    rest_ended: AtomicU64,
    /// Reads since the last look, and requests in them.
    fresh: AtomicU32,
    requests: AtomicU32,
    worth: AtomicBool,
    /// Reads after one look that are enough.
    enough: AtomicU32,
}

impl Pace {
    /// A worker that has seen nothing yet.
    pub fn new() -> Pace {
        Pace {
            start: Ticks::now(),
            span: AtomicU32::new(1),
            began: AtomicU64::new(0),
            reads: AtomicU64::new(0),
            clients: AtomicU32::new(0),
            senders: AtomicU32::new(0),
            rest: AtomicU64::new(0),
            rest_began: AtomicU64::new(0),
            rest_ended: AtomicU64::new(0),
            fresh: AtomicU32::new(0),
            requests: AtomicU32::new(0),
            worth: AtomicBool::new(false),
            enough: AtomicU32::new(ENOUGH_READS),
        }
    }

    /// Notes that a client has sent something; `last` is the span in which it did so before.
    #[inline]
    pub fn note_read(&self, last: &mut u32) {
        let span = self.span.load(Relaxed);
        self.fresh.store(self.fresh.load(Relaxed).saturating_add(1), Relaxed);
        if *last != span {
            *last = span;
            self.clients.store(self.clients.load(Relaxed) + 1, Relaxed);
        }
    }

    /// Notes that so many requests were in what was read.
    #[inline]
    pub fn note_requests(&self, count: usize) {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.requests.store(self.requests.load(Relaxed).saturating_add(count), Relaxed);
    }

    /// Called when there is nothing left to do: pauses for `pause_us` at most where that is worth while. Returns the nanoseconds of work since the
    /// last look.
    pub fn before_look(&self, pause_us: u64) -> u64 {
        let now = Ticks::now().nanos_since(self.start);
        self.rest_began.store(now, Relaxed);
        let worked = now.saturating_sub(self.rest_ended.load(Relaxed));
        let fresh = self.fresh.load(Relaxed);
        if fresh == 0 {
            return worked;
        }
        self.fresh.store(0, Relaxed);
        let requests = self.requests.load(Relaxed);
        self.requests.store(0, Relaxed);
        self.reads.store(self.reads.load(Relaxed) + u64::from(fresh), Relaxed);
        let span = now - self.began.load(Relaxed);
        if span >= SPAN_NANOS {
            self.worth.store(self.is_worth(span), Relaxed);
            let senders = self.clients.load(Relaxed);
            self.senders.store(senders, Relaxed);
            // Where the half of few clients has been heard, the others have hardly had the time to read their replies.
            self.enough.store(ENOUGH_READS.min(senders / 2), Relaxed);
            self.begin_span(now);
        }
        let pause_us = pause_us.min(u64::from(self.senders.load(Relaxed)));
        if pause_us > 0 && self.wants_more(fresh, requests) {
            std::thread::sleep(Duration::from_micros(pause_us));
        }
        worked
    }

    fn wants_more(&self, reads: u32, requests: u32) -> bool {
        reads < self.enough.load(Relaxed) && requests < ENOUGH_REQUESTS && self.worth.load(Relaxed)
    }

    /// Called when there is something to do again.
    pub fn after_look(&self) {
        let now = Ticks::now().nanos_since(self.start);
        self.rest_ended.store(now, Relaxed);
        let since = self.rest_began.load(Relaxed).max(self.began.load(Relaxed));
        self.rest.store(self.rest.load(Relaxed) + now.saturating_sub(since), Relaxed);
    }

    /// Whether pauses would have been worth while in the span that ends: many clients sent at a high rate, so that each has to wait for the
    /// others anyway and some more come in a pause; and the worker was not busy all the time, or it would find enough each time it looks.
    fn is_worth(&self, nanos: u64) -> bool {
        let reads = self.reads.load(Relaxed).saturating_mul(SPAN_NANOS) / nanos;
        let rest = self.rest.load(Relaxed);
        self.clients.load(Relaxed) >= MIN_CLIENTS && reads >= MIN_READS && rest >= nanos / MIN_REST
    }

    fn begin_span(&self, now: u64) {
        self.span.store(self.span.load(Relaxed).wrapping_add(1), Relaxed);
        self.began.store(now, Relaxed);
        [&self.reads, &self.rest].into_iter().for_each(|count| count.store(0, Relaxed));
        self.clients.store(0, Relaxed);
    }
}

/// Lets pauses of this thread end in time; without that they take 50 microseconds longer.
pub fn be_punctual() -> bool {
    rustix::thread::set_current_timer_slack(Some(SLACK_NANOS)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(clients: usize, reads: usize, rest: u64) -> bool {
        let pace = Pace::new();
        let mut last = vec![0; clients];
        for read in 0..reads {
            pace.note_read(&mut last[read % clients]);
        }
        pace.reads.store(u64::from(pace.fresh.load(Relaxed)), Relaxed);
        pace.rest.store(rest, Relaxed);
        pace.is_worth(SPAN_NANOS)
    }

    #[test]
    fn many_clients_at_a_high_rate_are_worth_a_pause() {
        assert!(span(50, 60, SPAN_NANOS / 2));
        assert!(!span(1, 60, SPAN_NANOS / 2), "one client would wait for nobody");
        assert!(!span(50, 20, SPAN_NANOS / 2), "too few would come in a pause");
        assert!(!span(50, 60, SPAN_NANOS / 100), "a busy worker finds enough");
    }

    #[test]
    fn a_client_counts_once_in_a_span() {
        let (pace, mut last) = (Pace::new(), 0);
        (0..5).for_each(|_| pace.note_read(&mut last));
        assert_eq!((pace.clients.load(Relaxed), pace.fresh.load(Relaxed)), (1, 5));
        pace.begin_span(7);
        pace.note_read(&mut last);
        assert_eq!(pace.clients.load(Relaxed), 1);
    }

    #[test]
    fn many_reads_or_many_requests_are_enough() {
        let pace = Pace::new();
        pace.worth.store(true, Relaxed);
        let looks = [(1, 1), (23, 23), (23, 399), (24, 24), (4, 400), (1, 1000)];
        assert_eq!(
            looks.map(|(reads, requests)| pace.wants_more(reads, requests)),
            [true, true, true, false, false, false]
        );
        [20, 4].into_iter().for_each(|count| pace.note_requests(count));
        pace.note_read(&mut 0);
        assert_eq!(pace.requests.load(Relaxed), 24);
        pace.before_look(0);
        assert_eq!(pace.requests.load(Relaxed), 0);
    }

    #[test]
    fn half_of_few_clients_are_enough() {
        let enough = |clients: usize| {
            let pace = Pace::new();
            (0..clients).for_each(|_| pace.note_read(&mut 0));
            std::thread::sleep(Duration::from_nanos(2 * SPAN_NANOS));
            pace.before_look(0);
            (pace.enough.load(Relaxed), pace.senders.load(Relaxed))
        };
        assert_eq!([16, 20, 50, 1000].map(enough), [(8, 16), (10, 20), (24, 50), (24, 1000)]);
    }

    #[test]
    fn work_is_what_lies_between_two_looks() {
        const SLEPT: u64 = 3_000_000;
        let pace = Pace::new();
        pace.after_look();
        std::thread::sleep(Duration::from_nanos(SLEPT));
        let first = pace.before_look(0);
        std::thread::sleep(Duration::from_nanos(SLEPT));
        pace.after_look();
        let second = pace.before_look(0);
        assert!(first >= SLEPT);
        assert!(first + second + SLEPT <= Ticks::now().nanos_since(pace.start), "the second time was one of rest");
    }

    #[test]
    fn after_a_quiet_time_there_is_no_pause() {
        let (pace, mut last) = (Pace::new(), 0);
        pace.worth.store(true, Relaxed);
        std::thread::sleep(Duration::from_millis(2));
        pace.note_read(&mut last);
        pace.before_look(0);
        assert!(!pace.worth.load(Relaxed));
    }
}
