//! Commands, run in process through dispatch: one file per group of the command reference.

mod append_log;
mod bitmap;
mod connection;
mod dump;
mod effects;
mod eviction;
mod expiry;
mod geo;
mod harness;
mod hash;
mod hyperloglog;
mod list;
mod long_snapshot;
mod notify;
mod observe;
mod pubsub;
mod scripting;
mod set;
mod snapshot;
mod sort;
mod sorted_set;
mod stream;
mod string;
mod tracking;
mod transactions;

use larder::persistence::disk;

#[path = "../durability/faulty_disk.rs"]
mod faulty_disk;

/// What is used is counted, as in the server.
#[global_allocator]
static ALLOCATOR: larder::util::memory::Counting = larder::util::memory::Counting;
