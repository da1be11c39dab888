//! The texts of scripts by their digests.
//!
//! Invariant: a script that EVAL brought may be forgotten when many came after it; one that SCRIPT LOAD brought stays until
//! SCRIPT FLUSH. A worker that has compiled a script asks the script itself whether it is still there, so that the table
//! is not touched when it runs.

use super::header::{HeaderError, ScriptFlags, ScriptHeader, body, script_header};
use super::proof::{Call, calls_on_keys};
use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use sha1::{Digest as _, Sha1};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

/// Scripts that EVAL brought: so many are kept, as elsewhere.
pub const EVAL_SCRIPTS: usize = 500;

/// What a script costs beside its text, in bytes, for `used_memory_scripts`.
const SCRIPT_OVERHEAD: usize = 150;

/// The 40 hexadecimal digits that name a script.
pub type Sha = [u8; 40];

/// The digest of a text, in lower-case digits. O(length).
pub fn digest(text: &[u8]) -> Sha {
    let mut hex = [0; 40];
    for (pair, byte) in hex.chunks_exact_mut(2).zip(Sha1::digest(text)) {
        for (digit, value) in pair.iter_mut().zip([byte >> 4, byte & 15]) {
            *digit = if value < 10 { b'0' + value } else { b'a' + value - 10 };
        }
    }
    hex
}

/// A digest as a client writes it, in lower case; `None` unless it has 40 bytes.
pub fn sha(text: &[u8]) -> Option<Sha> {
    let mut sha: Sha = text.try_into().ok()?;
    sha.make_ascii_lowercase();
    Some(sha)
}

/// A script.
#[derive(Debug)]
pub struct Script {
    /// Its name.
    pub sha: Sha,
    /// Its text.
    pub text: Box<[u8]>,
    /// What its first line says; `None` without one.
    pub flags: Option<ScriptFlags>,
    /// Whether it may select another database, as far as its text tells.
    pub selects: AtomicBool,
    /// The commands that it calls, if its text proves that each is called with one of its keys as first argument.
    calls: Option<Vec<Call>>,
    /// What these commands say to that.
    narrow: OnceLock<bool>,
    /// Whether SCRIPT LOAD brought it.
    loaded: AtomicBool,
    gone: AtomicBool,
    used: AtomicU64,
}

impl Script {
    /// A script that stands in no table.
    ///
    /// # Errors
    /// Its first line begins with `#!` and is not understood.
    pub fn new(text: &[u8]) -> Result<Script, HeaderError> {
        Ok(Script {
            sha: digest(text),
            text: text.into(),
            flags: script_header(text)?.map(ScriptHeader::of_lua).transpose()?,
            selects: AtomicBool::new(may_select(text)),
            calls: calls_on_keys(body(text)),
            narrow: OnceLock::new(),
            loaded: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            used: AtomicU64::new(0),
        })
    }

    /// Whether it is certain to touch no key but those that its request declares. `is_narrow`: whether a call touches the key that is its
    /// first argument, and no other; it is asked once.
    pub fn is_narrow(&self, is_narrow: impl Fn(&Call) -> bool) -> bool {
        *self.narrow.get_or_init(|| self.calls.as_ref().is_some_and(|calls| calls.iter().all(is_narrow)))
    }

    /// Whether it was forgotten.
    #[inline]
    pub fn is_gone(&self) -> bool {
        self.gone.load(Relaxed)
    }
}

/// Commands that work beyond the current database.
const SELECTING: [&str; 8] = ["select", "swapdb", "flushall", "flushdb", "move", "copy", "info", "memory"];

/// Whether a text names, as a whole word, a command that works beyond the current database: then it is run with every
/// database locked. O(length).
pub fn may_select(text: &[u8]) -> bool {
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    text.iter().any(u8::is_ascii_alphabetic)
        && text
            .split(|byte| !is_word(byte))
            .any(|word| SELECTING.iter().any(|name| word.eq_ignore_ascii_case(name.as_bytes())))
}

/// All scripts.
#[derive(Default, Debug)]
pub struct ScriptCache {
    map: DashMap<Sha, Arc<Script>, ahash::RandomState>,
    /// Those that EVAL brought.
    evals: AtomicUsize,
    bytes: AtomicUsize,
    evicted: AtomicU64,
    clock: AtomicU64,
}

impl ScriptCache {
    /// Lets `look` see the script of this name.
    #[inline]
    pub fn with<R>(&self, sha: &Sha, look: impl FnOnce(&Script) -> R) -> Option<R> {
        self.map.get(sha).map(|script| look(&script))
    }

    /// The script of this name.
    pub fn find(&self, sha: &Sha) -> Option<Arc<Script>> {
        self.map.get(sha).map(|script| Arc::clone(&script))
    }

    /// Notes a use, so that a script in use is the last to be forgotten.
    #[inline]
    pub fn touch(&self, script: &Script) {
        if !script.loaded.load(Relaxed) {
            script.used.store(self.clock.fetch_add(1, Relaxed), Relaxed);
        }
    }

    /// Keeps a script; `loaded` for ever. Returns the one that is kept, which may have been there before.
    pub fn add(&self, script: Script, loaded: bool) -> Arc<Script> {
        let kept = match self.map.entry(script.sha) {
            Entry::Occupied(there) => Arc::clone(there.get()),
            Entry::Vacant(free) => {
                self.bytes.fetch_add(script.text.len() + SCRIPT_OVERHEAD, Relaxed);
                self.evals.fetch_add(1, Relaxed);
                Arc::clone(&free.insert(Arc::new(script)))
            }
        };
        self.touch(&kept);
        if loaded && !kept.loaded.swap(true, Relaxed) {
            self.evals.fetch_sub(1, Relaxed);
        }
        while self.evals.load(Relaxed) > EVAL_SCRIPTS && self.forget_oldest(&kept) {}
        kept
    }

    /// Forgets the script that EVAL brought and that has not been used for longest. O(scripts).
    fn forget_oldest(&self, spared: &Script) -> bool {
        let evals = self.map.iter().filter(|script| !script.loaded.load(Relaxed) && script.sha != spared.sha);
        let Some(oldest) = evals.min_by_key(|script| script.used.load(Relaxed)).map(|script| script.sha) else {
            return false;
        };
        if let Some((_, script)) = self.map.remove(&oldest) {
            self.leave(&script);
            self.evicted.fetch_add(1, Relaxed);
        }
        true
    }

    fn leave(&self, script: &Script) {
        script.gone.store(true, Relaxed);
        self.bytes.fetch_sub(script.text.len() + SCRIPT_OVERHEAD, Relaxed);
        if !script.loaded.load(Relaxed) {
            self.evals.fetch_sub(1, Relaxed);
        }
    }

    /// Forgets all.
    pub fn clear(&self) {
        self.map.retain(|_, script| {
            self.leave(script);
            false
        });
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// What they take, in bytes.
    pub fn used_bytes(&self) -> usize {
        self.bytes.load(Relaxed)
    }

    /// How many were forgotten because others came.
    pub fn evicted(&self) -> u64 {
        self.evicted.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(text: &str) -> Script {
        Script::new(text.as_bytes()).expect("no first line")
    }

    #[test]
    fn digests() {
        assert_eq!(&digest(b"return 1"), b"e0e1f9fabfc9d4800c877a703b823ac0578ff8db");
        assert_eq!(sha(b"E0E1F9FABFC9D4800C877A703B823AC0578FF8DB"), Some(digest(b"return 1")));
        assert_eq!(sha(b"abc"), None);
    }

    #[test]
    fn scripts_of_eval_are_forgotten_in_the_order_of_their_use() {
        let cache = ScriptCache::default();
        let loaded = cache.add(script("loaded"), true);
        let first = cache.add(script("0"), false);
        let second = cache.add(script("1"), false);
        for number in 2..EVAL_SCRIPTS {
            cache.add(script(&number.to_string()), false);
        }
        assert_eq!((cache.len(), cache.evicted()), (EVAL_SCRIPTS + 1, 0));
        cache.touch(&first);
        cache.add(script("one more"), false);
        assert_eq!((cache.len(), cache.evicted()), (EVAL_SCRIPTS + 1, 1));
        assert!(!first.is_gone() && second.is_gone() && !loaded.is_gone());
        cache.clear();
        assert!(first.is_gone() && loaded.is_gone());
        assert_eq!((cache.len(), cache.used_bytes(), cache.evals.load(Relaxed)), (0, 0, 0));
    }
}
