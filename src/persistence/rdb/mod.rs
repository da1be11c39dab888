//! RDB, the format of snapshots and of DUMP.
//!
//! Source: the RDB format of Redis, versions 1 to 12, and of Valkey, version 80.

pub mod bytes;
pub mod check;
mod decode;
pub mod dump;
mod feed;
pub mod functions;
mod hash;
pub mod load;
mod lzf;
mod queue;
pub mod records;
pub mod save;
mod stream;
pub mod value;
mod walk;
mod ziplist;
