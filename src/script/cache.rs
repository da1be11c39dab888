//! The texts of scripts by their digests.
//!
//! Invariant: a script that EVAL brought may be forgotten when many came after it; one that SCRIPT LOAD brought stays until
//! SCRIPT FLUSH, and costs those that come after it nothing. A worker that has compiled a script asks the script itself whether it is still
//! there, so that the table is not touched when it runs.

use super::header::{HeaderError, ScriptFlags, ScriptHeader, body, script_header};
use super::proof::{Call, calls_on_keys};
use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use parking_lot::Mutex;
use sha1::{Digest as _, Sha1};
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
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

    /// Whether SCRIPT LOAD brought it: then it stays until all are forgotten.
    #[inline]
    pub fn is_loaded(&self) -> bool {
        self.loaded.load(Relaxed)
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

/// A script that EVAL brought, by its use when it was entered or last looked at: it may have been used since, and never was before.
#[derive(Debug)]
struct Aged {
    used: u64,
    script: Arc<Script>,
}

impl Aged {
    fn of(script: Arc<Script>) -> Aged {
        Aged { used: script.used.load(Relaxed), script }
    }
}

impl Ord for Aged {
    fn cmp(&self, other: &Aged) -> Ordering {
        self.used.cmp(&other.used)
    }
}

impl PartialOrd for Aged {
    fn partial_cmp(&self, other: &Aged) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Aged {
    fn eq(&self, other: &Aged) -> bool {
        self.used == other.used
    }
}

impl Eq for Aged {}

/// The scripts that may be forgotten, the one that seems oldest first. A use of a script changes nothing here: whoever takes the first one
/// looks when it was used in truth. Some have been loaded or are gone since they were entered.
#[derive(Default, Debug)]
struct Ages {
    heap: BinaryHeap<Reverse<Aged>>,
    /// Entries that were looked at.
    #[cfg(test)]
    looks: usize,
}

impl Ages {
    /// Enters a script. Once there are twice as many as may be kept, those that may not be forgotten any more leave: at least half.
    fn enter(&mut self, script: &Arc<Script>) {
        if self.heap.len() >= 2 * EVAL_SCRIPTS {
            self.look(self.heap.len());
            self.heap.retain(|Reverse(aged)| !aged.script.is_loaded() && !aged.script.is_gone());
        }
        self.heap.push(Reverse(Aged::of(Arc::clone(script))));
    }

    /// Takes the script out that has not been used for longest. O(log n) for each use and each script entered, in the mean.
    fn take_oldest(&mut self) -> Option<Arc<Script>> {
        while let Some(Reverse(aged)) = self.heap.pop() {
            self.look(1);
            if aged.script.is_loaded() || aged.script.is_gone() {
                continue;
            }
            if aged.script.used.load(Relaxed) <= aged.used {
                return Some(aged.script);
            }
            self.heap.push(Reverse(Aged::of(aged.script)));
        }
        None
    }

    #[cfg(not(test))]
    fn look(&self, _: usize) {}

    #[cfg(test)]
    fn look(&mut self, entries: usize) {
        self.looks += entries;
    }
}

/// All scripts.
#[derive(Default, Debug)]
pub struct ScriptCache {
    map: DashMap<Sha, Arc<Script>, ahash::RandomState>,
    /// Locked before the map's parts, never behind them.
    ages: Mutex<Ages>,
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

    /// Keeps a script; `loaded` for ever. Returns the one that is kept, which may have been there before. O(log [`EVAL_SCRIPTS`]), in the
    /// mean.
    pub fn add(&self, script: Script, loaded: bool) -> Arc<Script> {
        let (kept, new) = match self.map.entry(script.sha) {
            Entry::Occupied(there) => (Arc::clone(there.get()), false),
            Entry::Vacant(free) => {
                self.bytes.fetch_add(script.text.len() + SCRIPT_OVERHEAD, Relaxed);
                self.evals.fetch_add(1, Relaxed);
                (Arc::clone(&free.insert(Arc::new(script))), true)
            }
        };
        self.touch(&kept);
        if loaded && !kept.loaded.swap(true, Relaxed) {
            self.evals.fetch_sub(1, Relaxed);
        }
        if new && !loaded {
            self.enter(&kept);
        }
        kept
    }

    /// Enters a new script that may be forgotten, for which others are: not itself.
    fn enter(&self, new: &Arc<Script>) {
        let mut ages = self.ages.lock();
        while self.evals.load(Relaxed) > EVAL_SCRIPTS
            && let Some(oldest) = ages.take_oldest()
        {
            // SCRIPT FLUSH may have been quicker, and a script of the same text have come since.
            if self.map.remove_if(&oldest.sha, |_, script| Arc::ptr_eq(script, &oldest)).is_some() {
                self.leave(&oldest);
                self.evicted.fetch_add(1, Relaxed);
            }
        }
        ages.enter(new);
    }

    fn leave(&self, script: &Script) {
        script.gone.store(true, Relaxed);
        self.bytes.fetch_sub(script.text.len() + SCRIPT_OVERHEAD, Relaxed);
        if !script.loaded.load(Relaxed) {
            self.evals.fetch_sub(1, Relaxed);
        }
    }

    /// Forgets all. The ages first: a script that comes meanwhile and stays is in both.
    pub fn clear(&self) {
        drop(std::mem::take(&mut *self.ages.lock()));
        self.map.retain(|_, script| {
            self.leave(script);
            false
        });
        self.map.shrink_to_fit(); // a table keeps room for all it has ever held
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

    /// Counts those from zero.
    pub fn reset_evicted(&self) {
        self.evicted.store(0, Relaxed);
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
        assert_eq!((cache.map.capacity(), cache.ages.lock().heap.capacity()), (0, 0), "nor room for them");
    }

    /// A new script of EVAL looked at every script there was, to find the oldest of its kind.
    #[test]
    fn loaded_scripts_cost_new_ones_nothing() {
        let cache = ScriptCache::default();
        (0..20_000).for_each(|number| drop(cache.add(script(&number.to_string()), true)));
        assert_eq!(cache.ages.lock().heap.len(), 0);
        let new = |number: usize| cache.add(script(&format!("eval {number}")), false);
        (0..5_000).for_each(|number| drop(new(number)));
        assert_eq!((cache.len(), cache.evicted()), (20_000 + EVAL_SCRIPTS, 4_500));
        assert!(cache.ages.lock().looks <= 5_000, "{}", cache.ages.lock().looks);
        // Those that were loaded later are not forgotten either, nor remembered as what may be.
        for number in 5_000..10_000 {
            new(number);
            assert!(cache.add(script(&format!("eval {number}")), true).is_loaded());
        }
        assert_eq!((cache.len(), cache.evicted()), (25_000 + EVAL_SCRIPTS - 1, 4_501), "the first made room");
        let ages = cache.ages.lock();
        assert!(ages.heap.len() <= 2 * EVAL_SCRIPTS && ages.looks <= 20_000, "{} {}", ages.heap.len(), ages.looks);
    }
}
