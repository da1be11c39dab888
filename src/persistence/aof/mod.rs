//! The append-only file: several files in a directory, and a manifest that names them.
//!
//! A *base* holds the data as of a moment, *incremental* files what was done since, *history* files are to be deleted.
//! Invariant: what the manifest on the disk names, loaded in its order, is all that was acknowledged. Must not know:
//! commands, clients; it yields requests, and never runs one. Source: the multi-part files of Redis 7.

pub mod check;
pub mod commands;
pub mod manifest;
pub mod names;
pub mod reader;
pub mod writer;
