//! Values: what a key can hold, and what can be done with it.
//!
//! Must not know: keys, clocks, locks, clients, RESP.

pub mod blob;
pub mod intset;
pub mod lcs;
pub mod listpack;
pub mod string;
pub mod word;
