//! What one option is: the type of a row of the table in [`crate::config::options`].
//!
//! Invariant: a row is plain constant data; everything that reads, prints, checks or documents an option asks its row.
//! It must not know which options exist, nor any live value.
//! Source: the observable behaviour of CONFIG GET and CONFIG SET of Valkey 9.1 and Redis 7.2.

use crate::config::value::Value;

/// One option: every fact that larder states about it.
#[derive(Debug)]
pub struct OptionSpec {
    /// The name that CONFIG REWRITE writes and `redis.conf.example` documents.
    pub name: &'static str,
    /// The other names that files, CONFIG GET and CONFIG SET accept.
    pub aliases: &'static [&'static str],
    /// How its value is read, bounded and printed.
    pub kind: Kind,
    /// Its default as a file would write it, words separated by a space; empty when it is unset.
    pub default: &'static str,
    /// Only a file or an argument may set it (`can't set immutable config`).
    pub startup_only: bool,
    /// CONFIG SET needs `enable-protected-configs`.
    pub protected: bool,
    /// Answered by exact name only, never by a pattern.
    pub hidden: bool,
    /// Holds a secret: logs and monitors show `(redacted)` for its value.
    pub sensitive: bool,
    /// Numbers outside these bounds, though accepted, are pulled to the nearer one.
    pub clamp: (i64, i64),
    /// A condition that the kind cannot express.
    pub check: Option<Check>,
    /// Whether larder acts on it.
    pub status: Status,
    /// One sentence for `redis.conf.example`.
    pub doc: &'static str,
}

/// A further condition on a value that its kind has accepted; the error is the text that the client reads.
pub type Check = fn(&Value, Origin) -> Result<(), &'static str>;

/// Where a new value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A configuration file or an argument of the program.
    Startup,
    /// CONFIG SET.
    Command,
}

/// Whether larder acts on an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It does what its documentation says.
    Honoured,
    /// Accepted and kept, without effect until the named part of larder exists.
    Later(&'static str),
    /// Accepted and kept, without effect by design, for the stated reason.
    Unneeded(&'static str),
}

/// How a value is read, bounded and printed.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// `yes` or `no`.
    YesNo,
    /// A decimal integer within inclusive bounds.
    Integer {
        /// Least value accepted.
        min: i64,
        /// Greatest value accepted.
        max: i64,
    },
    /// An octal number from 0 to `max`.
    Octal {
        /// Greatest value accepted.
        max: i64,
    },
    /// Bytes with an optional unit, within inclusive bounds.
    Memory {
        /// Least value accepted.
        min: u64,
        /// Greatest value accepted.
        max: u64,
    },
    /// Bytes with an optional unit, or a percentage of `maxmemory`, held as its negative.
    MemoryOrPercent,
    /// One of some names, in any letter case, held as its index.
    Choice(&'static [&'static str]),
    /// Several of some names, held as bits; the first name stands for none of them.
    Words(&'static [&'static str]),
    /// Any bytes.
    Text,
    /// An existing directory, held as an absolute path.
    Directory,
    /// Classes of keyspace events, one letter each, held as bits.
    Events,
    /// Pairs of seconds and changes.
    SavePoints,
    /// Hard limit, soft limit and soft seconds of each class of client.
    OutputLimits,
    /// Three adjustments of the kernel's out-of-memory score.
    OomScores,
    /// Percentages from 0 to 100.
    Percentiles,
    /// Addresses to listen on, `-` before one that may be missing.
    Addresses,
    /// Host and port of a primary, or `no one`.
    Primary,
}

impl Kind {
    /// Whether one option takes several words in a file and a space-separated list in CONFIG SET.
    pub const fn takes_list(&self) -> bool {
        matches!(
            self,
            Kind::Words(_)
                | Kind::SavePoints
                | Kind::OutputLimits
                | Kind::OomScores
                | Kind::Percentiles
                | Kind::Addresses
                | Kind::Primary
        )
    }

    /// Whether a second line of a file adds to the first instead of replacing it.
    pub(super) const fn gathers(&self) -> bool {
        matches!(self, Kind::SavePoints | Kind::OutputLimits)
    }
}

impl OptionSpec {
    /// A row that is set at run time, unprotected, visible and honoured.
    pub(super) const fn new(name: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Self {
        let clamp = (i64::MIN, i64::MAX);
        let (aliases, check, status) = (&[] as &[&str], None, Status::Honoured);
        let (startup_only, protected, hidden, sensitive) = (false, false, false, false);
        Self { name, aliases, kind, default, startup_only, protected, hidden, sensitive, clamp, check, status, doc }
    }

    /// Adds other names.
    pub(super) const fn alias(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    /// Refuses CONFIG SET.
    pub(super) const fn startup(mut self) -> Self {
        self.startup_only = true;
        self
    }

    /// Refuses CONFIG SET unless `enable-protected-configs` allows it.
    pub(super) const fn protected(mut self) -> Self {
        self.protected = true;
        self
    }

    /// Hides the row from patterns.
    pub(super) const fn hidden(mut self) -> Self {
        self.hidden = true;
        self
    }

    /// Marks the value as a secret.
    pub(super) const fn secret(mut self) -> Self {
        self.sensitive = true;
        self
    }

    /// Pulls numbers into `low..=high`.
    pub(super) const fn clamped(mut self, low: i64, high: i64) -> Self {
        self.clamp = (low, high);
        self
    }

    /// Adds a condition.
    pub(super) const fn check(mut self, check: Check) -> Self {
        self.check = Some(check);
        self
    }

    /// States which part of larder will act on the option.
    pub(super) const fn later(mut self, what: &'static str) -> Self {
        self.status = Status::Later(what);
        self
    }

    /// States why larder never acts on the option.
    pub(super) const fn unneeded(mut self, why: &'static str) -> Self {
        self.status = Status::Unneeded(why);
        self
    }

    /// Every name of the option, the canonical one first.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name).chain(self.aliases.iter().copied())
    }

    /// What the log says when a file or an argument moves the option off its default; `None` when it is honoured.
    pub fn warning(&self) -> Option<String> {
        match self.status {
            Status::Honoured => None,
            Status::Later(what) => {
                Some(format!("Option '{}' is accepted but has no effect yet: it needs {what}", self.name))
            }
            Status::Unneeded(why) => Some(format!("Option '{}' is accepted but has no effect: {why}", self.name)),
        }
    }
}
