//! The thread that writes snapshots.

use crate::call::saving;
use crate::call::shared::Shared;
use std::io;

/// How much the thread stands back behind those who serve requests: these interrupt it at once.
const NICE: i32 = 10;

/// Starts it.
pub fn start(shared: &'static Shared) -> io::Result<()> {
    let thread = std::thread::Builder::new().name("larder-save".to_owned());
    thread.spawn(move || run(shared)).map(|_| ())
}

fn run(shared: &'static Shared) {
    if let Err(error) = rustix::process::nice(NICE) {
        tracing::info!("Snapshots are written with the priority of requests: {error}");
    }
    saving::run(shared);
}
