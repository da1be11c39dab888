//! Values: what a key can hold, and what can be done with it.
//!
//! Every collection is one machine word, so that an entry of the keyspace holds it beside its key; a small one is a packed
//! list behind that word, a large one a structure of its own. Must not know: keys, clocks, locks, clients, RESP, config.

pub mod bitmap;
pub mod blob;
pub mod element;
pub mod geo;
pub mod hash;
pub mod hyperloglog;
pub mod intset;
pub mod lcs;
pub mod list;
pub mod listpack;
pub mod object;
mod segment;
pub mod set;
pub mod sorted_set;
pub mod stream;
pub mod string;
pub mod table;
pub mod walk;
pub mod word;
