//! The request parser: bytes of a connection to argument ranges.
//!
//! Invariant: whatever way the bytes are split into reads, the same requests come out, in time and memory linear in
//! the bytes that arrived: a declared count or length reserves nothing, and no byte is scanned twice.
//!
//! It must not know sockets, commands or keys. The order of its checks and its limits are Valkey 9.1's.

use bytes::Bytes;
use memchr::{memchr, memchr2};

use super::ProtocolError;
use super::batch::{ArgRange, Batch};
use super::inline;
use crate::util::number::parse_i64;

/// A bulk argument longer than this, whose bytes are not all here, is read into memory of its own (32 KiB).
pub const LARGE_ARG: usize = 32 * 1024;
/// The most requests of one batch, so that a long pipeline does not hold a worker.
pub const BATCH_REQUESTS: usize = 1024;
/// The most arguments of a request before the client has authenticated.
const UNAUTHENTICATED_ARGS: i64 = 10;
/// The longest argument before the client has authenticated, in bytes.
const UNAUTHENTICATED_BULK: i64 = 16 * 1024;
/// The most bytes one call looks at, so that offsets fit 32 bits and leave a value free for a mark.
const BUFFER_BYTES: usize = u32::MAX as usize - 1;
/// Argument lists longer than this are given back once their request is complete.
const KEPT_ARGS: usize = 64;

/// What a client may send.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The longest argument in bytes (`proto-max-bulk-len`), at least 1,000: shorter ones are not checked.
    pub max_bulk_len: u64,
    /// The most arguments of a request.
    pub max_args: i64,
    /// The longest inline request or header line in bytes.
    pub max_inline: usize,
    /// The most bytes an unfinished request may hold (`client-query-buffer-limit`).
    pub query_buffer_limit: u64,
    /// False until the client has authenticated where that is required: 10 arguments of 16,384 bytes, one request a batch.
    pub authenticated: bool,
}

impl Default for Limits {
    /// Valkey's defaults for a client that need not authenticate.
    fn default() -> Self {
        Self {
            max_bulk_len: 512 * 1024 * 1024,
            max_args: i64::from(i32::MAX),
            max_inline: 64 * 1024,
            query_buffer_limit: 1024 * 1024 * 1024,
            authenticated: true,
        }
    }
}

/// How far a call of [`Parser::parse`] came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub struct Progress {
    /// Bytes from the front of the buffer that complete requests took; the rest must lead the next buffer.
    pub consumed: usize,
    /// What the parser needs next.
    pub need: Need,
}

/// What the parser needs before it can go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Need {
    /// Nothing is unfinished: any next bytes begin a request.
    Nothing,
    /// A request is unfinished: the unconsumed bytes, followed by more.
    More,
    /// A large argument is unfinished: gather it in memory of its own and hand it to [`Parser::supply_large`].
    ///
    /// Its first bytes are those from `payload_at` to the end of the buffer; the bytes from `consumed` to
    /// `payload_at` must be kept, and what follows the argument on the connection is to be appended to them.
    Large {
        /// The length of the argument in bytes; CR LF follows and must be gathered with it.
        len: usize,
        /// The offset in this buffer where the argument begins.
        payload_at: usize,
    },
    /// The batch is full: run it, then parse the unconsumed bytes.
    Again,
    /// The unfinished request exceeds `query_buffer_limit`: close without a reply.
    Overflow,
    /// Run the batch, reply the error, close.
    Error(ProtocolError),
}

/// Where parsing of one array stands.
#[derive(Clone, Copy, Default, Debug)]
struct Cursor {
    /// Offset of the next byte to look at; relative to the request's first byte while it is unfinished.
    at: usize,
    /// Arguments still to come.
    left: usize,
    /// Length of the argument that begins at `at`, when its header has been read.
    bulk: Option<usize>,
    /// Bytes from `at` on that hold no line end.
    scanned: usize,
}

/// Why a request could not be completed.
enum Stop {
    More,
    Error(ProtocolError),
}

impl From<ProtocolError> for Stop {
    fn from(error: ProtocolError) -> Self {
        Self::Error(error)
    }
}

/// The state of one connection between reads.
#[derive(Default, Debug)]
pub struct Parser {
    cursor: Cursor,
    args: Vec<ArgRange>,
    owned: Vec<Bytes>,
    owned_bytes: u64,
}

impl Parser {
    /// A parser at the start of a request; allocates nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends every complete request of `buffer` to `batch`, at most [`BATCH_REQUESTS`] (one before authentication).
    ///
    /// `buffer` must begin with the bytes that the call before did not consume, and ranges in `batch` refer to it.
    /// Linear in the bytes that are new. After [`Need::Error`] and [`Need::Overflow`] the connection is over.
    pub fn parse(&mut self, buffer: &[u8], batch: &mut Batch, limits: &Limits) -> Progress {
        let buffer = buffer.get(..BUFFER_BYTES).unwrap_or(buffer);
        let room = if limits.authenticated { BATCH_REQUESTS } else { 1 };
        let mut consumed = 0;
        while consumed < buffer.len() || self.is_unfinished() {
            if batch.len() >= room {
                return Progress { consumed, need: Need::Again };
            }
            let step = if self.is_unfinished() {
                self.resume(buffer, batch, limits)
            } else if buffer[consumed] == b'*' {
                self.array(buffer, consumed, batch, limits)
            } else {
                self.inline(buffer, consumed, batch, limits)
            };
            match step {
                Ok(end) => consumed = end,
                Err(stop) => return Progress { consumed, need: self.need(&stop, consumed, buffer.len(), limits) },
            }
        }
        Progress { consumed, need: Need::Nothing }
    }

    /// Takes the large argument that [`Need::Large`] asked for: its bytes and the CR LF behind them.
    ///
    /// # Errors
    /// [`ProtocolError::InvalidCrlf`] when CR LF does not end it; the connection is over.
    pub fn supply_large(&mut self, mut payload: Bytes) -> Result<(), ProtocolError> {
        let Some(len) = self.cursor.bulk else { return Err(ProtocolError::InvalidCrlf) };
        if payload.len() != len + 2 || !payload.ends_with(b"\r\n") {
            return Err(ProtocolError::InvalidCrlf);
        }
        payload.truncate(len);
        self.args.push(ArgRange::owned(self.owned.len()));
        self.owned_bytes += len as u64;
        self.owned.push(payload);
        self.cursor.bulk = None;
        self.cursor.left -= 1;
        Ok(())
    }

    /// True while a request is unfinished whose header has been read.
    #[inline]
    #[must_use]
    pub fn is_unfinished(&self) -> bool {
        // The last argument may have been supplied, and the request not yet been handed on.
        self.cursor.left > 0 || !self.args.is_empty()
    }

    /// Memory in bytes that the unfinished request holds here, beside the unconsumed bytes that the caller keeps.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        let owned = usize::try_from(self.owned_bytes).unwrap_or(usize::MAX);
        owned + self.args.capacity() * size_of::<ArgRange>() + self.owned.capacity() * size_of::<Bytes>()
    }

    /// Parses the array at `start`; returns where it ends.
    #[inline]
    fn array(&mut self, buffer: &[u8], start: usize, batch: &mut Batch, limits: &Limits) -> Result<usize, Stop> {
        let mut cursor = Cursor { at: start, ..self.cursor };
        if let Err(stop) = cursor.array_header(buffer, limits) {
            self.cursor.scanned = cursor.scanned;
            return Err(stop);
        }
        self.cursor.scanned = 0;
        if cursor.left == 0 {
            return Ok(cursor.at);
        }
        let first = batch.args.len();
        match cursor.bulk_strings(buffer, &mut batch.args, limits) {
            Ok(()) => {
                batch.close_request(first);
                Ok(cursor.at)
            }
            Err(stop) => Err(self.suspend(cursor, stop, start, first, batch)),
        }
    }

    /// Keeps what is known of an unfinished request, relative to its first byte.
    #[cold]
    fn suspend(&mut self, mut cursor: Cursor, stop: Stop, start: usize, first: usize, batch: &mut Batch) -> Stop {
        cursor.at -= start;
        self.cursor = cursor;
        self.args.extend(batch.args.drain(first..).map(|arg| arg.moved_back(start)));
        stop
    }

    /// Goes on with the unfinished request, which begins at the front of the buffer; returns where it ends.
    #[cold]
    fn resume(&mut self, buffer: &[u8], batch: &mut Batch, limits: &Limits) -> Result<usize, Stop> {
        if self.cursor.at > buffer.len() {
            return Err(Stop::More); // the caller dropped unconsumed bytes: there is nothing to go on with
        }
        self.cursor.bulk_strings(buffer, &mut self.args, limits)?;
        batch.adopt(&mut self.args, &mut self.owned);
        self.args.shrink_to(KEPT_ARGS);
        self.owned.shrink_to(0);
        self.owned_bytes = 0;
        Ok(std::mem::take(&mut self.cursor).at)
    }

    /// Parses the inline request at `start`; returns where it ends.
    #[cold]
    fn inline(&mut self, buffer: &[u8], start: usize, batch: &mut Batch, limits: &Limits) -> Result<usize, Stop> {
        let from = start + std::mem::take(&mut self.cursor.scanned);
        // A NUL hides the line end behind it, as it does in Valkey: binary that reaches this port by mistake is then
        // refused by length, not run as commands.
        let found = buffer.get(from..).and_then(|rest| memchr2(b'\n', 0, rest)).map_or(buffer.len(), |at| from + at);
        if found - start > limits.max_inline
            || (buffer.get(found) == Some(&0) && buffer.len() - start > limits.max_inline)
        {
            return Err(ProtocolError::TooBigInline.into());
        }
        if buffer.get(found) != Some(&b'\n') {
            self.cursor.scanned = found - start;
            return Err(Stop::More);
        }
        let end = if found > start && buffer[found - 1] == b'\r' { found - 1 } else { found };
        let first = batch.args.len();
        inline::split(buffer, start, end, batch)?;
        if batch.args.len() > first {
            batch.close_request(first);
        }
        Ok(found + 1)
    }

    /// What the caller must do about an unfinished or wrong request.
    #[cold]
    fn need(&self, stop: &Stop, start: usize, end: usize, limits: &Limits) -> Need {
        match (stop, self.cursor.bulk) {
            (Stop::Error(error), _) => Need::Error(*error),
            (Stop::More, Some(len)) if self.cursor.left > 0 && len > LARGE_ARG => {
                let payload_at = start + self.cursor.at;
                let total = (self.cursor.at as u64).saturating_add(self.owned_bytes).saturating_add(len as u64);
                if total > limits.query_buffer_limit { Need::Overflow } else { Need::Large { len, payload_at } }
            }
            (Stop::More, _) => {
                let total = self.owned_bytes.saturating_add((end - start) as u64);
                let overflow = total > limits.query_buffer_limit || end - start >= BUFFER_BYTES;
                if overflow { Need::Overflow } else { Need::More }
            }
        }
    }
}

impl Cursor {
    /// Reads `*<count>` and sets the number of arguments to come; 0 for a request to be skipped.
    #[inline(always)]
    fn array_header(&mut self, buffer: &[u8], limits: &Limits) -> Result<(), Stop> {
        if let [b'*', digit @ b'0'..=b'9', b'\r', b'\n', ..] = buffer[self.at..] {
            self.left = usize::from(digit - b'0');
            self.at += 4;
            self.scanned = 0;
            return Ok(());
        }
        self.long_array_header(buffer, limits)
    }

    #[cold]
    fn long_array_header(&mut self, buffer: &[u8], limits: &Limits) -> Result<(), Stop> {
        let line = self.line(buffer, limits, ProtocolError::TooBigMultibulkCount)?;
        require_line_feed(buffer, self.at + line.len())?;
        let count = parse_i64(line.get(1..).unwrap_or(&[])).filter(|count| *count <= limits.max_args);
        let count = count.ok_or(ProtocolError::InvalidMultibulkLength)?;
        if count > UNAUTHENTICATED_ARGS && !limits.authenticated {
            return Err(ProtocolError::UnauthenticatedMultibulkLength.into());
        }
        self.left = usize::try_from(count).unwrap_or(0);
        self.at += line.len() + 2;
        Ok(())
    }

    /// Reads the arguments still to come; on [`Stop::More`] the cursor stands where to go on.
    #[inline(always)]
    fn bulk_strings(&mut self, buffer: &[u8], args: &mut Vec<ArgRange>, limits: &Limits) -> Result<(), Stop> {
        while self.left > 0 {
            let len = match self.bulk {
                Some(len) => len,
                None => self.bulk_header(buffer, limits)?,
            };
            match buffer[self.at..].get(len..len + 2) {
                Some(b"\r\n") => {}
                Some(_) => return Err(ProtocolError::InvalidCrlf.into()),
                None => {
                    self.bulk = Some(len);
                    return Err(Stop::More);
                }
            }
            args.push(ArgRange::in_buffer(self.at, len));
            self.at += len + 2;
            self.left -= 1;
            self.bulk = None;
        }
        Ok(())
    }

    /// Reads `$<length>`.
    #[inline(always)]
    fn bulk_header(&mut self, buffer: &[u8], limits: &Limits) -> Result<usize, Stop> {
        let (len, header) = match buffer[self.at..] {
            [b'$', a @ b'0'..=b'9', b'\r', b'\n', ..] => (usize::from(a - b'0'), 4),
            [b'$', a @ b'1'..=b'9', b @ b'0'..=b'9', b'\r', b'\n', ..] => {
                (usize::from(a - b'0') * 10 + usize::from(b - b'0'), 5)
            }
            [b'$', a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', b'\r', b'\n', ..] => {
                (usize::from(a - b'0') * 100 + usize::from(b - b'0') * 10 + usize::from(c - b'0'), 6)
            }
            _ => return self.long_bulk_header(buffer, limits),
        };
        self.at += header;
        self.scanned = 0;
        Ok(len)
    }

    #[cold]
    fn long_bulk_header(&mut self, buffer: &[u8], limits: &Limits) -> Result<usize, Stop> {
        let line = self.line(buffer, limits, ProtocolError::TooBigBulkCount)?;
        match line.first() {
            Some(b'$') => {}
            found => return Err(ProtocolError::ExpectedBulk(*found.unwrap_or(&b'\r')).into()),
        }
        require_line_feed(buffer, self.at + line.len())?;
        let len = parse_i64(&line[1..]).filter(|len| u64::try_from(*len).is_ok_and(|len| len <= limits.max_bulk_len));
        let len = len.ok_or(ProtocolError::InvalidBulkLength)?;
        if len > UNAUTHENTICATED_BULK && !limits.authenticated {
            return Err(ProtocolError::UnauthenticatedBulkLength.into());
        }
        self.at += line.len() + 2;
        usize::try_from(len).map_err(|_| ProtocolError::InvalidBulkLength.into())
    }

    /// The bytes from here to the next CR, once the byte after it has come too.
    fn line<'a>(&mut self, buffer: &'a [u8], limits: &Limits, too_big: ProtocolError) -> Result<&'a [u8], Stop> {
        let rest = buffer.get(self.at..).unwrap_or(&[]);
        let unseen = rest.get(self.scanned..).unwrap_or(&[]);
        let len = memchr(b'\r', unseen).map_or(rest.len(), |found| self.scanned + found);
        if len > limits.max_inline {
            return Err(too_big.into());
        }
        if len + 1 >= rest.len() {
            self.scanned = len;
            return Err(Stop::More);
        }
        self.scanned = 0;
        Ok(&rest[..len])
    }
}

/// Refuses a header line whose CR at `at` is not followed by LF.
fn require_line_feed(buffer: &[u8], at: usize) -> Result<(), ProtocolError> {
    if buffer.get(at + 1) == Some(&b'\n') { Ok(()) } else { Err(ProtocolError::InvalidCrlf) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::RequestView;

    /// Requests as joined texts, and what the parser needed at the end; every byte comes in a read of its own if `split`.
    fn run(input: &[u8], limits: &Limits, split: bool) -> (Vec<String>, Need) {
        let (mut parser, mut batch) = (Parser::new(), Batch::new());
        let (mut kept, mut requests) = (Vec::new(), Vec::new());
        let step = if split { 1 } else { input.len().max(1) };
        let mut need = Need::Nothing;
        for read in input.chunks(step) {
            kept.extend_from_slice(read);
            loop {
                batch.clear();
                let progress = parser.parse(&kept, &mut batch, limits);
                requests.extend(batch.requests(&kept).map(|request| text(&request)));
                kept.drain(..progress.consumed);
                need = progress.need;
                if need != Need::Again {
                    break;
                }
            }
            if matches!(need, Need::Error(_) | Need::Overflow) {
                break;
            }
        }
        (requests, need)
    }

    fn text(request: &RequestView<'_>) -> String {
        request.iter().map(|arg| arg.escape_ascii().to_string()).collect::<Vec<_>>().join(" ")
    }

    fn check(input: &[u8], requests: &[&str], need: Need) {
        for split in [false, true] {
            let (found, last) = run(input, &Limits::default(), split);
            assert_eq!(found, requests, "{} split: {split}", input.escape_ascii());
            assert_eq!(last, need, "{} split: {split}", input.escape_ascii());
        }
    }

    fn fails(input: &[u8], requests: &[&str], error: ProtocolError) {
        check(input, requests, Need::Error(error));
    }

    #[test]
    fn arrays() {
        check(b"*1\r\n$4\r\nPING\r\n", &["PING"], Need::Nothing);
        check(b"*2\r\n$4\r\nECHO\r\n$12\r\nhello\r\nworld\r\n", &["ECHO hello\\r\\nworld"], Need::Nothing);
        check(b"*1\r\n$0\r\n\r\n*1\r\n$1\r\na\r\n", &["", "a"], Need::Nothing);
        check(b"*11\r\n$1\r\n0\r\n$1\r\n1\r\n$1\r\n2\r\n", &[], Need::More);
        let long = [b"*1\r\n$1234\r\n".as_slice(), &[b'x'; 1234], b"\r\n"].concat();
        check(&long, &[&"x".repeat(1234)], Need::Nothing);
    }

    #[test]
    fn empty_requests_are_skipped() {
        check(b"*0\r\nPING\r\n*-1\r\nPING\r\n*0\r\n*1\r\n$4\r\nPING\r\n", &["PING", "PING", "PING"], Need::Nothing);
        check(b"\r\n\r\n  \r\n\nPING\n", &["PING"], Need::Nothing);
        check(b"*-2147483648\r\n*-9223372036854775808\r\n", &[], Need::Nothing);
    }

    #[test]
    fn counts_are_strict() {
        for header in ["*abc", "*", "*01", "*+1", "* 1", "*-0", "*1 ", "*20000000000", "*2147483648"] {
            fails(format!("{header}\r\n").as_bytes(), &[], ProtocolError::InvalidMultibulkLength);
        }
        check(b"*2147483647\r\n", &[], Need::More);
        for header in ["$-1", "$-10", "$2000000000", "$blabla", "$", "$04", "$536870913", "$18446744073709551616"] {
            fails(format!("PING\r\n*1\r\n{header}\r\n").as_bytes(), &["PING"], ProtocolError::InvalidBulkLength);
        }
    }

    #[test]
    fn what_stands_for_a_bulk_string_is_named() {
        fails(b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\nfooz\r\n", &[], ProtocolError::ExpectedBulk(b'f'));
        fails(b"*1\r\n*1\r\n$4\r\nPING\r\n", &[], ProtocolError::ExpectedBulk(b'*'));
        fails(b"*1\r\n\r\n", &[], ProtocolError::ExpectedBulk(b'\r'));
        fails(b"*1\r\nfoo\rX", &[], ProtocolError::ExpectedBulk(b'f'));
        check(b"*1\r\nfoo", &[], Need::More);
        assert_eq!(ProtocolError::ExpectedBulk(0xff).reply_text(), b"ERR Protocol error: expected '$', got '\xff'");
    }

    #[test]
    fn lines_end_in_cr_lf() {
        for input in [
            "*1\rX$4\r\nPING\r\n",
            "*abc\rX",
            "*1\r\n$4\rXPING",
            "*1\r\n$-1\rX",
            "*1\r\n$4\r\nPINGxx",
            "*1\r\n$4\r\nPING\rX",
        ] {
            fails(input.as_bytes(), &[], ProtocolError::InvalidCrlf);
        }
        check(b"*1\n$4\nPING\n", &[], Need::More);
        check(b"*1\r\n$4\r\nPINGx", &[], Need::More);
    }

    #[test]
    fn long_lines_are_refused() {
        let limit = Limits::default().max_inline;
        for (lead, error) in [
            ("*", ProtocolError::TooBigMultibulkCount),
            ("*1\r\n$", ProtocolError::TooBigBulkCount),
            ("", ProtocolError::TooBigInline),
            ("\0", ProtocolError::TooBigInline),
        ] {
            let head = lead.find('$').unwrap_or(0);
            let at_limit = format!("{lead}{}", "1".repeat(limit + head - lead.len()));
            check(at_limit.as_bytes(), &[], Need::More);
            fails(format!("{at_limit}1").as_bytes(), &[], error);
            fails(format!("{at_limit}1\r\n").as_bytes(), &[], error);
        }
    }

    #[test]
    fn inline_requests() {
        check(b"SET a  \t b\r\nGET a\n", &["SET a b", "GET a"], Need::Nothing);
        check(b"ECHO a\rb\r\r\n", &["ECHO a b"], Need::Nothing);
        check(b"ECHO a\x0bb\x0c\r\n", &["ECHO a\\x0bb\\x0c"], Need::Nothing);
        check(b"set \"\"\"k\"\"\" a\"b\"'c'd \"\" ''\r\n", &["set k abcd  "], Need::Nothing);
        check(
            b"ECHO \"\\x4g\\x41\\q\\n\\r\\t\\b\\a\\\\\\\"x\"\r\n",
            &["ECHO x4gAq\\n\\r\\t\\x08\\x07\\\\\\\"x"],
            Need::Nothing,
        );
        check(b"ECHO 'a\\'b\\n'\r\n", &["ECHO a\\'b\\\\n"], Need::Nothing);
        check(b"ECHO \"a\\\"\r\nECHO '\\'\r\n", &["ECHO a\\\\", "ECHO \\\\"], Need::Nothing);
        check(b"ECHO \\x41 a\\\"b c\\\"\r\n", &["ECHO \\\\x41 a\\\\b c\\\\"], Need::Nothing);
        check(b"\0PING\r\nPING\r\n", &[], Need::More);
        for line in ["ECHO \"a", "ECHO 'a", "ECHO a\"", "ECHO \"a\\\" b", "ECHO \"a\\", "ECHO \"\\\"x\" y\""] {
            fails(format!("PING\r\n{line}\r\n").as_bytes(), &["PING"], ProtocolError::UnbalancedQuotes);
        }
    }

    #[test]
    fn other_protocols_come_through_as_requests() {
        check(b"POST / HTTP/1.1\r\nHost: x\r\n\r\n", &["POST / HTTP/1.1", "Host: x"], Need::Nothing);
        check(b">1\r\n$4\r\nPING\r\n", &[">1", "$4", "PING"], Need::Nothing);
    }

    #[test]
    fn strangers_get_little() {
        let limits = Limits { authenticated: false, ..Limits::default() };
        let need = |input: &[u8]| run(input, &limits, false).1;
        assert_eq!(need(b"*11\r\n"), Need::Error(ProtocolError::UnauthenticatedMultibulkLength));
        assert_eq!(need(b"*10\r\n"), Need::More);
        assert_eq!(need(b"*1\r\n$16385\r\n"), Need::Error(ProtocolError::UnauthenticatedBulkLength));
        assert_eq!(need(b"*1\r\n$16384\r\n"), Need::More);
    }

    /// A pipeline may authenticate and go on: what follows AUTH must not be judged before AUTH has run.
    #[test]
    fn strangers_get_one_request_a_batch() {
        let (mut parser, mut batch) = (Parser::new(), Batch::new());
        let mut limits = Limits { authenticated: false, ..Limits::default() };
        let input = b"AUTH x\r\n*11\r\n";
        let progress = parser.parse(input, &mut batch, &limits);
        assert_eq!(progress, Progress { consumed: 8, need: Need::Again });
        limits.authenticated = true;
        batch.clear();
        assert_eq!(parser.parse(&input[8..], &mut batch, &limits).need, Need::More);
    }

    #[test]
    fn batches_are_capped() {
        let (mut parser, mut batch) = (Parser::new(), Batch::new());
        let input = b"*1\r\n$4\r\nPING\r\n".repeat(BATCH_REQUESTS + 1);
        let progress = parser.parse(&input, &mut batch, &Limits::default());
        assert_eq!(progress, Progress { consumed: BATCH_REQUESTS * 14, need: Need::Again });
        assert_eq!(batch.len(), BATCH_REQUESTS);
        batch.clear();
        let progress = parser.parse(&input[progress.consumed..], &mut batch, &Limits::default());
        assert_eq!((progress.need, batch.len()), (Need::Nothing, 1));
    }

    #[test]
    fn large_arguments_are_taken_apart() {
        let (mut parser, mut batch) = (Parser::new(), Batch::new());
        let limits = Limits::default();
        let mut kept = b"PING\r\n*4\r\n$4\r\nMSET\r\n$1\r\na\r\n$100000\r\nxxx".to_vec();
        let progress = parser.parse(&kept, &mut batch, &limits);
        assert_eq!(progress, Progress { consumed: 6, need: Need::Large { len: 100_000, payload_at: kept.len() - 3 } });
        let Need::Large { payload_at, .. } = progress.need else { return };
        kept.truncate(payload_at);
        kept.drain(..progress.consumed);
        let mut payload = vec![b'x'; 100_000];
        payload.extend_from_slice(b"\r\n");
        let payload = Bytes::from(payload);
        assert_eq!(parser.supply_large(payload.clone()), Ok(()));
        assert_eq!(parser.held_bytes() / 1000, 100);
        kept.extend_from_slice(b"$1\r");
        batch.clear();
        assert_eq!(parser.parse(&kept, &mut batch, &limits), Progress { consumed: 0, need: Need::More });
        kept.extend_from_slice(b"\nb\r\nPING\r\n");
        assert_eq!(parser.parse(&kept, &mut batch, &limits), Progress { consumed: kept.len(), need: Need::Nothing });
        let request = batch.request(0, &kept);
        assert_eq!(
            (request.argc(), request.arg(0), request.arg(1), request.arg(3)),
            (4, &b"MSET"[..], &b"a"[..], &b"b"[..])
        );
        assert_eq!(request.owned(2).map(|bytes| bytes.as_ptr()), Some(payload.as_ptr()), "not copied");
        assert_eq!(request.arg(2).len(), 100_000);
        assert_eq!(text(&batch.request(1, &kept)), "PING");
        assert!(parser.held_bytes() < 100);
    }

    /// The fuzzer found that a request which ended with a large argument, as SET does, was forgotten once supplied.
    #[test]
    fn large_arguments_may_come_last() {
        let (mut parser, mut batch) = (Parser::new(), Batch::new());
        let kept = b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$40000\r\n";
        let need = parser.parse(kept, &mut batch, &Limits::default()).need;
        assert_eq!(need, Need::Large { len: 40_000, payload_at: kept.len() });
        let payload = [&[b'x'; 40_000], b"\r\n".as_slice()].concat();
        assert_eq!(parser.supply_large(Bytes::from(payload)), Ok(()));
        let progress = parser.parse(kept, &mut batch, &Limits::default());
        assert_eq!(progress, Progress { consumed: kept.len(), need: Need::Nothing });
        assert_eq!((batch.len(), batch.request(0, kept).arg(2).len()), (1, 40_000));
        assert!(!parser.is_unfinished());
    }

    #[test]
    fn large_arguments_end_in_cr_lf_too() {
        let mut parser = Parser::new();
        let need = parser.parse(b"*1\r\n$40000\r\n", &mut Batch::new(), &Limits::default()).need;
        assert_eq!(need, Need::Large { len: 40_000, payload_at: 12 });
        assert_eq!(parser.supply_large(Bytes::from(vec![0; 40_002])), Err(ProtocolError::InvalidCrlf));
    }

    #[test]
    fn unfinished_requests_are_bounded() {
        let limits = Limits { query_buffer_limit: 20, ..Limits::default() };
        assert_eq!(run(b"*3\r\n$10\r\n0123456789\r\n$1\r\n", &limits, true).1, Need::Overflow);
        assert_eq!(run(b"*3\r\n$40000\r\n", &limits, false).1, Need::Overflow);
        let mut input = b"*1000000\r\n".to_vec();
        input.extend(b"$1\r\nx\r\n".repeat(1000));
        let mut parser = Parser::new();
        let mut batch = Batch::new();
        assert_eq!(parser.parse(&input, &mut batch, &Limits::default()).need, Need::More);
        assert!(parser.held_bytes() + batch.list_bytes() < 4 * input.len() + 4096, "only for arguments that came");
    }
}
