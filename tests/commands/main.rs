//! Commands, run in process through dispatch: one file per group of the command reference.

mod bitmap;
mod connection;
mod harness;
mod hyperloglog;
mod set;
mod sort;
mod stream;
mod string;
