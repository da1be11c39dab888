//! The server group: too large for one file, so one file per family of its commands.

mod account;
pub mod append_log;
pub mod command;
pub mod config;
pub mod control;
pub mod database;
pub mod debug;
pub mod hotkeys;
pub mod info;
pub mod latency;
pub mod logs;
pub mod memory;
pub mod module;
pub mod saving;
