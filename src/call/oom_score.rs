//! What the kernel is told of whom to kill when memory runs out.
//!
//! Invariant: what the process began with is read before it is changed, and comes back when it is not to be changed any more. Must not
//! know: who asks. Source: `/proc/self/oom_score_adj` of Linux, and what Valkey 9.1 does with it.

use crate::config::{Config, OomScore};
use parking_lot::Mutex;
use std::io;

/// Where the kernel keeps it.
const FILE: &str = "/proc/self/oom_score_adj";

/// What the kernel takes.
const LEAST: i64 = -1000;
const MOST: i64 = 1000;

/// The score that the process had, while it has another one.
#[derive(Default)]
pub struct OomScores {
    before: Mutex<Option<i64>>,
}

impl OomScores {
    /// Puts `oom-score-adj` and its values into effect. Does nothing while they say that nothing is to be done and nothing was.
    ///
    /// # Errors
    /// There is no such file, or the process may not set this score; then it is what it was.
    pub fn follow(&self, config: &Config) -> io::Result<()> {
        let mut before = self.before.lock();
        let asked = config.oom_score_adj();
        let began_with = match *before {
            Some(score) => score,
            None if asked == OomScore::Untouched => return Ok(()),
            None => read()?,
        };
        let value = config.oom_score_adj_value();
        let score = match asked {
            OomScore::Untouched => began_with,
            OomScore::Relative => began_with + value,
            OomScore::Absolute => value,
        };
        std::fs::write(FILE, format!("{}\n", score.clamp(LEAST, MOST)))?;
        *before = (asked != OomScore::Untouched).then_some(began_with);
        Ok(())
    }
}

fn read() -> io::Result<i64> {
    let text = std::fs::read_to_string(FILE)?;
    text.trim().parse().map_err(|_| io::Error::from(io::ErrorKind::InvalidData))
}
