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
const KEPT_ARGS: usize = 1024;

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
        while consumed < buffer.len() || self.cursor.left > 0 {
            if batch.len() >= room {
                return Progress { consumed, need: Need::Again };
            }
            let step = if self.cursor.left > 0 {
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
    #[must_use]
    pub fn is_unfinished(&self) -> bool {
        self.cursor.left > 0
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
        let first = batch.args.len();
        inline::split(buffer, start, found, batch)?;
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
