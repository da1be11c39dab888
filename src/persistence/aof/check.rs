//! What `larder check-aof` says of the files of a log, and does about their ends.
//!
//! Invariant: nothing is changed unless that is asked for, and then only the end of the last file is cut off. Must not know: where
//! the report goes, what requests do. Source: the lines that valkey-check-aof prints, which scripts look for.

use super::manifest::Manifest;
use super::reader::{End, Reader};
use crate::persistence::disk::{Disk, directory_of};
use crate::persistence::rdb::check::Check;
use crate::persistence::rdb::load::Options;
use crate::protocol::batch::Batch;
use std::io::{self, BufRead, BufReader, Cursor, Read, Write};
use std::path::{Path, PathBuf};

/// Bytes of a file that show whether it is a manifest: its remarks, and the first word behind them.
const HEAD_BYTES: u64 = 64 * 1024;

/// What is to be done beside looking.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Repair {
    /// Cut off what is not whole at the end.
    pub fix: bool,
    /// Cut off what was done after this time, in seconds since the epoch, as far as the log notes the time.
    pub until_s: Option<i64>,
}

/// A file to look at.
struct Part {
    path: PathBuf,
    /// What the report calls it.
    name: String,
    /// What it is.
    what: &'static str,
    /// Whether it may begin with a snapshot.
    first: bool,
    /// No file follows it.
    last: bool,
}

/// What one file is like.
struct Finding {
    /// Bytes that are whole, and not too late.
    whole: u64,
    /// Bytes of the file.
    bytes: u64,
    /// The line of the first one that is not whole, from 1 on.
    line: u64,
    /// What is wrong behind these; `None` for nothing: then the rest is too late.
    wrong: Option<String>,
}

/// Reports on a file of a log, or, given its manifest, on all of them; `true` when they are in order, or are now.
///
/// # Errors
/// Those of the files, of the manifest, and of `out`.
pub fn check(disk: &dyn Disk, path: &Path, repair: Repair, options: &Options, out: &mut dyn Write) -> io::Result<bool> {
    if !is_manifest(disk, path)? {
        writeln!(out, "Start checking Old-Style AOF")?;
        let name = path.display().to_string();
        let part = Part { path: path.to_owned(), name, what: "AOF", first: true, last: true };
        return check_part(disk, &part, repair, options, out);
    }
    writeln!(out, "Start checking Multi Part AOF")?;
    let parts = parts(disk, path)?;
    for (index, part) in parts.iter().enumerate() {
        if part.first {
            let format = if is_snapshot(disk, &part.path)? { "RDB" } else { "RESP" };
            writeln!(out, "Start to check BASE AOF ({format} format).")?;
        } else if index == 0 || parts[index - 1].first {
            writeln!(out, "Start to check INCR files.")?;
        }
        if !check_part(disk, part, repair, options, out)? {
            return Ok(false);
        }
    }
    writeln!(out, "All AOF files and manifest are valid")?;
    Ok(true)
}

/// Whether the first line that is no remark is that of a manifest.
fn is_manifest(disk: &dyn Disk, path: &Path) -> io::Result<bool> {
    let mut head = Vec::new();
    open(disk, path)?.take(HEAD_BYTES).read_to_end(&mut head)?;
    let first = head.split(|byte| *byte == b'\n').find(|line| !line.starts_with(b"#"));
    Ok(first.is_some_and(|line| line.starts_with(b"file")))
}

fn is_snapshot(disk: &dyn Disk, path: &Path) -> io::Result<bool> {
    let mut head = Vec::new();
    open(disk, path)?.take(6).read_to_end(&mut head)?;
    Ok(head.starts_with(b"REDIS") || head.starts_with(b"VALKEY"))
}

fn open(disk: &dyn Disk, path: &Path) -> io::Result<Box<dyn Read + Send>> {
    let told = |error: io::Error| {
        io::Error::new(error.kind(), format!("Cannot open file {}: {error}, aborting...", path.display()))
    };
    disk.open(path).map_err(told)
}

/// The files that a manifest names.
fn parts(disk: &dyn Disk, path: &Path) -> io::Result<Vec<Part>> {
    let mut text = Vec::new();
    open(disk, path)?.read_to_end(&mut text)?;
    let manifest = Manifest::parse(&text).map_err(io::Error::other)?;
    let count = manifest.parts().count();
    let first = manifest.base.is_some();
    let parts = manifest.parts().enumerate().map(|(index, part)| {
        let first = first && index == 0;
        Part {
            path: directory_of(path).join(&part.name),
            name: part.name.clone(),
            what: if first { "BASE AOF" } else { "INCR AOF" },
            first,
            last: index + 1 == count,
        }
    });
    Ok(parts.collect())
}

/// Reports on one file, and does what was asked for about its end; `true` when it is in order then.
fn check_part(
    disk: &dyn Disk,
    part: &Part,
    repair: Repair,
    options: &Options,
    out: &mut dyn Write,
) -> io::Result<bool> {
    let Part { name, what, .. } = part;
    let Some(finding) = look(disk, part, repair, options, out)? else {
        writeln!(out, "RDB preamble of AOF file is not sane, aborting.")?;
        return Ok(false);
    };
    let Finding { whole, bytes, line, wrong } = &finding;
    if *bytes == 0 {
        writeln!(out, "{what} {name} is empty")?;
        return Ok(true);
    }
    if let (None, Some(until_s)) = (wrong, repair.until_s) {
        return if whole < bytes {
            cut_to_time(disk, part, &finding, until_s, out)
        } else {
            writeln!(out, "Truncate nothing in AOF {name} to timestamp {until_s}")?;
            writeln!(out, "{what} {name} is valid")?;
            Ok(true)
        };
    }
    if let Some(wrong) = wrong {
        writeln!(out, "{wrong}")?;
    }
    let diff = bytes - whole;
    writeln!(out, "AOF analyzed: filename={name}, size={bytes}, ok_up_to={whole}, ok_up_to_line={line}, diff={diff}")?;
    if wrong.is_none() {
        writeln!(out, "{what} {name} is valid")?;
        return Ok(true);
    }
    fix(disk, part, &finding, repair, out)
}

/// Looks at a file; `None` when the snapshot that it begins with is damaged, which the report says then.
fn look(
    disk: &dyn Disk,
    part: &Part,
    repair: Repair,
    options: &Options,
    out: &mut dyn Write,
) -> io::Result<Option<Finding>> {
    let bytes = disk.len(&part.path)?.unwrap_or(0);
    let mut reader = Reader::new(open(disk, &part.path)?, 0);
    if part.first && is_snapshot(disk, &part.path)? {
        let mut source = reader.into_source();
        let check = Check { name: &part.path, options };
        let Some(loaded) = check.report(&mut source, Some(bytes), out)? else { return Ok(None) };
        writeln!(out, "RDB preamble is OK, proceeding with AOF tail...")?;
        reader = Reader::new(Box::new(Cursor::new(loaded.rest).chain(source)), loaded.end);
    }
    let (preamble, mut reader, mut batch) = (reader.offset(), reader.until(repair.until_s), Batch::new());
    let wrong = loop {
        match reader.next(&mut batch) {
            Ok(Ok(_)) => {}
            Ok(Err(End::Whole)) => break None,
            Ok(Err(End::Cut)) => break Some("Reached the end before the end of a request".to_owned()),
            Ok(Err(End::CutTransaction)) => break Some("Reached EOF before reading EXEC for MULTI".to_owned()),
            Err(error) => break Some(error.to_string()),
        }
    };
    let whole = reader.offset();
    let mut lines = Lines::new(open(disk, &part.path)?, preamble)?;
    let found = lines.pass_over(wrong.is_some().then_some(whole))?;
    let wrong = wrong.map(|wrong| match found {
        Some(found) => found,
        None => format!("0x{whole:>16x}: {wrong}"),
    });
    Ok(Some(Finding { whole, bytes, line: lines.line, wrong }))
}

/// Cuts off what was done after a time.
fn cut_to_time(disk: &dyn Disk, part: &Part, finding: &Finding, until_s: i64, out: &mut dyn Write) -> io::Result<bool> {
    let (name, whole) = (&part.name, finding.whole);
    if whole == 0 {
        writeln!(out, "AOF {name} has nothing before timestamp {until_s}, aborting...")?;
        return Ok(false);
    }
    if !part.last {
        let why = "because it is not the last file";
        writeln!(out, "Failed to truncate AOF {name} to timestamp {until_s} to offset {whole} {why}.")?;
        writeln!(out, "To go back so far, take the files behind it out of the manifest and away, then try again.")?;
        return Ok(false);
    }
    cut_off(disk, part, whole)?;
    writeln!(out, "Successfully truncated AOF {name} to timestamp {until_s}")?;
    Ok(true)
}

/// Cuts off what is not whole, if that was asked for.
fn fix(disk: &dyn Disk, part: &Part, finding: &Finding, repair: Repair, out: &mut dyn Write) -> io::Result<bool> {
    let (name, Finding { whole, bytes, .. }) = (&part.name, finding);
    if !repair.fix {
        writeln!(out, "AOF {name} is not valid. Use the --fix option to try fixing it.")?;
        return Ok(false);
    }
    if !part.last {
        writeln!(out, "Failed to truncate AOF {name} because it is not the last file")?;
        return Ok(false);
    }
    if *whole == 0 {
        writeln!(out, "AOF {name} has nothing that is whole: it is left as it is")?;
        return Ok(false);
    }
    let diff = bytes - whole;
    writeln!(out, "This will shrink the AOF {name} from {bytes} bytes, with {diff} bytes, to {whole} bytes")?;
    cut_off(disk, part, *whole)?;
    writeln!(out, "Successfully truncated AOF {name}")?;
    Ok(true)
}

fn cut_off(disk: &dyn Disk, part: &Part, len: u64) -> io::Result<()> {
    let mut file = disk.append(&part.path)?;
    file.truncate(len)?;
    file.sync()
}

/// Counts the lines of a file, and says what is wrong with the first that is.
struct Lines {
    source: BufReader<Box<dyn Read + Send>>,
    /// Bytes before the place.
    at: u64,
    /// The line at the place, from 1 on.
    line: u64,
}

/// What is wrong with a line; `None` for a file that ends there.
type Wrong = Option<String>;

impl Lines {
    /// Behind the `preamble` bytes of a snapshot.
    fn new(source: Box<dyn Read + Send>, preamble: u64) -> io::Result<Lines> {
        let mut source = BufReader::new(source);
        io::copy(&mut (&mut source).take(preamble), &mut io::sink())?;
        Ok(Lines { source, at: preamble, line: 1 })
    }

    /// Goes to the end, or to the first line that is wrong, and says what is wrong with it. `whole`: so many bytes are known to be right.
    fn pass_over(&mut self, whole: Option<u64>) -> io::Result<Wrong> {
        loop {
            let (start, first) = (self.at, self.source.fill_buf()?.first().copied());
            let passed = match first {
                None => return Ok(None),
                Some(b'#') => self.text().map(|_| Ok(()))?,
                Some(b'*') => self.request()?,
                Some(_) => Err(Some("AOF format error: expected '*' or '#'".to_owned())),
            };
            match passed {
                Ok(()) => {}
                Err(wrong) if whole.is_some() => return Ok(wrong.map(|wrong| format!("0x{start:>16x}: {wrong}"))),
                Err(_) => return Ok(None), // the reader has found it right, or too late
            }
        }
    }

    /// The text up to the end of the line.
    fn text(&mut self) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        self.at += (&mut self.source).take(HEAD_BYTES).read_until(b'\n', &mut text)? as u64;
        self.line += u64::from(text.ends_with(b"\n"));
        Ok(text)
    }

    fn request(&mut self) -> io::Result<Result<(), Wrong>> {
        let count = match self.number(b'*')? {
            Ok(count) => count,
            Err(wrong) => return Ok(Err(wrong)),
        };
        for _ in 0..count {
            let len = match self.number(b'$')? {
                Ok(len) => len,
                Err(wrong) => return Ok(Err(wrong)),
            };
            let read = io::copy(&mut (&mut self.source).take(len), &mut io::sink())?;
            let mut end = Vec::new();
            (&mut self.source).take(2).read_to_end(&mut end)?;
            self.at += read + end.len() as u64;
            let all = read + end.len() as u64;
            match end[..] {
                [b'\r', b'\n'] => self.line += 1,
                [first, second] => return Ok(Err(Some(format!("Expected \\r\\n, got: {first:02x}{second:02x}")))),
                _ => {
                    return Ok(Err(Some(format!("Expected to read {} bytes, got {all} bytes", len.saturating_add(2)))));
                }
            }
        }
        Ok(Ok(()))
    }

    /// The number of a line that begins with `prefix`.
    fn number(&mut self, prefix: u8) -> io::Result<Result<u64, Wrong>> {
        let (line, text) = (self.line, self.text()?);
        self.line = line;
        let Some((first, rest)) = text.split_first() else { return Ok(Err(None)) };
        if *first != prefix {
            let (wanted, found) = (char::from(prefix), first.escape_ascii());
            return Ok(Err(Some(format!("Expected prefix '{wanted}', got: '{found}'"))));
        }
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, end) = rest.split_at(digits);
        if end != b"\r\n" {
            let [first, second] = [0, 1].map(|at| end.get(at).copied().unwrap_or(0));
            return Ok(Err(Some(format!("Expected \\r\\n, got: {first:02x}{second:02x}"))));
        }
        self.line += 1;
        let number = str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
        Ok(number.ok_or_else(|| Some("Expected a number".to_owned())))
    }
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
