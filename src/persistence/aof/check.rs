//! What `larder check-aof` says of the files of a log, and does about their ends.
//!
//! Invariant: nothing is changed unless that is asked for, and then only the end of the last file is cut off. Must not know: where
//! the report goes, what requests do. Source: redis-check-aof, whose report this is in substance.

use super::manifest::Manifest;
use super::reader::{End, Reader};
use crate::persistence::disk::{Disk, directory_of};
use crate::persistence::rdb::load::{Options, Progress, load};
use crate::protocol::batch::Batch;
use std::io::{self, Cursor, Read, Write};
use std::path::{Path, PathBuf};

/// What is to be done beside looking.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Repair {
    /// Cut off what is not whole at the end.
    pub fix: bool,
    /// Cut off what was done after this time, in seconds since the epoch, as far as the log notes the time.
    pub until_s: Option<i64>,
}

/// What one file is like.
struct Finding {
    /// Bytes that are whole, and not too late.
    whole: u64,
    /// Bytes of the file.
    bytes: u64,
    /// What is wrong behind these; `None` for nothing.
    wrong: Option<String>,
}

/// Reports on a file of a log, or, given its manifest, on all of them; `true` when they are in order, or are now.
///
/// # Errors
/// Those of the files, of the manifest, and of `out`.
pub fn check(disk: &dyn Disk, path: &Path, repair: Repair, options: &Options, out: &mut dyn Write) -> io::Result<bool> {
    let parts = parts(disk, path, out)?;
    let count = parts.len();
    for (index, (path, what)) in parts.iter().enumerate() {
        writeln!(out, "Start to check {what}.")?;
        let finding = look(disk, path, repair, options)?;
        let Finding { whole, bytes, wrong } = &finding;
        let name = path.display();
        writeln!(out, "AOF analyzed: filename={name}, size={bytes}, ok_up_to={whole}, diff={}", bytes - whole)?;
        if let Some(wrong) = wrong {
            writeln!(out, "{wrong}")?;
        }
        if whole == bytes && wrong.is_none() {
            writeln!(out, "{what} {name} is valid")?;
            continue;
        }
        if !finish(disk, path, &finding, repair, index + 1 == count, out)? {
            return Ok(false);
        }
    }
    writeln!(out, "All AOF files are valid")?;
    Ok(true)
}

/// The files that `path` stands for, and what each is.
fn parts(disk: &dyn Disk, path: &Path, out: &mut dyn Write) -> io::Result<Vec<(PathBuf, &'static str)>> {
    if path.extension().is_none_or(|extension| extension != "manifest") {
        return Ok(vec![(path.to_owned(), "AOF")]);
    }
    let mut text = Vec::new();
    disk.open(path)?.read_to_end(&mut text)?;
    let manifest = Manifest::parse(&text).map_err(io::Error::other)?;
    writeln!(out, "Start checking Multi Part AOF")?;
    let of = |name: &str| directory_of(path).join(name);
    let base = manifest.base.iter().map(|part| (of(&part.name), "BASE AOF"));
    Ok(base.chain(manifest.incremental.iter().map(|part| (of(&part.name), "INCR AOF"))).collect())
}

fn look(disk: &dyn Disk, path: &Path, repair: Repair, options: &Options) -> io::Result<Finding> {
    let told = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let bytes = disk.len(path).map_err(told)?.unwrap_or(0);
    let mut reader = Reader::new(disk.open(path).map_err(told)?, 0);
    let head = reader.peek(6)?;
    if head.starts_with(b"REDIS") || head.starts_with(b"VALKEY") {
        let mut source = reader.into_source();
        match load(&mut source, Some(bytes), None, options, &Progress::default()) {
            Ok(loaded) => {
                reader = Reader::new(Box::new(Cursor::new(loaded.rest).chain(source)), loaded.end);
            }
            Err(fault) => {
                let wrong = Some(format!("RDB preamble, at offset {}: {}", fault.offset, fault.what));
                return Ok(Finding { whole: 0, bytes, wrong });
            }
        }
    }
    let (mut reader, mut batch) = (reader.until(repair.until_s), Batch::new());
    let wrong = loop {
        match reader.next(&mut batch) {
            Ok(Ok(_)) => {}
            Ok(Err(End::Whole)) => break None,
            Ok(Err(End::Cut)) => break Some("Reached the end before the end of a request".to_owned()),
            Ok(Err(End::CutTransaction)) => break Some("Reached EOF before reading EXEC for MULTI".to_owned()),
            Err(error) => break Some(error.to_string()),
        }
    };
    Ok(Finding { whole: reader.offset(), bytes, wrong })
}

/// Does what was asked for about a file that is not valid, or goes on too long; `true` when it is in order then.
fn finish(
    disk: &dyn Disk,
    path: &Path,
    finding: &Finding,
    repair: Repair,
    last: bool,
    out: &mut dyn Write,
) -> io::Result<bool> {
    let name = path.display();
    let late = finding.wrong.is_none();
    if !late && !repair.fix {
        writeln!(out, "AOF {name} is not valid. Use the --fix option to try fixing it.")?;
        return Ok(false);
    }
    if !last {
        writeln!(out, "AOF {name} is not the last file, and is left as it is: what follows it would not fit any more")?;
        return Ok(false);
    }
    if finding.whole == 0 {
        let what = if late { "is later than the time from its beginning on" } else { "has nothing that is whole" };
        writeln!(out, "AOF {name} {what}: it is left as it is")?;
        return Ok(false);
    }
    let mut file = disk.append(path)?;
    file.truncate(finding.whole)?;
    file.sync()?;
    writeln!(out, "Successfully truncated AOF {name} from {} to {} bytes", finding.bytes, finding.whole)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::persistence::disk::RealDisk;
    use crate::persistence::rdb::value::Limits;
    use crate::util::clock::UnixMs;
    use crate::value::list::Fill;
    use crate::value::{hash, set, sorted_set};

    fn options() -> Options {
        Options {
            limits: Limits {
                list: Fill::new(-2),
                hash: hash::Limits { entries: 512, value_bytes: 64 },
                set: set::Limits { intset: 512, listpack: 128, value: 64 },
                sorted_set: sorted_set::Limits { entries: 128, value_bytes: 64 },
            },
            now: UnixMs(0),
            keep_expired: true,
            replace: false,
            threads: 1,
            checksum: true,
            any_version: false,
            key_delay_us: 0,
        }
    }

    fn report(path: &Path, repair: Repair) -> (bool, String) {
        let mut out = Vec::new();
        let good = check(&RealDisk::default(), path, repair, &options(), &mut out).expect("a report");
        (good, String::from_utf8(out).expect("text"))
    }

    #[test]
    fn the_end_is_cut_off_when_that_is_asked_for() -> io::Result<()> {
        let path = std::env::temp_dir().join(format!("larder-check-{}.aof", std::process::id()));
        let request = "*1\r\n$4\r\nPING\r\n";
        let text = format!("#TS:5\r\n{request}#TS:9\r\n{request}*1\r\n$5\r\nMULTI\r\n{request}");
        std::fs::write(&path, &text)?;
        let whole = 2 * (7 + request.len());
        let (good, shown) = report(&path, Repair::default());
        assert!(!good && shown.contains("--fix") && shown.contains(&format!("ok_up_to={whole}")), "{shown}");
        assert_eq!(std::fs::read(&path)?.len(), text.len());
        assert!(report(&path, Repair { fix: true, until_s: None }).0);
        assert_eq!(std::fs::read(&path)?.len(), whole);
        assert!(report(&path, Repair::default()).0);
        assert!(report(&path, Repair { fix: false, until_s: Some(6) }).0);
        assert_eq!(std::fs::read(&path)?.len(), whole / 2);
        assert!(!report(&path, Repair { fix: false, until_s: Some(1) }).0, "nothing would be left");
        std::fs::remove_file(&path)
    }
}
