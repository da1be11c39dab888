//! What `larder check-rdb` says of a snapshot file.
//!
//! Every value is decoded as for loading, and then dropped. Must not know: where the report goes. Source: the lines that
//! valkey-check-rdb prints, which scripts look for.

use super::load::{Fault, Loaded, Options, Progress, load};
use super::records::{HEADER_BYTES, Version};
use crate::persistence::disk::Disk;
use std::io::{self, Cursor, Read, Write};
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;

/// A file to report on.
#[derive(Clone, Copy)]
pub struct Check<'c> {
    /// What the report calls it.
    pub name: &'c Path,
    /// How it is read; versions that are not known are tried.
    pub options: &'c Options,
}

/// Reports on a file; `true` when it is in order.
///
/// # Errors
/// Those of `out`.
pub fn check(disk: &dyn Disk, path: &Path, options: &Options, out: &mut dyn Write) -> io::Result<bool> {
    let check = Check { name: path, options };
    match disk.len(path).and_then(|bytes| Ok((bytes, disk.open(path)?))) {
        Ok((bytes, mut source)) => Ok(check.report(&mut *source, bytes, out)?.is_some()),
        Err(error) => {
            check.begin(out)?;
            tell_fault(&Fault { offset: 0, what: error.to_string() }, out)?;
            Ok(false)
        }
    }
}

impl Check<'_> {
    fn begin(self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "[offset 0] Checking RDB file {}", self.name.display())
    }

    /// Reports on what `source` holds, of `bytes` bytes if that is known; `None` when it is not in order.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn report(
        self,
        source: &mut (dyn Read + Send),
        bytes: Option<u64>,
        out: &mut dyn Write,
    ) -> io::Result<Option<Loaded>> {
        self.begin(out)?;
        let mut header = Vec::new();
        let read = source.take(HEADER_BYTES as u64).read_to_end(&mut header);
        let version = Version::read(&header, true).ok();
        if let Some((version, origin)) = version.and_then(|version| Some((version, version.origin()?))) {
            let origin = if origin == "future" { "Future" } else { "Foreign" };
            writeln!(out, "[offset {HEADER_BYTES}] {origin} RDB version {} detected", version.number)?;
        }
        let (progress, options) = (Progress::default(), Options { any_version: true, ..self.options.clone() });
        let result = match read {
            Ok(_) => load(&mut Cursor::new(header).chain(source), bytes, None, &options, &progress),
            Err(error) => Err(Fault { offset: 0, what: error.to_string() }),
        };
        match &result {
            Ok(loaded) => tell_loaded(loaded, version, out)?,
            Err(fault) => tell_fault(fault, out)?,
        }
        let libraries = result.as_ref().map_or(0, |loaded| loaded.libraries.len());
        tell_counts(&progress, libraries, out)?;
        Ok(result.ok())
    }
}

fn tell_loaded(loaded: &Loaded, version: Option<Version>, out: &mut dyn Write) -> io::Result<()> {
    let end = loaded.end;
    for (name, value) in &loaded.aux {
        writeln!(out, "[info] AUX FIELD {} = '{}'", name.escape_ascii(), value.escape_ascii())?;
    }
    writeln!(out, "[info] version {} of the format, {} databases", loaded.version, loaded.databases)?;
    if !loaded.rest.is_empty() {
        writeln!(out, "[info] bytes follow the end")?;
    }
    writeln!(out, "[offset {end}] Checksum {}", if loaded.checked { "OK" } else { "not there" })?;
    if version.is_some_and(Version::is_known) {
        writeln!(out, "[offset {end}] \\o/ RDB looks OK! \\o/")
    } else {
        writeln!(out, "[offset {end}] \\o/ RDB looks OK, but loading requires config 'rdb-version-check relaxed'")
    }
}

fn tell_fault(fault: &Fault, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "--- RDB ERROR DETECTED ---")?;
    writeln!(out, "[offset {}] {}", fault.offset, fault.what)
}

fn tell_counts(progress: &Progress, libraries: usize, out: &mut dyn Write) -> io::Result<()> {
    let [stored, timed, expired, empty] =
        [&progress.keys, &progress.timed, &progress.expired, &progress.empty].map(|count| count.load(Relaxed));
    writeln!(out, "[info] {} keys read", stored + expired + empty)?;
    writeln!(out, "[info] {timed} expires")?;
    writeln!(out, "[info] {expired} already expired")?;
    writeln!(out, "[info] {libraries} functions")?;
    if empty > 0 {
        writeln!(out, "[info] {empty} collections without elements")?;
    }
    Ok(())
}
