//! Reading a log: its requests, in batches that end with a whole unit, and where and how it ends.
//!
//! A unit is a request, or MULTI, requests and EXEC; lines that begin with `#` stand between requests. Invariants: a unit is
//! yielded whole or not at all; what is taken for a missing end is one, anything else is an error that names its offset;
//! memory grows with the bytes that are there. Must not know: what requests do.
//!
//! A power cut leaves a file that ends inside a unit, or with NUL bytes, or with a hole of them up to the next block of the disk:
//! the block that was half full at the last sync was not written again, later ones were. Such a hole begins where a write
//! ended, which is where a unit ends, so that it is never taken for an argument; what lies behind it was never synced.

use crate::protocol::batch::Batch;
use std::fmt;
use std::io::{self, Read};

/// What a power cut leaves of a block of the disk that was not written again: NUL bytes up to a multiple of this.
const BLOCK_OF_DISK: u64 = 512;

/// Requests of a batch, about.
const BATCH: usize = 512;

/// Bytes read at once.
const BLOCK: usize = 256 * 1024;

/// The longest line: that of a length, or a remark.
const LINE_MAX: usize = 1024;

/// The longest argument, in bytes; a batch refers to less than 4 GiB.
const ARG_MAX: usize = 1 << 31;

/// Arguments of a request at most.
const ARGS_MAX: usize = 1 << 30;

/// What is wrong with a log, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Malformed {
    /// Bytes before it in the file.
    pub offset: u64,
    /// What.
    pub what: &'static str,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at offset {}", self.what, self.offset)
    }
}

/// Why reading stops before the end.
#[derive(Debug)]
pub enum ReadError {
    /// The system could not read.
    Io(io::Error),
    /// The bytes are no log.
    Malformed(Malformed),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> ReadError {
        ReadError::Io(error)
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadError::Io(error) => write!(f, "{error}"),
            ReadError::Malformed(malformed) => write!(f, "{malformed}"),
        }
    }
}

/// How a log ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// With a whole unit.
    Whole,
    /// Inside a request, or with NUL bytes.
    Cut,
    /// Inside a transaction.
    CutTransaction,
}

/// Reads a file.
pub struct Reader {
    source: Box<dyn Read + Send>,
    buffer: Vec<u8>,
    /// Bytes of the buffer that are done with.
    done: usize,
    /// Bytes of the file before the buffer.
    base: u64,
    /// Nothing more comes from the source.
    ended: bool,
    /// No unit that begins with a later time stamp is read, in seconds.
    until_s: Option<i64>,
}

/// What the next bytes are.
enum Found {
    /// A request or a remark, and the place behind it.
    Request(usize, Word),
    /// More bytes are needed to tell.
    More,
}

/// What a request is to its reader.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Word {
    Multi,
    Exec,
    Other,
    Remark(Option<i64>),
}

/// A range of the buffer.
type Range = (usize, usize);

impl Reader {
    /// Reads from `source`, of which `offset` bytes have been read before.
    pub fn new(source: Box<dyn Read + Send>, offset: u64) -> Reader {
        Reader { source, buffer: Vec::new(), done: 0, base: offset, ended: false, until_s: None }
    }

    /// Reads only what was done before a time stamp later than `until_s`.
    #[must_use]
    pub fn until(self, until_s: Option<i64>) -> Reader {
        Reader { until_s, ..self }
    }

    /// Bytes of the file up to the end of the last whole unit that was yielded.
    pub fn offset(&self) -> u64 {
        self.base + self.done as u64
    }

    /// The next bytes, if as many are there: to see what kind of file it is. Yields nothing.
    pub fn peek(&mut self, count: usize) -> io::Result<&[u8]> {
        while !self.ended && self.buffer.len() - self.done < count {
            self.fill()?;
        }
        Ok(&self.buffer[self.done..self.buffer.len().min(self.done + count)])
    }

    /// What is left of the source, from the beginning of what is not yielded.
    pub fn into_source(self) -> impl Read + Send {
        let rest = self.buffer.get(self.done..).unwrap_or_default().to_vec();
        io::Cursor::new(rest).chain(self.source)
    }

    /// The next whole units, in `batch`, over the bytes that are returned with it; at the end, how the log ends.
    pub fn next<'r>(&'r mut self, batch: &mut Batch) -> Result<Result<&'r [u8], End>, ReadError> {
        loop {
            batch.clear();
            let from = self.done;
            let (to, end) = self.gather(batch)?;
            if to > from {
                self.done = to;
                return Ok(Ok(&self.buffer));
            }
            if let Some(end) = end {
                return Ok(Err(end));
            }
            self.fill()?;
        }
    }

    /// Puts whole units into `batch`, up to the place that is returned; and how the log ends, if nothing can follow.
    fn gather(&mut self, batch: &mut Batch) -> Result<(usize, Option<End>), ReadError> {
        let (mut at, mut whole, mut inside) = (self.done, self.done, false);
        let mut args: Vec<Range> = Vec::new();
        let (mut units, mut requests) = (0, 0);
        while units < BATCH {
            let found = match parse(&self.buffer, at, &mut args) {
                Ok(found) => found,
                Err((place, what)) => {
                    batch.truncate(requests);
                    return self.fault(place, what, whole, inside);
                }
            };
            let Found::Request(next, word) = found else {
                batch.truncate(requests);
                let end = if at == self.buffer.len() && !inside { End::Whole } else { cut(inside) };
                return Ok((whole, self.ended.then_some(end)));
            };
            let misplaced = match word {
                Word::Multi if inside => Some("MULTI inside a transaction"),
                Word::Exec if !inside => Some("EXEC without MULTI"),
                _ => None,
            };
            if let Some(what) = misplaced {
                batch.truncate(requests);
                // The units before it first, however much was read at once; then this is seen again.
                return if whole > self.done { Ok((whole, None)) } else { Err(self.malformed(at, what)) };
            }
            match word {
                Word::Remark(stamp)
                    if stamp.zip(self.until_s).is_some_and(|(stamp, until)| stamp > until) && !inside =>
                {
                    return Ok((whole, Some(End::Whole)));
                }
                Word::Remark(_) => {}
                Word::Multi => inside = true,
                Word::Exec => inside = false,
                Word::Other => batch.add(&args),
            }
            at = next;
            if !inside {
                (whole, units, requests) = (at, units + 1, batch.len());
            }
        }
        Ok((whole, None))
    }

    fn malformed(&self, place: usize, what: &'static str) -> ReadError {
        ReadError::Malformed(Malformed { offset: self.base + place as u64, what })
    }

    /// What to make of a byte at `place` that does not belong there: a missing end, if NUL bytes follow up to the end or to the next
    /// block of the disk, see the head of this file.
    fn fault(
        &mut self,
        place: usize,
        what: &'static str,
        whole: usize,
        inside: bool,
    ) -> Result<(usize, Option<End>), ReadError> {
        if whole > self.done {
            return Ok((whole, None)); // the units before it first; the buffer is as it was when this is seen again
        }
        let error = self.malformed(place, what);
        let mut nuls = 0;
        loop {
            let run = self.buffer[place..].iter().take_while(|byte| **byte == 0).count();
            nuls += run;
            if place + run < self.buffer.len() {
                let block_begins = (self.base + (place + nuls) as u64).is_multiple_of(BLOCK_OF_DISK);
                return if nuls > 0 && block_begins { Ok((whole, Some(cut(inside)))) } else { Err(error) };
            }
            if self.ended {
                return Ok((whole, Some(cut(inside))));
            }
            // What has been looked at is not needed again, whatever follows.
            self.buffer.truncate(place);
            self.fill_behind()?;
        }
    }

    /// Reads more, and forgets what is done with.
    fn fill(&mut self) -> io::Result<()> {
        self.buffer.drain(..self.done);
        self.base += self.done as u64;
        self.done = 0;
        self.fill_behind()
    }

    fn fill_behind(&mut self) -> io::Result<()> {
        let before = self.buffer.len();
        // As much again as is there, so that a long request is not looked at too often.
        self.buffer.resize(before + before.clamp(BLOCK, 64 * BLOCK), 0);
        let count = loop {
            match self.source.read(&mut self.buffer[before..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        self.buffer.truncate(before + *count.as_ref().unwrap_or(&0));
        self.ended |= count? == 0;
        Ok(())
    }
}

fn cut(inside: bool) -> End {
    if inside { End::CutTransaction } else { End::Cut }
}

/// What is wrong, and where in the buffer.
type Fault = (usize, &'static str);

/// Reads one request or remark at `at`; its arguments are put into `args`.
fn parse(buffer: &[u8], at: usize, args: &mut Vec<Range>) -> Result<Found, Fault> {
    match buffer.get(at) {
        None => return Ok(Found::More),
        Some(b'#') => return remark(buffer, at),
        Some(b'*') => {}
        Some(_) => return Err((at, "expected a request ('*')")),
    }
    args.clear();
    let star = at;
    let Some((count, mut at)) = number(buffer, at + 1)? else { return Ok(Found::More) };
    if count == 0 || count > ARGS_MAX {
        return Err((star, "a request has at least one argument, and not this many"));
    }
    for _ in 0..count {
        match buffer.get(at) {
            None => return Ok(Found::More),
            Some(b'$') => {}
            Some(_) => return Err((at, "expected an argument ('$')")),
        }
        let Some((len, start)) = number(buffer, at + 1)? else { return Ok(Found::More) };
        if len > ARG_MAX {
            return Err((at, "an argument is too long"));
        }
        let end = start + len;
        for (place, wanted) in [(end, b'\r'), (end + 1, b'\n')] {
            match buffer.get(place) {
                None => return Ok(Found::More),
                Some(byte) if *byte == wanted => {}
                Some(_) => return Err((place, "expected the end of an argument")),
            }
        }
        args.push((start, len));
        at = end + 2;
    }
    let name = args.first().map_or(&[][..], |(start, len)| &buffer[*start..start + len]);
    let word = match (args.len(), name) {
        (1, name) if name.eq_ignore_ascii_case(b"multi") => Word::Multi,
        (1, name) if name.eq_ignore_ascii_case(b"exec") => Word::Exec,
        _ => Word::Other,
    };
    Ok(Found::Request(at, word))
}

/// A decimal number and the place behind its line end; `None` when more is needed.
fn number(buffer: &[u8], at: usize) -> Result<Option<(usize, usize)>, Fault> {
    let mut value = 0_usize;
    let mut place = at;
    loop {
        match buffer.get(place) {
            None => return Ok(None),
            Some(digit @ b'0'..=b'9') => {
                value = value.saturating_mul(10).saturating_add(usize::from(digit - b'0'));
                place += 1;
            }
            Some(b'\r') if place > at => break,
            Some(_) => return Err((place, "expected a number")),
        }
        if place - at > 20 {
            return Err((at, "a number is too long"));
        }
    }
    match buffer.get(place + 1) {
        None => Ok(None),
        Some(b'\n') => Ok(Some((value, place + 2))),
        Some(_) => Err((place + 1, "expected the end of a line")),
    }
}

fn remark(buffer: &[u8], at: usize) -> Result<Found, Fault> {
    let text = &buffer[at..buffer.len().min(at + LINE_MAX)];
    let Some(end) = text.iter().position(|byte| matches!(byte, b'\n' | 0)) else {
        return if text.len() == LINE_MAX { Err((at, "a remark is too long")) } else { Ok(Found::More) };
    };
    if text[end] == 0 {
        return Err((at + end, "a remark with a NUL byte")); // whether its end has been read or not
    }
    let stamp = text[..end].trim_ascii_end().strip_prefix(b"#TS:");
    let stamp = stamp.and_then(|digits| str::from_utf8(digits).ok()).and_then(|digits| digits.parse().ok());
    Ok(Found::Request(at + end + 1, Word::Remark(stamp)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::batch::encode;

    /// A source that hands out a few bytes at a time.
    struct Drip(Vec<u8>, usize, usize);

    impl Read for Drip {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let count = self.2.min(out.len()).min(self.0.len() - self.1);
            out[..count].copy_from_slice(&self.0[self.1..self.1 + count]);
            self.1 += count;
            Ok(count)
        }
    }

    fn read(bytes: &[u8], step: usize) -> (Vec<String>, Result<End, String>, u64) {
        let mut reader = Reader::new(Box::new(Drip(bytes.to_vec(), 0, step)), 0);
        let (mut batch, mut lines) = (Batch::new(), Vec::new());
        let end = loop {
            match reader.next(&mut batch) {
                Ok(Ok(buffer)) => lines.extend(batch.requests(buffer).map(|request| {
                    let words: Vec<_> = request.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect();
                    words.join(" ")
                })),
                Ok(Err(end)) => break Ok(end),
                Err(error) => break Err(error.to_string()),
            }
        };
        (lines, end, reader.offset())
    }

    fn request(line: &str) -> Vec<u8> {
        let mut out = Vec::new();
        encode(line.split(' ').map(str::as_bytes).collect::<Vec<_>>().into_iter(), &mut out);
        out
    }

    /// A log, and the number of requests and of bytes at the end of each of its units.
    fn mixed() -> (Vec<u8>, Vec<(usize, usize)>) {
        let units: [&[&str]; 6] = [
            &["SELECT 0"],
            &["SET a 1"],
            &["MULTI", "SELECT 3", "SET b 2", "SET c 3", "EXEC"],
            &["#TS:1700000000"],
            &["RPUSH l x y z"],
            &["multi", "exec"],
        ];
        let (mut bytes, mut ends, mut count) = (Vec::new(), vec![(0, 0)], 0);
        for unit in units {
            for line in unit {
                if line.starts_with('#') {
                    bytes.extend_from_slice(format!("{line}\r\n").as_bytes());
                } else {
                    bytes.extend_from_slice(&request(line));
                    count += usize::from(!["multi", "exec"].contains(&line.to_ascii_lowercase().as_str()));
                }
            }
            ends.push((count, bytes.len()));
        }
        (bytes, ends)
    }

    #[test]
    fn every_prefix_yields_its_whole_units() {
        let (bytes, ends) = mixed();
        let all = read(&bytes, 1 << 20).0;
        for len in 0..=bytes.len() {
            let (count, whole) = *ends.iter().rev().find(|(_, end)| *end <= len).expect("the empty log");
            for step in [1, 7, 1 << 20] {
                let (lines, end, offset) = read(&bytes[..len], step);
                assert_eq!((lines.as_slice(), offset), (&all[..count], whole as u64), "{len} bytes in steps of {step}");
                assert_eq!(end == Ok(End::Whole), len == whole, "{len}: {end:?}");
                assert!(end.is_ok());
            }
        }
    }

    #[test]
    fn units_before_a_misplaced_word_are_read_however_much_is_read_at_once() {
        for last in [&["MULTI", "SET b 2", "MULTI"][..], &["EXEC"]] {
            let bytes: Vec<u8> = ["SELECT 0", "SET a 1"].iter().chain(last).flat_map(|line| request(line)).collect();
            for step in [1, 7, 1 << 20] {
                let (lines, end, offset) = read(&bytes, step);
                assert_eq!((lines.len(), offset), (2, 50), "in steps of {step}");
                assert!(end.is_err());
            }
        }
    }

    #[test]
    fn a_remark_with_a_nul_byte_is_none_however_much_is_read_at_once() {
        let bytes = [&request("SET a 1")[..], b"#\0\0#TS:1\r\n", &request("SET a 2")].concat();
        for step in [1, 7, 1 << 20] {
            assert_eq!(read(&bytes, step), (vec!["SET a 1".to_owned()], read(&bytes, 1).1, 27), "in steps of {step}");
        }
        assert!(read(&bytes, 1).1.is_err());
    }

    #[test]
    fn a_tail_of_nul_bytes_is_a_missing_end() {
        let (bytes, ends) = mixed();
        for len in 0..=bytes.len() {
            let (count, whole) = *ends.iter().rev().find(|(_, end)| *end <= len).expect("the empty log");
            for zeros in [1, 3, 4096, 3 * BLOCK] {
                let tail = [&bytes[..len], &vec![0; zeros]].concat();
                let (lines, end, offset) = read(&tail, 1 << 20);
                assert!(end.is_ok_and(|end| end != End::Whole), "{len} bytes and {zeros} zeros");
                assert_eq!((lines.len(), offset), (count, whole as u64), "{len} bytes and {zeros} zeros");
            }
        }
        let hole = [&bytes[..], &vec![0; 1024 - bytes.len()], &bytes].concat();
        assert_eq!(read(&hole, 100).1, Ok(End::Cut), "up to a block of the disk");
        let not_the_end = [&bytes[..], &[0; 100], &bytes].concat();
        let (_, end, offset) = read(&not_the_end, 1 << 20);
        assert_eq!(end, Err(format!("expected a request ('*') at offset {}", bytes.len())));
        assert_eq!(offset, bytes.len() as u64);
    }

    #[test]
    fn what_is_no_log_is_named_with_its_offset() {
        for (text, error) in [
            ("SET a 1\r\n", "expected a request ('*') at offset 0"),
            ("*1\r\n$1\r\nA\r\n*x\r\n", "expected a number at offset 12"),
            ("*0\r\n", "a request has at least one argument, and not this many at offset 0"),
            ("*1\n$1\r\nA\r\n", "expected a number at offset 2"),
            ("*1\r\n+1\r\n", "expected an argument ('$') at offset 4"),
            ("*1\r\n$1\r\nAB\r\n", "expected the end of an argument at offset 9"),
            ("*1\r\n$99999999999999999999999\r\n", "a number is too long at offset 5"),
            ("*1\r\n$4294967295\r\n", "an argument is too long at offset 4"),
            ("*1\r\n$4\r\nEXEC\r\n", "EXEC without MULTI at offset 0"),
            ("*1\r\n$5\r\nMULTI\r\n*1\r\n$5\r\nMULTI\r\n", "MULTI inside a transaction at offset 15"),
        ] {
            assert_eq!(read(text.as_bytes(), 3).1, Err(error.to_owned()), "{text:?}");
        }
    }

    #[test]
    fn flipped_bits_neither_crash_nor_invent_an_end() {
        let (bytes, _) = mixed();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << bit;
                let (lines, _, offset) = read(&flipped, 1 << 20);
                assert!(offset <= flipped.len() as u64 && lines.len() <= 8);
            }
        }
    }

    #[test]
    fn reading_stops_at_a_later_time() {
        let bytes = [&b"#TS:5\r\n"[..], &request("A"), b"#TS:9\r\n", &request("B")].concat();
        let mut reader = Reader::new(Box::new(io::Cursor::new(bytes)), 0).until(Some(7));
        let mut batch = Batch::new();
        assert!(reader.next(&mut batch).is_ok_and(|units| units.is_ok()) && batch.len() == 1);
        assert!(matches!(reader.next(&mut batch), Ok(Err(End::Whole))));
        assert_eq!(reader.offset(), 7 + request("A").len() as u64);
    }

    #[test]
    fn many_units_come_in_batches() {
        let bytes = request("SET a 1").repeat(5000);
        let (lines, end, _) = read(&bytes, 1000);
        assert_eq!((lines.len(), end), (5000, Ok(End::Whole)));
    }
}
