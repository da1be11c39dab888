//! What one run of a command holds.
//!
//! A command is a row (`spec`) and a handler. The handler reads its arguments through a cursor (`args`), sees the
//! keyspace, the clock and the reply through a `context`, the client through a `session`, the server through
//! `shared`, and answers an error of `error`. Must not know: any particular command, sockets, tasks.

pub mod account;
pub mod append_log;
pub mod args;
pub mod blocking;
pub mod census;
pub mod clients;
pub mod context;
pub mod docs;
pub mod effects;
pub mod error;
pub mod expiry;
pub mod help;
pub mod history;
pub mod hot;
pub mod keys;
pub mod limits;
pub mod listeners;
pub mod loading;
pub mod logs;
pub mod notify;
pub mod oom_score;
pub mod open_files;
pub mod outside;
pub mod pubsub;
pub mod run;
pub mod saving;
pub mod session;
pub mod shared;
pub mod spec;
pub mod stats;
pub mod table;
pub mod tracked;
pub mod tracking;
pub mod transaction;
