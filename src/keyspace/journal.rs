//! What has happened to the keys of a shard that no handler announces, and who watches them or waits for them.
//!
//! A key that expires or is evicted goes without a command that says so; a lookup that finds nothing is no change at all. Both
//! are written here, under the lock of the shard, and read under the same lock by whoever announces changes; so that
//! they stand before what the request itself does. Invariant: a watched key marks its watchers under the lock of its
//! shard, whoever changes it. Must not know: clients, commands, the log.

use super::attention::{Attention, Switch};
use super::waiters::Waiters;
use crate::util::shrink::shrink;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// What has happened to a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Happening {
    /// Its deadline had come, and it was removed.
    Expired,
    /// It was removed to make room.
    Evicted,
    /// These fields of the hash it holds were removed because their deadlines had come; the key stays, unless it is removed with
    /// the last of them (`emptied`).
    FieldsExpired {
        /// Their names; none when the key went with them.
        fields: Vec<Box<[u8]>>,
        /// No field is left, and the key was removed.
        emptied: bool,
    },
    /// It was looked for and not found.
    Missed,
    /// It came into being.
    Created,
}

/// Something that has happened to a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct News {
    /// The key.
    pub key: Box<[u8]>,
    /// What.
    pub what: Happening,
    /// Its place among the news of all shards.
    pub number: u64,
}

/// Set when a key changes that a client watches.
pub type WatchMark = Arc<AtomicBool>;

/// The news of a shard, its watched keys, and who waits for keys.
pub struct Journal {
    attention: Arc<Attention>,
    news: Vec<News>,
    watched: HashMap<Box<[u8]>, Vec<WatchMark>>,
    /// Who waits for keys.
    pub waiters: Waiters,
}

impl Journal {
    /// An empty one.
    pub fn new(attention: Arc<Attention>) -> Journal {
        Journal { attention, news: Vec::new(), watched: HashMap::new(), waiters: Waiters::default() }
    }

    /// Notes that a key was removed without a command.
    #[inline]
    pub fn removed(&mut self, key: &[u8], what: Happening) {
        if !self.waiters.is_empty() {
            self.waiters.lose(key);
        }
        if self.attention.to_removals() {
            self.note(key, what);
        }
    }

    #[cold]
    fn note(&mut self, key: &[u8], what: Happening) {
        self.changed(key);
        self.add(key, what);
    }

    fn add(&mut self, key: &[u8], what: Happening) {
        let number = self.attention.next_number();
        self.news.push(News { key: key.into(), what, number });
    }

    /// Notes that a lookup found nothing.
    #[inline]
    pub fn missed(&mut self, key: &[u8]) {
        if self.attention.is_on(Switch::Misses) {
            self.add(key, Happening::Missed);
        }
    }

    /// Notes that a key came into being.
    #[inline]
    pub fn created(&mut self, key: &[u8]) {
        if self.attention.is_on(Switch::Creations) {
            self.add(key, Happening::Created);
        }
    }

    /// Whether there are news.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.news.is_empty()
    }

    /// Takes the news out, in order.
    pub fn take(&mut self) -> Vec<News> {
        std::mem::take(&mut self.news)
    }

    // Watched keys

    /// Marks those who watch `key`, which has changed.
    #[inline]
    pub fn changed(&mut self, key: &[u8]) {
        if !self.watched.is_empty()
            && let Some(marks) = self.watched.get(key)
        {
            marks.iter().for_each(|mark| mark.store(true, Relaxed));
        }
    }

    /// Marks those who watch a key of which `changed` says that it has changed.
    pub fn changed_where(&mut self, changed: impl Fn(&[u8]) -> bool) {
        for (_, marks) in self.watched.iter().filter(|(key, _)| changed(key)) {
            marks.iter().for_each(|mark| mark.store(true, Relaxed));
        }
    }

    /// The keys that are watched.
    pub fn watched(&self) -> impl Iterator<Item = &[u8]> {
        self.watched.keys().map(|key| &**key)
    }

    /// Has `mark` set when `key` changes.
    pub fn watch(&mut self, key: &[u8], mark: &WatchMark) {
        match self.watched.get_mut(key) {
            Some(marks) => marks.push(Arc::clone(mark)),
            None => drop(self.watched.insert(key.into(), vec![Arc::clone(mark)])),
        }
    }

    /// Ends what [`Journal::watch`] began.
    pub fn unwatch(&mut self, key: &[u8], mark: &WatchMark) {
        let Some(marks) = self.watched.get_mut(key) else { return };
        if let Some(place) = marks.iter().position(|other| Arc::ptr_eq(other, mark)) {
            marks.swap_remove(place);
            shrink(marks);
        }
        if marks.is_empty() {
            self.watched.remove(key);
            shrink(&mut self.watched);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyspace::attention::Listener;

    #[test]
    fn nothing_is_written_for_nobody() {
        let attention = Arc::new(Attention::default());
        let mut journal = Journal::new(Arc::clone(&attention));
        journal.removed(b"a", Happening::Expired);
        journal.missed(b"b");
        journal.created(b"c");
        assert!(journal.is_empty());
        attention.switch(Switch::Misses, true);
        attention.switch(Switch::Log, true);
        journal.removed(b"a", Happening::Expired);
        journal.missed(b"b");
        journal.created(b"c");
        let taken: Vec<_> = journal.take().into_iter().map(|news| (news.key.to_vec(), news.what)).collect();
        assert_eq!(taken, [(b"a".to_vec(), Happening::Expired), (b"b".to_vec(), Happening::Missed)]);
        assert!(journal.is_empty());
    }

    #[test]
    fn watchers_of_a_changed_key_are_marked() {
        let attention = Arc::new(Attention::default());
        attention.enter(Listener::Watching);
        let mut journal = Journal::new(attention);
        let marks: Vec<WatchMark> = (0..3).map(|_| WatchMark::default()).collect();
        journal.watch(b"a", &marks[0]);
        journal.watch(b"a", &marks[1]);
        journal.watch(b"b", &marks[2]);
        let set = |marks: &[WatchMark]| marks.iter().map(|mark| mark.load(Relaxed)).collect::<Vec<_>>();
        journal.changed(b"c");
        assert_eq!(set(&marks), [false; 3]);
        journal.unwatch(b"a", &marks[1]);
        journal.changed(b"a");
        assert_eq!(set(&marks), [true, false, false]);
        journal.removed(b"b", Happening::Evicted);
        assert_eq!(set(&marks), [true, false, true]);
        journal.unwatch(b"a", &marks[0]);
        journal.unwatch(b"b", &marks[2]);
        assert!(journal.watched.is_empty());
    }
}
