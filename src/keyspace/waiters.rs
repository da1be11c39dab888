//! Who waits for the keys of a shard: one queue a key, first come first served.
//!
//! A client that waits holds one ticket, which stands in the queues of all its keys. Invariants: a queue is in the order of
//! its tickets' numbers; a ticket changes hands by one atomic step, so that of everybody who could end the wait (whoever
//! writes to a key, the clock, another client, the client's own end) exactly one does; it is claimed only under the
//! locks of all its keys, so that who holds one of them sees no claimed ticket in that queue; whoever changes a key rouses
//! its queue under the same lock, and a ticket counts as tried only when that was done after the last change. Must not
//! know: clients, commands.

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
    /// Up to this number all have been tried in vain since the key last changed. Everybody who serves the queue goes on from
    /// here, so that a change has each ticket tried once, and a request that comes without one tries none.
    tried: u64,
}

impl Queue {
    /// The place of the first ticket that is still to be tried.
    fn untried(&self) -> usize {
        self.tickets.partition_point(|ticket| ticket.number <= self.tried)
    }

    /// Whether all have been tried. O(1).
    fn is_settled(&self) -> bool {
        self.tickets.back().is_none_or(|last| last.number <= self.tried)
    }
}

/// The queues of a shard.
#[derive(Default, Debug)]
pub struct Waiters {
    queues: HashMap<Box<[u8]>, Queue>,
    /// Keys that went without a command while somebody waited for them as streams.
    lost: Vec<Box<[u8]>>,
}

impl Waiters {
    /// Whether nobody waits for any key. O(1).
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.queues.is_empty()
    }

    /// Notes that `key` has changed: all who wait for it are to be tried. Whether there is anybody.
    pub fn rouse(&mut self, key: &[u8]) -> bool {
        let Some(queue) = self.queues.get_mut(key) else { return false };
        queue.tried = 0;
        true
    }

    /// Notes that `key` went without a command. Of those who wait for it a reader of a stream is to be told.
    #[cold]
    pub fn lose(&mut self, key: &[u8]) {
        if let Some(queue) = self.queues.get_mut(key)
            && queue.streams > 0
            && queue.is_settled()
        {
            queue.tried = 0;
            self.lost.push(key.into());
        }
    }

    /// Takes the keys out that went without a command and whose readers nobody has tried since. Each stands here once.
    pub fn take_lost(&mut self) -> Vec<Box<[u8]>> {
        std::mem::take(&mut self.lost)
    }

    /// As [`Waiters::rouse`], for every key; returns those that somebody waits for.
    pub fn rouse_all(&mut self) -> impl Iterator<Item = &[u8]> {
        self.queues.iter_mut().map(|(key, queue)| {
            queue.tried = 0;
            &**key
        })
    }

    /// Whether somebody who waits for `key` is to be tried. O(1).
    #[inline]
    pub fn has_untried(&self, key: &[u8]) -> bool {
        self.queues.get(key).is_some_and(|queue| !queue.is_settled())
    }

    /// Puts a ticket at the end of a key's queue, whose client has just found nothing in the key.
    pub fn enqueue(&mut self, key: &[u8], ticket: &Arc<Ticket>) {
        if !self.queues.contains_key(key) {
            self.queues.insert(key.into(), Queue::default());
        }
        if let Some(queue) = self.queues.get_mut(key) {
            if queue.is_settled() {
                queue.tried = ticket.number;
            }
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

    /// The first ticket to be tried whose client the key may serve, which holds a value of type `holds`, or none. Those
    /// before it count as tried.
    pub fn next(&mut self, key: &[u8], holds: Option<Kind>) -> Option<&Arc<Ticket>> {
        let queue = self.queues.get_mut(key)?;
        let first = queue.untried();
        let fits = |ticket: &Arc<Ticket>| ticket.suits(holds) && ticket.is_waiting();
        let serves = holds.is_some() || queue.streams > 0;
        let found = if serves { queue.tickets.range(first..).position(fits) } else { None };
        let place = found.map_or(queue.tickets.len(), |passed| first + passed);
        if let Some(passed) = queue.tickets.range(first..place).next_back() {
            queue.tried = passed.number;
        }
        queue.tickets.get(place)
    }

    /// Notes that the client of the [next](Waiters::next) ticket was tried in vain. Where the key has changed since, so that
    /// another one is next, this one is to be tried again.
    pub fn pass(&mut self, key: &[u8], ticket: &Ticket) {
        if let Some(queue) = self.queues.get_mut(key)
            && queue.tickets.get(queue.untried()).is_some_and(|next| next.number == ticket.number)
        {
            queue.tried = ticket.number;
        }
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
        let next = |waiters: &mut Waiters| waiters.next(b"k", Some(Kind::List)).map(|ticket| ticket.client);
        assert!(waiters.rouse(b"k") && !waiters.rouse(b"other"));
        assert_eq!([next(&mut waiters), next(&mut waiters)], [Some(101); 2]);
        waiters.leave(b"k", &tickets[0]);
        assert_eq!(next(&mut waiters), Some(102));
        assert!(tickets[1].withdraw(), "an ended wait is passed over");
        assert_eq!(next(&mut waiters), Some(103));
        waiters.leave(b"k", &tickets[1]);
        waiters.leave(b"k", &tickets[2]);
        assert!(waiters.is_empty() && next(&mut waiters).is_none());
    }

    #[test]
    fn a_change_has_each_tried_once() {
        let (mut waiters, mut tickets) = (Waiters::default(), tickets(&[Kind::Stream; 4]));
        let late = tickets.pop().expect("the last one");
        for ticket in &tickets {
            waiters.enqueue(b"k", ticket);
        }
        let next = |waiters: &mut Waiters| waiters.next(b"k", None).map(|ticket| ticket.number);
        assert!(!waiters.has_untried(b"k"), "who comes has found nothing");
        assert_eq!(next(&mut waiters), None);

        waiters.rouse(b"k");
        assert_eq!(next(&mut waiters), Some(1));
        waiters.pass(b"k", &tickets[1]);
        assert_eq!(next(&mut waiters), Some(1), "only the next one can have been tried");
        waiters.pass(b"k", &tickets[0]);
        assert_eq!(next(&mut waiters), Some(2));
        assert_eq!(waiters.rouse_all().count(), 1);
        waiters.pass(b"k", &tickets[1]);
        assert_eq!(next(&mut waiters), Some(1), "what changed meanwhile is for the first one first");
        for ticket in &tickets {
            assert!(waiters.has_untried(b"k"));
            waiters.pass(b"k", ticket);
        }
        assert!(!waiters.has_untried(b"k"));

        waiters.enqueue(b"k", &late);
        assert_eq!(next(&mut waiters), None);
        waiters.rouse(b"k");
        waiters.leave(b"k", &late);
        waiters.enqueue(b"k", &late);
        tickets.iter().for_each(|ticket| waiters.pass(b"k", ticket));
        assert_eq!(next(&mut waiters), Some(4), "behind those who are still to be tried it is tried too");
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
        let mut next = |holds| {
            waiters.rouse(b"k");
            waiters.next(b"k", holds).map(|ticket| ticket.number)
        };
        assert_eq!(next(Some(Kind::List)), Some(2));
        assert_eq!(next(Some(Kind::SortedSet)), Some(1));
        assert_eq!(next(Some(Kind::String)), Some(3), "to be told that this is no stream");
        assert_eq!(next(None), Some(3));
        waiters.leave(b"k", &tickets[2]);
        assert!(waiters.next(b"k", Some(Kind::String)).is_none());
        assert!(!waiters.has_untried(b"k"), "whom the key cannot serve is not looked at again");
    }

    #[test]
    fn readers_of_streams_are_to_be_told_of_keys_that_went() {
        let (mut waiters, tickets) = (Waiters::default(), tickets(&[Kind::List, Kind::Stream]));
        waiters.enqueue(b"list", &tickets[0]);
        waiters.enqueue(b"stream", &tickets[1]);
        for key in [&b"list"[..], b"stream", b"stream", b"other"] {
            waiters.lose(key);
        }
        assert!(waiters.has_untried(b"stream") && !waiters.has_untried(b"list"));
        assert_eq!(waiters.take_lost(), [Box::from(&b"stream"[..])]);
        assert!(waiters.take_lost().is_empty());
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
