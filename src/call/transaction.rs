//! MULTI: what a client has queued, and what it watches.
//!
//! Invariant: a transaction locks every shard that one of its commands or a watched key needs before the first command
//! runs, so that it is one step for everybody else. Must not know: how a command is run.

use super::keys::declared_keys;
use super::session::Session;
use super::shared::Shared;
use super::spec::{Flags, Scope};
use crate::keyspace::attention::Listener;
use crate::keyspace::{LockSet, WatchMark};
use crate::protocol::batch::{OwnedRequest, RequestView};
use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::Ordering::Relaxed;

/// A transaction that is being queued.
pub struct Transaction {
    /// Its commands, in order.
    pub queued: Vec<OwnedRequest>,
    /// A command was refused when it was to be queued: EXEC will run none.
    pub refused: bool,
    /// The flags that any of its commands has.
    pub flags: Flags,
    /// Bytes of the requests.
    pub bytes: usize,
}

impl Default for Transaction {
    fn default() -> Transaction {
        Transaction { queued: Vec::new(), refused: false, flags: Flags::NONE, bytes: 0 }
    }
}

impl Transaction {
    /// Queues a request of a command with these flags.
    pub fn queue(&mut self, request: RequestView<'_>, flags: Flags) {
        let request = request.to_owned_request();
        self.bytes += request.held_bytes();
        self.flags = self.flags | flags;
        self.queued.push(request);
    }
}

/// What a client watches.
#[derive(Default)]
pub struct Watch {
    /// Set when one of the keys changes.
    pub mark: WatchMark,
    /// The keys, by their databases: one request may name a million of them.
    keys: BTreeMap<usize, HashSet<Box<[u8]>>>,
    key_bytes: usize,
}

/// What it takes to watch a key that nobody else watches, its bytes not counted: measured.
const WATCHING_BYTES: usize = 256;

impl Watch {
    /// Enters a key; `false` when it is there already.
    pub fn add(&mut self, db: usize, key: &[u8]) -> bool {
        let keys = self.keys.entry(db).or_default();
        let added = !keys.contains(key) && keys.insert(key.into());
        self.key_bytes += if added { key.len() } else { 0 };
        added
    }

    /// Memory of the watches, here and where the keys are, in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.len() * WATCHING_BYTES + 2 * self.key_bytes
    }

    /// The keys, with their databases.
    pub fn keys(&self) -> impl Iterator<Item = (usize, &[u8])> {
        self.keys.iter().flat_map(|(db, keys)| keys.iter().map(|key| (*db, &**key)))
    }

    /// How many keys are watched.
    pub fn len(&self) -> usize {
        self.keys.values().map(HashSet::len).sum()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether a watched key has changed.
    pub fn is_broken(&self) -> bool {
        self.mark.load(Relaxed)
    }
}

impl Session {
    /// Ends all watches. No shard may be locked.
    pub fn unwatch(&mut self, shared: &Shared) {
        let Some(watch) = self.watch.take() else { return };
        for (db, key) in watch.keys() {
            shared.keyspace.unwatch(db, key, &watch.mark);
        }
        self.note_unwatched(shared);
    }

    /// Counts one watching client less; for whoever has ended its watches.
    pub fn note_unwatched(&self, shared: &Shared) {
        shared.keyspace.attention().leave(Listener::Watching);
        self.client.watched.store(0, Relaxed);
        self.client.watched_bytes.store(0, Relaxed);
    }

    /// Forgets the transaction and all watches. No shard may be locked.
    pub fn discard(&mut self, shared: &Shared) {
        self.transaction = None;
        self.client.queued.store(-1, Relaxed);
        self.client.queued_bytes.store(0, Relaxed);
        self.unwatch(shared);
    }

    /// The shards that EXEC needs: those of its commands and of the watched keys; none when nothing is going to run.
    pub fn transaction_locks(&self, shared: &Shared) -> LockSet {
        let mut locks = LockSet::default();
        let Some(transaction) = self.transaction.as_deref().filter(|transaction| !transaction.refused) else {
            return locks;
        };
        let mut place = Place { db: self.db, moves: false };
        for request in &transaction.queued {
            place.add(shared, request.view(), &mut locks);
        }
        for (db, key) in self.watch.iter().flat_map(|watch| watch.keys()) {
            locks.add_key(db, shared.keyspace.hasher().hash(key));
        }
        locks
    }
}

/// The database that the commands of a transaction run in; once one has selected another, any.
struct Place {
    db: usize,
    moves: bool,
}

impl Place {
    fn add(&mut self, shared: &Shared, request: RequestView<'_>, locks: &mut LockSet) {
        let (Ok(command), _) = shared.commands.resolve(request) else { return };
        match command.spec.scope.of(shared, request) {
            Scope::Keys | Scope::Chosen(_) | Scope::Asked(_) => self.add_keys(shared, request, locks, self.moves),
            Scope::KeysEverywhere => self.add_keys(shared, request, locks, true),
            Scope::Database | Scope::Walk if !self.moves => locks.add_database(self.db),
            Scope::Database | Scope::Walk | Scope::Server | Scope::WalkServer => locks.add_everything(),
            Scope::Select => self.moves = true,
            Scope::Transaction => {}
        }
    }

    fn add_keys(&self, shared: &Shared, request: RequestView<'_>, locks: &mut LockSet, everywhere: bool) {
        let (Ok(command), _) = shared.commands.resolve(request) else { return };
        let _ = declared_keys(command.spec, request, &mut |index, _| {
            let hash = shared.keyspace.hasher().hash(request.arg(index));
            if everywhere { locks.add_key_everywhere(hash) } else { locks.add_key(self.db, hash) }
        });
    }
}
