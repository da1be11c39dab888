//! The commands: one file per group of the command reference, each headed by its rows.
//!
//! Must not know: sockets, tasks, locks. A new command touches its group's file only.

use crate::call::spec::CommandSpec;

pub mod bitmap;
pub mod cluster;
pub mod connection;
pub mod generic;
pub mod geo;
pub mod hash;
pub mod hyperloglog;
pub mod list;
pub mod pubsub;
pub mod scripting;
pub mod server;
pub mod set;
pub mod sorted_set;
pub mod stream;
pub mod string;
pub mod transactions;

/// The rows of every group.
pub const GROUPS: &[&[CommandSpec]] = &[
    string::COMMANDS,
    hash::COMMANDS,
    bitmap::COMMANDS,
    hyperloglog::COMMANDS,
    stream::COMMANDS,
    set::COMMANDS,
    sorted_set::COMMANDS,
    geo::COMMANDS,
    generic::COMMANDS,
    generic::sort::COMMANDS,
    generic::dump::COMMANDS,
    list::COMMANDS,
    transactions::COMMANDS,
    scripting::COMMANDS,
    connection::COMMANDS,
    pubsub::COMMANDS,
    cluster::COMMANDS,
    server::hotkeys::COMMANDS,
    server::info::COMMANDS,
    server::config::COMMANDS,
    server::command::COMMANDS,
    server::database::COMMANDS,
    server::debug::COMMANDS,
    server::latency::COMMANDS,
    server::memory::COMMANDS,
    server::module::COMMANDS,
    server::logs::COMMANDS,
    server::control::COMMANDS,
    server::saving::COMMANDS,
    server::append_log::COMMANDS,
];
