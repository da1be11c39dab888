//! Durability, as far as it can be proved inside one process: on a disk that fails, fills up and forgets.
//!
//! Here: the disk's own tests, the append-only file and snapshots. The server as a whole is proved by the Python tools of this folder (docs/durability.md).

use larder::persistence::disk;

mod faulty_disk;
mod faulty_disk_tests;
#[allow(dead_code, reason = "the tests of commands use all of it")]
#[path = "../commands/harness.rs"]
mod harness;
mod log;
mod snapshot;
