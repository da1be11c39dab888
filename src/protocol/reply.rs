//! Replies: typed calls to RESP2 or RESP3 bytes, and the output they gather in.
//!
//! Invariant: no other file writes RESP. A handler says what a reply is (a map, a double, a null); which shape that
//! has for this client is decided here. Large strings stay in their own memory until the socket takes them.
//!
//! It knows no command. Source: the RESP2 and RESP3 specifications; number texts and fall-backs for RESP2 are Valkey's.

use std::io::IoSlice;

use bytes::Bytes;

use crate::util::number;

/// A bulk reply of this many bytes or more is sent from its own memory (16 KiB): below it a copy is cheaper than a
/// further element of a vectored write.
pub const LARGE_REPLY: usize = 16 * 1024;
/// A message to many clients of this many bytes or more is sent from the one memory that they share; below it a copy takes
/// little more room than the reference to it.
pub const LARGE_PUSH: usize = 256;
/// Small bytes of [`Output::raw_shared`] become a part of their own beyond this (16 KiB).
const SEALED_BYTES: usize = 16 * 1024;
/// The longest error text in bytes.
const ERROR_BYTES: usize = 4096;
/// A header put before a longer tail than this becomes a part of its own instead of moving the tail.
const MOVED_TAIL: usize = 64 * 1024;
/// Output memory beyond this is given back when the output is cleared (1 MiB).
const KEPT_BYTES: usize = 1024 * 1024;

/// Sent bytes are dropped from the front once there are this many.
const COMPACTED_BYTES: usize = 64 * 1024;

/// Sent parts likewise.
const COMPACTED_PARTS: usize = 1024;

/// The version of the protocol a client speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Resp {
    /// The protocol of Redis 2 to 5: no maps, sets, doubles or booleans.
    #[default]
    V2,
    /// The protocol of `HELLO 3`.
    V3,
}

/// A part that is sent from its own memory.
#[derive(Clone, Debug)]
struct Part {
    /// How many of `Output::bytes` come before it.
    at: usize,
    data: Bytes,
}

/// A place in an output to fall back to.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    bytes: usize,
    parts: usize,
    part_bytes: usize,
}

/// A place where the header of a collection of yet unknown length belongs.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Deferred(Mark);

/// Reply bytes on their way to a socket: one run of small bytes with large parts in between.
///
/// Invariant: `parts` is ordered by `at`; sent bytes and parts are skipped by the counters, not moved.
#[derive(Default, Debug)]
pub struct Output {
    bytes: Vec<u8>,
    parts: Vec<Part>,
    /// Sum of the lengths of `parts`.
    part_bytes: usize,
    /// Already sent: this many of `bytes`, this many parts, and this many bytes of the part after those.
    sent: usize,
    sent_parts: usize,
    sent_of_part: usize,
    /// Bytes sent in all since the output was last empty.
    sent_total: usize,
}

impl Output {
    /// An empty output; allocates nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes not yet sent, large parts included. O(1).
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len() + self.part_bytes - self.sent_total
    }

    /// True if everything has been sent.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets everything; keeps the memory unless it is large.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES);
        self.parts.clear();
        self.part_bytes = 0;
        self.rewind();
    }

    /// Gives memory back, of an empty output, but for `bytes`.
    pub fn shrink_to(&mut self, bytes: usize) {
        self.bytes.shrink_to(bytes);
        self.parts.shrink_to(bytes / size_of::<Part>());
    }

    fn rewind(&mut self) {
        (self.sent, self.sent_parts, self.sent_of_part, self.sent_total) = (0, 0, 0, 0);
    }

    /// The unsent bytes as one slice, or `None` if large parts are among them (then use [`io_slices`](Self::io_slices)).
    #[inline]
    #[must_use]
    pub fn contiguous(&self) -> Option<&[u8]> {
        if self.parts.len() == self.sent_parts { self.bytes.get(self.sent..) } else { None }
    }

    /// Fills `slices` with the first unsent pieces for a vectored write; returns how many it filled.
    pub fn io_slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut filled = 0;
        for (piece, slot) in self.pieces().zip(slices) {
            *slot = IoSlice::new(piece);
            filled += 1;
        }
        filled
    }

    /// The unsent pieces in order, none of them empty.
    fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let parts = self.parts.get(self.sent_parts..).unwrap_or(&[]);
        let mut from = self.sent;
        let mut skip = self.sent_of_part;
        let before = parts.iter().flat_map(move |part| {
            let small = self.bytes.get(from..part.at).unwrap_or(&[]);
            from = from.max(part.at);
            [small, part.data.get(std::mem::take(&mut skip)..).unwrap_or(&[])]
        });
        let last = parts.last().map_or(self.sent, |part| part.at.max(self.sent));
        before.chain(self.bytes.get(last..)).filter(|piece| !piece.is_empty())
    }

    /// Notes that the socket took `count` bytes; large parts that are gone are released.
    pub fn advance(&mut self, count: usize) {
        self.sent_total += count.min(self.len());
        if self.is_empty() {
            return self.clear();
        }
        self.skip(count);
        self.compact();
    }

    /// Moves the counters over `left` bytes and releases the parts that are passed.
    fn skip(&mut self, mut left: usize) {
        while let Some(part) = self.parts.get_mut(self.sent_parts) {
            let small = left.min(part.at - self.sent);
            self.sent += small;
            left -= small;
            let of_part = left.min(part.data.len() - self.sent_of_part);
            left -= of_part;
            self.sent_of_part += of_part;
            if self.sent < part.at || self.sent_of_part < part.data.len() {
                return;
            }
            self.part_bytes -= part.data.len();
            self.sent_total -= part.data.len();
            part.data = Bytes::new();
            self.sent_parts += 1;
            self.sent_of_part = 0;
        }
        self.sent += left;
    }

    /// Drops what was sent once it is most of what is held: a reader that is always a little behind must not make
    /// the output grow. O(1) a byte sent.
    fn compact(&mut self) {
        let bytes = self.sent >= COMPACTED_BYTES && self.sent >= self.bytes.len() / 2;
        let parts = self.sent_parts >= COMPACTED_PARTS && self.sent_parts >= self.parts.len() / 2;
        if bytes || (parts && self.sent >= self.bytes.len() / 2) {
            self.bytes.drain(..self.sent);
            self.parts.drain(..self.sent_parts);
            self.parts.iter_mut().for_each(|part| part.at -= self.sent);
            self.sent_total -= self.sent;
            (self.sent, self.sent_parts) = (0, 0);
        }
    }

    /// Moves what is unsent behind the bytes of `other`; small bytes are copied, large parts are not. Clears this.
    pub fn move_rest_to(&mut self, other: &mut Output) {
        let shift = other.bytes.len();
        other.bytes.extend_from_slice(self.bytes.get(self.sent..).unwrap_or(&[]));
        let mut skip = self.sent_of_part;
        for part in self.parts.drain(self.sent_parts..) {
            let data = part.data.slice(std::mem::take(&mut skip)..);
            other.part_bytes += data.len();
            other.parts.push(Part { at: part.at - self.sent + shift, data });
        }
        self.clear();
    }

    /// Appends bytes that are RESP already to an output that may grow long while nobody takes from it: large ones by
    /// reference, small ones in pieces of bounded size, so that no piece is ever copied to grow.
    pub fn raw_shared(&mut self, data: &Bytes) {
        if data.len() >= LARGE_PUSH {
            return self.raw_large(data.clone());
        }
        if self.bytes.len() + data.len() > SEALED_BYTES {
            self.seal();
        }
        self.bytes.extend_from_slice(data);
    }

    /// Makes parts of the small bytes, so that moving them copies nothing. Nothing may have been sent. O(parts appended since
    /// the last time).
    pub fn seal(&mut self) {
        debug_assert!(self.sent_total == 0, "a mailbox is not sent from");
        let small = Bytes::from(std::mem::take(&mut self.bytes));
        let mixed = self.parts.split_off(self.parts.partition_point(|part| part.at == 0));
        let mut from = 0;
        for part in mixed {
            if from < part.at {
                self.parts.push(Part { at: 0, data: small.slice(from..part.at) });
            }
            from = part.at;
            self.parts.push(Part { at: 0, data: part.data });
        }
        if from < small.len() {
            self.parts.push(Part { at: 0, data: small.slice(from..) });
        }
        self.part_bytes += small.len();
    }

    /// Memory held in bytes: what a client's output limit counts.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.bytes.capacity() + self.part_bytes + self.parts.capacity() * size_of::<Part>()
    }

    /// The present end, to fall back to with [`truncate_to`](Self::truncate_to).
    #[inline]
    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark { bytes: self.bytes.len(), parts: self.parts.len(), part_bytes: self.part_bytes }
    }

    /// Bytes that were appended since `mark`; nothing of them may have been sent.
    #[inline]
    #[must_use]
    pub fn since(&self, mark: Mark) -> usize {
        self.bytes.len() + self.part_bytes - mark.bytes - mark.part_bytes
    }

    /// Drops what was appended since `mark`; nothing of it may have been sent.
    pub fn truncate_to(&mut self, mark: Mark) {
        self.bytes.truncate(mark.bytes);
        for part in self.parts.drain(mark.parts.min(self.parts.len())..) {
            self.part_bytes -= part.data.len();
        }
    }

    /// Appends bytes that are RESP already: a stored reply, a replication stream.
    #[inline]
    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Appends bytes that are RESP already without copying them.
    pub fn raw_large(&mut self, data: Bytes) {
        self.part_bytes += data.len();
        self.parts.push(Part { at: self.bytes.len(), data });
    }

    /// A copy of the unsent bytes. O(bytes).
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        self.pieces().collect::<Vec<_>>().concat()
    }

    /// Writes `<kind><number>\r\n`, the head of most replies.
    #[inline]
    fn head(&mut self, kind: u8, number: usize) {
        match u8::try_from(number) {
            Ok(small @ 0..10) => self.bytes.extend_from_slice(&[kind, b'0' + small, b'\r', b'\n']),
            Ok(small @ 10..100) => {
                self.bytes.extend_from_slice(&[kind, b'0' + small / 10, b'0' + small % 10, b'\r', b'\n']);
            }
            _ => self.line(kind, itoa::Buffer::new().format(number).as_bytes()),
        }
    }

    #[inline]
    fn line(&mut self, kind: u8, text: &[u8]) {
        self.bytes.reserve(text.len() + 3);
        self.bytes.push(kind);
        self.bytes.extend_from_slice(text);
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// Puts a header where `place` was taken.
    fn insert(&mut self, place: Mark, header: &[u8]) {
        if self.bytes.len() - place.bytes > MOVED_TAIL {
            self.part_bytes += header.len();
            self.parts.insert(place.parts, Part { at: place.bytes, data: Bytes::copy_from_slice(header) });
            return;
        }
        self.bytes.splice(place.bytes..place.bytes, header.iter().copied());
        for part in &mut self.parts[place.parts..] {
            part.at += header.len();
        }
    }
}

/// Writes replies of one client into an output.
#[derive(Debug)]
pub struct Reply<'a> {
    out: &'a mut Output,
    resp: Resp,
}

impl<'a> Reply<'a> {
    /// A writer of `resp` replies to `out`.
    #[inline]
    pub fn new(out: &'a mut Output, resp: Resp) -> Self {
        Self { out, resp }
    }

    /// The version that replies are written in.
    #[inline]
    #[must_use]
    pub fn resp(&self) -> Resp {
        self.resp
    }

    /// Changes the version, for HELLO: its own reply has the new shape.
    pub fn set_resp(&mut self, resp: Resp) {
        self.resp = resp;
    }

    /// The output behind it.
    #[inline]
    pub fn output(&mut self) -> &mut Output {
        self.out
    }

    /// The same writer with a shorter life, for a callee that takes it by value.
    #[inline]
    pub fn reborrow(&mut self) -> Reply<'_> {
        Reply { out: self.out, resp: self.resp }
    }

    /// `+OK`.
    #[inline]
    pub fn ok(&mut self) {
        self.out.bytes.extend_from_slice(b"+OK\r\n");
    }

    /// A simple string, which must hold no line end.
    #[inline]
    pub fn simple(&mut self, text: &str) {
        self.out.line(b'+', text.as_bytes());
    }

    /// An error: `text` begins with its code, as in `ERR syntax error`.
    pub fn error(&mut self, text: &str) {
        self.error_bytes(text.as_bytes());
    }

    /// An error whose text quotes what a client sent: line ends around it go, those inside become spaces, at most 4 KiB are sent.
    pub fn error_bytes(&mut self, text: &[u8]) {
        let text = trim_line_ends(text);
        self.out.bytes.push(b'-');
        self.out
            .bytes
            .extend(text.iter().take(ERROR_BYTES).map(|byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte }));
        self.out.bytes.extend_from_slice(b"\r\n");
    }

    /// An integer.
    #[inline]
    pub fn integer(&mut self, value: i64) {
        match u8::try_from(value) {
            Ok(small @ 0..10) => self.out.bytes.extend_from_slice(&[b':', b'0' + small, b'\r', b'\n']),
            _ => self.out.line(b':', itoa::Buffer::new().format(value).as_bytes()),
        }
    }

    /// An integer from a count; beyond `i64::MAX` it stays there.
    #[inline]
    pub fn count(&mut self, count: usize) {
        self.integer(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// A bulk string, copied. O(length).
    #[inline]
    pub fn bulk(&mut self, data: &[u8]) {
        self.out.bytes.reserve(data.len() + I64_HEAD);
        self.out.head(b'$', data.len());
        self.out.bytes.extend_from_slice(data);
        self.out.bytes.extend_from_slice(b"\r\n");
    }

    /// A bulk string by reference when it is large, else copied.
    pub fn bulk_large(&mut self, data: Bytes) {
        if data.len() < LARGE_REPLY {
            return self.bulk(&data);
        }
        self.out.head(b'$', data.len());
        self.out.raw_large(data);
        self.out.bytes.extend_from_slice(b"\r\n");
    }

    /// A bulk string that holds the text of an integer.
    #[inline]
    pub fn bulk_integer(&mut self, value: i64) {
        self.bulk(itoa::Buffer::new().format(value).as_bytes());
    }

    /// The null of a missing value.
    #[inline]
    pub fn null(&mut self) {
        self.out.bytes.extend_from_slice(match self.resp {
            Resp::V2 => b"$-1\r\n",
            Resp::V3 => b"_\r\n",
        });
    }

    /// The null of a missing array.
    #[inline]
    pub fn null_array(&mut self) {
        self.out.bytes.extend_from_slice(match self.resp {
            Resp::V2 => b"*-1\r\n",
            Resp::V3 => b"_\r\n",
        });
    }

    /// The head of an array; `len` replies must follow.
    #[inline]
    pub fn array(&mut self, len: usize) {
        self.out.head(b'*', len);
    }

    /// The head of a map; `pairs` keys and values must follow. RESP2: an array of twice as many.
    #[inline]
    pub fn map(&mut self, pairs: usize) {
        match self.resp {
            Resp::V2 => self.out.head(b'*', pairs * 2),
            Resp::V3 => self.out.head(b'%', pairs),
        }
    }

    /// The head of a set; `len` replies must follow. RESP2: an array.
    #[inline]
    pub fn set(&mut self, len: usize) {
        self.out.head(if self.resp == Resp::V2 { b'*' } else { b'~' }, len);
    }

    /// The head of a push message; `len` replies must follow. RESP2: an array.
    #[inline]
    pub fn push(&mut self, len: usize) {
        self.out.head(if self.resp == Resp::V2 { b'*' } else { b'>' }, len);
    }

    /// The head of attributes of the reply that comes after them, `pairs` keys and values; RESP3 clients only.
    pub fn attribute(&mut self, pairs: usize) {
        debug_assert!(self.resp == Resp::V3, "RESP2 has no attributes");
        self.out.head(b'|', pairs);
    }

    /// A double. RESP2: its text as a bulk string.
    pub fn double(&mut self, value: f64) {
        let text = number::format_f64(value);
        match self.resp {
            Resp::V2 => self.bulk(&text),
            Resp::V3 => self.out.line(b',', &text),
        }
    }

    /// A double that is text already. RESP2: a bulk string.
    pub fn double_text(&mut self, text: &str) {
        match self.resp {
            Resp::V2 => self.bulk(text.as_bytes()),
            Resp::V3 => self.out.line(b',', text.as_bytes()),
        }
    }

    /// A boolean. RESP2: 1 or 0.
    #[inline]
    pub fn boolean(&mut self, value: bool) {
        self.out.bytes.extend_from_slice(match (self.resp, value) {
            (Resp::V2, false) => b":0\r\n",
            (Resp::V2, true) => b":1\r\n",
            (Resp::V3, false) => b"#f\r\n",
            (Resp::V3, true) => b"#t\r\n",
        });
    }

    /// A number of any length, given as its digits. RESP2: a bulk string.
    pub fn big_number(&mut self, digits: &str) {
        match self.resp {
            Resp::V2 => self.bulk(digits.as_bytes()),
            Resp::V3 => self.out.line(b'(', digits.as_bytes()),
        }
    }

    /// A text with a format of three letters (`txt`, `mkd`). RESP2: a bulk string.
    pub fn verbatim(&mut self, format: [u8; 3], text: &[u8]) {
        if self.resp == Resp::V2 {
            return self.bulk(text);
        }
        self.out.head(b'=', text.len() + 4);
        self.out.bytes.extend_from_slice(&format);
        self.out.bytes.push(b':');
        self.out.bytes.extend_from_slice(text);
        self.out.bytes.extend_from_slice(b"\r\n");
    }

    /// Leaves room for the head of a collection whose length is known only at the end.
    ///
    /// Finish it with one of the `finish_` calls after its elements, inner collections before outer ones.
    #[inline]
    pub fn deferred(&mut self) -> Deferred {
        Deferred(self.out.mark())
    }

    /// Makes what was written since `place` an array of `len`. O(bytes written since, at most 64 KiB).
    pub fn finish_array(&mut self, place: Deferred, len: usize) {
        self.finish(place, |head| head.array(len));
    }

    /// Makes what was written since `place` a map of `pairs`. Cost as [`finish_array`](Self::finish_array).
    pub fn finish_map(&mut self, place: Deferred, pairs: usize) {
        self.finish(place, |head| head.map(pairs));
    }

    /// Makes what was written since `place` a set of `len`. Cost as [`finish_array`](Self::finish_array).
    pub fn finish_set(&mut self, place: Deferred, len: usize) {
        self.finish(place, |head| head.set(len));
    }

    fn finish(&mut self, place: Deferred, write: impl FnOnce(&mut Reply<'_>)) {
        let mut head = Output::new();
        write(&mut Reply::new(&mut head, self.resp));
        self.out.insert(place.0, &head.bytes);
    }
}

/// Room for `$<length>\r\n` and the CR LF behind the data.
const I64_HEAD: usize = 1 + number::I64_DIGITS + 4;

fn trim_line_ends(mut text: &[u8]) -> &[u8] {
    while let [b'\r' | b'\n', rest @ ..] | [rest @ .., b'\r' | b'\n'] = text {
        text = rest;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both(write: impl Fn(&mut Reply<'_>)) -> (String, String) {
        let text = |resp| {
            let mut out = Output::new();
            write(&mut Reply::new(&mut out, resp));
            assert_eq!(out.len(), out.to_vec().len());
            out.to_vec().escape_ascii().to_string().replace("\\r\\n", " ").trim_end().to_owned()
        };
        (text(Resp::V2), text(Resp::V3))
    }

    fn check(write: impl Fn(&mut Reply<'_>), v2: &str, v3: &str) {
        assert_eq!(both(write), (v2.to_owned(), v3.to_owned()));
    }

    #[test]
    fn shapes() {
        check(|reply| reply.ok(), "+OK", "+OK");
        check(|reply| reply.simple("PONG"), "+PONG", "+PONG");
        check(|reply| reply.null(), "$-1", "_");
        check(|reply| reply.null_array(), "*-1", "_");
        check(|reply| reply.array(12), "*12", "*12");
        check(|reply| reply.map(50), "*100", "%50");
        check(|reply| reply.set(0), "*0", "~0");
        check(|reply| reply.push(3), "*3", ">3");
        check(|reply| reply.boolean(true), ":1", "#t");
        check(|reply| reply.boolean(false), ":0", "#f");
        check(|reply| reply.big_number("123"), "$3 123", "(123");
        check(|reply| reply.verbatim(*b"txt", b"hello"), "$5 hello", "=9 txt:hello");
        check(|reply| reply.double(3.25), "$4 3.25", ",3.25");
        check(|reply| reply.double(f64::NEG_INFINITY), "$4 -inf", ",-inf");
        for value in [0, 9, 10, 255, 256, -1, i64::MAX, i64::MIN] {
            check(|reply| reply.integer(value), &format!(":{value}"), &format!(":{value}"));
        }
        for len in [0, 9, 10, 99, 100, 255, 256, 100_000] {
            let expected = format!("${len} {}", "x".repeat(len));
            check(|reply| reply.bulk(&b"x".repeat(len)), expected.trim_end(), expected.trim_end());
            check(|reply| reply.bulk_large(Bytes::from(vec![b'x'; len])), expected.trim_end(), expected.trim_end());
        }
    }

    #[test]
    fn errors_hold_no_line_ends_and_end() {
        check(|reply| reply.error("ERR a\r\nb\tc\r\n\n"), "-ERR a  b\\tc", "-ERR a  b\\tc");
        let mut out = Output::new();
        Reply::new(&mut out, Resp::V2).error_bytes(&[b'x'; 10_000]);
        assert_eq!(out.len(), ERROR_BYTES + 3);
    }

    #[test]
    fn deferred_heads_nest() {
        let write = |large: usize| {
            move |reply: &mut Reply<'_>| {
                let outer = reply.deferred();
                reply.bulk_large(Bytes::from(vec![b'x'; large]));
                let inner = reply.deferred();
                reply.integer(1);
                reply.bulk_large(Bytes::from(vec![b'y'; large]));
                reply.finish_map(inner, 1);
                reply.finish_array(outer, 2);
            }
        };
        check(write(1), "*2 $1 x *2 :1 $1 y", "*2 $1 x %1 :1 $1 y");
        for large in [LARGE_REPLY - 1, LARGE_REPLY, MOVED_TAIL + 1] {
            let (x, y) = ("x".repeat(large), "y".repeat(large));
            let expected = |map: &str| format!("*2 ${large} {x} {map} :1 ${large} {y}");
            check(write(large), &expected("*2"), &expected("%1"));
        }
        let long_tail = |reply: &mut Reply<'_>| {
            let outer = reply.deferred();
            let inner = reply.deferred();
            (0..20_000).for_each(|_| reply.integer(1));
            reply.finish_set(inner, 20_000);
            reply.finish_array(outer, 1);
        };
        let ones = ":1 ".repeat(20_000);
        check(long_tail, format!("*1 *20000 {ones}").trim_end(), format!("*1 ~20000 {ones}").trim_end());
    }

    /// An output with small bytes and large parts, some adjacent.
    fn mixed() -> Output {
        let mut out = Output::new();
        let mut reply = Reply::new(&mut out, Resp::V2);
        reply.bulk_large(Bytes::from(vec![b'a'; LARGE_REPLY]));
        reply.output().raw_large(Bytes::from_static(b"bb"));
        reply.output().raw_large(Bytes::from_static(b"cc"));
        Reply::new(&mut out, Resp::V2).ok();
        out
    }

    #[test]
    fn sent_in_any_steps() {
        let whole = mixed().to_vec();
        for step in [1, 2, 3, 7, 1000, LARGE_REPLY, whole.len()] {
            let (mut out, mut sent) = (mixed(), Vec::new());
            while !out.is_empty() {
                let mut slices = [IoSlice::new(&[]); 3];
                let filled = out.io_slices(&mut slices);
                let some: Vec<u8> = slices[..filled].iter().flat_map(|slice| slice.to_vec()).take(step).collect();
                sent.extend_from_slice(&some);
                assert_eq!(out.len(), whole.len() - sent.len() + some.len());
                out.advance(some.len());
                assert_eq!(out.to_vec(), whole[sent.len()..]);
                assert_eq!(out.contiguous().is_some(), out.parts.len() == out.sent_parts);
            }
            assert!(sent == whole && out.held_bytes() <= 2 * KEPT_BYTES);
        }
    }

    #[test]
    fn sealed_output_holds_the_same_bytes() {
        let (mut out, mut expected) = (Output::new(), Vec::new());
        for round in 0..3000_usize {
            let data = Bytes::from(vec![u8::try_from(round % 251).unwrap_or(0); round * 7 % (LARGE_PUSH + 40)]);
            out.raw_shared(&data);
            expected.extend_from_slice(&data);
            if round % 500 == 0 {
                out.seal();
            }
        }
        assert!(out.to_vec() == expected && out.len() == expected.len());
        assert!(out.bytes.capacity() <= SEALED_BYTES, "{}", out.bytes.capacity());
        let mut rest = Output::new();
        out.seal();
        out.seal();
        out.move_rest_to(&mut rest);
        assert!(rest.to_vec() == expected && rest.bytes.is_empty());
    }

    #[test]
    fn a_reader_that_lags_does_not_make_it_grow() {
        let mut out = Output::new();
        for small in [0, 1000] {
            for round in 0..20_000u32 {
                out.raw(&vec![b'x'; small]);
                out.raw_large(Bytes::from(round.to_le_bytes().to_vec()));
                if round > 0 {
                    out.advance(small + 4);
                }
                assert_eq!(out.len(), small + 4);
                assert!(out.to_vec().ends_with(&round.to_le_bytes()));
            }
            assert!(out.held_bytes() < 5 * COMPACTED_BYTES, "{}", out.held_bytes());
            out.clear();
        }
    }

    #[test]
    fn the_rest_moves() {
        let whole = mixed().to_vec();
        for sent in 0..whole.len() {
            let (mut out, mut rest) = (mixed(), Output::new());
            out.advance(sent);
            rest.raw(b"before");
            out.move_rest_to(&mut rest);
            assert!(out.is_empty());
            rest.raw(b"after");
            assert_eq!(rest.to_vec(), [b"before", &whole[sent..], b"after"].concat());
            assert_eq!(rest.len(), whole.len() - sent + 11);
        }
    }

    #[test]
    fn replies_are_taken_back() {
        let mut out = mixed();
        let before = out.to_vec();
        let mark = out.mark();
        Reply::new(&mut out, Resp::V3).bulk_large(Bytes::from(vec![b'z'; LARGE_REPLY]));
        out.truncate_to(mark);
        assert_eq!((out.to_vec(), out.len()), (before.clone(), before.len()));
    }
}
