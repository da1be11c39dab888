//! Values as bytes: what DUMP answers, RESTORE takes and snapshots consist of.
//!
//! Must not know: commands, clients; it yields values, and never runs a request.

pub mod aof;
mod direct;
pub mod disk;
pub mod rdb;
