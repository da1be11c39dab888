//! How the system shares the processors among our threads and others.
//!
//! Without effect, and without an error, where the system does not know such a wish or does not allow it. Must not know: what the threads do.
//! Source: sched(7), `sched_setattr`(2); Stoica and Abdel-Wahab, Earliest Eligible Virtual Deadline First (1995), which Linux follows from
//! 6.6 on; it takes wishes for slices from 6.12 on.

#![expect(
    unsafe_code,
    reason = "no safe binding of sched_setattr; keeps lock holders from being interrupted: 4 ms a time"
)]

use std::time::Duration;

/// Lets this thread have less of a processor for which others wait too: `steps` as of nice(1).
pub fn give_way(steps: i32) {
    if let Ok(nice) = rustix::process::getpriority_process(None) {
        let _ = rustix::process::setpriority_process(None, nice.saturating_add(steps));
    }
}

/// `struct sched_attr` of the kernel, in its first form.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Attributes {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    /// Under the ordinary policy: the slice, in nanoseconds.
    runtime: u64,
    deadline: u64,
    period: u64,
}

const ATTRIBUTES_BYTES: u32 = 48;
const _: () = assert!(size_of::<Attributes>() == ATTRIBUTES_BYTES as usize);

/// The ordinary policy.
const OTHER: u32 = 0;

/// Lets this thread have its share of a processor in slices of this length: the shorter, the sooner it comes, and the less of its
/// share the system takes as a reason to interrupt it while it works. For threads that work in short turns, some of them under locks.
pub fn take_short_turns(slice: Duration) {
    ask_for_slices(slice);
}

/// Longer than the ordinary slices of 0.7 to 3 ms, short enough for its share to come soon.
const LONG_SLICE: Duration = Duration::from_millis(5);

/// Lets whoever wakes interrupt this thread, and those that it starts from here on, at once, instead of waiting for the end of a slice: the
/// system does so where the one that wakes asks for shorter slices. Its share stays. For work that nobody waits for.
pub fn stand_back() {
    ask_for_slices(LONG_SLICE);
}

#[cfg(target_os = "linux")]
fn ask_for_slices(slice: Duration) {
    let mut attributes = Attributes::default();
    // SAFETY: the kernel writes at most so many bytes there, of this thread (0); flags must be 0.
    let known = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, ATTRIBUTES_BYTES, 0) };
    if known != 0 || attributes.policy != OTHER {
        return;
    }
    attributes.size = ATTRIBUTES_BYTES;
    attributes.flags = 0;
    attributes.runtime = u64::try_from(slice.as_nanos()).unwrap_or(u64::MAX);
    // SAFETY: the kernel reads as many bytes as `size` says.
    let _ = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
}

#[cfg(not(target_os = "linux"))]
fn ask_for_slices(_: Duration) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn wishes_leave_the_rest_as_it_is() {
        // Of this thread alone, which is the test's own.
        let nice = || rustix::process::getpriority_process(None).expect("this thread has a priority");
        let before = nice();
        take_short_turns(Duration::from_micros(100));
        assert_eq!(nice(), before);
        stand_back();
        assert_eq!(nice(), before);
        give_way(3);
        assert_eq!(nice(), (before + 3).min(19));
    }
}
