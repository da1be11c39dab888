//! The counting allocator behind `used_memory`.
//!
//! Every block is counted at the size class that the allocator hands out, in a counter of the thread, which flows into
//! the global one whenever it has drifted by some kilobytes: the global figure is exact to [`MOST_DRIFT_BYTES`] a thread, to less where
//! memory is limited to little ([`set_drift_for`]), and counting costs an addition. Must not know: what the memory is for.

#![expect(unsafe_code, reason = "a global allocator is an unsafe trait; counting in it is the only exact way")]

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering::Relaxed};
use tikv_jemalloc_ctl::{arenas, background_thread, epoch, raw, stats};
use tikv_jemalloc_sys::mallctl;
use tikv_jemallocator::Jemalloc;

/// How far a thread's own count may drift at most before it is added to the global one, in bytes.
pub const MOST_DRIFT_BYTES: i64 = 16 * 1024;

/// A thread may drift by one part in so many of what memory is limited to.
const DRIFT_SHARE: u64 = 4096;

/// How far a thread's own count may drift now.
static DRIFT_BYTES: AtomicI64 = AtomicI64::new(MOST_DRIFT_BYTES);

static USED: AtomicI64 = AtomicI64::new(0);

static STARTUP: AtomicU64 = AtomicU64::new(0);

/// Of these, bytes of what the server keeps about itself: [`as_own`], [`note_own`].
static OWN: AtomicI64 = AtomicI64::new(0);

thread_local! {
    static DRIFT: Cell<i64> = const { Cell::new(0) };
    /// Whether this thread's count is the server's own.
    static OWNING: Cell<bool> = const { Cell::new(false) };
}

thread_local!(static LAST: Last = const { Last });

/// The end of a thread.
struct Last;

impl Drop for Last {
    fn drop(&mut self) {
        flush_drift();
    }
}

/// Has what this thread has counted added when it ends; to be called first by one that does not live as long as the server. Each snapshot
/// would otherwise leave its writer's last kilobytes out, so that a server that saves every minute counted megabytes wrong after a day. A
/// count that added itself would cost each block a look whether its thread is ending.
pub fn count_to_the_end() {
    LAST.with(|_| ());
}

/// Adds what this thread has counted to the global figure.
#[inline]
pub fn flush_drift() {
    // During the last moments of a thread its counter may be gone.
    let drift = DRIFT.try_with(|drift| drift.replace(0)).unwrap_or(0);
    if drift != 0 {
        add(drift);
    }
}

fn add(drift: i64) {
    if OWNING.try_with(Cell::get).unwrap_or(false) {
        OWN.fetch_add(drift, Relaxed);
    }
    USED.fetch_add(drift, Relaxed);
}

/// Bytes in use, over all threads: this one's exactly, others' as exactly as [`set_drift_for`] was asked.
#[inline]
pub fn used_bytes() -> u64 {
    flush_drift();
    u64::try_from(USED.load(Relaxed)).unwrap_or(0)
}

/// Counts as exactly as `limit` bytes for everything ask for; 0: there is no limit. With a megabyte, sixteen kilobytes that a thread keeps
/// to itself are as many as a fifth of the keys take, and come and go by chance.
pub fn set_drift_for(limit: u64) {
    let share = i64::try_from(limit / DRIFT_SHARE).unwrap_or(MOST_DRIFT_BYTES);
    DRIFT_BYTES.store(if limit == 0 { MOST_DRIFT_BYTES } else { share.clamp(1, MOST_DRIFT_BYTES) }, Relaxed);
}

/// While one of these lives, what its thread takes and gives back is the server's own.
struct Owning {
    before: bool,
}

impl Owning {
    fn begin() -> Owning {
        flush_drift();
        Owning { before: OWNING.try_with(|owning| owning.replace(true)).unwrap_or(true) }
    }
}

impl Drop for Owning {
    fn drop(&mut self) {
        flush_drift();
        let _ = OWNING.try_with(|owning| owning.set(self.before));
    }
}

/// Does `work`, and counts what it takes and gives back as the server's own: something that holds no data, such as the distribution of a
/// command's run times. Nobody sees it counted as data meanwhile, or keys would go for what is only passing.
pub fn as_own<R>(work: impl FnOnce() -> R) -> R {
    let _owning = Owning::begin();
    work()
}

/// Counts `bytes` that were taken as data as the server's own from now on, or less of them when negative: they are no longer data, and will
/// be given back some time, by whoever comes by.
pub fn note_own(bytes: i64) {
    OWN.fetch_add(bytes, Relaxed);
}

/// Bytes that are in use by the server itself, as [`as_own`] and [`note_own`] told.
pub fn own_bytes() -> u64 {
    u64::try_from(OWN.load(Relaxed)).unwrap_or(0)
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

/// How jemalloc starts.
///
/// - `dirty_decay_ms`: unused memory goes back to the system after half a second (the default is 10 s, see also [`keep_unused`]). Segments
///   that grow leave blocks behind that the next keys do not need.
/// - `slab_sizes`: the pages of a slab, for the size classes in which entries and small collections lie. jemalloc keeps 128
///   bytes of bookkeeping a slab, and by default makes a slab as small as it can: one page of 32 blocks of 128 bytes,
///   which is 4 bytes for each. These are two to four times as long and leave no rest. (Longer still saves less than a byte a
///   key, and a slab stays while one block of it is used: after 98 % of the keys were deleted, slabs of 64 to 512 blocks
///   throughout held 56 MB where the defaults hold 46 and these 49; after 90 % all hold the same.)
/// - `process_madvise_max_batch`: what goes back does so in up to 128 stretches a call, and newer kernels interrupt the processors that
///   the server runs on once for all of them (`.cargo/config.toml` lets the allocator know of the call; a kernel that does not refuses it
///   once, and is then told of each stretch by itself).
const SETTINGS: &str = concat!(
    "dirty_decay_ms:500,process_madvise_max_batch:128,",
    "slab_sizes:32-32:2|64-64:4|128-128:4|160-160:10|256-256:4|320-320:20|512-512:4\0"
);

/// Where jemalloc looks for its settings, before the first allocation: a pointer to text that ends with a zero.
// SAFETY: the name is jemalloc's own, which declares it weak for programs to define, with a pointer's layout.
#[unsafe(export_name = "_rjem_malloc_conf")]
#[used]
static MALLOC_CONF: Option<&[u8; SETTINGS.len()]> = SETTINGS.as_bytes().first_chunk();

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

/// The allocator's own figures as they were when last asked for, by whomever; zeroes where it does not tell.
static FIGURES: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];

/// How many threads are in [`purge`] or [`keep_unused`], and the allocator does not tell its figures at once.
static PURGES: AtomicUsize = AtomicUsize::new(0);

/// Counted in [`PURGES`] until it is dropped.
struct Purging;

impl Purging {
    fn begin() -> Purging {
        PURGES.fetch_add(1, Relaxed);
        Purging
    }
}

impl Drop for Purging {
    fn drop(&mut self) {
        PURGES.fetch_sub(1, Relaxed);
    }
}

/// Whether unused memory is kept, as [`keep_unused`] told.
static KEEPS_UNUSED: AtomicBool = AtomicBool::new(false);

/// Asks the allocator for its figures, 0.2 ms. Waits for whoever gives memory back to the system, which may take milliseconds.
pub fn refresh_figures() -> AllocatorFigures {
    let _ = epoch::advance();
    for (kept, figure) in FIGURES.iter().zip([stats::allocated::read(), stats::active::read(), stats::resident::read()])
    {
        kept.store(figure.map_or(0, |bytes| bytes as u64), Relaxed);
    }
    kept_figures()
}

fn kept_figures() -> AllocatorFigures {
    let [allocated, active, resident] = FIGURES.each_ref().map(|figure| figure.load(Relaxed));
    AllocatorFigures { allocated, active, resident }
}

/// The allocator's figures: while a [`purge`] is in progress those from when it began, so as not to wait for it, else new ones, 0.2 ms.
pub fn allocator_figures() -> AllocatorFigures {
    if PURGES.load(Relaxed) > 0 { kept_figures() } else { refresh_figures() }
}

/// Asks the allocator to give unused memory back to the system; `false` when it refuses. Takes milliseconds when there is much.
pub fn purge() -> bool {
    refresh_figures();
    let _purging = Purging::begin();
    // SAFETY: the name ends with a zero; the control takes no value and gives none, and refuses pointers to either, also to none.
    unsafe { mallctl(PURGE_ALL.as_ptr().cast(), null_mut(), null_mut(), null_mut(), 0) == 0 }
}

/// What [`SETTINGS`] say, in milliseconds.
const DECAY_MS: isize = 500;

/// What the allocator is told while memory is kept: that it goes back never.
const KEEP_MS: isize = -1;

/// Lets the allocator keep the memory that is given back to it, or give it on to the system again as time goes by, from threads of its own,
/// which inherit the caller's wishes of processors; `false` when it has none, and whoever takes or gives a block does that now and then.
/// While millions of blocks are freed in the order of their hashes, what is unused lies scattered, and goes back a page or two
/// at a time: a system call each, and an interruption of every processor that the server runs on. The threads end while memory is kept: they
/// would sleep without end, and whoever frees a page would wake them, a call each. 0.1 ms, and as long as they are at work.
pub fn keep_unused(keep: bool) -> bool {
    KEEPS_UNUSED.store(keep, Relaxed);
    let _purging = Purging::begin();
    if keep {
        set_decay(DECAY_MS, KEEP_MS);
        background_thread::write(false).is_ok()
    } else {
        set_decay(KEEP_MS, DECAY_MS);
        background_thread::write(true).is_ok()
    }
}

/// Tells the arenas that have the first time the second one; not those that are not there yet, nor those that have another.
fn set_decay(from: isize, to: isize) {
    for arena in 0..arenas::narenas::read().unwrap_or(0) {
        let name = format!("arena.{arena}.dirty_decay_ms\0");
        // SAFETY: the control is a signed word of the machine's width, and the name ends with a zero.
        unsafe {
            if raw::read(name.as_bytes()) == Ok(from) {
                let _ = raw::write(name.as_bytes(), to);
            }
        }
    }
}

/// Whether much has just been freed: what is unused is kept for a moment ([`keep_unused`]), or on its way back to the system ([`purge`]).
pub fn is_freeing_much() -> bool {
    KEEPS_UNUSED.load(Relaxed) || PURGES.load(Relaxed) > 0
}

/// What the allocator says of the slab that a block lies in.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct SlabUse {
    free: usize,
    blocks: usize,
    bytes: usize,
}

const SLAB_USE: &[u8] = b"experimental.utilization.batch_query\0";

/// A slab with less than this in use is better emptied, in eighths.
const SPARSE_EIGHTHS: usize = 7;

/// Finds those of `blocks` that lie in slabs (groups of blocks of one size) of which more than an eighth is free: moved
/// elsewhere, they would leave whole pages free. Some 50 ns a block. None where the allocator does not tell. Returns the bytes that
/// are free in these slabs, shared out among the blocks in use: what moving the ones found would win.
pub fn find_sparse(blocks: &[*const u8], sparse: &mut Vec<bool>) -> usize {
    sparse.clear();
    let mut uses = vec![SlabUse::default(); blocks.len()];
    let mut len = size_of_val(&uses[..]);
    // SAFETY: the name ends with a zero; both arrays are as long as is said, the second one in `len`; the control reads the
    // first and writes the second.
    let failed = !blocks.is_empty()
        && unsafe {
            mallctl(
                SLAB_USE.as_ptr().cast(),
                uses.as_mut_ptr().cast(),
                &raw mut len,
                blocks.as_ptr().cast_mut().cast(),
                size_of_val(blocks),
            ) != 0
        };
    sparse.extend(uses.iter().map(|slab| !failed && slab.is_sparse()));
    uses.iter().zip(&*sparse).filter(|(_, sparse)| **sparse).map(|(slab, _)| slab.share_of_free()).sum()
}

impl SlabUse {
    fn used(&self) -> usize {
        self.blocks - self.free.min(self.blocks)
    }

    fn is_sparse(&self) -> bool {
        self.blocks > 1 && self.used() * 8 < self.blocks * SPARSE_EIGHTHS
    }

    /// Free bytes for each block in use.
    fn share_of_free(&self) -> usize {
        self.bytes * self.free / self.blocks.max(1) / self.used().max(1)
    }
}

/// Lets this thread take and give blocks without a cache of its own, so that what it moves fills the fullest pages instead
/// of the gaps that it has just made. To be called once by a thread that compacts.
pub fn forgo_cache() {
    // SAFETY: the control takes a boolean, and the name ends with a zero.
    let _ = unsafe { raw::write(b"thread.tcache.enabled\0", false) };
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
        if sum.abs() < DRIFT_BYTES.load(Relaxed) {
            drift.set(sum);
        } else {
            drift.set(0);
            add(sum);
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

#[cfg(test)]
mod tests {
    use super::*;

    const HUGE: i64 = 1 << 40;

    /// MEMORY PURGE once answered OK and did nothing: the allocator refused.
    #[test]
    fn purging_gives_back_what_is_unused() {
        // Of jemalloc, which is not the allocator of these tests: nobody else takes much from it meanwhile.
        let layout = Layout::from_size_align(64 * 1024, 8).expect("a layout");
        let take = || {
            // SAFETY: the layout is not empty, and the block is written within its bounds.
            unsafe {
                let block = Jemalloc.alloc(layout);
                block.write_bytes(1, layout.size());
                block
            }
        };
        let blocks: Vec<*mut u8> = (0..1000).map(|_| take()).collect();
        let full = refresh_figures().resident;
        for block in blocks {
            // SAFETY: allocated above with this layout, and used no more.
            unsafe { Jemalloc.dealloc(block, layout) };
        }
        assert!(purge());
        let left = refresh_figures().resident;
        assert!(left + 50_000_000 < full, "{left} of {full}");
    }

    #[test]
    fn what_is_unused_is_kept_and_given_back() {
        // SAFETY: a signed word of the machine's width, and the name ends with a zero.
        let decay = || unsafe { raw::read::<isize>(b"arena.0.dirty_decay_ms\0") }.expect("the first arena is there");
        assert_eq!(decay(), DECAY_MS);
        keep_unused(true);
        assert_eq!(decay(), KEEP_MS);
        keep_unused(true);
        keep_unused(false);
        assert_eq!(decay(), DECAY_MS);
    }

    /// What was the server's own was noted only behind the work: meanwhile other threads took it for data, and evicted keys for it.
    #[test]
    fn what_is_the_servers_own_is_so_from_the_first_moment() {
        let more = |than: u64| own_bytes() > than + HUGE.unsigned_abs() / 2;
        let before = own_bytes();
        as_own(|| {
            count(HUGE);
            assert!(more(before), "while it goes on");
            let inner = own_bytes();
            as_own(|| count(HUGE));
            assert!(more(inner));
            count(-HUGE);
        });
        assert!(more(before), "and behind it");
        let behind = own_bytes();
        count(HUGE);
        flush_drift();
        assert!(!more(behind), "what comes then is data");
        count(-HUGE);
        as_own(|| count(-HUGE));
        assert!(!more(before));
        note_own(HUGE);
        assert!(more(before));
        note_own(-HUGE);
    }
}
