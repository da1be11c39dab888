//! The requests that one read brought, as argument ranges into the bytes they came in.
//!
//! Invariant: a range never reaches beyond the buffer it was parsed from, and the arguments of a request are adjacent
//! in the argument list. Nothing is copied and, once the lists are warm, nothing is allocated.
//!
//! It knows neither sockets nor commands. Source: none, our own layout.

use bytes::Bytes;

/// Lists that have grown beyond this many elements are given back when the batch is cleared (512 KiB of ranges).
const KEPT_ARGS: usize = 64 * 1024;

/// The length that marks an argument with its own `Bytes`: no range in a buffer is that long.
const OWNED: u32 = u32::MAX;

/// Where one argument lies: a range of the buffer, or an index into the owned arguments.
///
/// | bits | in the buffer | owned |
/// |---|---|---|
/// | 0..32 `start` | offset of the first byte | index into the owned list |
/// | 32..64 `len` | length, below `u32::MAX` | `u32::MAX` |
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ArgRange {
    start: u32,
    len: u32,
}

const _: () = assert!(size_of::<ArgRange>() == 8);

impl ArgRange {
    /// A range of the buffer; the parser looks at no more than `u32::MAX - 1` bytes of it, so both numbers fit.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "the parser cuts its view of the buffer below u32::MAX bytes")]
    pub(super) fn in_buffer(start: usize, len: usize) -> Self {
        debug_assert!(start + len < OWNED as usize, "an argument lies in the buffer");
        Self { start: start as u32, len: len as u32 }
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "4 Gi owned arguments would need 128 GiB for their handles alone"
    )]
    pub(super) fn owned(index: usize) -> Self {
        Self { start: index as u32, len: OWNED }
    }

    /// The same bytes once `bytes` before them are gone from the buffer; an owned argument stays as it is.
    #[expect(clippy::cast_possible_truncation, reason = "an offset in the buffer, below u32::MAX")]
    pub(super) fn moved_back(self, bytes: usize) -> Self {
        if self.len == OWNED { self } else { Self { start: self.start - bytes as u32, len: self.len } }
    }

    /// The same argument in a list where `owned` others come first.
    fn behind_owned(self, owned: usize) -> Self {
        if self.len == OWNED { Self::owned(self.start as usize + owned) } else { self }
    }

    /// The bytes, or nothing when the range does not fit (which the parser excludes).
    #[inline(always)]
    fn of<'a>(self, buffer: &'a [u8], owned: &'a [Bytes]) -> &'a [u8] {
        let start = self.start as usize;
        if self.len == OWNED {
            return owned.get(start).map_or(&[], |bytes| bytes);
        }
        buffer.get(start..start + self.len as usize).unwrap_or(&[])
    }
}

/// Which arguments of a batch form one request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct RequestRange {
    first: u32,
    argc: u32,
}

/// Every complete request of one read; reused from read to read.
#[derive(Default, Debug)]
pub struct Batch {
    pub(super) args: Vec<ArgRange>,
    pub(super) owned: Vec<Bytes>,
    requests: Vec<RequestRange>,
}

impl Batch {
    /// An empty batch; allocates nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many requests it holds.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.requests.len()
    }

    /// Adds a request whose arguments lie in the buffer at these offsets, with these lengths. The buffer is shorter than 4 GiB.
    pub fn add(&mut self, args: &[(usize, usize)]) {
        let first = self.args.len();
        self.args.extend(args.iter().map(|(start, len)| ArgRange::in_buffer(*start, *len)));
        self.close_request(first);
    }

    /// Forgets the requests from number `len` on.
    pub fn truncate(&mut self, len: usize) {
        if let Some(range) = self.requests.get(len) {
            self.args.truncate(range.first as usize);
            self.requests.truncate(len);
        }
    }

    /// True if it holds no request.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// Forgets all requests and drops the owned arguments; keeps the lists unless one request made them huge.
    pub fn clear(&mut self) {
        self.requests.clear();
        self.owned.clear();
        self.args.clear();
        self.args.shrink_to(KEPT_ARGS);
        self.owned.shrink_to(KEPT_ARGS / 4);
    }

    /// Forgets all requests and gives memory back but for that of so many `requests` of some arguments each.
    pub fn shrink_to(&mut self, requests: usize) {
        self.clear();
        self.requests.shrink_to(requests);
        self.args.shrink_to(4 * requests);
        self.owned.shrink_to(0);
    }

    /// Request number `index` (from 0, below [`len`](Self::len); beyond it the view has no arguments) over the buffer that the batch was parsed from. O(1).
    #[inline]
    #[must_use]
    pub fn request<'a>(&'a self, index: usize, buffer: &'a [u8]) -> RequestView<'a> {
        let args = self.requests.get(index).and_then(|range| {
            let first = range.first as usize;
            self.args.get(first..first + range.argc as usize)
        });
        RequestView { args: args.unwrap_or(&[]), owned: &self.owned, buffer }
    }

    /// All requests in the order they came, over the buffer that the batch was parsed from.
    pub fn requests<'a>(&'a self, buffer: &'a [u8]) -> impl ExactSizeIterator<Item = RequestView<'a>> {
        (0..self.len()).map(move |index| self.request(index, buffer))
    }

    /// Memory of the lists in bytes, owned arguments not counted.
    #[must_use]
    pub fn list_bytes(&self) -> usize {
        self.args.capacity() * size_of::<ArgRange>()
            + self.owned.capacity() * size_of::<Bytes>()
            + self.requests.capacity() * size_of::<RequestRange>()
    }

    /// Closes the request whose arguments begin at `first`.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "an argument takes a byte of a buffer below u32::MAX bytes")]
    pub(super) fn close_request(&mut self, first: usize) {
        let argc = self.args.len() - first;
        self.requests.push(RequestRange { first: first as u32, argc: argc as u32 });
    }

    /// Adds a request whose arguments were gathered elsewhere, leaving both lists empty.
    pub(super) fn adopt(&mut self, args: &mut Vec<ArgRange>, owned: &mut Vec<Bytes>) {
        let first = self.args.len();
        let before = self.owned.len();
        self.args.extend(args.drain(..).map(|arg| arg.behind_owned(before)));
        self.owned.append(owned);
        self.close_request(first);
    }
}

/// One request: argument 0 is the command's name. Cheap to copy; borrows the batch and the read buffer.
#[derive(Clone, Copy, Default, Debug)]
pub struct RequestView<'a> {
    args: &'a [ArgRange],
    owned: &'a [Bytes],
    buffer: &'a [u8],
}

impl<'a> RequestView<'a> {
    /// The number of arguments, the command's name included; at least 1 in a parsed request.
    #[inline]
    #[must_use]
    pub fn argc(&self) -> usize {
        self.args.len()
    }

    /// Argument `index`; empty beyond the last one. O(1).
    #[inline]
    #[must_use]
    pub fn arg(&self, index: usize) -> &'a [u8] {
        self.args.get(index).map_or(&[], |arg| arg.of(self.buffer, self.owned))
    }

    /// Argument `index`, or `None` beyond the last one. O(1).
    #[inline]
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&'a [u8]> {
        self.args.get(index).map(|arg| arg.of(self.buffer, self.owned))
    }

    /// The handle of an argument that was read into memory of its own; clone it to keep the value without a copy.
    ///
    /// `None` for the usual argument, which lies in the read buffer and must be copied to be kept.
    #[inline]
    #[must_use]
    pub fn owned(&self, index: usize) -> Option<&'a Bytes> {
        let arg = self.args.get(index)?;
        if arg.len == OWNED { self.owned.get(arg.start as usize) } else { None }
    }

    /// All arguments in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + use<'a> {
        let Self { args, owned, buffer } = *self;
        args.iter().map(move |arg| arg.of(buffer, owned))
    }

    /// The arguments from `first` on, as a request of their own (for a command inside a command).
    #[must_use]
    pub fn from_arg(&self, first: usize) -> Self {
        Self { args: self.args.get(first..).unwrap_or(&[]), ..*self }
    }

    /// The sum of the arguments' lengths in bytes. O(argc).
    #[must_use]
    pub fn payload_bytes(&self) -> usize {
        self.iter().map(<[u8]>::len).sum()
    }

    /// Whether that sum may be `bytes` or more: a test that reads no argument.
    #[inline]
    #[must_use]
    pub fn may_hold(&self, bytes: usize) -> bool {
        !self.owned.is_empty() || self.buffer.len() >= bytes
    }

    /// Appends the request as a RESP array, the form of the log and of the replication stream. O(bytes).
    pub fn encode(&self, out: &mut Vec<u8>) {
        encode(self.iter(), out);
    }

    /// A copy that outlives the read buffer; owned arguments are shared, not copied. O(bytes).
    #[must_use]
    pub fn to_owned_request(&self) -> OwnedRequest {
        let copied =
            (0..self.argc()).filter(|index| self.owned(*index).is_none()).map(|index| self.arg(index).len()).sum();
        let mut request = OwnedRequest::with_capacity(self.argc(), copied);
        for index in 0..self.argc() {
            match self.owned(index) {
                Some(bytes) => request.push_owned(bytes.clone()),
                None => request.push(self.arg(index)),
            }
        }
        request
    }
}

/// Appends `args` as a RESP array of bulk strings. O(bytes).
pub fn encode<'a>(args: impl ExactSizeIterator<Item = &'a [u8]>, out: &mut Vec<u8>) {
    let mut digits = itoa::Buffer::new();
    out.push(b'*');
    out.extend_from_slice(digits.format(args.len()).as_bytes());
    out.extend_from_slice(b"\r\n");
    for arg in args {
        out.push(b'$');
        out.extend_from_slice(digits.format(arg.len()).as_bytes());
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
}

/// A request with bytes of its own: a queued one, one read from a file, or one that a script makes.
#[derive(Clone, Default, Debug)]
pub struct OwnedRequest {
    args: Vec<ArgRange>,
    owned: Vec<Bytes>,
    bytes: Vec<u8>,
}

impl OwnedRequest {
    /// A request without arguments; allocates nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A request with room for `argc` arguments of `bytes` bytes together.
    #[must_use]
    pub fn with_capacity(argc: usize, bytes: usize) -> Self {
        Self { args: Vec::with_capacity(argc), owned: Vec::new(), bytes: Vec::with_capacity(bytes) }
    }

    /// A request of copied arguments. O(bytes).
    pub fn from_args<'a>(args: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut request = Self::new();
        for arg in args {
            request.push(arg);
        }
        request
    }

    /// Appends a copied argument. O(length).
    pub fn push(&mut self, arg: &[u8]) {
        let start = self.bytes.len();
        if start + arg.len() >= OWNED as usize {
            return self.push_owned(Bytes::copy_from_slice(arg));
        }
        self.bytes.extend_from_slice(arg);
        self.args.push(ArgRange::in_buffer(start, arg.len()));
    }

    /// Appends an argument that keeps its memory.
    pub fn push_owned(&mut self, arg: Bytes) {
        self.args.push(ArgRange::owned(self.owned.len()));
        self.owned.push(arg);
    }

    /// The request as handlers read it. O(1).
    #[must_use]
    pub fn view(&self) -> RequestView<'_> {
        RequestView { args: &self.args, owned: &self.owned, buffer: &self.bytes }
    }

    /// Memory held in bytes, shared arguments included in full.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        let lists = self.args.capacity() * size_of::<ArgRange>() + self.owned.capacity() * size_of::<Bytes>();
        lists + self.bytes.capacity() + self.owned.iter().map(Bytes::len).sum::<usize>()
    }

    /// Forgets the arguments, keeping the memory for the next request.
    pub fn clear(&mut self) {
        self.args.clear();
        self.owned.clear();
        self.bytes.clear();
    }
}
