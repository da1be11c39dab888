//! When memory that is no longer used goes back to the system.
//!
//! As a rule the allocator sees to that by itself, some of it ten times a second, within half a second. While much is being freed, by
//! a deadline that millions of keys share, a flush or a lowered limit, it would give back pages one by one that are neighbours a moment later, and take
//! a processor from those who serve requests for milliseconds at a time. So a thread of its own watches the bytes in use: while these fall
//! fast the allocator keeps what it has, and when they no longer do all of it goes back at once, in long stretches. Must not know: what the
//! memory was used for.

use crate::util::clock::Ticks;
use crate::util::memory::{keep_unused, purge, used_bytes};
use std::time::Duration;

/// Between two looks at the bytes in use.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The same while they fall fast.
const FAST_LOOK_EVERY: Duration = Duration::from_millis(50);

/// They fall fast when there are so many fewer than at the last look.
const MUCH_BYTES: u64 = 8 << 20;

/// They no longer do when there are not even so many fewer.
const LITTLE_BYTES: u64 = 1 << 20;

/// Memory is kept no longer than this.
const LONGEST_NANOS: u64 = 5_000_000_000;

/// So long after memory was last kept all that is unused goes back once more: what had not been freed by then, and too slowly since.
const AGAIN_NANOS: u64 = 1_000_000_000;

/// Runs for ever. Blocks.
pub fn run() {
    // Whoever was here before may have ended in between.
    if !keep_unused(false) {
        tracing::warn!("The allocator has no thread of its own: requests give unused memory back");
    }
    let (mut before, mut kept_since, mut purged) = (used_bytes(), None::<Ticks>, None::<Ticks>);
    loop {
        std::thread::sleep(if kept_since.is_some() { FAST_LOOK_EVERY } else { LOOK_EVERY });
        let used = used_bytes();
        let fallen = before.saturating_sub(used);
        before = used;
        match kept_since {
            None if fallen >= MUCH_BYTES => {
                keep_unused(true);
                kept_since = Some(Ticks::now());
            }
            Some(since) if fallen < LITTLE_BYTES || Ticks::now().nanos_since(since) > LONGEST_NANOS => {
                kept_since = None;
                keep_unused(false);
                purge();
                purged = Some(Ticks::now());
            }
            None if purged.is_some_and(|purged| Ticks::now().nanos_since(purged) > AGAIN_NANOS) => {
                purge();
                purged = None;
            }
            _ => {}
        }
    }
}
