//! What one client wishes to be told of the keys that it caches.
//!
//! Must not know: who tells it, other clients.

use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};

/// The names of channels, patterns and prefixes, shared by those who listen.
pub type Name = Arc<[u8]>;

/// How a client wants to be told, one bit each.
pub mod mode {
    /// At all.
    pub const ON: u32 = 1;
    /// Of all keys with its prefixes, read or not.
    pub const BROADCAST: u32 = 1 << 1;
    /// Only of what it reads behind CLIENT CACHING YES.
    pub const OPT_IN: u32 = 1 << 2;
    /// Not of what it reads behind CLIENT CACHING NO.
    pub const OPT_OUT: u32 = 1 << 3;
    /// Not of its own changes.
    pub const NO_LOOP: u32 = 1 << 4;
    /// CLIENT CACHING was said for the next command.
    pub const CACHING: u32 = 1 << 5;
    /// The client that was to be told in its place is gone.
    pub const BROKEN: u32 = 1 << 6;
}

/// What a client is told of, as its own connection sets it and others read it.
#[derive(Default, Debug)]
pub struct Tracked {
    bits: AtomicU32,
    redirect: AtomicU64,
    prefixes: Mutex<BTreeSet<Name>>,
    /// See [`Tracked::prefix_bytes`].
    prefix_bytes: AtomicUsize,
}

/// What a prefix takes beside its text: its places in the tables of the client and of the server.
const PREFIX_BYTES: usize = 128;

impl Tracked {
    /// Bits of [`mode`]; one load.
    #[inline]
    pub fn mode(&self) -> u32 {
        self.bits.load(Relaxed)
    }

    /// Whether every one of these bits is set.
    #[inline]
    pub fn is(&self, bits: u32) -> bool {
        self.mode() & bits == bits
    }

    /// The client that is told in its place; 0 for itself.
    pub fn redirect(&self) -> u64 {
        self.redirect.load(Relaxed)
    }

    /// The prefixes of broadcasting, in order.
    pub fn prefixes(&self) -> Vec<Name> {
        self.prefixes.lock().iter().cloned().collect()
    }

    /// Notes that CLIENT CACHING was said, or that its effect is over.
    pub fn set_caching(&self, on: bool) {
        self.set(mode::CACHING, on);
    }

    /// Notes that the client that was to be told in its place is gone.
    pub fn set_broken(&self) {
        self.set(mode::BROKEN, true);
    }

    /// Takes a wish over; prefixes are added apart.
    pub fn begin(&self, wish: &Wish<'_>) {
        self.redirect.store(wish.redirect, Relaxed);
        let caching = self.mode() & mode::CACHING;
        self.bits.store(wish.bits | mode::ON | caching, Relaxed);
    }

    /// Wishes no more; `false` when it did not before. Prefixes are taken apart.
    pub fn end(&self) -> bool {
        self.redirect.store(0, Relaxed);
        self.bits.swap(0, Relaxed) & mode::ON != 0
    }

    /// Adds a prefix of broadcasting.
    pub fn add_prefix(&self, prefix: Name) {
        let bytes = prefix.len() + PREFIX_BYTES;
        if self.prefixes.lock().insert(prefix) {
            self.prefix_bytes.fetch_add(bytes, Relaxed);
        }
    }

    /// Bytes that the prefixes take, those of tables estimated.
    pub fn prefix_bytes(&self) -> usize {
        self.prefix_bytes.load(Relaxed)
    }

    /// Takes the prefixes out.
    pub fn take_prefixes(&self) -> BTreeSet<Name> {
        self.prefix_bytes.store(0, Relaxed);
        std::mem::take(&mut *self.prefixes.lock())
    }

    fn set(&self, bits: u32, on: bool) {
        let _ = if on { self.bits.fetch_or(bits, Relaxed) } else { self.bits.fetch_and(!bits, Relaxed) };
    }

    /// Whether the keys that the present command reads are to be entered.
    pub fn remembers(&self) -> bool {
        let bits = self.mode();
        let caching = bits & mode::CACHING != 0;
        bits & (mode::ON | mode::BROADCAST) == mode::ON
            && (bits & mode::OPT_IN == 0 || caching)
            && !(bits & mode::OPT_OUT != 0 && caching)
    }
}

/// What a client asks for with CLIENT TRACKING ON.
#[derive(Default, Debug)]
pub struct Wish<'a> {
    /// Bits of [`mode`].
    pub bits: u32,
    /// The client that is told in its place; 0 for itself.
    pub redirect: u64,
    /// Prefixes of broadcasting.
    pub prefixes: Vec<&'a [u8]>,
}
