//! The thread that writes snapshots.

use crate::call::saving;
use crate::call::shared::Shared;
use std::io;

/// Starts it.
pub fn start(shared: &'static Shared) -> io::Result<()> {
    std::thread::Builder::new().name("larder-save".to_owned()).spawn(move || saving::run(shared)).map(|_| ())
}
