//! The configuration: which options exist, how they are read, and their live values.
//!
//! - [`options`] is the table, one row per option; [`spec`] says what a row holds
//! - [`value`] and [`units`] read and print values
//! - [`parse`] reads files and arguments, [`rewrite`] writes the file back
//! - [`Config`] holds the live values that all threads share; the accessors on it are typed and cost one relaxed load
//!
//! Invariant: a live value has always passed its row's kind and check; CONFIG SET changes all of its pairs or none.
//! It must not know what an option is for: no socket, client or key. Source: `redis.conf` of Redis 7.2, and CONFIG of
//! Valkey 9.1.

mod access;
pub mod options;
pub mod parse;
pub mod rewrite;
pub mod spec;
pub mod units;
pub mod user;
pub mod value;

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};

use parking_lot::{Mutex, RwLock};

use crate::util::glob;
pub use access::{EvictionPolicy, LogFormat, LogLevel, LogTime, OomScore, Permission};
use options::{ROWS, find, row};
use parse::Loaded;
pub use parse::{CommandLine, ConfigError};
pub use rewrite::RewriteError;
use rewrite::Rewriting;
use spec::Origin;
use value::Value;
pub use value::{ClientClass, OutputLimit, notify};

/// The version of Redis that clients are told, which decides the features they use.
pub const REDIS_VERSION: &str = "7.4.2";

/// The live configuration, shared by all threads.
#[derive(Debug)]
pub struct Config {
    /// One slot per row, of the shape of its kind.
    slots: Box<[Slot]>,
    /// What a row holds when nothing sets it.
    defaults: Box<[Value]>,
    /// Whether `requirepass` is set, so that servers without a password pay one load.
    has_password: AtomicBool,
    /// Held while CONFIG SET checks and stores, so that two of them do not mix.
    changing: Mutex<()>,
    /// The file that CONFIG REWRITE replaces, as an absolute path.
    file: Option<PathBuf>,
    renames: Vec<(Vec<u8>, Vec<u8>)>,
    warnings: Vec<String>,
}

/// A live value.
#[derive(Debug)]
enum Slot {
    Number(AtomicI64),
    Text(RwLock<Arc<[u8]>>),
    /// Hard bytes, soft bytes and soft seconds of each class.
    Limits([[AtomicU64; 3]; 3]),
}

impl Slot {
    fn new(value: Value) -> Self {
        match value {
            Value::Number(n) => Self::Number(AtomicI64::new(n)),
            Value::Text(bytes) => Self::Text(RwLock::new(bytes)),
            Value::Limits(limits) => Self::Limits(limits.map(|limit| limit.parts().map(AtomicU64::new))),
        }
    }

    fn load(&self) -> Value {
        match self {
            Self::Number(n) => Value::Number(n.load(Relaxed)),
            Self::Text(bytes) => Value::Text(bytes.read().clone()),
            Self::Limits(limits) => Value::Limits(limits.each_ref().map(load_limit)),
        }
    }

    /// Stores a value of the slot's own shape; a kind never changes shape.
    fn store(&self, value: &Value) {
        match (self, value) {
            (Self::Number(slot), Value::Number(n)) => slot.store(*n, Relaxed),
            (Self::Text(slot), Value::Text(bytes)) => *slot.write() = bytes.clone(),
            (Self::Limits(slots), Value::Limits(limits)) => {
                for (slot, limit) in slots.iter().zip(limits) {
                    slot.iter().zip(limit.parts()).for_each(|(slot, part)| slot.store(part, Relaxed));
                }
            }
            _ => debug_assert!(false, "a value of another shape than its option's"),
        }
    }
}

impl OutputLimit {
    fn parts(self) -> [u64; 3] {
        [self.hard_bytes, self.soft_bytes, self.soft_seconds]
    }
}

fn load_limit(parts: &[AtomicU64; 3]) -> OutputLimit {
    let [hard_bytes, soft_bytes, soft_seconds] = parts.each_ref().map(|part| part.load(Relaxed));
    OutputLimit { hard_bytes, soft_bytes, soft_seconds }
}

/// One option that CONFIG SET changed; the server acts on it, and may take it back with [`Config::undo`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedOption {
    /// Its canonical name.
    pub name: &'static str,
    row: usize,
    before: Value,
}

/// Why CONFIG SET changed nothing; prints as the reply without its `ERR `.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SetError {
    /// No option has this name.
    Unknown(String),
    /// An option, named as the client did, cannot take its value.
    Failed {
        /// The option.
        option: String,
        /// The reason.
        why: Cow<'static, str>,
    },
}

impl SetError {
    fn failed(option: &[u8], why: impl Into<Cow<'static, str>>) -> Self {
        Self::Failed { option: String::from_utf8_lossy(option).into_owned(), why: why.into() }
    }

    /// The error for a change that the server could not put into effect, after [`Config::undo`].
    pub fn not_applied(change: &ChangedOption, why: impl Into<Cow<'static, str>>) -> Self {
        Self::failed(change.name.as_bytes(), why)
    }
}

impl fmt::Display for SetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(name) => write!(f, "Unknown option or number of arguments for CONFIG SET - '{name}'"),
            Self::Failed { option, why } => {
                write!(f, "CONFIG SET failed (possibly related to argument '{option}') - {why}")
            }
        }
    }
}

impl std::error::Error for SetError {}

impl Default for Config {
    /// Every option at its default, no file.
    fn default() -> Self {
        Self::new(Loaded::default(), None)
    }
}

impl Config {
    /// Reads the file, standard input and options that a command line names.
    ///
    /// # Errors
    /// The first line or argument that is refused, or the file that cannot be read.
    pub fn load(line: &CommandLine, stdin: &mut dyn Read) -> Result<Self, ConfigError> {
        let loaded = Loaded::read(line, stdin)?;
        // Kept absolute, because `dir` may move the process elsewhere.
        let file = line.file.as_ref().map(|path| std::path::absolute(path).unwrap_or_else(|_| path.clone()));
        Ok(Self::new(loaded, file))
    }

    fn new(loaded: Loaded, file: Option<PathBuf>) -> Self {
        let slots = loaded.values.into_iter().map(Slot::new).collect();
        let config = Self {
            slots,
            defaults: ROWS.iter().map(|spec| spec.default_value()).collect(),
            has_password: AtomicBool::new(false),
            changing: Mutex::new(()),
            file,
            renames: loaded.renames,
            warnings: loaded.warnings,
        };
        config.note_password();
        config
    }

    /// The file that the server was started with, for INFO's `config_file`.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Commands that `rename-command` lines rename, `(from, to)`; an empty `to` removes the command.
    pub fn renames(&self) -> &[(Vec<u8>, Vec<u8>)] {
        &self.renames
    }

    /// Lines for the log about options that were set without effect.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// CONFIG SET from a client of another machine; see [`Config::set_many_from`].
    pub fn set_many(&self, pairs: &[(&[u8], &[u8])]) -> Result<Vec<ChangedOption>, SetError> {
        self.set_many_from(pairs, false)
    }

    /// CONFIG SET: stores all pairs or none, and gives the options whose value differs from before.
    ///
    /// `local` tells whether the client is on this machine, which `enable-protected-configs local` asks.
    ///
    /// # Errors
    /// The first pair that is unknown, immutable, protected or named twice; else the first value that is refused.
    pub fn set_many_from(&self, pairs: &[(&[u8], &[u8])], local: bool) -> Result<Vec<ChangedOption>, SetError> {
        let _one_at_a_time = self.changing.lock();
        let rows = self.settable_rows(pairs, local)?;
        let mut values = Vec::with_capacity(rows.len());
        for (&at, (name, text)) in rows.iter().zip(pairs) {
            // As Valkey: a refused value is told of the name in the table, what is wrong with a name of the name given.
            values.push(self.read(at, text).map_err(|why| SetError::failed(&name.to_ascii_lowercase(), why))?);
        }
        Ok(rows.into_iter().zip(values).filter_map(|(at, value)| self.replace(at, &value)).collect())
    }

    /// Takes changes back, last first.
    pub fn undo(&self, changes: &[ChangedOption]) {
        for change in changes.iter().rev() {
            self.replace(change.row, &change.before);
        }
    }

    /// The row of each pair, when CONFIG SET may touch all of them.
    fn settable_rows(&self, pairs: &[(&[u8], &[u8])], local: bool) -> Result<Vec<usize>, SetError> {
        let mut rows = Vec::with_capacity(pairs.len());
        for (index, (name, _)) in pairs.iter().enumerate() {
            let at = find(name).ok_or_else(|| SetError::Unknown(String::from_utf8_lossy(name).into_owned()))?;
            if ROWS[at].startup_only {
                return Err(SetError::failed(name, "can't set immutable config"));
            }
            if ROWS[at].protected && !self.enable_protected_configs().allows(local) {
                return Err(SetError::failed(name, "can't set protected config"));
            }
            // An option may be set by two of its names; the last one holds.
            if pairs[..index].iter().any(|(before, _)| before.eq_ignore_ascii_case(name)) {
                return Err(SetError::failed(name, "duplicate parameter"));
            }
            rows.push(at);
        }
        Ok(rows)
    }

    /// Reads the text of a CONFIG SET, whose lists are separated by single spaces.
    fn read(&self, at: usize, text: &[u8]) -> Result<Value, value::Refusal> {
        let spec = ROWS[at];
        let words: Vec<&[u8]> = if spec.kind.takes_list() { text.split(|b| *b == b' ').collect() } else { vec![text] };
        spec.read(&words, &self.slots[at].load(), false, Origin::Command)
    }

    /// Stores a value; `None` when the option had it already.
    fn replace(&self, at: usize, value: &Value) -> Option<ChangedOption> {
        let before = self.slots[at].load();
        if before == *value {
            return None;
        }
        self.slots[at].store(value);
        self.note_password();
        Some(ChangedOption { name: ROWS[at].name, row: at, before })
    }

    fn note_password(&self) {
        let empty = matches!(self.slots[const { row("requirepass") }].load(), Value::Text(bytes) if bytes.is_empty());
        self.has_password.store(!empty, Relaxed);
    }

    /// CONFIG GET: the names that any pattern matches, with their values, each name once.
    ///
    /// A pattern without `*`, `?` and `[` is a name and is answered as it was written. Costs a comparison per pattern
    /// and name.
    pub fn matching(&self, patterns: &[&[u8]]) -> Vec<(String, Vec<u8>)> {
        let mut seen = HashSet::new();
        let mut found = Vec::new();
        for pattern in patterns {
            for (at, name) in names_matching(pattern) {
                if seen.insert(name.to_ascii_lowercase()) {
                    found.push((name, self.print(at)));
                }
            }
        }
        found
    }

    /// The value of one option as CONFIG GET prints it; `None` when no option has the name.
    pub fn text_of(&self, name: &str) -> Option<Vec<u8>> {
        find(name.as_bytes()).map(|at| self.print(at))
    }

    fn print(&self, at: usize) -> Vec<u8> {
        ROWS[at].kind.print(&self.slots[at].load())
    }

    /// CONFIG REWRITE: replaces the file that the server was started with; blocks on the disk.
    ///
    /// # Errors
    /// There is no such file, or the operating system refuses.
    pub fn rewrite(&self) -> Result<(), RewriteError> {
        let path = self.file.as_deref().ok_or(RewriteError::NoFile)?;
        let _no_change_meanwhile = self.changing.lock();
        self.rewriting().file(path)
    }

    fn rewriting(&self) -> Rewriting {
        let values = self.slots.iter().map(Slot::load).collect();
        Rewriting { values, defaults: self.defaults.to_vec() }
    }
}

/// The rows and names that a pattern of CONFIG GET names.
fn names_matching(pattern: &[u8]) -> Vec<(usize, String)> {
    if !pattern.iter().any(|b| b"*?[".contains(b)) {
        let named = find(pattern).map(|at| (at, String::from_utf8_lossy(pattern).into_owned()));
        return named.into_iter().collect();
    }
    let visible = ROWS.iter().enumerate().filter(|(_, spec)| !spec.hidden);
    let names = visible.flat_map(|(at, spec)| spec.names().map(move |name| (at, name)));
    names
        .filter(|(_, name)| glob::matches(pattern, name.as_bytes(), true))
        .map(|(at, name)| (at, name.to_owned()))
        .collect()
}

/// Whether the value of an option is a secret that logs and monitors must not show.
pub fn is_sensitive(name: &[u8]) -> bool {
    find(name).is_some_and(|at| ROWS[at].sensitive)
}
