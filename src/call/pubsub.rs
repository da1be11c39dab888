//! Channels and those who listen to them.
//!
//! A message is encoded once for each protocol version and left in the mailboxes of its receivers, under the lock of the
//! channel or pattern: so all of them get the messages of a channel in the same order, who has been told that it
//! listens misses nothing, and who has been told that it listens no more gets nothing more. Invariant: a name stands here
//! as long as somebody listens to it, and a client stands under the names of its own list. Nothing here waits
//! for a receiver. Must not know: commands, sockets. Source: the Redis documentation of pub/sub.

use super::clients::{Client, Listen};
use super::tracked::Name;
use crate::config::{ClientClass, Config};
use crate::protocol::reply::{Output, Reply, Resp};
use crate::util::glob;
use bytes::Bytes;
use dashmap::DashMap;
use parking_lot::{Mutex, RwLock};
use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Those who listen to one name, by the number of the client.
type Members = Mutex<BTreeMap<u64, Arc<Client>>>;

/// Names that are looked up as they are.
#[derive(Default)]
struct Channels {
    map: DashMap<Name, Members, ahash::RandomState>,
    count: AtomicUsize,
}

impl Channels {
    fn add(&self, name: &Name, client: &Arc<Client>) {
        let place = self.map.entry(Arc::clone(name)).or_insert_with(|| {
            self.count.fetch_add(1, Relaxed);
            Members::default()
        });
        place.lock().insert(client.id, Arc::clone(client));
    }

    fn remove(&self, name: &[u8], client: &Client) {
        let emptied = self.map.remove_if_mut(name, |_, members| {
            let members = members.get_mut();
            members.remove(&client.id);
            members.is_empty()
        });
        if emptied.is_some() {
            self.count.fetch_sub(1, Relaxed);
        }
    }

    fn len(&self) -> usize {
        self.count.load(Relaxed)
    }
}

/// One message on its way, encoded when the first receiver of a protocol version is met.
struct Message<'a> {
    words: &'a [&'a [u8]],
    encoded: [OnceCell<Bytes>; 2],
}

impl<'a> Message<'a> {
    fn new(words: &'a [&'a [u8]]) -> Message<'a> {
        Message { words, encoded: Default::default() }
    }

    #[inline]
    fn bytes(&self, resp: Resp) -> &Bytes {
        self.encoded[usize::from(resp == Resp::V3)].get_or_init(|| push_of(self.words, resp))
    }
}

/// A push message of bulk strings.
pub fn push_of(words: &[&[u8]], resp: Resp) -> Bytes {
    let mut out = Output::new();
    let mut reply = Reply::new(&mut out, resp);
    reply.push(words.len());
    words.iter().for_each(|word| reply.bulk(word));
    Bytes::from(out.to_vec())
}

/// What became of a message.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Published {
    /// How often it was received: a client that listens in several ways gets it several times.
    pub receivers: usize,
    /// Whether the client that was asked about is among the receivers.
    pub own: bool,
}

/// All channels, sharded channels and patterns.
#[derive(Default)]
pub struct PubSub {
    channels: Channels,
    shard_channels: Channels,
    patterns: RwLock<BTreeMap<Name, Members>>,
    pattern_count: AtomicUsize,
    clients: AtomicUsize,
}

impl PubSub {
    /// Lets a client listen to `name`; `false` when it does already.
    pub fn subscribe(&self, client: &Arc<Client>, kind: Listen, name: &[u8]) -> bool {
        let mut subscriptions = client.subscriptions.lock();
        if subscriptions.names(kind).contains(name) {
            return false;
        }
        let name = Name::from(name);
        match kind {
            Listen::Channel => self.channels.add(&name, client),
            Listen::Shard => self.shard_channels.add(&name, client),
            Listen::Pattern => self.add_pattern(&name, client),
        }
        subscriptions.names(kind).insert(name);
        if !client.subscribed.swap(true, Relaxed) {
            self.clients.fetch_add(1, Relaxed);
        }
        true
    }

    /// Ends a subscription; `false` when there was none.
    pub fn unsubscribe(&self, client: &Client, kind: Listen, name: &[u8]) -> bool {
        let mut subscriptions = client.subscriptions.lock();
        if !subscriptions.names(kind).remove(name) {
            return false;
        }
        match kind {
            Listen::Channel => self.channels.remove(name, client),
            Listen::Shard => self.shard_channels.remove(name, client),
            Listen::Pattern => self.remove_pattern(name, client),
        }
        if subscriptions.is_empty() && client.subscribed.swap(false, Relaxed) {
            self.clients.fetch_sub(1, Relaxed);
        }
        true
    }

    /// What a client listens to in one way, in order.
    pub fn names_of(&self, client: &Client, kind: Listen) -> Vec<Name> {
        client.subscriptions.lock().names(kind).iter().cloned().collect()
    }

    /// Ends all subscriptions of a client. O(subscriptions).
    pub fn leave(&self, client: &Client) {
        if !client.subscribed.load(Relaxed) {
            return;
        }
        for kind in [Listen::Channel, Listen::Pattern, Listen::Shard] {
            for name in self.names_of(client, kind) {
                self.unsubscribe(client, kind, &name);
            }
        }
    }

    fn add_pattern(&self, name: &Name, client: &Arc<Client>) {
        let mut patterns = self.patterns.write();
        patterns.entry(Arc::clone(name)).or_default().get_mut().insert(client.id, Arc::clone(client));
        self.pattern_count.store(patterns.len(), Relaxed);
    }

    fn remove_pattern(&self, name: &[u8], client: &Client) {
        let mut patterns = self.patterns.write();
        let emptied = patterns.get_mut(name).is_some_and(|members| {
            let members = members.get_mut();
            members.remove(&client.id);
            members.is_empty()
        });
        if emptied {
            patterns.remove(name);
        }
        self.pattern_count.store(patterns.len(), Relaxed);
    }

    /// Whether a message can be received by anybody; two loads.
    #[inline]
    pub fn is_silent(&self) -> bool {
        self.channels.len() == 0 && self.pattern_count.load(Relaxed) == 0
    }

    /// Sends a message to those who listen to `channel` or to a pattern that it matches; `own` is the number of the client
    /// asked about. O(receivers + patterns).
    pub fn publish(&self, channel: &[u8], payload: &[u8], own: u64, config: &Config) -> Published {
        let mut published = Published::default();
        if self.channels.len() != 0
            && let Some(members) = self.channels.map.get(channel)
        {
            deliver(&[b"message", channel, payload], &members, own, config, &mut published);
        }
        if self.pattern_count.load(Relaxed) != 0 {
            for (pattern, members) in self.patterns.read().iter() {
                if glob::matches(pattern, channel, false) {
                    deliver(&[b"pmessage", pattern, channel, payload], members, own, config, &mut published);
                }
            }
        }
        published
    }

    /// Sends a message to those who listen to a sharded channel; see [`PubSub::publish`].
    pub fn publish_sharded(&self, channel: &[u8], payload: &[u8], own: u64, config: &Config) -> Published {
        let mut published = Published::default();
        if let Some(members) = self.shard_channels.map.get(channel) {
            deliver(&[b"smessage", channel, payload], &members, own, config, &mut published);
        }
        published
    }

    /// The names of channels that match `pattern`. `kind` is not [`Listen::Pattern`]. O(channels).
    pub fn names(&self, kind: Listen, pattern: Option<&[u8]>) -> Vec<Name> {
        let channels = self.of(kind);
        let matching = channels.map.iter().map(|entry| Arc::clone(entry.key()));
        matching.filter(|name| pattern.is_none_or(|pattern| glob::matches(pattern, name, false))).collect()
    }

    /// How many clients listen to a channel. `kind` is not [`Listen::Pattern`].
    pub fn listeners(&self, kind: Listen, channel: &[u8]) -> usize {
        self.of(kind).map.get(channel).map_or(0, |members| members.lock().len())
    }

    /// How many different channels or patterns somebody listens to.
    pub fn count(&self, kind: Listen) -> usize {
        if kind == Listen::Pattern { self.pattern_count.load(Relaxed) } else { self.of(kind).len() }
    }

    /// How many clients listen to anything.
    pub fn clients(&self) -> usize {
        self.clients.load(Relaxed)
    }

    fn of(&self, kind: Listen) -> &Channels {
        if kind == Listen::Shard { &self.shard_channels } else { &self.channels }
    }
}

fn deliver(words: &[&[u8]], members: &Members, own: u64, config: &Config, published: &mut Published) {
    let (message, limit_bytes) = (Message::new(words), push_limit(config, ClientClass::Pubsub));
    let members = members.lock();
    for client in members.values() {
        client.push(message.bytes(client.protocol()), limit_bytes);
    }
    published.receivers += members.len();
    published.own |= members.contains_key(&own);
}

/// Bytes that may wait for a client of this class.
pub fn push_limit(config: &Config, class: ClientClass) -> usize {
    let hard_bytes = config.output_limits(class).hard_bytes;
    if hard_bytes == 0 { usize::MAX } else { usize::try_from(hard_bytes).unwrap_or(usize::MAX) }
}
