//! Channels and those who listen to them.
//!
//! A message is encoded once for each protocol version and left in the mailboxes of its receivers, under the lock of the
//! channel or pattern: so all of them get the messages of a channel in the same order, who has been told that it
//! listens misses nothing, and who has been told that it listens no more gets nothing more. Invariant: a name stands here
//! as long as somebody listens to it, and a client stands under the names of its own list. Nothing here waits
//! for a receiver. Must not know: commands, sockets. Source: the Redis documentation of pub/sub.

use super::clients::{Client, Listen};
use super::listeners::{Listeners, Message};
use super::tracked::Name;
use crate::config::{ClientClass, Config};
use crate::util::glob;
use dashmap::DashMap;
use parking_lot::RwLock;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// What it takes to listen to a name that nobody else listens to, its bytes not counted: measured. As in Redis each listener is charged all of it.
const LISTENING_BYTES: usize = 512;

/// Names that are looked up as they are.
#[derive(Default)]
struct Channels {
    map: DashMap<Name, Arc<Listeners>, ahash::RandomState>,
    count: AtomicUsize,
}

impl Channels {
    fn add(&self, name: &Name, client: &Arc<Client>) -> Arc<Listeners> {
        let place = self.map.entry(Arc::clone(name)).or_insert_with(|| {
            self.count.fetch_add(1, Relaxed);
            Arc::default()
        });
        place.add(client);
        Arc::clone(&place)
    }

    fn remove(&self, name: &[u8], client: &Client) {
        let emptied = self.map.remove_if(name, |_, listeners| listeners.remove(client) == 0);
        if emptied.is_some() {
            let left = self.count.fetch_sub(1, Relaxed) - 1;
            // So often that it takes O(1) for each name, in the mean.
            if left == 0 || left.is_power_of_two() {
                self.map.shrink_to_fit();
            }
        }
    }

    fn len(&self) -> usize {
        self.count.load(Relaxed)
    }
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
    patterns: RwLock<BTreeMap<Name, Arc<Listeners>>>,
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
        client.has_no_home();
        let listeners = match kind {
            Listen::Channel => self.channels.add(&name, client),
            Listen::Shard => self.shard_channels.add(&name, client),
            Listen::Pattern => self.add_pattern(&name, client),
        };
        if subscriptions.is_empty() {
            client.has_home(listeners);
        }
        client.listening_bytes.fetch_add(LISTENING_BYTES + name.len(), Relaxed);
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
        client.listening_bytes.fetch_sub(LISTENING_BYTES + name.len(), Relaxed);
        client.has_no_home();
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

    /// Ends all subscriptions of a client that is gone: what has not reached it is forgotten. O(subscriptions).
    pub fn forget(&self, client: &Client) {
        client.is_gone();
        self.leave(client);
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

    fn add_pattern(&self, name: &Name, client: &Arc<Client>) -> Arc<Listeners> {
        let mut patterns = self.patterns.write();
        let listeners = Arc::clone(patterns.entry(Arc::clone(name)).or_default());
        listeners.add(client);
        self.pattern_count.store(patterns.len(), Relaxed);
        listeners
    }

    fn remove_pattern(&self, name: &[u8], client: &Client) {
        let mut patterns = self.patterns.write();
        if patterns.get(name).is_some_and(|listeners| listeners.remove(client) == 0) {
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
            && let Some(listeners) = self.channels.map.get(channel)
        {
            deliver(&[b"message", channel, payload], &listeners, own, config, &mut published);
        }
        if self.pattern_count.load(Relaxed) != 0 {
            for (pattern, listeners) in self.patterns.read().iter() {
                if glob::matches(pattern, channel, false) {
                    deliver(&[b"pmessage", pattern, channel, payload], listeners, own, config, &mut published);
                }
            }
        }
        published
    }

    /// Sends a message to those who listen to a sharded channel; see [`PubSub::publish`].
    pub fn publish_sharded(&self, channel: &[u8], payload: &[u8], own: u64, config: &Config) -> Published {
        let mut published = Published::default();
        if let Some(listeners) = self.shard_channels.map.get(channel) {
            deliver(&[b"smessage", channel, payload], &listeners, own, config, &mut published);
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
        self.of(kind).map.get(channel).map_or(0, |listeners| listeners.count())
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

fn deliver(words: &[&[u8]], listeners: &Listeners, own: u64, config: &Config, published: &mut Published) {
    let told = listeners.tell(&Message::new(words), own, push_limit(config, ClientClass::Pubsub));
    published.receivers += told.receivers;
    published.own |= told.own;
}

/// Bytes that may wait for a client of this class.
pub fn push_limit(config: &Config, class: ClientClass) -> usize {
    let hard_bytes = config.output_limits(class).hard_bytes;
    if hard_bytes == 0 { usize::MAX } else { usize::try_from(hard_bytes).unwrap_or(usize::MAX) }
}
