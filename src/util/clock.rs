//! Time enters the program here and nowhere else.
//!
//! Deadlines are wall-clock milliseconds ([`UnixMs`]); durations are measured on the cycle counter ([`Ticks`]). The two
//! are never mixed.

use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash)]
pub struct UnixMs(pub i64);

impl UnixMs {
    /// The wall clock now.
    pub fn now() -> UnixMs {
        UnixMs(i64::try_from(since_epoch().as_millis()).unwrap_or(i64::MAX))
    }

    /// This moment for whoever replays what happened before: no deadline lies before it, and nothing expires.
    pub const fn standing(self) -> UnixMs {
        UnixMs(-self.0)
    }

    /// The moment that [`UnixMs::standing`] was made of; any other as it is.
    pub const fn wall(self) -> UnixMs {
        UnixMs(self.0.saturating_abs())
    }

    /// Whole seconds since the epoch, rounded down.
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }
}

/// Microseconds since the Unix epoch, for TIME and the logs of slow commands.
pub fn unix_us() -> i64 {
    i64::try_from(since_epoch().as_micros()).unwrap_or(i64::MAX)
}

fn since_epoch() -> std::time::Duration {
    #[expect(clippy::disallowed_methods, reason = "the one place where wall time enters")]
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Nanoseconds that the calling thread has spent on a processor. Unlike the cycle counter it stands still while others run.
/// A system call: some 200 ns.
pub fn thread_cpu_nanos() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let nanos = time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec);
    u64::try_from(nanos).unwrap_or(0)
}

/// A reading of the cycle counter: some 10 ns to take, monotonic, of meaning only as a difference.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Ticks(u64);

/// What durations are measured with.
enum Counter {
    Cycles(quanta::Clock),
    /// Under a clock that others move by hand, as tests do, cycles cannot be told in nanoseconds: the attempt would never end.
    Standing,
}

fn counter() -> &'static Counter {
    static COUNTER: OnceLock<Counter> = OnceLock::new();
    COUNTER.get_or_init(|| {
        let before = reference_nanos();
        std::thread::sleep(std::time::Duration::from_micros(100));
        if reference_nanos() == before { Counter::Standing } else { Counter::Cycles(quanta::Clock::new()) }
    })
}

/// The clock to which the cycle counter is compared, in nanoseconds.
fn reference_nanos() -> u64 {
    static START: OnceLock<std::time::Instant> = OnceLock::new();
    #[expect(clippy::disallowed_methods, reason = "asked whether it moves, and instead of a cycle counter")]
    let now = std::time::Instant::now();
    u64::try_from(now.duration_since(*START.get_or_init(|| now)).as_nanos()).unwrap_or(u64::MAX)
}

impl Ticks {
    /// Reads the counter.
    pub fn now() -> Ticks {
        Ticks(match counter() {
            Counter::Cycles(clock) => clock.raw(),
            Counter::Standing => reference_nanos(),
        })
    }

    /// Nanoseconds from `earlier` to this reading, 0 if it lies behind.
    pub fn nanos_since(self, earlier: Ticks) -> u64 {
        match counter() {
            Counter::Cycles(clock) => clock.delta_as_nanos(earlier.0, self.0),
            Counter::Standing => self.0.saturating_sub(earlier.0),
        }
    }
}
