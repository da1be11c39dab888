//! Client-side caching: who has read which keys, and what they are told when these change.
//!
//! A client in the default mode is entered under every key that it reads, and taken out when it is told of a change. One in
//! broadcasting mode is entered under prefixes. Invariants: a read is entered, and a change is told, under the
//! lock of the key's shard, so that no change is lost between the two; the table is emptied before the news of it
//! leaves; it holds at most `tracking-table-max-keys` keys, of which the oldest go first, told as changed. Names
//! of keys count in all databases together, as in Redis. Must not know: commands. Source: the Redis
//! documentation of client-side caching.

use super::clients::Client;
use super::pubsub::push_limit;
use super::shared::Shared;
use super::tracked::{Name, Wish, mode};
use crate::config::ClientClass;
use crate::keyspace::attention::{Attention, Listener};
use crate::protocol::reply::{Output, Reply, Resp};
use crate::util::shrink::shrink;
use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use smallvec::SmallVec;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

/// Parts of the table, each under its own lock; a power of two.
const PARTS: usize = 64;

/// A part's order of age may name this many keys more than twice those it holds before it is gone over.
const STALE_NAMES: usize = 64;

/// Changed keys that one message of broadcasting names at most.
const BROADCAST_KEYS: usize = 1024;

/// The channel on which RESP2 clients hear of changes.
const CHANNEL: &[u8] = b"__redis__:invalidate";

/// Numbers of clients, in order.
type Readers = SmallVec<[u64; 2]>;

#[derive(Default)]
struct Part {
    readers: HashMap<Name, Readers, ahash::RandomState>,
    /// Names of keys, the oldest first; some are no longer in the table.
    ages: VecDeque<Name>,
}

impl Part {
    /// Enters a client; whether the key and whether the client are new here.
    fn enter(&mut self, key: &[u8], client: u64) -> (bool, bool) {
        if let Some(readers) = self.readers.get_mut(key) {
            let place = readers.binary_search(&client);
            if let Err(place) = place {
                readers.insert(place, client);
            }
            return (false, place.is_err());
        }
        let key = Name::from(key);
        self.readers.insert(Arc::clone(&key), SmallVec::from_elem(client, 1));
        self.forget_stale();
        self.ages.push_back(key);
        (true, true)
    }

    /// Takes names out of the order of age that are not in the table or stand there twice, when they are many. O(log n) for each key entered
    /// or taken, in the mean.
    fn forget_stale(&mut self) {
        if self.ages.len() > 2 * self.readers.len() + STALE_NAMES {
            let mut seen = BTreeSet::new();
            self.ages.retain(|name| self.readers.contains_key(name) && seen.insert(Arc::clone(name)));
            shrink(&mut self.ages);
        }
    }

    fn take(&mut self, key: &[u8]) -> Option<Readers> {
        let taken = self.readers.remove(key);
        shrink(&mut self.readers);
        self.forget_stale();
        taken
    }

    fn take_oldest(&mut self) -> Option<(Name, Readers)> {
        while let Some(name) = self.ages.pop_front() {
            shrink(&mut self.ages);
            if let Some(readers) = self.readers.remove(&name) {
                shrink(&mut self.readers);
                return Some((name, readers));
            }
        }
        None
    }
}

/// Who has read what.
pub struct Tracking {
    parts: Box<[Mutex<Part>]>,
    hasher: ahash::RandomState,
    prefixes: RwLock<BTreeMap<Name, BTreeMap<u64, Arc<Client>>>>,
    /// Whether there are any.
    broadcasts: AtomicBool,
    clients: AtomicUsize,
    keys: AtomicUsize,
    items: AtomicUsize,
    /// The part that gives up its oldest key next.
    next_part: AtomicUsize,
    /// Entered once for each client, and once while the table holds keys: they are told of to those who come back.
    attention: Arc<Attention>,
    /// Held while a client comes, and while the table is emptied because there is none.
    gate: Mutex<()>,
}

impl Tracking {
    /// Nobody has read anything. `attention` is told of clients and keys.
    pub fn new(attention: Arc<Attention>) -> Tracking {
        Tracking {
            parts: (0..PARTS).map(|_| Mutex::default()).collect(),
            hasher: ahash::RandomState::new(),
            prefixes: RwLock::default(),
            broadcasts: AtomicBool::new(false),
            clients: AtomicUsize::new(0),
            keys: AtomicUsize::new(0),
            items: AtomicUsize::new(0),
            next_part: AtomicUsize::new(0),
            attention,
            gate: Mutex::default(),
        }
    }

    /// How many clients are told of changes.
    pub fn clients(&self) -> usize {
        self.clients.load(Relaxed)
    }

    /// How many keys the table holds.
    pub fn keys(&self) -> usize {
        self.keys.load(Relaxed)
    }

    /// How many pairs of a key and a client.
    pub fn items(&self) -> usize {
        self.items.load(Relaxed)
    }

    /// How many different prefixes are broadcast.
    pub fn prefixes(&self) -> usize {
        self.prefixes.read().len()
    }

    fn part(&self, key: &[u8]) -> &Mutex<Part> {
        &self.parts[usize::try_from(self.hasher.hash_one(key)).unwrap_or(0) % PARTS]
    }

    /// Enters a client under a key; whether the key is new here.
    fn enter(&self, key: &[u8], client: u64) -> bool {
        let mut part = self.part(key).lock();
        let (new_key, new_item) = part.enter(key, client);
        // Under the lock, so that nothing is taken off the counts before it is in them.
        if new_key && self.keys.fetch_add(1, Relaxed) == 0 {
            self.attention.enter(Listener::Tracking);
        }
        self.items.fetch_add(usize::from(new_item), Relaxed);
        new_key
    }

    fn take(&self, key: &[u8]) -> Option<Readers> {
        if self.keys() == 0 {
            return None;
        }
        let readers = self.part(key).lock().take(key)?;
        self.gone(1, readers.len());
        Some(readers)
    }

    fn gone(&self, keys: usize, items: usize) {
        if keys > 0 && self.keys.fetch_sub(keys, Relaxed) == keys {
            self.attention.leave(Listener::Tracking);
        }
        self.items.fetch_sub(items, Relaxed);
    }

    /// The oldest key of some part that has one, beside `kept`.
    fn take_old(&self, kept: Option<&[u8]>) -> Option<(Name, Readers)> {
        for _ in 0..2 * PARTS {
            let part = &self.parts[self.next_part.fetch_add(1, Relaxed) % PARTS];
            let mut part = part.lock();
            if part.readers.len() == 1 && kept.is_some_and(|kept| part.readers.contains_key(kept)) {
                continue;
            }
            if let Some((name, readers)) = part.take_oldest() {
                drop(part);
                self.gone(1, readers.len());
                return Some((name, readers));
            }
        }
        None
    }

    fn clear(&self) {
        for part in &self.parts {
            let part = std::mem::take(&mut *part.lock());
            self.gone(part.readers.len(), part.readers.values().map(SmallVec::len).sum());
        }
    }

    fn add_prefix(&self, client: &Arc<Client>, prefix: &[u8]) {
        let name = Name::from(prefix);
        let mut prefixes = self.prefixes.write();
        self.broadcasts.store(true, Relaxed);
        prefixes.entry(Arc::clone(&name)).or_default().insert(client.id, Arc::clone(client));
        drop(prefixes);
        client.tracked.add_prefix(name);
    }

    fn drop_prefixes(&self, client: &Client) {
        let mut prefixes = self.prefixes.write();
        for name in client.tracked.take_prefixes() {
            if let Some(clients) = prefixes.get_mut(&name) {
                clients.remove(&client.id);
                if clients.is_empty() {
                    prefixes.remove(&name);
                }
            }
        }
        self.broadcasts.store(!prefixes.is_empty(), Relaxed);
    }
}

/// Turning it on and off, and telling.
impl Shared {
    /// Tells a client of changes from now on, as it wishes; what it wished before is replaced, but prefixes stay.
    pub fn track(&self, client: &Arc<Client>, wish: &Wish<'_>) {
        if !client.tracked.is(mode::ON) {
            let _gate = self.tracking.gate.lock();
            self.tracking.clients.fetch_add(1, Relaxed);
            self.tracking.attention.enter(Listener::Tracking);
        }
        client.tracked.begin(wish);
        if wish.bits & mode::BROADCAST != 0 {
            let everything: &[&[u8]] = &[b""];
            let prefixes = if wish.prefixes.is_empty() { everything } else { &wish.prefixes };
            prefixes.iter().for_each(|prefix| self.tracking.add_prefix(client, prefix));
        }
    }

    /// Tells a client of nothing any more. The keys it has read stay in the table for a while.
    pub fn untrack(&self, client: &Client) {
        if !client.tracked.end() {
            return;
        }
        self.tracking.drop_prefixes(client);
        self.tracking.clients.fetch_sub(1, Relaxed);
        self.tracking.attention.leave(Listener::Tracking);
    }

    /// Enters keys that a client has read; whether it is told that others are to be forgotten. Under the locks of their shards.
    pub fn remember_reads<'k>(&self, client: &Client, keys: impl Iterator<Item = &'k [u8]>) -> bool {
        let (mut own, tracking) = (false, &self.tracking);
        for key in keys {
            let new_key = tracking.enter(key, client.id);
            if new_key {
                own |= self.forget_old_reads(Some(key), client.id);
            }
        }
        own
    }

    /// Forgets the oldest of the keys beyond `tracking-table-max-keys`, but for `kept`, and tells who has read them; whether that is client
    /// `own` too. Needs no lock: it is no loss to forget what was read again behind the news.
    pub fn forget_old_reads(&self, kept: Option<&[u8]>, own: u64) -> bool {
        let (mut told, most) = (false, self.config.tracking_table_max_keys());
        while most != 0 && self.tracking.keys() as u64 > most {
            let Some((name, readers)) = self.tracking.take_old(kept) else { break };
            told |= self.tell_readers(&readers, &name, own, false);
        }
        told
    }

    /// Tells those who have read `key` that it has changed, and puts it into `changed` for those to whom prefixes are broadcast; `own` is
    /// the number of the client that changed it, 0 for none. Whether that client is told too. Under the lock of the key's shard.
    pub fn invalidate(&self, key: &[u8], own: u64, changed: &mut Vec<Box<[u8]>>) -> bool {
        let readers = self.tracking.take(key);
        let mut told = readers.is_some_and(|readers| self.tell_readers(&readers, key, own, true));
        if self.tracking.broadcasts.load(Relaxed) {
            changed.push(key.into());
            if changed.len() == BROADCAST_KEYS {
                told |= self.broadcast(changed, own);
            }
        }
        told
    }

    /// Tells those to whom prefixes are broadcast that these keys have changed, of each prefix in one message, and empties `changed`. As
    /// [`Shared::invalidate`], but no lock is needed: it is no loss to forget what was read behind the change.
    pub fn broadcast(&self, changed: &mut Vec<Box<[u8]>>, own: u64) -> bool {
        if changed.is_empty() {
            return false;
        }
        changed.sort_unstable();
        changed.dedup();
        let prefixes = self.tracking.prefixes.read();
        let mut told = false;
        for (prefix, clients) in prefixes.iter() {
            let first = changed.partition_point(|key| **key < **prefix);
            let keys = changed[first..].iter().take_while(|key| key.starts_with(prefix));
            let keys: Vec<&[u8]> = keys.map(|key| &**key).collect();
            if keys.is_empty() {
                continue;
            }
            for client in clients.values() {
                if client.id != own || !client.tracked.is(mode::NO_LOOP) {
                    told |= self.tell(client, Some(&keys), own);
                }
            }
        }
        changed.clear();
        told
    }

    /// Tells everybody that all keys are gone, and forgets who has read what; as [`Shared::invalidate`]. Without `own_too` the
    /// client `own` is yet to be told.
    pub fn invalidate_all(&self, own: u64, own_too: bool) -> bool {
        if self.tracking.clients() == 0 && self.tracking.keys() == 0 {
            return false;
        }
        // First, so that what is read behind the news is in the table.
        self.tracking.clear();
        let all = self.clients.all();
        all.iter()
            .filter(|client| client.tracked.is(mode::ON) && (own_too || client.id != own))
            .fold(false, |told, client| told | self.tell(client, None, own))
    }

    /// Tells a client itself that all keys are gone; as [`Shared::invalidate`].
    pub fn tell_all_gone(&self, own: &Arc<Client>) -> bool {
        own.tracked.is(mode::ON) && self.tell(own, None, own.id)
    }

    /// Empties the table when nobody is there to be told. To be called now and then.
    pub fn forget_reads(&self) {
        let tracking = &self.tracking;
        if tracking.clients() == 0 && tracking.keys() > 0 {
            let _gate = tracking.gate.lock();
            if tracking.clients() == 0 {
                tracking.clear();
            }
        }
    }

    fn tell_readers(&self, readers: &[u64], key: &[u8], own: u64, changed: bool) -> bool {
        let mut told = false;
        for client in readers.iter().filter_map(|id| self.clients.find(*id)) {
            let bits = client.tracked.mode();
            let loops = changed && client.id == own && bits & mode::NO_LOOP != 0;
            if bits & (mode::ON | mode::BROADCAST) == mode::ON && !loops {
                told |= self.tell(&client, Some(&[key]), own);
            }
        }
        told
    }

    /// Tells one client, or the one that hears in its place, of some keys or (`None`) of all; whether that is number `own`.
    fn tell(&self, client: &Arc<Client>, keys: Option<&[&[u8]]>, own: u64) -> bool {
        let redirect = client.tracked.redirect();
        if redirect == 0 {
            return client.protocol() == Resp::V3 && self.send(client, &invalidation(keys), own);
        }
        match self.clients.find(redirect) {
            Some(target) if target.protocol() == Resp::V3 => self.send(&target, &invalidation(keys), own),
            Some(target) if target.subscribed.load(Relaxed) => self.send(&target, &channel_message(keys), own),
            Some(_) => false,
            None => {
                client.tracked.set_broken();
                client.protocol() == Resp::V3 && self.send(client, &broken(redirect), own)
            }
        }
    }

    fn send(&self, client: &Arc<Client>, bytes: &Bytes, own: u64) -> bool {
        let subscribed = client.subscribed.load(Relaxed);
        let class = if subscribed { ClientClass::Pubsub } else { ClientClass::Normal };
        client.push(bytes, push_limit(&self.config, class));
        client.id == own
    }
}

fn encode(resp: Resp, write: impl FnOnce(&mut Reply<'_>)) -> Bytes {
    let mut out = Output::new();
    write(&mut Reply::new(&mut out, resp));
    Bytes::from(out.to_vec())
}

fn write_keys(reply: &mut Reply<'_>, keys: Option<&[&[u8]]>) {
    match keys {
        Some(keys) => {
            reply.array(keys.len());
            keys.iter().for_each(|key| reply.bulk(key));
        }
        None => reply.null(),
    }
}

fn invalidation(keys: Option<&[&[u8]]>) -> Bytes {
    encode(Resp::V3, |reply| {
        reply.push(2);
        reply.bulk(b"invalidate");
        write_keys(reply, keys);
    })
}

fn channel_message(keys: Option<&[&[u8]]>) -> Bytes {
    encode(Resp::V2, |reply| {
        reply.push(3);
        reply.bulk(b"message");
        reply.bulk(CHANNEL);
        write_keys(reply, keys);
    })
}

fn broken(redirect: u64) -> Bytes {
    encode(Resp::V3, |reply| {
        reply.push(2);
        reply.bulk(b"tracking-redir-broken");
        reply.integer(i64::try_from(redirect).unwrap_or(i64::MAX));
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_age_stays_bounded() {
        let mut part = Part::default();
        for round in 0..10_000_u64 {
            assert_eq!(part.enter(b"hot", round), (true, true));
            assert_eq!(part.enter(b"hot", round), (false, false));
            assert!(part.take(b"hot").is_some_and(|readers| *readers == [round]));
            assert!(part.take(b"hot").is_none());
        }
        assert!(part.ages.len() <= STALE_NAMES + 2, "{}", part.ages.len());
        part.enter(b"a", 2);
        part.enter(b"b", 2);
        part.enter(b"a", 1);
        let (name, readers) = part.take_oldest().expect("the oldest");
        assert!(*name == *b"a" && *readers == [1, 2]);
        assert!(part.take_oldest().is_some_and(|(name, _)| *name == *b"b") && part.take_oldest().is_none());
    }

    /// The names of keys that had changed or given way to others were kept, or the room for them, until more keys were read.
    #[test]
    fn the_order_of_age_goes_with_the_keys() {
        let mut part = Part::default();
        let fill = |part: &mut Part| (0..10_000_u32).for_each(|key| assert!(part.enter(&key.to_le_bytes(), 1).0));
        fill(&mut part);
        (0..10_000_u32).for_each(|key| assert!(part.take(&key.to_le_bytes()).is_some()));
        assert!(part.ages.len() <= STALE_NAMES && part.ages.capacity() <= 4 * STALE_NAMES, "{}", part.ages.capacity());
        fill(&mut part);
        while part.take_oldest().is_some() {}
        assert!(part.ages.is_empty() && part.ages.capacity() <= 4 * STALE_NAMES, "{}", part.ages.capacity());
    }
}
