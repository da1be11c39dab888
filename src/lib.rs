//! larder: an in-memory cache server that speaks the Redis protocol.

pub mod util;

pub mod config;

pub mod protocol;

pub mod value;

pub mod keyspace;

pub mod persistence;

pub mod script;

pub mod call;

pub mod command;

pub mod dispatch;

pub mod server;
