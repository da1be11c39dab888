//! Scripts and functions: the interpreter, its libraries, and what the server keeps of them.
//!
//! A script sees the server through a [`host::Host`], nothing else; so this room knows no keyspace, no client and no
//! command.

pub mod cache;
pub mod engine;
pub mod header;
pub mod host;
pub mod lib;
pub mod library;
pub mod long;
pub mod pattern;
pub mod proof;
pub mod random;

use crate::util::memory::note_own;
use cache::{Script, ScriptCache, Sha};
use engine::{Chunk, Kind, Vm};
use library::Libraries;
use long::LongRuns;
use parking_lot::Mutex;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};

/// An interpreter of one worker with the scripts that it has compiled.
pub struct Engine {
    /// The interpreter.
    pub vm: Vm,
    compiled: ahash::HashMap<Sha, (Arc<Script>, Chunk)>,
    /// Those among them that may be gone, or could be when they came: that SCRIPT LOAD brought stay as long as the interpreter.
    evals: Vec<Arc<Script>>,
    /// SCRIPT FLUSH makes another one.
    generation: u64,
}

impl Engine {
    /// The compiled form of a script that is still there, by its name.
    #[inline]
    pub fn find(&self, sha: &Sha) -> Option<(Arc<Script>, Chunk)> {
        let (script, chunk) = self.compiled.get(sha).filter(|(script, _)| !script.is_gone())?;
        Some((Arc::clone(script), *chunk))
    }

    /// Compiles a script.
    ///
    /// # Errors
    /// What the compiler says.
    pub fn compile(&mut self, text: &[u8]) -> Result<Chunk, Vec<u8>> {
        self.vm.compile(text)
    }

    /// Keeps a compiled script, and gives up those that are gone. O(1), in the mean: those that are looked through are twice as many as
    /// can be there.
    pub fn keep(&mut self, script: Arc<Script>, chunk: Chunk) {
        if self.evals.len() >= 2 * cache::EVAL_SCRIPTS {
            self.give_up();
        }
        let before = self.compiled.insert(script.sha, (Arc::clone(&script), chunk));
        if let Some((_, before)) = &before {
            self.vm.forget(*before);
        }
        if !script.is_loaded() && before.is_none_or(|(before, _)| !Arc::ptr_eq(&before, &script)) {
            self.evals.push(script);
        }
    }

    /// Gives up the compiled scripts that are gone.
    fn give_up(&mut self) {
        for script in std::mem::take(&mut self.evals) {
            if !script.is_gone() {
                if !script.is_loaded() {
                    self.evals.push(script);
                }
            } else if let Entry::Occupied(compiled) = self.compiled.entry(script.sha)
                && Arc::ptr_eq(&compiled.get().0, &script)
            {
                let (_, chunk) = compiled.remove();
                self.vm.forget(chunk);
            }
        }
    }
}

/// What the server keeps of scripts and functions.
pub struct Scripts {
    /// Texts of scripts.
    pub cache: ScriptCache,
    /// Libraries of functions, and the interpreter they share.
    pub libraries: Mutex<Libraries>,
    /// Scripts that run for long.
    pub long: LongRuns,
    /// Whether a function may work beyond the current database.
    pub functions_select: AtomicBool,
    /// Numbers of libraries and functions, for those who must not wait for `libraries`.
    pub library_counts: [AtomicUsize; 2],
    /// Bytes of the libraries' texts.
    pub code_bytes: AtomicUsize,
    engines: Box<[Mutex<Option<Box<Engine>>>]>,
    /// Bytes of each worker's interpreter, and of that of the libraries.
    vm_bytes: Box<[AtomicUsize]>,
    generation: AtomicU64,
}

impl Scripts {
    /// Nothing yet, for `workers` workers.
    pub fn new(workers: usize) -> Scripts {
        Scripts {
            cache: ScriptCache::default(),
            libraries: Mutex::default(),
            long: LongRuns::default(),
            functions_select: AtomicBool::new(false),
            library_counts: Default::default(),
            code_bytes: AtomicUsize::new(0),
            engines: (0..workers).map(|_| Mutex::default()).collect(),
            vm_bytes: (0..=workers).map(|_| AtomicUsize::new(0)).collect(),
            generation: AtomicU64::new(0),
        }
    }

    /// Takes a worker's interpreter, or a new one where it is in use or there is none. To be given back.
    ///
    /// # Errors
    /// There is no memory for one.
    pub fn take_engine(&self, worker: usize) -> Result<Box<Engine>, String> {
        let generation = self.generation.load(Relaxed);
        let engine = self.engines.get(worker).and_then(|slot| slot.lock().take());
        if let Some(engine) = engine.filter(|engine| engine.generation == generation) {
            return Ok(engine);
        }
        let (vm, compiled, evals) = (Vm::new(Kind::Scripts)?, ahash::HashMap::default(), Vec::new());
        Ok(Box::new(Engine { vm, compiled, evals, generation }))
    }

    /// Gives an interpreter back to its worker.
    pub fn give_engine(&self, worker: usize, engine: Box<Engine>) {
        if let (Some(slot), Some(bytes)) = (self.engines.get(worker), self.vm_bytes.get(worker)) {
            note_bytes(bytes, engine.vm.used_bytes());
            *slot.lock() = Some(engine);
        }
    }

    /// Forgets every script and every interpreter of scripts.
    pub fn flush(&self) {
        self.generation.fetch_add(1, Relaxed);
        self.cache.clear();
        for (slot, bytes) in self.engines.iter().zip(&self.vm_bytes) {
            if let Some(mut slot) = slot.try_lock() {
                *slot = None;
                note_bytes(bytes, 0);
            }
        }
    }

    /// Notes what the interpreter of the libraries holds, and how many libraries and functions there are.
    pub fn note_libraries(&self, libraries: &Libraries) {
        let [libraries_count, functions_count] = &self.library_counts;
        libraries_count.store(libraries.len(), Relaxed);
        self.code_bytes.store(libraries.used_bytes(), Relaxed);
        functions_count.store(libraries.functions(), Relaxed);
        if let Some(bytes) = self.vm_bytes.last() {
            note_bytes(bytes, libraries.vm_bytes());
        }
    }

    /// Bytes held by the interpreters of scripts, and by that of the libraries.
    pub fn used_bytes(&self) -> (usize, usize) {
        let mut bytes = self.vm_bytes.iter().map(|bytes| bytes.load(Relaxed));
        let libraries = bytes.next_back().unwrap_or(0);
        (bytes.sum(), libraries)
    }
}

/// Notes that an interpreter holds `now` bytes: the server's own, which cost a small cache no keys.
fn note_bytes(bytes: &AtomicUsize, now: usize) {
    let before = bytes.swap(now, Relaxed);
    let signed = |bytes: usize| i64::try_from(bytes).unwrap_or(i64::MAX);
    note_own(signed(now) - signed(before));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each script that an interpreter kept had it look through all that it had, once there were a thousand.
    #[test]
    fn loaded_scripts_are_not_looked_through() {
        let scripts = Scripts::new(1);
        let mut engine = scripts.take_engine(0).expect("memory");
        let keep = |engine: &mut Engine, text: String, loaded| {
            let chunk = engine.compile(text.as_bytes()).expect("it is right");
            let script = scripts.cache.add(Script::new(text.as_bytes()).expect("no first line"), loaded);
            engine.keep(Arc::clone(&script), chunk);
            script
        };
        (0..3_000).for_each(|number| drop(keep(&mut engine, format!("return {number}"), true)));
        assert_eq!((engine.compiled.len(), engine.evals.len()), (3_000, 0));
        let most = 2 * cache::EVAL_SCRIPTS;
        for number in 0..3_000 {
            let script = keep(&mut engine, format!("return -{number}"), false);
            assert!(engine.find(&script.sha).is_some_and(|(found, _)| Arc::ptr_eq(&found, &script)));
            assert!(engine.evals.len() <= most && engine.compiled.len() <= 3_000 + most, "those that are gone go");
        }
        let evals = engine.evals.len();
        let again = keep(&mut engine, "return -2999".to_owned(), true);
        assert!(again.is_loaded() && engine.evals.len() == evals, "it is there already");
        engine.give_up();
        assert!(engine.evals.len() < cache::EVAL_SCRIPTS && engine.find(&again.sha).is_some());
    }
}
