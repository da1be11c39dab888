//! A set of shards to lock at once, gathered from several commands.
//!
//! Invariant: iteration is in the order in which locks are taken, each shard once. Must not know: commands.

use std::collections::BTreeSet;

/// The shards that a transaction needs.
#[derive(Clone, Default, Debug)]
pub struct LockSet {
    everything: bool,
    databases: BTreeSet<usize>,
    /// Hashes of keys in every database.
    everywhere: Vec<u64>,
    /// Hashes of keys, with their databases.
    keys: Vec<(usize, u64)>,
}

impl LockSet {
    /// The shard of a key of database `db`.
    pub fn add_key(&mut self, db: usize, hash: u64) {
        self.keys.push((db, hash));
    }

    /// The shards of a key in every database.
    pub fn add_key_everywhere(&mut self, hash: u64) {
        self.everywhere.push(hash);
    }

    /// All shards of database `db`.
    pub fn add_database(&mut self, db: usize) {
        self.databases.insert(db);
    }

    /// Every shard there is.
    pub fn add_everything(&mut self) {
        self.everything = true;
    }

    /// The shards, as (database, shard), in the order of their locks. `shard_of` tells the shard of a hash.
    pub(super) fn shards(
        &self,
        databases: usize,
        shards: usize,
        shard_of: impl Fn(u64) -> usize,
    ) -> BTreeSet<(usize, usize)> {
        if self.everything {
            return (0..databases).flat_map(|db| (0..shards).map(move |shard| (db, shard))).collect();
        }
        let whole = self.databases.iter().flat_map(|db| (0..shards).map(move |shard| (*db, shard)));
        let keys = self.keys.iter().map(|(db, hash)| (*db, shard_of(*hash)));
        let everywhere = self
            .everywhere
            .iter()
            .map(|hash| shard_of(*hash))
            .flat_map(|shard| (0..databases).map(move |db| (db, shard)));
        whole.chain(keys).chain(everywhere).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gathers_each_shard_once_in_order() {
        let mut set = LockSet::default();
        set.add_key(1, 3);
        set.add_key(0, 2);
        set.add_key(1, 3);
        set.add_key_everywhere(1);
        let shards: Vec<_> = set.shards(2, 4, |hash| usize::try_from(hash).unwrap_or(0)).into_iter().collect();
        assert_eq!(shards, [(0, 1), (0, 2), (1, 1), (1, 3)]);
        set.add_database(1);
        assert_eq!(set.shards(2, 4, |_| 0).len(), 5);
        set.add_everything();
        assert_eq!(set.shards(2, 4, |_| 0).len(), 8);
    }
}
