//! The entry: one allocation that holds a key, what is known about it, and its value or a pointer to it.
//!
//! ```text
//! byte  0        representation (Repr)
//! byte  1        flags: 1 deadline present, 2 long key, 4 changed in place; above them the tally, lower 5 bits
//! byte  2        key length, when below 256
//! byte  3..6     access clock: seconds, 24 bits, wrapping; or minutes and a counter, under LFU policies
//! byte  6..8     length of an inline value, 11 bits; above it the tally, upper 5 bits
//! then           deadline, 8 bytes, if present        (8-aligned)
//!                integer or collection, 8 bytes, or large bytes, 32 (8-aligned)
//!                key length, 4 bytes, if the key is long
//!                key
//!                inline value
//! ```
//!
//! Invariant: the allocation's size is `size_class(shape.total())` of the shape that the header describes, so that it
//! can be freed, and overwritten in place, without a stored size. Must not know: the table, locks, the clock.

#![expect(unsafe_code, reason = "one allocation of variable layout per key; pays 40 bytes a key against Box and Vec")]

use crate::util::clock::UnixMs;
use crate::util::memory::size_class;
use crate::value::hash::Hash;
use crate::value::list::List;
use crate::value::object::{Kind, Object, ObjectMut, ObjectRef, Source};
use crate::value::set::Set;
use crate::value::sorted_set::SortedSet;
use crate::value::stream::Stream;
use crate::value::string::{INLINE_MAX, StringRef, StringSource};
use bytes::Bytes;
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::marker::PhantomData;
use std::ptr::NonNull;

const DEADLINE: u8 = 1;
const LONG_KEY: u8 = 2;
const CHANGED: u8 = 4;

const HEADER_BYTES: usize = 8;
const DEADLINE_BYTES: usize = 8;
const LONG_KEY_BYTES: usize = 4;
const ACCESS_MASK: u32 = 0x00ff_ffff;

/// The tally, ten bits of which eviction makes what it needs, lies above the flags and above the inline length.
const FLAG_BITS: u32 = 3;
const INLINE_LEN_BITS: u32 = 11;
const TALLY_LOW_BITS: u32 = 8 - FLAG_BITS;
const TALLY_LOW_MASK: u16 = (1 << TALLY_LOW_BITS) - 1;
const INLINE_LEN_MASK: u16 = (1 << INLINE_LEN_BITS) - 1;

/// How the value is held; the header's first byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
enum Repr {
    Int = 0,
    Inline = 1,
    Large = 2,
    List = 3,
    Hash = 4,
    Set = 5,
    SortedSet = 6,
    Stream = 7,
}

impl Repr {
    const fn fixed_bytes(self) -> usize {
        match self {
            Repr::Int => size_of::<i64>(),
            Repr::List | Repr::Hash | Repr::Set | Repr::SortedSet | Repr::Stream => size_of::<usize>(),
            Repr::Inline => 0,
            Repr::Large => size_of::<Bytes>(),
        }
    }
}

const _: () =
    assert!(size_of::<Header>() == HEADER_BYTES && align_of::<Bytes>() <= 8 && INLINE_MAX <= INLINE_LEN_MASK as usize);

#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Header {
    repr: Repr,
    flags: u8,
    short_key: u8,
    access: [u8; 3],
    inline_len: u16,
}

impl Header {
    #[inline]
    fn inline_len(self) -> usize {
        usize::from(self.inline_len & INLINE_LEN_MASK)
    }

    #[inline]
    fn tally(self) -> u16 {
        u16::from(self.flags) >> FLAG_BITS | self.inline_len >> INLINE_LEN_BITS << TALLY_LOW_BITS
    }

    #[inline]
    fn set_tally(&mut self, tally: u16) {
        let [low, _] = ((tally & TALLY_LOW_MASK) << FLAG_BITS).to_le_bytes();
        self.flags = self.flags & ((1 << FLAG_BITS) - 1) | low;
        self.inline_len = self.inline_len & INLINE_LEN_MASK | tally >> TALLY_LOW_BITS << INLINE_LEN_BITS;
    }
}

/// Where the parts of an entry lie; offsets in bytes from its start.
#[derive(Clone, Copy)]
struct Shape {
    fixed: usize,
    key: usize,
    key_len: usize,
    inline: usize,
    inline_len: usize,
}

impl Shape {
    #[inline]
    fn new(repr: Repr, flags: u8, key_len: usize, inline_len: usize) -> Shape {
        let fixed = HEADER_BYTES + if flags & DEADLINE != 0 { DEADLINE_BYTES } else { 0 };
        let key = fixed + repr.fixed_bytes() + if flags & LONG_KEY != 0 { LONG_KEY_BYTES } else { 0 };
        Shape { fixed, key, key_len, inline: key + key_len, inline_len }
    }

    #[inline]
    fn layout(self) -> Layout {
        // A key of at most u32::MAX bytes and a value of at most INLINE_MAX never overflow isize.
        Layout::from_size_align(size_class(self.inline + self.inline_len), 8).unwrap_or(Layout::new::<u64>())
    }
}

/// An entry that owns its allocation.
pub struct Entry(NonNull<u8>);

// SAFETY: an entry owns its allocation, and its parts (integers, `Bytes`) may be sent and shared.
unsafe impl Send for Entry {}
// SAFETY: as above; shared access only reads.
unsafe impl Sync for Entry {}

impl Entry {
    /// Allocates an entry. `key` is at most `u32::MAX` bytes (the protocol's limit on arguments sees to it).
    pub fn new<'v>(key: &[u8], value: impl Into<Source<'v>>, deadline: Option<UnixMs>) -> Entry {
        let value = value.into();
        let (header, shape) = describe(key.len(), &value, deadline);
        let layout = shape.layout();
        // SAFETY: every shape has at least the header's 8 bytes, so the layout is not empty.
        let start = NonNull::new(unsafe { alloc(layout) }).unwrap_or_else(|| handle_alloc_error(layout));
        // SAFETY: `start` is fresh and as large as the shape; `key` lies elsewhere.
        unsafe {
            start.as_ptr().add(shape.key).copy_from_nonoverlapping(key.as_ptr(), key.len());
            write_parts(start, header, shape, value, deadline);
        }
        Entry(start)
    }

    /// Reads the entry.
    #[inline]
    pub fn get(&self) -> EntryRef<'_> {
        EntryRef { start: self.0, borrow: PhantomData }
    }

    /// Changes the entry.
    #[inline]
    pub fn get_mut(&mut self) -> EntryMut<'_> {
        EntryMut { start: self.0, borrow: PhantomData }
    }

    /// The same value, deadline and access clock under another key. Large values and collections are moved, not copied.
    pub fn with_key(mut self, key: &[u8]) -> Entry {
        let (deadline, access, tally) = (self.get().deadline(), self.get().access(), self.get().tally());
        let taken = self.get_mut().take_pointed();
        let value = taken.unwrap_or_else(|| self.get().to_source());
        let mut renamed = Entry::new(key, value, deadline);
        renamed.get_mut().set_access(access);
        renamed.get_mut().set_tally(tally);
        renamed
    }

    /// The same entry in another allocation.
    pub fn moved(self) -> Entry {
        let layout = self.get().shape().layout();
        let old = self.into_raw();
        // SAFETY: every shape has at least the header's 8 bytes, so the layout is not empty.
        let start = NonNull::new(unsafe { alloc(layout) }).unwrap_or_else(|| handle_alloc_error(layout));
        // SAFETY: both have this layout, and are not the same; the old one is given up without dropping what it points to,
        // which the new one owns now.
        unsafe {
            start.copy_from_nonoverlapping(old, layout.size());
            dealloc(old.as_ptr(), layout);
        }
        Entry(start)
    }

    /// Gives the allocation away; [`Entry::from_raw`] takes it back.
    #[inline]
    pub fn into_raw(self) -> NonNull<u8> {
        std::mem::ManuallyDrop::new(self).0
    }

    /// Takes back what [`Entry::into_raw`] gave.
    ///
    /// # Safety
    /// `start` comes from `into_raw` and is not used again elsewhere.
    #[inline]
    pub unsafe fn from_raw(start: NonNull<u8>) -> Entry {
        Entry(start)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let shape = self.get().shape();
        drop(self.get_mut().take_pointed());
        // SAFETY: allocated with this layout (the module's invariant), and not used again.
        unsafe { dealloc(self.0.as_ptr(), shape.layout()) };
    }
}

fn describe(key_len: usize, value: &Source<'_>, deadline: Option<UnixMs>) -> (Header, Shape) {
    let (repr, inline_len, changed) = match value {
        Source::String(StringSource::Int(_)) => (Repr::Int, 0, false),
        Source::String(StringSource::Inline(bytes, changed)) => (Repr::Inline, bytes.len(), *changed),
        Source::String(StringSource::Large(_)) => (Repr::Large, 0, false),
        Source::Object(Object::List(_)) => (Repr::List, 0, false),
        Source::Object(Object::Hash(_)) => (Repr::Hash, 0, false),
        Source::Object(Object::Set(_)) => (Repr::Set, 0, false),
        Source::Object(Object::SortedSet(_)) => (Repr::SortedSet, 0, false),
        Source::Object(Object::Stream(_)) => (Repr::Stream, 0, false),
    };
    let short_key = u8::try_from(key_len).ok();
    let flags = if deadline.is_some() { DEADLINE } else { 0 }
        | if short_key.is_none() { LONG_KEY } else { 0 }
        | if changed { CHANGED } else { 0 };
    let inline_u16 = u16::try_from(inline_len).unwrap_or(u16::MAX);
    debug_assert!(inline_len <= INLINE_MAX);
    let header = Header { repr, flags, short_key: short_key.unwrap_or(0), access: [0; 3], inline_len: inline_u16 };
    (header, Shape::new(repr, flags, key_len, inline_len))
}

/// Writes everything but the key, which must already lie at `shape.key`.
///
/// # Safety
/// `start` owns at least `shape` bytes, aligned to 8; what is overwritten needs no drop; `value` lies elsewhere.
#[inline]
unsafe fn write_parts(start: NonNull<u8>, header: Header, shape: Shape, value: Source<'_>, deadline: Option<UnixMs>) {
    let at = start.as_ptr();
    // SAFETY: all offsets lie within the shape, and the header, deadline and fixed part at multiples of 8.
    unsafe {
        at.cast::<Header>().write(header);
        if let Some(deadline) = deadline {
            at.add(HEADER_BYTES).cast::<i64>().write(deadline.0);
        }
        if header.flags & LONG_KEY != 0 {
            let len = u32::try_from(shape.key_len).unwrap_or(u32::MAX);
            at.add(shape.key - LONG_KEY_BYTES).cast::<u32>().write_unaligned(len);
        }
        let fixed = at.add(shape.fixed);
        match value {
            Source::String(StringSource::Int(n)) => fixed.cast::<i64>().write(n),
            Source::String(StringSource::Inline(bytes, _)) => {
                at.add(shape.inline).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
            }
            Source::String(StringSource::Large(bytes)) => fixed.cast::<Bytes>().write(bytes),
            Source::Object(Object::List(it)) => fixed.cast::<List>().write(it),
            Source::Object(Object::Hash(it)) => fixed.cast::<Hash>().write(it),
            Source::Object(Object::Set(it)) => fixed.cast::<Set>().write(it),
            Source::Object(Object::SortedSet(it)) => fixed.cast::<SortedSet>().write(it),
            Source::Object(Object::Stream(it)) => fixed.cast::<Stream>().write(it),
        }
    }
}

/// The times that an entry waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Dues {
    /// When the key expires.
    pub key: Option<UnixMs>,
    /// When the first field of its hash does.
    pub fields: Option<UnixMs>,
}

impl Dues {
    /// The earlier one.
    #[inline]
    pub fn earliest(self) -> Option<UnixMs> {
        match (self.key, self.fields) {
            (Some(key), Some(fields)) => Some(key.min(fields)),
            (key, fields) => key.or(fields),
        }
    }
}

/// A shared look at an entry.
#[derive(Clone, Copy)]
pub struct EntryRef<'a> {
    start: NonNull<u8>,
    borrow: PhantomData<&'a Entry>,
}

impl<'a> EntryRef<'a> {
    /// Looks at the entry whose allocation starts at `start`.
    ///
    /// # Safety
    /// `start` comes from [`Entry::into_raw`], and the entry is neither changed nor freed during `'a`.
    #[inline]
    pub unsafe fn from_raw(start: NonNull<u8>) -> EntryRef<'a> {
        EntryRef { start, borrow: PhantomData }
    }

    #[inline]
    fn header(self) -> Header {
        // SAFETY: every entry starts with a header.
        unsafe { self.start.cast::<Header>().read() }
    }

    #[inline]
    fn shape(self) -> Shape {
        let header = self.header();
        let key_len = if header.flags & LONG_KEY == 0 { usize::from(header.short_key) } else { self.long_key_len() };
        Shape::new(header.repr, header.flags, key_len, header.inline_len())
    }

    #[cold]
    fn long_key_len(self) -> usize {
        let header = self.header();
        let key = Shape::new(header.repr, header.flags, 0, 0).key;
        // SAFETY: the flag says that the length stands before the key.
        unsafe { self.start.as_ptr().add(key - LONG_KEY_BYTES).cast::<u32>().read_unaligned() as usize }
    }

    #[inline]
    fn bytes(self, offset: usize, len: usize) -> &'a [u8] {
        // SAFETY: callers pass parts of the shape, which `write_parts` and `new` initialised; unchanged during 'a.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr().add(offset), len) }
    }

    /// The key.
    #[inline]
    pub fn key(self) -> &'a [u8] {
        let shape = self.shape();
        self.bytes(shape.key, shape.key_len)
    }

    /// When the key expires, if it does.
    #[inline]
    pub fn deadline(self) -> Option<UnixMs> {
        // SAFETY: the flag says that the deadline is there.
        (self.header().flags & DEADLINE != 0)
            .then(|| UnixMs(unsafe { self.start.as_ptr().add(HEADER_BYTES).cast::<i64>().read() }))
    }

    /// When something is to be done about the entry: the key expires, or a field of its hash. Before that, all is live.
    #[inline]
    pub fn due(self) -> Option<UnixMs> {
        self.dues().earliest()
    }

    /// Whether that has come.
    #[inline]
    pub fn is_due(self, now: UnixMs) -> bool {
        let header = self.header();
        let may_be = header.flags & DEADLINE != 0 || header.repr == Repr::Hash;
        may_be && self.due().is_some_and(|due| due <= now)
    }

    /// What the table keeps count of.
    #[inline]
    pub fn dues(self) -> Dues {
        let fields = if self.header().repr == Repr::Hash { self.fields_due() } else { None };
        Dues { key: self.deadline(), fields }
    }

    fn fields_due(self) -> Option<UnixMs> {
        if let Some(ObjectRef::Hash(hash)) = self.object() { hash.due().map(UnixMs) } else { None }
    }

    /// Whether the key has not expired at `now`: neither itself nor every field of its hash.
    #[inline]
    pub fn is_live(self, now: UnixMs) -> bool {
        self.due().is_none_or(|due| due > now) || self.outlives(now)
    }

    #[cold]
    fn outlives(self, now: UnixMs) -> bool {
        let over = matches!(self.object(), Some(ObjectRef::Hash(hash)) if hash.is_over(now.0));
        self.deadline().is_none_or(|deadline| deadline > now) && !over
    }

    /// The type of the value.
    #[inline]
    pub fn kind(self) -> Kind {
        match self.header().repr {
            Repr::Int | Repr::Inline | Repr::Large => Kind::String,
            Repr::List => Kind::List,
            Repr::Hash => Kind::Hash,
            Repr::Set => Kind::Set,
            Repr::SortedSet => Kind::SortedSet,
            Repr::Stream => Kind::Stream,
        }
    }

    /// The string, if it holds one.
    #[inline]
    pub fn string(self) -> Option<StringRef<'a>> {
        let (header, shape) = (self.header(), self.shape());
        // SAFETY: the representation says what lies at `fixed`; unchanged during 'a.
        let fixed = unsafe { self.start.as_ptr().add(shape.fixed) };
        Some(match header.repr {
            // SAFETY: as above.
            Repr::Int => StringRef::Int(unsafe { fixed.cast::<i64>().read() }),
            Repr::Inline => StringRef::Inline(self.bytes(shape.inline, shape.inline_len), header.flags & CHANGED != 0),
            // SAFETY: as above.
            Repr::Large => StringRef::Large(unsafe { &*fixed.cast::<Bytes>() }),
            _ => return None,
        })
    }

    /// The collection, if it holds one.
    #[inline]
    pub fn object(self) -> Option<ObjectRef<'a>> {
        // SAFETY: the representation says what lies at `fixed`; unchanged during 'a.
        unsafe {
            let fixed = self.start.as_ptr().add(self.shape().fixed);
            Some(match self.header().repr {
                Repr::Int | Repr::Inline | Repr::Large => return None,
                Repr::List => ObjectRef::List(&*fixed.cast::<List>()),
                Repr::Hash => ObjectRef::Hash(&*fixed.cast::<Hash>()),
                Repr::Set => ObjectRef::Set(&*fixed.cast::<Set>()),
                Repr::SortedSet => ObjectRef::SortedSet(&*fixed.cast::<SortedSet>()),
                Repr::Stream => ObjectRef::Stream(&*fixed.cast::<Stream>()),
            })
        }
    }

    /// The type's name, as TYPE answers it.
    pub fn type_name(self) -> &'static str {
        self.kind().name()
    }

    /// The encoding's name, as OBJECT ENCODING answers it.
    pub fn encoding(self) -> &'static str {
        match (self.string(), self.object()) {
            (_, Some(object)) => object.encoding(),
            (Some(StringRef::Int(_)), _) => "int",
            (Some(StringRef::Inline(bytes, false)), _) if is_embedded(self.key().len(), bytes.len()) => "embstr",
            _ => "raw",
        }
    }

    /// A copy of the value, to be stored under another key. As in Valkey, what is `raw` here stays so under a shorter key.
    pub fn to_source(self) -> Source<'a> {
        match (self.string(), self.object()) {
            (_, Some(object)) => Source::Object(object.to_object()),
            (Some(StringRef::Inline(bytes, _)), _) => {
                Source::String(StringSource::Inline(bytes, self.encoding() == "raw"))
            }
            (string, _) => Source::String(string.map_or(StringSource::Int(0), StringRef::to_source)),
        }
    }

    /// Seconds, modulo 2^24, at which the entry was last used.
    pub fn access(self) -> u32 {
        let [a, b, c] = self.header().access;
        u32::from_le_bytes([a, b, c, 0])
    }

    /// Ten bits of which eviction makes what it needs; 0 in a new entry.
    #[inline]
    pub fn tally(self) -> u16 {
        self.header().tally()
    }

    /// Bytes that the entry and what it alone owns take from the allocator.
    pub fn memory_bytes(self) -> usize {
        let own = self.shape().layout().size();
        let pointed = match self.string() {
            Some(StringRef::Large(bytes)) => size_class(bytes.len()),
            _ => self.object().map_or(0, ObjectRef::memory_bytes),
        };
        own + pointed
    }
}

/// Whether Valkey 9.1 would hold such a key and value in one allocation of 128 bytes, beside headers of 15 bytes, or of 17
/// when the key has 32 bytes or more. (It also counts 8 bytes for a deadline that the key had before; we do not.)
const fn is_embedded(key_len: usize, value_len: usize) -> bool {
    key_len + value_len <= if key_len < 32 { 113 } else { 111 }
}

/// A look at an entry that may change it.
pub struct EntryMut<'a> {
    start: NonNull<u8>,
    borrow: PhantomData<&'a mut Entry>,
}

impl<'a> EntryMut<'a> {
    /// As [`EntryRef::from_raw`], for changes.
    ///
    /// # Safety
    /// As there, and nobody else looks at the entry during `'a`.
    #[inline]
    pub unsafe fn from_raw(start: NonNull<u8>) -> EntryMut<'a> {
        EntryMut { start, borrow: PhantomData }
    }

    /// Reads the entry.
    #[inline]
    pub fn get(&self) -> EntryRef<'_> {
        EntryRef { start: self.start, borrow: PhantomData }
    }

    /// Notes a use at `seconds`.
    #[inline]
    pub fn set_access(&mut self, seconds: u32) {
        let [a, b, c, _] = (seconds & ACCESS_MASK).to_le_bytes();
        // SAFETY: every entry starts with a header, and `self` alone looks at it.
        unsafe { (*self.start.cast::<Header>().as_ptr()).access = [a, b, c] };
    }

    /// Sets the lowest ten bits of `tally` as the entry's.
    #[inline]
    pub fn set_tally(&mut self, tally: u16) {
        // SAFETY: every entry starts with a header, and `self` alone looks at it.
        unsafe { (*self.start.cast::<Header>().as_ptr()).set_tally(tally) };
    }

    /// Takes out up to `most` fields of a hash whose deadline has come; returns how many.
    pub fn expire_fields(&mut self, now: UnixMs, most: usize, gone: &mut dyn FnMut(&[u8])) -> usize {
        let again = EntryMut { start: self.start, borrow: PhantomData };
        match again.into_object() {
            Some(ObjectMut::Hash(hash)) => hash.expire(now.0, most, gone),
            _ => 0,
        }
    }

    /// Moves an existing deadline; `false` when there is none to move.
    pub fn move_deadline(&mut self, deadline: UnixMs) -> bool {
        let present = self.get().deadline().is_some();
        if present {
            // SAFETY: the flag says that the deadline is there.
            unsafe { self.start.as_ptr().add(HEADER_BYTES).cast::<i64>().write(deadline.0) };
        }
        present
    }

    /// The bytes of a string that lies outside of the entry, to be exchanged for equal ones that lie elsewhere.
    pub fn large_mut(&mut self) -> Option<&mut Bytes> {
        let (header, shape) = (self.get().header(), self.get().shape());
        // SAFETY: the representation says that bytes lie there, and `self` alone looks at them.
        (header.repr == Repr::Large).then(|| unsafe { &mut *self.start.as_ptr().add(shape.fixed).cast::<Bytes>() })
    }

    /// Replaces a value held as an integer by another; `false`, and nothing done, when it is held otherwise.
    #[inline]
    pub fn set_integer(&mut self, value: i64) -> bool {
        let (header, shape) = (self.get().header(), self.get().shape());
        let fits = header.repr == Repr::Int;
        if fits {
            // SAFETY: the representation says that an integer lies there, and `self` alone looks at it.
            unsafe { self.start.as_ptr().add(shape.fixed).cast::<i64>().write(value) };
        }
        fits
    }

    /// The collection, if it holds one, to change it.
    #[inline]
    pub fn into_object(self) -> Option<ObjectMut<'a>> {
        let (repr, shape) = (self.get().header().repr, self.get().shape());
        // SAFETY: the representation says what lies at `fixed`, and `self` alone looked at it, who is gone during 'a.
        unsafe {
            let fixed = self.start.as_ptr().add(shape.fixed);
            Some(match repr {
                Repr::Int | Repr::Inline | Repr::Large => return None,
                Repr::List => ObjectMut::List(&mut *fixed.cast::<List>()),
                Repr::Hash => ObjectMut::Hash(&mut *fixed.cast::<Hash>()),
                Repr::Set => ObjectMut::Set(&mut *fixed.cast::<Set>()),
                Repr::SortedSet => ObjectMut::SortedSet(&mut *fixed.cast::<SortedSet>()),
                Repr::Stream => ObjectMut::Stream(&mut *fixed.cast::<Stream>()),
            })
        }
    }

    /// Takes out what the entry points to, large bytes or a collection; `None` when the value lies in the entry. Empty
    /// bytes, or the integer 0, are left.
    #[inline]
    pub fn take_pointed(&mut self) -> Option<Source<'static>> {
        let (header, shape) = (self.get().header(), self.get().shape());
        if matches!(header.repr, Repr::Int | Repr::Inline) {
            return None;
        }
        if let Some(bytes) = self.take_large() {
            return Some(Source::String(StringSource::Large(bytes)));
        }
        // SAFETY: the representation says what lies at `fixed`; it is read once, because an integer, which takes as much
        // room, stands there afterwards.
        unsafe {
            let fixed = self.start.as_ptr().add(shape.fixed);
            let object = match header.repr {
                Repr::Int | Repr::Inline | Repr::Large => return None,
                Repr::List => Object::List(fixed.cast::<List>().read()),
                Repr::Hash => Object::Hash(fixed.cast::<Hash>().read()),
                Repr::Set => Object::Set(fixed.cast::<Set>().read()),
                Repr::SortedSet => Object::SortedSet(fixed.cast::<SortedSet>().read()),
                Repr::Stream => Object::Stream(fixed.cast::<Stream>().read()),
            };
            fixed.cast::<i64>().write(0);
            self.start.cast::<Header>().write(Header { repr: Repr::Int, ..header });
            Some(Source::Object(object))
        }
    }

    /// Takes the large bytes out and leaves empty ones; `None` when the value is not large.
    pub fn take_large(&mut self) -> Option<Bytes> {
        let (header, shape) = (self.get().header(), self.get().shape());
        // SAFETY: the representation says that a `Bytes` lies there, and `self` alone looks at it.
        (header.repr == Repr::Large)
            .then(|| std::mem::take(unsafe { &mut *self.start.as_ptr().add(shape.fixed).cast::<Bytes>() }))
    }

    /// Overwrites value and deadline in place, if the new shape has the same size class; the large bytes or the collection
    /// that were there are returned for the caller to drop where it wants. Gives `value` back if it does not fit.
    #[inline]
    pub fn overwrite<'v>(
        &mut self,
        value: StringSource<'v>,
        deadline: Option<UnixMs>,
    ) -> Result<Option<Source<'static>>, StringSource<'v>> {
        let old = self.get().shape();
        let value = Source::String(value);
        let (mut header, shape) = describe(old.key_len, &value, deadline);
        if shape.layout().size() != old.layout().size() {
            return if let Source::String(value) = value { Err(value) } else { Ok(None) };
        }
        let dropped = self.take_pointed();
        header.access = self.get().header().access;
        header.set_tally(self.get().tally());
        let at = self.start.as_ptr();
        // SAFETY: both shapes fit the allocation, which `self` alone looks at; what it may have
        // pointed to has been taken out; the key moves before anything is written around it.
        unsafe {
            if shape.key != old.key {
                std::ptr::copy(at.add(old.key), at.add(shape.key), old.key_len);
            }
            write_parts(self.start, header, shape, value, deadline);
        }
        Ok(dropped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn source(kind: u8, bytes: &[u8]) -> StringSource<'_> {
        match kind % 3 {
            0 => StringSource::Int(bytes.len() as i64 * 7919),
            1 => StringSource::Inline(&bytes[..bytes.len().min(INLINE_MAX)], kind > 3),
            _ => StringSource::Large(Bytes::copy_from_slice(bytes)),
        }
    }

    fn text_of(value: &StringSource<'_>) -> Vec<u8> {
        match value {
            StringSource::Int(n) => n.to_string().into_bytes(),
            StringSource::Inline(bytes, _) => bytes.to_vec(),
            StringSource::Large(bytes) => bytes.to_vec(),
        }
    }

    proptest! {
        #[test]
        fn holds_what_it_was_given_through_overwrites(
            key in prop::collection::vec(any::<u8>(), 0..600),
            steps in prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..1500), prop::option::of(any::<i64>())), 1..12),
        ) {
            let mut entry = Entry::new(&key, StringSource::Int(0), None);
            for (kind, bytes, deadline) in &steps {
                let (value, deadline) = (source(*kind, bytes), deadline.map(UnixMs));
                let text = text_of(&value);
                if let Err(value) = entry.get_mut().overwrite(value, deadline) {
                    entry = Entry::new(&key, value, deadline);
                }
                entry.get_mut().set_access(u32::from(*kind) << 16);
                prop_assert_eq!(entry.get().key(), &key[..]);
                prop_assert_eq!(&entry.get().string().unwrap().text()[..], &text[..]);
                prop_assert_eq!(entry.get().deadline(), deadline);
                prop_assert_eq!(entry.get().access(), u32::from(*kind) << 16);
            }
        }
    }

    /// Lengths at which Valkey 9.1 changes from `embstr` to `raw`.
    #[test]
    fn encodings_are_those_of_valkey() {
        for (key, longest) in [(1, 112), (10, 103), (31, 82), (32, 79), (100, 11)] {
            for (value, encoding) in [(longest, "embstr"), (longest + 1, "raw")] {
                let (key, text) = (vec![b'k'; key], vec![b'x'; value]);
                let name = |changed| Entry::new(&key, StringSource::Inline(&text, changed), None).get().encoding();
                assert_eq!((name(false), name(true)), (encoding, "raw"), "{} {value}", key.len());
            }
        }
    }

    #[test]
    fn a_short_string_takes_key_value_and_eight_bytes() {
        let entry = Entry::new(b"key:000000000001", StringSource::Inline(&[b'x'; 64], false), None);
        assert_eq!(entry.get().memory_bytes(), 96);
        let entry = Entry::new(b"key:000000000001", StringSource::Inline(&[b'x'; 64], false), Some(UnixMs(1)));
        assert_eq!(entry.get().memory_bytes(), 96);
    }
}
