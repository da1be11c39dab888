//! Commands, run in process through dispatch: one file per group of the command reference.

mod bitmap;
mod connection;
mod dump;
mod expiry;
mod geo;
mod harness;
mod hash;
mod hyperloglog;
mod list;
mod observe;
mod set;
mod sort;
mod sorted_set;
mod stream;
mod string;
