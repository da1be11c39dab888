//! RDB, the format of snapshots and of DUMP.
//!
//! Source: the RDB format of Redis, versions 1 to 12, and of Valkey, version 80.

pub mod bytes;
pub mod dump;
pub mod functions;
mod hash;
mod lzf;
pub mod save;
mod stream;
pub mod value;
mod ziplist;
