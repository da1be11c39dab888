//! Commands, run in process through dispatch: one file per group of the command reference.

mod connection;
mod harness;
mod list;
mod string;
