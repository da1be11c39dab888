//! Scripts that run for long: what others are told about them, and how they are ended.

use crate::util::clock::Ticks;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

/// What others are told while a script runs over its time.
pub const SCRIPT_BUSY: &str = "BUSY Valkey is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.";

/// The same for a function.
pub const FUNCTION_BUSY: &str =
    "BUSY Valkey is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE.";

/// A script or function that has left its worker in the middle.
#[derive(Debug)]
pub struct LongRun {
    /// The function's name; empty for a script.
    pub name: Vec<u8>,
    /// The request, word by word.
    pub command: Vec<Vec<u8>>,
    /// Whether it is a function.
    pub function: bool,
    /// When it began.
    pub started: Ticks,
    /// Whether it has changed something: then it is not ended.
    pub wrote: AtomicBool,
    /// Whether it is to end.
    pub killed: AtomicBool,
    /// Whether the log has it.
    pub noted: AtomicBool,
}

impl LongRun {
    /// What others are told once it has run over its time.
    pub fn busy(&self) -> &'static str {
        if self.function { FUNCTION_BUSY } else { SCRIPT_BUSY }
    }

    /// Says in the log, once, that it has run for longer than `threshold_ms`, if it has; 0 for no threshold.
    pub fn note(&self, threshold_ms: u64) {
        let millis = self.millis();
        if threshold_ms == 0 || millis < threshold_ms || self.noted.swap(true, Relaxed) {
            return;
        }
        let (kill, name) = match self.function {
            true => ("FUNCTION KILL", self.name.escape_ascii().to_string()),
            false => ("SCRIPT KILL", "a script".to_owned()),
        };
        tracing::warn!(
            "Slow script detected: {name} has run for {millis} milliseconds. {kill} ends it unless it has written."
        );
    }

    /// Milliseconds since it began.
    pub fn millis(&self) -> u64 {
        Ticks::now().nanos_since(self.started) / 1_000_000
    }
}

/// Why a script was not ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotKilled {
    /// None runs.
    NoneRuns,
    /// What runs is a script where a function was meant, or the other way round.
    OtherKind {
        /// Whether a function runs.
        function: bool,
    },
    /// It has changed something.
    Wrote,
}

/// Those that run for long.
#[derive(Default, Debug)]
pub struct LongRuns {
    count: AtomicUsize,
    runs: Mutex<Vec<Arc<LongRun>>>,
}

impl LongRuns {
    /// Whether there is one; one load.
    #[inline]
    pub fn any(&self) -> bool {
        self.count.load(Relaxed) != 0
    }

    /// The one that has run for longest.
    pub fn first(&self) -> Option<Arc<LongRun>> {
        self.runs.lock().first().cloned()
    }

    /// Enters one.
    pub fn begin(&self, run: LongRun) -> Arc<LongRun> {
        let run = Arc::new(run);
        self.runs.lock().push(Arc::clone(&run));
        self.count.fetch_add(1, Relaxed);
        run
    }

    /// Takes one out.
    pub fn end(&self, run: &Arc<LongRun>) {
        self.runs.lock().retain(|other| !Arc::ptr_eq(other, run));
        self.count.fetch_sub(1, Relaxed);
    }

    /// Ends the first one, a function if `function`.
    ///
    /// # Errors
    /// It is not to be ended.
    pub fn kill(&self, function: bool) -> Result<(), NotKilled> {
        let run = self.first().ok_or(NotKilled::NoneRuns)?;
        if run.wrote.load(Relaxed) {
            return Err(NotKilled::Wrote);
        }
        if run.function != function {
            return Err(NotKilled::OtherKind { function: run.function });
        }
        run.killed.store(true, Relaxed);
        Ok(())
    }
}
