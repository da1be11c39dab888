//! Who waits for the keys of a shard: one queue a key, first come first served.
//!
//! A client that waits holds one ticket, which stands in the queues of all its keys. Invariants: a queue is in the order of
//! its tickets' numbers; a ticket changes hands by one atomic step, so that of everybody who could end the wait (whoever
//! writes to a key, the clock, another client, the client's own end) exactly one does; it is claimed only under the
//! locks of all its keys, so that who holds one of them sees no claimed ticket in that queue. Must not know: clients,
//! commands.

use crate::util::shrink::shrink;
use crate::util::sync::atomic::{AtomicU8, Ordering::AcqRel, Ordering::Acquire, Ordering::Release};
use crate::value::object::Kind;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

const WAITING: u8 = 0;
/// Somebody tries to serve its client.
const CLAIMED: u8 = 1;
/// Its client was served, and it has left its queues.
const SERVED: u8 = 2;
/// The wait has ended otherwise, and it may still stand in its queues.
const WITHDRAWN: u8 = 3;

/// The place of a client in the queues of its keys.
#[derive(Debug)]
pub struct Ticket {
    /// Number of the client.
    pub client: u64,
    /// The type that a key must have for the client to be served. Who waits for a stream has to be told of other types too.
    pub kind: Kind,
    /// Its place in the order of all tickets.
    pub number: u64,
    state: AtomicU8,
}

impl Ticket {
    /// A ticket of the client of this number, who waits. To be made under the locks of its keys, with a number above all
    /// before it.
    pub fn new(client: u64, kind: Kind, number: u64) -> Ticket {
        Ticket { client, kind, number, state: AtomicU8::new(WAITING) }
    }

    fn step(&self, from: u8, to: u8) -> bool {
        self.state.compare_exchange(from, to, AcqRel, Acquire).is_ok()
    }

    /// Takes the ticket, to try and serve its client; `false` when its wait is over. Under the locks of all its keys.
    pub fn claim(&self) -> bool {
        self.step(WAITING, CLAIMED)
    }

    /// Gives a claimed ticket back, because its client could not be served.
    pub fn release(&self) {
        self.step(CLAIMED, WAITING);
    }

    /// Ends the wait of a client that was served; its ticket has been taken out of its queues.
    pub fn finish(&self) {
        self.state.store(SERVED, Release);
    }

    /// Ends the wait of a client that nobody is serving; `false` when somebody is, or it is over.
    pub fn withdraw(&self) -> bool {
        self.step(WAITING, WITHDRAWN)
    }

    /// Ends the wait of a client that is gone. If somebody is serving it just now, that is in vain.
    pub fn abandon(&self) {
        self.state.store(WITHDRAWN, Release);
    }

    /// Whether the wait is over.
    pub fn is_done(&self) -> bool {
        self.state.load(Acquire) >= SERVED
    }

    /// Whether the wait is over and the ticket has left its queues.
    pub fn is_served(&self) -> bool {
        self.state.load(Acquire) == SERVED
    }

    fn is_waiting(&self) -> bool {
        self.state.load(Acquire) == WAITING
    }

    /// Whether a key that holds a value of type `holds`, or none, may serve the client.
    pub fn suits(&self, holds: Option<Kind>) -> bool {
        self.kind == Kind::Stream || holds == Some(self.kind)
    }
}

/// The queue of a key.
#[derive(Default, Debug)]
struct Queue {
    tickets: VecDeque<Arc<Ticket>>,
    /// How many of them wait for a stream.
    streams: usize,
}

/// The queues of a shard.
#[derive(Default, Debug)]
pub struct Waiters {
    queues: HashMap<Box<[u8]>, Queue>,
}

impl Waiters {
    /// Whether nobody waits for any key. O(1).
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.queues.is_empty()
    }

    /// The keys that somebody waits for.
    pub fn keys(&self) -> impl Iterator<Item = &[u8]> {
        self.queues.keys().map(|key| &**key)
    }

    /// Whether somebody waits for `key`.
    pub fn has(&self, key: &[u8]) -> bool {
        self.queues.contains_key(key)
    }

    /// Puts a ticket at the end of a key's queue.
    pub fn enqueue(&mut self, key: &[u8], ticket: &Arc<Ticket>) {
        if !self.queues.contains_key(key) {
            self.queues.insert(key.into(), Queue::default());
        }
        if let Some(queue) = self.queues.get_mut(key) {
            queue.streams += usize::from(ticket.kind == Kind::Stream);
            queue.tickets.push_back(Arc::clone(ticket));
        }
    }

    /// Takes a ticket out of a key's queue. O(1) at either end.
    pub fn leave(&mut self, key: &[u8], ticket: &Ticket) {
        let Some(queue) = self.queues.get_mut(key) else { return };
        if let Ok(place) = queue.tickets.binary_search_by_key(&ticket.number, |other| other.number) {
            queue.tickets.remove(place);
            queue.streams -= usize::from(ticket.kind == Kind::Stream);
            shrink(&mut queue.tickets);
        }
        if queue.tickets.is_empty() {
            self.queues.remove(key);
            shrink(&mut self.queues);
        }
    }

    /// The first ticket behind number `after` whose client the key may serve, which holds a value of type `holds`, or none.
    pub fn next(&self, key: &[u8], after: u64, holds: Option<Kind>) -> Option<&Arc<Ticket>> {
        let queue = self.queues.get(key).filter(|queue| holds.is_some() || queue.streams > 0)?;
        let first = queue.tickets.partition_point(|ticket| ticket.number <= after);
        queue.tickets.range(first..).find(|ticket| ticket.suits(holds) && ticket.is_waiting())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tickets(kinds: &[Kind]) -> Vec<Arc<Ticket>> {
        (1..).zip(kinds).map(|(number, kind)| Arc::new(Ticket::new(number + 100, *kind, number))).collect()
    }

    #[test]
    fn queues_are_first_come_first_served() {
        let (mut waiters, tickets) = (Waiters::default(), tickets(&[Kind::List; 3]));
        for ticket in &tickets {
            waiters.enqueue(b"k", ticket);
        }
        let next = |waiters: &Waiters, after| waiters.next(b"k", after, Some(Kind::List)).map(|ticket| ticket.client);
        assert_eq!([next(&waiters, 0), next(&waiters, 1), next(&waiters, 3)], [Some(101), Some(102), None]);
        waiters.leave(b"k", &tickets[1]);
        assert_eq!(next(&waiters, 1), Some(103));
        assert!(tickets[0].withdraw(), "an ended wait is passed over");
        assert_eq!(next(&waiters, 0), Some(103));
        waiters.leave(b"k", &tickets[0]);
        waiters.leave(b"k", &tickets[2]);
        assert!(waiters.is_empty());
    }

    /// A queue of one ticket kept the room of the ten thousand that had stood in it.
    #[test]
    fn the_room_of_those_who_have_left_is_given_back() {
        let (mut waiters, tickets) = (Waiters::default(), tickets(&[Kind::List; 10_000]));
        tickets.iter().for_each(|ticket| waiters.enqueue(b"k", ticket));
        tickets[1..].iter().for_each(|ticket| waiters.leave(b"k", ticket));
        let queue = &waiters.queues[&b"k"[..]].tickets;
        assert!(queue.len() == 1 && queue.capacity() < 200, "{}", queue.capacity());
    }

    #[test]
    fn only_those_are_found_whom_the_key_may_serve() {
        let (mut waiters, tickets) = (Waiters::default(), tickets(&[Kind::SortedSet, Kind::List, Kind::Stream]));
        for ticket in &tickets {
            waiters.enqueue(b"k", ticket);
        }
        let next = |holds| waiters.next(b"k", 0, holds).map(|ticket| ticket.number);
        assert_eq!(next(Some(Kind::List)), Some(2));
        assert_eq!(next(Some(Kind::SortedSet)), Some(1));
        assert_eq!(next(Some(Kind::String)), Some(3), "to be told that this is no stream");
        assert_eq!(next(None), Some(3));
    }

    #[test]
    fn one_ends_the_wait() {
        let ticket = Ticket::new(1, Kind::List, 1);
        assert!(ticket.claim());
        assert!(!ticket.claim() && !ticket.withdraw());
        ticket.release();
        assert!(ticket.withdraw());
        assert!(!ticket.claim() && ticket.is_done() && !ticket.is_served());

        let ticket = Ticket::new(1, Kind::List, 2);
        assert!(ticket.claim());
        ticket.abandon();
        ticket.release();
        assert!(ticket.is_done(), "who is gone does not wait again");
    }
}
