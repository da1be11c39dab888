//! Thresholds of the compact forms of collections, as the configuration has them now.

use crate::config::Config;
use crate::persistence::rdb::value::Limits;
use crate::value::list::Fill;
use crate::value::stream::node::NodeLimits;
use crate::value::{hash, set, sorted_set};

fn size(option: u64) -> usize {
    usize::try_from(option).unwrap_or(usize::MAX)
}

/// Of every type that DUMP and snapshots hold.
pub fn values(config: &Config) -> Limits {
    Limits { list: list(config), hash: hash(config), set: set(config), sorted_set: sorted_set(config) }
}

/// Of nodes of lists.
pub fn list(config: &Config) -> Fill {
    Fill::new(config.list_max_listpack_size())
}

/// Of hashes.
pub fn hash(config: &Config) -> hash::Limits {
    let entries = size(config.hash_max_listpack_entries());
    hash::Limits { entries, value_bytes: size(config.hash_max_listpack_value()) }
}

/// Of sets.
pub fn set(config: &Config) -> set::Limits {
    set::Limits {
        intset: size(config.set_max_intset_entries()),
        listpack: size(config.set_max_listpack_entries()),
        value: size(config.set_max_listpack_value()),
    }
}

/// Of sorted sets.
pub fn sorted_set(config: &Config) -> sorted_set::Limits {
    let entries = size(config.zset_max_listpack_entries());
    sorted_set::Limits { entries, value_bytes: size(config.zset_max_listpack_value()) }
}

/// Of nodes of streams.
pub fn stream(config: &Config) -> NodeLimits {
    NodeLimits { bytes: size(config.stream_node_max_bytes()), entries: size(config.stream_node_max_entries()) }
}
