//! larder: an in-memory cache server that speaks the Redis protocol.

pub mod call;
pub mod command;
pub mod config;
pub mod keyspace;
pub mod protocol;
pub mod server;
pub mod util;
