//! Values: what a key can hold, and what can be done with it.
//!
//! Must not know: keys, clocks, locks, clients, RESP.

pub mod element;
pub mod lcs;
mod segment;
pub mod string;
pub mod table;
