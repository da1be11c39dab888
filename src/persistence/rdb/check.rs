//! What `larder check-rdb` says of a snapshot file.
//!
//! Every value is decoded as for loading, and then dropped. Must not know: where the report goes. Source: redis-check-rdb, whose
//! report this is in substance.

use super::load::{Options, Progress, load_file};
use crate::persistence::disk::Disk;
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;

/// Reports on a file; `true` when it is in order.
///
/// # Errors
/// Those of `out`.
pub fn check(disk: &dyn Disk, path: &Path, options: &Options, out: &mut dyn Write) -> io::Result<bool> {
    let progress = Progress::default();
    writeln!(out, "[offset 0] Checking RDB file {}", path.display())?;
    let result = load_file(disk, path, None, options, &progress);
    match &result {
        Ok(loaded) => {
            for (name, value) in &loaded.aux {
                writeln!(out, "[info] {} = '{}'", name.escape_ascii(), value.escape_ascii())?;
            }
            writeln!(out, "[info] version {} of the format, {} databases", loaded.version, loaded.databases)?;
            if !loaded.libraries.is_empty() {
                writeln!(out, "[info] {} libraries of functions", loaded.libraries.len())?;
            }
            if !loaded.rest.is_empty() {
                writeln!(out, "[info] bytes follow the end")?;
            }
            writeln!(out, "[offset {}] Checksum {}", loaded.end, if loaded.checked { "OK" } else { "not there" })?;
            writeln!(out, "[offset {}] \\o/ RDB looks OK! \\o/", loaded.end)?;
        }
        Err(error) => {
            writeln!(out, "--- RDB ERROR DETECTED ---")?;
            writeln!(out, "[offset {}] {}", error.offset, error.what)?;
        }
    }
    let [stored, timed, expired, empty] =
        [&progress.keys, &progress.timed, &progress.expired, &progress.empty].map(|count| count.load(Relaxed));
    writeln!(out, "[info] {} keys read", stored + expired + empty)?;
    writeln!(out, "[info] {timed} expires")?;
    writeln!(out, "[info] {expired} already expired")?;
    if empty > 0 {
        writeln!(out, "[info] {empty} collections without elements")?;
    }
    Ok(result.is_ok())
}
