//! Keyspace notifications: what happens to a key is published on channels named after the key and after the event.
//!
//! `__keyspace@<db>__:<key>` carries the event, `__keyevent@<db>__:<event>` the key; `notify-keyspace-events` chooses the
//! channels and the classes of events. To be called under the lock of the key's shard, so that the events of a key are
//! published in the order of its changes. Must not know: commands, who listens. Source: the Redis documentation of
//! keyspace notifications; the names of events are those of Redis.

use super::context::Event;
use super::shared::Shared;
use crate::config::notify;
use crate::keyspace::attention::Switch;

impl Event {
    /// The class of the event, as `notify-keyspace-events` names it, and its name; `None` when nobody is told.
    pub fn named(self) -> Option<(u32, &'static str)> {
        Some(match self {
            Event::String(name) => (notify::STRING, name),
            Event::List(name) => (notify::LIST, name),
            Event::Hash(name) => (notify::HASH, name),
            Event::Set(name) => (notify::SET, name),
            Event::SortedSet(name) => (notify::SORTED_SET, name),
            Event::Stream(name) => (notify::STREAM, name),
            Event::Generic(name) => (notify::GENERIC, name),
            Event::Expired => (notify::EXPIRED, "expired"),
            Event::Silent => return None,
        })
    }
}

/// Has the keyspace report what the present `notify-keyspace-events` wants to know. To be called when that has changed.
pub fn attend(shared: &Shared) {
    let (wanted, attention) = (shared.config.notify_keyspace_events(), shared.keyspace.attention());
    let heard = wanted & (notify::KEYSPACE | notify::KEYEVENT) != 0;
    attention.switch(Switch::Events, heard);
    attention.switch(Switch::Misses, heard && wanted & notify::KEY_MISS != 0);
    attention.switch(Switch::Creations, heard && wanted & notify::NEW != 0);
}

/// Publishes an event of class `class` (a bit of [`notify`]) of `key`; `true` when client number `own` is among those told.
/// One load when no notifications are wanted.
#[inline]
pub fn publish(shared: &Shared, db: usize, key: &[u8], (class, name): (u32, &str), own: u64) -> bool {
    let wanted = shared.config.notify_keyspace_events();
    wanted & class != 0 && !shared.pubsub.is_silent() && tell(shared, db, key, name, own, wanted)
}

#[cold]
fn tell(shared: &Shared, db: usize, key: &[u8], name: &str, own: u64, wanted: u32) -> bool {
    let publish = |channel: &[u8], message: &[u8]| shared.pubsub.publish(channel, message, own, &shared.config).own;
    let mut told = false;
    if wanted & notify::KEYSPACE != 0 {
        told |= publish(&[format!("__keyspace@{db}__:").as_bytes(), key].concat(), name.as_bytes());
    }
    if wanted & notify::KEYEVENT != 0 {
        told |= publish(format!("__keyevent@{db}__:{name}").as_bytes(), key);
    }
    told
}
