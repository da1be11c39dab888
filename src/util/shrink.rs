//! Giving back the memory of maps that have held more.
//!
//! A map keeps room for as many entries as it has ever held, and a client can make it hold very many for a moment. Must not know: what the
//! entries are.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};

/// Maps with room for up to so many entries keep it.
const KEPT: usize = 64;

/// Gives most of the room of a map back that holds an eighth of what it has room for. To be called behind removals; then O(1) for each of
/// them, in the mean.
#[inline]
pub fn shrink<K: Eq + Hash, V, S: BuildHasher>(map: &mut HashMap<K, V, S>) {
    if map.capacity() > KEPT && map.len() < map.capacity() / 8 {
        map.shrink_to(map.len() * 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_goes_with_the_entries() {
        let mut map: HashMap<usize, usize> = (0..100_000).map(|n| (n, n)).collect();
        for n in 0..100_000 {
            map.remove(&n);
            shrink(&mut map);
            assert!(map.capacity() <= KEPT || map.len() >= map.capacity() / 8, "{n}");
        }
        assert!(map.capacity() <= 2 * KEPT);
    }
}
