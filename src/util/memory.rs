//! The counting allocator behind `used_memory`.
//!
//! Every block is counted at the size class that the allocator hands out, in a counter of the thread, which flows into
//! the global one whenever it has drifted by some kilobytes: the global figure is exact to [`DRIFT_BYTES`] a thread, and
//! counting costs an addition. Must not know: what the memory is for.

#![expect(unsafe_code, reason = "a global allocator is an unsafe trait; counting in it is the only exact way")]

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use tikv_jemalloc_ctl::{epoch, raw, stats};
use tikv_jemallocator::Jemalloc;

/// How far a thread's own count may drift before it is added to the global one, in bytes.
pub const DRIFT_BYTES: i64 = 16 * 1024;

static USED: AtomicI64 = AtomicI64::new(0);

static STARTUP: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static DRIFT: Cell<i64> = const { Cell::new(0) };
}

/// Adds what this thread has counted to the global figure.
#[inline]
pub fn flush_drift() {
    // During the last moments of a thread its counter is gone, and has been added.
    let drift = DRIFT.try_with(|drift| drift.replace(0)).unwrap_or(0);
    if drift != 0 {
        USED.fetch_add(drift, Relaxed);
    }
}

/// Bytes in use, over all threads: this one's exactly, others' to [`DRIFT_BYTES`].
#[inline]
pub fn used_bytes() -> u64 {
    flush_drift();
    u64::try_from(USED.load(Relaxed)).unwrap_or(0)
}

/// Notes that what is in use now is the server without data; to be called once, before it serves.
pub fn note_startup() {
    STARTUP.store(used_bytes(), Relaxed);
}

/// Bytes that were in use before the server served.
pub fn startup_bytes() -> u64 {
    STARTUP.load(Relaxed)
}

/// Bytes of the process that are in the machine's memory; 0 where the system does not tell. Some 20 us.
pub fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()).and_then(|word| word.parse::<u64>().ok());
    kilobytes.unwrap_or(0).saturating_mul(1024)
}

/// Name of the allocator, as INFO and `--version` give it.
pub const ALLOCATOR: &str = "jemalloc";

/// The pseudo-arena that stands for all arenas in jemalloc's controls (`MALLCTL_ARENAS_ALL`).
const PURGE_ALL: &[u8] = b"arena.4096.purge\0";

/// Milliseconds after which unused pages are given back: jemalloc's default is 10,000.
const DECAY_MS: isize = 500;
const DECAY_OF_NEW: &[u8] = b"arenas.dirty_decay_ms\0";
const DECAY_OF_ALL: &[u8] = b"arena.4096.dirty_decay_ms\0";

/// What the allocator says of itself, in bytes.
#[derive(Clone, Copy, Default, Debug)]
pub struct AllocatorFigures {
    /// Handed out.
    pub allocated: u64,
    /// In pages that hold something handed out.
    pub active: u64,
    /// In the machine's memory, the allocator's own needs included.
    pub resident: u64,
}

/// The allocator's own figures, refreshed; zeroes where it does not tell.
pub fn allocator_figures() -> AllocatorFigures {
    let _ = epoch::advance();
    let bytes = |figure: Result<usize, tikv_jemalloc_ctl::Error>| figure.map_or(0, |bytes| bytes as u64);
    AllocatorFigures {
        allocated: bytes(stats::allocated::read()),
        active: bytes(stats::active::read()),
        resident: bytes(stats::resident::read()),
    }
}

/// Asks the allocator to give unused memory back to the system. Takes milliseconds when there is much.
pub fn purge() {
    // SAFETY: the control takes no value, and the name ends with a zero.
    let _ = unsafe { raw::write(PURGE_ALL, ()) };
}

/// Lets unused memory go back to the system soon, and from a thread of the allocator's own: segments that grow leave blocks
/// behind that the next keys do not need. To be called once, before other threads start.
pub fn tune() {
    // SAFETY: both controls take a signed size, and the names end with a zero.
    let _ = unsafe { raw::write(DECAY_OF_NEW, DECAY_MS) };
    // SAFETY: as above.
    let _ = unsafe { raw::write(DECAY_OF_ALL, DECAY_MS) };
    let _ = tikv_jemalloc_ctl::background_thread::write(true);
}

/// The allocator's version.
pub fn allocator_version() -> String {
    let text = tikv_jemalloc_ctl::version::read().unwrap_or_default();
    text.split('-').next().unwrap_or("").to_owned()
}

/// The size that the allocator hands out for `bytes`: multiples of 16 to 128, then four steps a doubling.
#[inline]
pub const fn size_class(bytes: usize) -> usize {
    if bytes <= 128 {
        let bytes = if bytes == 0 { 1 } else { bytes };
        return bytes.next_multiple_of(16);
    }
    bytes.next_multiple_of(1 << ((bytes - 1).ilog2() - 2))
}

#[inline]
fn count(change: i64) {
    // During the last moments of a thread its counter is gone; then the global one is changed at once.
    let counted = DRIFT.try_with(|drift| {
        let sum = drift.get() + change;
        if sum.abs() < DRIFT_BYTES {
            drift.set(sum);
        } else {
            drift.set(0);
            USED.fetch_add(sum, Relaxed);
        }
    });
    if counted.is_err() {
        USED.fetch_add(change, Relaxed);
    }
}

fn signed(bytes: usize) -> i64 {
    i64::try_from(size_class(bytes)).unwrap_or(i64::MAX)
}

/// jemalloc, counted.
pub struct Counting;

// SAFETY: every call is passed on unchanged to an allocator that keeps the contract; counting touches no block.
unsafe impl GlobalAlloc for Counting {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(signed(layout.size()));
        // SAFETY: the caller's promises are passed on.
        unsafe { Jemalloc.alloc(layout) }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count(-signed(layout.size()));
        // SAFETY: the caller's promises are passed on.
        unsafe { Jemalloc.dealloc(block, layout) }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(signed(layout.size()));
        // SAFETY: the caller's promises are passed on.
        unsafe { Jemalloc.alloc_zeroed(layout) }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        count(signed(bytes) - signed(layout.size()));
        // SAFETY: the caller's promises are passed on.
        unsafe { Jemalloc.realloc(block, layout, bytes) }
    }
}
