//! Whether data is being loaded from files, and how far that is.
//!
//! Invariant: while it is, only commands that need no data are answered. Must not know: files, formats, who loads.

use super::limits;
use crate::config::Config;
pub use crate::persistence::rdb::load::Options;
use crate::persistence::rdb::load::Progress;
use crate::util::clock::UnixMs;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed, Ordering::Release};

/// The load that is under way, or the last one.
#[derive(Default)]
pub struct Loading {
    on: AtomicBool,
    started_ms: AtomicI64,
    progress: Progress,
    /// Checksums of snapshots and dumps are not verified (`DEBUG SET-SKIP-CHECKSUM-VALIDATION`).
    pub skip_checksums: AtomicBool,
}

impl Loading {
    /// Whether data is being loaded.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.on.load(Relaxed)
    }

    /// Loading begins, of so many bytes.
    pub fn begin(&self, total_bytes: u64, now: UnixMs) {
        self.progress.reset(total_bytes);
        self.started_ms.store(now.0, Relaxed);
        self.on.store(true, Release);
    }

    /// Loading has ended.
    pub fn end(&self) {
        self.on.store(false, Release);
    }

    /// How far it is.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// When it began.
    pub fn started(&self) -> UnixMs {
        UnixMs(self.started_ms.load(Relaxed))
    }

    /// Seconds that the rest takes at the pace so far; 1 while nothing is known.
    pub fn eta_s(&self, now: UnixMs) -> u64 {
        let elapsed_s = u64::try_from((now.0 - self.started().0) / 1000).unwrap_or(0);
        let (bytes, total) = (self.progress.bytes.load(Relaxed), self.progress.total_bytes.load(Relaxed));
        if elapsed_s == 0 { 1 } else { elapsed_s.saturating_mul(total.saturating_sub(bytes)) / bytes.max(1) }
    }
}

/// How the configuration wants snapshots to be loaded at `now`.
pub fn options(config: &Config, now: UnixMs) -> Options {
    Options {
        limits: limits::values(config),
        now,
        keep_expired: false,
        replace: false,
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        checksum: config.rdbchecksum(),
        any_version: config.rdb_version_check_relaxed(),
        key_delay_us: config.key_load_delay_us(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_takes_as_long_as_the_pace_so_far_says() {
        let loading = Loading::default();
        loading.begin(1000, UnixMs(5000));
        loading.progress().bytes.store(100, Relaxed);
        assert!(loading.is_on() && loading.started() == UnixMs(5000));
        assert_eq!((loading.eta_s(UnixMs(5500)), loading.eta_s(UnixMs(7000))), (1, 18));
        loading.end();
        assert!(!loading.is_on());
    }
}
