//! Clients that wait for keys: what each asked, and how its wait ends.
//!
//! The handler of a blocking command tries, and when there is nothing to have returns [`Context::block`]. When one of the
//! keys changes, dispatch runs the same request once more on behalf of the client; so nothing is held for a client
//! while it waits, and what it gets is looked up when it gets it. Invariants: the reply is set before the ticket is done; a
//! client whose connection the other side has ended is not served, so that no element is lost. Must not know: what the
//! commands wait for, sockets.
//!
//! [`Context::block`]: super::context::Context::block

use super::append_log;
use super::clients::Client;
use super::spec::Group;
use crate::keyspace::attention::{Attention, Listener};
use crate::keyspace::{Keyspace, Ticket};
use crate::protocol::batch::OwnedRequest;
use crate::protocol::reply::{Output, Reply, Resp};
use crate::util::shrink::shrink_parts;
use crate::util::sync::Mutex;
use crate::value::object::Kind;
use bytes::Bytes;
use dashmap::DashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// What a client is told whose time is up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OnTimeout {
    /// A null array.
    NullArray,
    /// A null.
    Null,
    /// What WAITAOF replies.
    Acknowledged,
}

impl OnTimeout {
    /// Writes the reply.
    pub fn reply(self, reply: &mut Reply<'_>) {
        match self {
            OnTimeout::NullArray => reply.null_array(),
            OnTimeout::Null => reply.null(),
            OnTimeout::Acknowledged => append_log::write_acknowledged(false, reply),
        }
    }
}

/// The type of the keys that a blocking command of this group waits for.
pub fn awaited_kind(group: Group) -> Kind {
    match group {
        Group::List => Kind::List,
        Group::SortedSet => Kind::SortedSet,
        _ => Kind::Stream,
    }
}

/// Tells whether the other side has ended a connection. Asks the system, waits for nothing.
pub type Probe = Box<dyn Fn() -> bool + Send + Sync>;

/// A waiting client.
pub struct Blocked {
    /// Its place in the queues.
    pub ticket: Arc<Ticket>,
    /// The client.
    pub client: Arc<Client>,
    /// What is to be run when a key is ready.
    pub request: OwnedRequest,
    /// Its database.
    pub db: usize,
    /// Its protocol version.
    pub resp: Resp,
    /// Whether its reads count as uses.
    pub touch: bool,
    /// How long it waits; `None` for ever.
    pub timeout: Option<Duration>,
    /// What it is told then.
    pub on_timeout: OnTimeout,
    /// What it waits for.
    pub keys: Vec<Box<[u8]>>,
    /// The end of its wait.
    pub reply: Mutex<Option<Bytes>>,
    /// What WAITAOF waits for is synced here.
    pub synced: AtomicBool,
    /// Set by its connection once that knows of the wait.
    pub probe: OnceLock<Probe>,
}

impl Blocked {
    /// The reply to a client whose time is up.
    pub fn timeout_reply(&self) -> Bytes {
        let mut out = Output::new();
        let mut reply = Reply::new(&mut out, self.resp);
        match self.on_timeout {
            OnTimeout::Acknowledged => append_log::write_acknowledged(self.synced.load(Relaxed), &mut reply),
            other => other.reply(&mut reply),
        }
        Bytes::from(out.to_vec())
    }

    /// Whether the other side has ended the connection, as far as can be told. A system call: no lock may be held.
    pub fn is_gone(&self) -> bool {
        self.probe.get().is_some_and(|probe| probe())
    }

    /// Ends the wait with the reply of a service; under the locks of the keys, whose queues the ticket has left.
    pub fn finish(&self, reply: Bytes) {
        *self.reply.lock() = Some(reply);
        self.ticket.finish();
        self.client.notify();
    }

    /// Ends the wait with `reply`, if nobody is serving the client; `false` otherwise.
    pub fn end(&self, reply: Bytes) -> bool {
        let mut place = self.reply.lock();
        let ended = self.ticket.withdraw();
        if ended {
            *place = Some(reply);
            self.client.notify();
        }
        ended
    }
}

/// All of them, by the number of the client.
pub struct BlockedClients {
    map: DashMap<u64, Arc<Blocked>>,
    attention: Arc<Attention>,
    count: AtomicUsize,
    tickets: AtomicU64,
}

impl BlockedClients {
    /// None yet. `attention` is told of each.
    pub fn new(attention: Arc<Attention>) -> BlockedClients {
        BlockedClients { map: DashMap::new(), attention, count: AtomicUsize::new(0), tickets: AtomicU64::new(0) }
    }

    /// Whether anybody waits; one load.
    #[inline]
    pub fn any(&self) -> bool {
        self.count.load(Relaxed) != 0
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.count.load(Relaxed)
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        !self.any()
    }

    /// A number for a ticket, above all before it.
    pub fn next_number(&self) -> u64 {
        self.tickets.fetch_add(1, Relaxed) + 1
    }

    /// Enters a client that stands in its queues already or is about to.
    pub fn add(&self, blocked: Arc<Blocked>) {
        self.count.fetch_add(1, Relaxed);
        self.attention.enter(Listener::Waiting);
        blocked.client.paused.store(true, Relaxed);
        self.map.insert(blocked.client.id, blocked);
    }

    /// The wait of the client of this number.
    pub fn find(&self, client: u64) -> Option<Arc<Blocked>> {
        self.map.get(&client).map(|blocked| Arc::clone(&blocked))
    }

    /// Takes a client out of the registry and of its queues. For its own connection, once its ticket is done.
    pub fn remove(&self, blocked: &Blocked, keyspace: &Keyspace) {
        if self.map.remove(&blocked.client.id).is_some() {
            if !blocked.ticket.is_served() {
                for key in &blocked.keys {
                    keyspace.leave_queue(blocked.db, key, &blocked.ticket);
                }
            }
            self.count.fetch_sub(1, Relaxed);
            self.attention.leave(Listener::Waiting);
            blocked.client.paused.store(false, Relaxed);
            blocked.client.blocked_bytes.store(0, Relaxed);
        }
    }

    /// Gives back the room of clients that wait no more, when it is much. A lock for each part of the registry.
    pub fn give_back(&self) {
        shrink_parts(&self.map);
    }

    /// How many wait for a limited time. O(clients that wait).
    pub fn timed(&self) -> usize {
        self.map.iter().filter(|blocked| blocked.timeout.is_some()).count()
    }

    /// Number of keys that somebody waits for of whom `counts` is true. O(clients that wait).
    pub fn keys(&self, counts: impl Fn(&Blocked) -> bool) -> usize {
        let mut keys: Vec<(usize, Box<[u8]>)> = Vec::new();
        for blocked in self.map.iter().filter(|blocked| counts(blocked)) {
            keys.extend(blocked.keys.iter().map(|key| (blocked.db, key.clone())));
        }
        keys.sort_unstable();
        keys.dedup();
        keys.len()
    }
}
