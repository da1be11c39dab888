//! Giving back the memory of collections that have held more.
//!
//! A map, queue or array keeps room for as many entries as it has ever held, and a client can make it hold very many for a moment. Must not
//! know: what the entries are.

use dashmap::DashMap;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, Hash};

/// Collections with room for up to so many entries keep it.
const KEPT: usize = 64;

/// With so much more room than for its entries a map of many parts gives it back: for a few more, and for so many times as many.
const FEW: usize = 4;
const MUCH: usize = 4;

/// A collection whose room outlives its entries.
pub trait Room {
    /// Entries that it holds.
    fn held(&self) -> usize;

    /// Entries that it has room for.
    fn room(&self) -> usize;

    /// Keeps room for so many entries, or for those that it holds where they are more.
    fn keep_room(&mut self, entries: usize);
}

impl<K: Eq + Hash, V, S: BuildHasher> Room for HashMap<K, V, S> {
    fn held(&self) -> usize {
        self.len()
    }

    fn room(&self) -> usize {
        self.capacity()
    }

    fn keep_room(&mut self, entries: usize) {
        self.shrink_to(entries);
    }
}

impl<T> Room for VecDeque<T> {
    fn held(&self) -> usize {
        self.len()
    }

    fn room(&self) -> usize {
        self.capacity()
    }

    fn keep_room(&mut self, entries: usize) {
        self.shrink_to(entries);
    }
}

impl<T> Room for Vec<T> {
    fn held(&self) -> usize {
        self.len()
    }

    fn room(&self) -> usize {
        self.capacity()
    }

    fn keep_room(&mut self, entries: usize) {
        self.shrink_to(entries);
    }
}

/// Gives most of the room of a collection back that holds less than an eighth of what it has room for. To be called behind removals; then
/// O(1) for each of them, in the mean.
#[inline]
pub fn shrink(entries: &mut impl Room) {
    if entries.room() > KEPT && entries.held() < entries.room() / 8 {
        entries.keep_room(entries.held() * 2);
    }
}

/// Gives back the room of a map of many parts, each under a lock of its own, when it is much. To be called now and then: a lock for each part.
pub fn shrink_parts<K: Eq + Hash, V, S: BuildHasher + Clone>(map: &DashMap<K, V, S>) {
    if map.capacity() > MUCH * (map.len() + FEW) {
        map.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn empty<R: Room>(mut entries: R, remove: impl Fn(&mut R, usize) -> Option<usize>) {
        for n in 0..100_000 {
            assert!(remove(&mut entries, n).is_some());
            shrink(&mut entries);
            assert!(entries.room() <= KEPT || entries.held() >= entries.room() / 8, "{n}");
        }
        assert!(entries.held() == 0 && entries.room() <= 2 * KEPT);
    }

    #[test]
    fn room_goes_with_the_entries() {
        empty((0..100_000).map(|n| (n, n)).collect::<HashMap<usize, usize>>(), |map, n| map.remove(&n));
        empty((0..100_000).collect::<VecDeque<usize>>(), |queue, _| queue.pop_front());
        empty((0..100_000).collect::<Vec<usize>>(), |array, _| array.pop());
    }

    #[test]
    fn the_parts_of_a_map_shrink_together() {
        let map: DashMap<usize, usize> = (0..100_000).map(|n| (n, n)).collect();
        shrink_parts(&map);
        assert!(map.capacity() >= 100_000, "not while they are there");
        map.retain(|n, _| *n < 100);
        shrink_parts(&map);
        assert!(map.len() == 100 && map.capacity() <= MUCH * (100 + FEW), "{}", map.capacity());
    }
}
