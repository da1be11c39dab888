//! Who waits for the keys of a shard: one queue a key, first come first served.
//!
//! A client that waits holds one ticket, which stands in the queues of all its keys. Invariant: a ticket changes hands by one
//! atomic step, so that of everybody who could end the wait (whoever writes to a key, the clock, another client, the
//! client's own end) exactly one does. Must not know: clients, commands, what a key would have to hold.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::AcqRel, Ordering::Acquire};

const WAITING: u8 = 0;
const CLAIMED: u8 = 1;
/// Claimed, and meanwhile another key became ready.
const CLAIMED_TWICE: u8 = 2;
const DONE: u8 = 3;

/// The place of a client in the queues of its keys.
#[derive(Debug)]
pub struct Ticket {
    /// Number of the client.
    pub client: u64,
    state: AtomicU8,
}

impl Ticket {
    /// A ticket of the client of this number, who waits.
    pub fn new(client: u64) -> Ticket {
        Ticket { client, state: AtomicU8::new(WAITING) }
    }

    fn step(&self, from: u8, to: u8) -> bool {
        self.state.compare_exchange(from, to, AcqRel, Acquire).is_ok()
    }

    /// Takes the ticket, to try and serve its client; `false` when somebody else has it, who then tries once more.
    pub fn claim(&self) -> bool {
        self.step(WAITING, CLAIMED) || {
            self.step(CLAIMED, CLAIMED_TWICE);
            false
        }
    }

    /// Gives a claimed ticket back, because its client could not be served; `false` when it is still claimed, and another
    /// attempt due.
    pub fn release(&self) -> bool {
        self.step(CLAIMED, WAITING) || {
            self.step(CLAIMED_TWICE, CLAIMED);
            false
        }
    }

    /// Ends the wait of a client that was served.
    pub fn finish(&self) {
        self.state.store(DONE, std::sync::atomic::Ordering::Release);
    }

    /// Ends the wait of a client that nobody is serving; `false` when somebody is, or it is over.
    pub fn withdraw(&self) -> bool {
        self.step(WAITING, DONE)
    }

    /// Whether the wait is over.
    pub fn is_done(&self) -> bool {
        self.state.load(Acquire) == DONE
    }
}

/// The queues of a shard.
#[derive(Default, Debug)]
pub struct Waiters {
    queues: HashMap<Box<[u8]>, VecDeque<Arc<Ticket>>>,
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
        match self.queues.get_mut(key) {
            Some(queue) => queue.push_back(Arc::clone(ticket)),
            None => drop(self.queues.insert(key.into(), VecDeque::from([Arc::clone(ticket)]))),
        }
    }

    /// Takes a ticket out of a key's queue. O(clients that wait for the key).
    pub fn leave(&mut self, key: &[u8], ticket: &Arc<Ticket>) {
        if let Some(queue) = self.queues.get_mut(key) {
            queue.retain(|other| !Arc::ptr_eq(other, ticket));
            if queue.is_empty() {
                self.queues.remove(key);
            }
        }
    }

    /// The tickets of a key's queue, first come first.
    pub fn queue(&self, key: &[u8]) -> Vec<Arc<Ticket>> {
        self.queues.get(key).map(|queue| queue.iter().cloned().collect()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_are_first_come_first_served() {
        let mut waiters = Waiters::default();
        let tickets: Vec<_> = (0..3).map(|n| Arc::new(Ticket::new(n))).collect();
        for ticket in &tickets {
            waiters.enqueue(b"k", ticket);
        }
        waiters.leave(b"k", &tickets[1]);
        let order: Vec<u64> = waiters.queue(b"k").iter().map(|ticket| ticket.client).collect();
        assert_eq!(order, [0, 2]);
        waiters.leave(b"k", &tickets[0]);
        waiters.leave(b"k", &tickets[2]);
        assert!(waiters.is_empty());
    }

    #[test]
    fn one_ends_the_wait() {
        let ticket = Ticket::new(1);
        assert!(ticket.claim());
        assert!(!ticket.claim(), "a second key");
        assert!(!ticket.withdraw());
        assert!(!ticket.release(), "the second key is tried");
        assert!(ticket.release());
        assert!(ticket.withdraw());
        assert!(!ticket.claim() && ticket.is_done());
    }
}
