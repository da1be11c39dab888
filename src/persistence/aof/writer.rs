//! The log being written: a buffer that takes units in order, and the file they go to.
//!
//! Positions count the bytes of the log since the start of the server, whatever file they are in: up to `appended` units have
//! been taken, up to `written` the system has them, up to `synced` a power cut leaves them. Invariants: the file ends
//! with a whole unit whenever nobody writes; what could not be written is kept, and stays first; a file that could not
//! be synced is never trusted again. Must not know: clients, threads, when to sync.

use crate::persistence::disk::DiskFile;
use crate::protocol::batch::{RequestView, encode};
use parking_lot::{Mutex, MutexGuard};
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};
use std::time::Duration;

/// A buffer that has grown beyond this many bytes is given back when it is empty.
const KEPT_BYTES: usize = 4 << 20;

/// How long a writer waits for another one before it leaves the writing to somebody else.
const SHORT_WAIT: Duration = Duration::from_millis(1);

/// A file of the log that is written to.
pub struct LogFile {
    file: Box<dyn DiskFile>,
    path: PathBuf,
    /// Bytes of whole units.
    len: u64,
    /// It may hold a part of a unit behind them.
    torn: bool,
}

impl LogFile {
    /// A file that holds `len` bytes of whole units.
    pub fn new(file: Box<dyn DiskFile>, path: &Path, len: u64) -> LogFile {
        LogFile { file, path: path.to_owned(), len, torn: false }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends all of `bytes` or nothing.
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.torn {
            self.file.truncate(self.len)?;
            self.torn = false;
        }
        match self.file.write_all(bytes) {
            Ok(()) => self.len += bytes.len() as u64,
            Err(error) => {
                self.torn = self.file.truncate(self.len).is_err();
                return Err(error);
            }
        }
        Ok(())
    }
}

/// Something that waits to be written.
enum Chunk {
    /// Whole units.
    Units(Vec<u8>),
    /// What follows goes to this file.
    Switch(LogFile),
}

/// What was appended and nobody has taken to write it.
#[derive(Default)]
struct Pending {
    sealed: Vec<Chunk>,
    units: Vec<u8>,
    /// The database of the last request; unknown at the beginning of a file.
    db: Option<usize>,
    /// The second of the last time stamp.
    stamp_s: i64,
}

/// Where it goes.
#[derive(Default)]
struct Target {
    file: Option<LogFile>,
    queue: VecDeque<Chunk>,
    spare: Vec<u8>,
}

/// Why the log does not go on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fault {
    /// A write failed.
    Write(String),
    /// A sync failed: what of the file is on the disk is not known.
    Sync(String),
}

impl Fault {
    /// The system's words.
    pub fn text(&self) -> &str {
        match self {
            Fault::Write(text) | Fault::Sync(text) => text,
        }
    }
}

/// The system's words for an error, without its number.
pub fn system_text(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

/// The log.
#[derive(Default)]
pub struct Log {
    pending: Mutex<Pending>,
    target: Mutex<Target>,
    appended: AtomicU64,
    written: AtomicU64,
    synced: AtomicU64,
    /// Bytes of the current file.
    file_bytes: AtomicU64,
    /// A change of files waits, which means a sync.
    switching: AtomicBool,
    fault: Mutex<Option<Fault>>,
    faulty: AtomicBool,
}

impl Log {
    // Appending

    /// Takes a unit: one request, or several that are one transaction, each with its database. `now_s`, in seconds, is noted
    /// before it if it is later than the last one noted. Never waits for a file.
    pub fn append(&self, unit: &[(usize, RequestView<'_>)], now_s: Option<i64>) {
        let mut pending = self.pending.lock();
        let before = pending.units.len();
        let Pending { units, db, stamp_s, .. } = &mut *pending;
        if let Some(now_s) = now_s.filter(|now_s| now_s > stamp_s) {
            *stamp_s = now_s;
            units.extend_from_slice(format!("#TS:{now_s}\r\n").as_bytes());
        }
        let several = unit.len() > 1;
        if several {
            units.extend_from_slice(b"*1\r\n$5\r\nMULTI\r\n");
        }
        for (number, request) in unit {
            if *db != Some(*number) {
                *db = Some(*number);
                let mut digits = itoa::Buffer::new();
                encode([&b"SELECT"[..], digits.format(*number).as_bytes()].into_iter(), units);
            }
            request.encode(units);
        }
        if several {
            units.extend_from_slice(b"*1\r\n$4\r\nEXEC\r\n");
        }
        let added = (units.len() - before) as u64;
        self.appended.store(self.appended.load(Relaxed) + added, Release);
    }

    /// What is appended from now on goes to `file`, behind all that was appended before is in the one before.
    pub fn switch_to(&self, file: LogFile) {
        let mut pending = self.pending.lock();
        let units = std::mem::take(&mut pending.units);
        if !units.is_empty() {
            pending.sealed.push(Chunk::Units(units));
        }
        pending.sealed.push(Chunk::Switch(file));
        pending.db = None;
        self.switching.store(true, Release);
    }

    // Positions

    /// The end of what was appended. Whoever has seen a change of a key finds it before this.
    #[inline]
    pub fn appended(&self) -> u64 {
        self.appended.load(Acquire)
    }

    /// The end of what the system has.
    #[inline]
    pub fn written(&self) -> u64 {
        self.written.load(Acquire)
    }

    /// The end of what a power cut leaves.
    #[inline]
    pub fn synced(&self) -> u64 {
        self.synced.load(Acquire)
    }

    /// Bytes of the file that is being written.
    pub fn file_bytes(&self) -> u64 {
        self.file_bytes.load(Relaxed)
    }

    /// Bytes that wait to be written.
    pub fn buffered(&self) -> u64 {
        self.appended().saturating_sub(self.written())
    }

    /// Memory of the buffers, in bytes.
    pub fn held_bytes(&self) -> usize {
        let pending = self.pending.lock();
        let sealed: usize = pending.sealed.iter().map(Chunk::held_bytes).sum();
        let pending = pending.units.capacity() + sealed;
        let target = self.target.try_lock();
        pending
            + target
                .map_or(0, |target| target.spare.capacity() + target.queue.iter().map(Chunk::held_bytes).sum::<usize>())
    }

    /// Whether a change of files waits: to be written by a thread that may wait for a sync.
    pub fn is_switching(&self) -> bool {
        self.switching.load(Acquire)
    }

    // Writing

    /// Writes what waits, unless somebody else writes for longer than a moment: `None`.
    pub fn write_soon(&self) -> Option<Result<(), Fault>> {
        self.target.try_lock_for(SHORT_WAIT).map(|target| self.write_to(target))
    }

    /// Writes what waits.
    pub fn write(&self) -> Result<(), Fault> {
        self.write_to(self.target.lock())
    }

    fn write_to(&self, mut target: MutexGuard<'_, Target>) -> Result<(), Fault> {
        self.take_pending(&mut target);
        let result = self.drain(&mut target);
        if let Err(fault) = &result {
            self.note(fault);
        }
        result
    }

    fn take_pending(&self, target: &mut Target) {
        let mut pending = self.pending.lock();
        target.queue.extend(pending.sealed.drain(..));
        if !pending.units.is_empty() {
            let units = std::mem::replace(&mut pending.units, std::mem::take(&mut target.spare));
            target.queue.push_back(Chunk::Units(units));
        }
    }

    fn drain(&self, target: &mut Target) -> Result<(), Fault> {
        while let Some(chunk) = target.queue.pop_front() {
            match self.put(&mut target.file, &chunk) {
                Ok(()) => {}
                Err(fault) => {
                    target.queue.push_front(chunk);
                    return Err(fault);
                }
            }
            match chunk {
                Chunk::Units(mut units) => {
                    units.clear();
                    units.shrink_to(KEPT_BYTES);
                    target.spare = units;
                }
                Chunk::Switch(file) => self.install(target, file),
            }
        }
        Ok(())
    }

    fn put(&self, file: &mut Option<LogFile>, chunk: &Chunk) -> Result<(), Fault> {
        match (chunk, file) {
            (Chunk::Units(units), Some(file)) => {
                file.put(units).map_err(|error| Fault::Write(system_text(&error)))?;
                self.file_bytes.store(file.len, Relaxed);
                self.written.fetch_add(units.len() as u64, Release);
            }
            (Chunk::Switch(_), Some(file)) => {
                file.file.sync().map_err(|error| Fault::Sync(system_text(&error)))?;
                self.note_synced(self.written());
            }
            (Chunk::Units(units), None) => drop(self.written.fetch_add(units.len() as u64, Release)),
            (Chunk::Switch(_), None) => {}
        }
        Ok(())
    }

    fn install(&self, target: &mut Target, file: LogFile) {
        self.file_bytes.store(file.len, Relaxed);
        target.file = Some(file);
        let more = target.queue.iter().any(|chunk| matches!(chunk, Chunk::Switch(_)));
        let pending = self.pending.lock();
        if !more && pending.sealed.is_empty() {
            self.switching.store(false, Release);
        }
    }

    // Syncing

    /// Syncs what has been written. Others may write meanwhile.
    pub fn sync(&self) -> Result<(), Fault> {
        let (handle, position) = {
            let target = self.target.lock();
            let Some(file) = &target.file else { return Ok(()) };
            (file.file.again(), self.written())
        };
        let synced = handle.and_then(|mut handle| handle.sync());
        match synced {
            Ok(()) => {
                self.note_synced(position);
                Ok(())
            }
            Err(error) => {
                let fault = Fault::Sync(system_text(&error));
                self.note(&fault);
                Err(fault)
            }
        }
    }

    /// Takes what is written for synced: that is what `no-appendfsync-on-rewrite` asks for.
    pub fn presume_synced(&self) {
        self.note_synced(self.written());
    }

    /// After a failed sync the next one succeeds, and means nothing for what was written before.
    fn note_synced(&self, position: u64) {
        if !self.is_faulty() || !matches!(*self.fault.lock(), Some(Fault::Sync(_))) {
            self.synced.fetch_max(position, Release);
        }
    }

    // Faults

    fn note(&self, fault: &Fault) {
        let mut known = self.fault.lock();
        // What failed once to be synced stays so until there are new files.
        if !matches!(*known, Some(Fault::Sync(_))) {
            *known = Some(fault.clone());
        }
        self.faulty.store(true, Release);
    }

    /// Whether the log does not go on; one load.
    #[inline]
    pub fn is_faulty(&self) -> bool {
        self.faulty.load(Acquire)
    }

    /// Why.
    pub fn fault(&self) -> Option<Fault> {
        self.fault.lock().clone()
    }

    /// Forgets a failed write, after one that did not fail. A failed sync stays.
    pub fn forgive_write(&self) {
        let mut known = self.fault.lock();
        if !matches!(*known, Some(Fault::Sync(_))) {
            *known = None;
            self.faulty.store(false, Release);
        }
    }

    /// Goes over to the last file of those switched to, leaving what was to be written before: all of it is in a base that has
    /// been synced. Forgets every fault.
    pub fn start_over(&self) {
        let mut target = self.target.lock();
        self.take_pending(&mut target);
        let last = target.queue.iter().rposition(|chunk| matches!(chunk, Chunk::Switch(_)));
        for chunk in target.queue.drain(..last.map_or(0, |last| last + 1)).collect::<Vec<_>>() {
            match chunk {
                Chunk::Units(units) => drop(self.written.fetch_add(units.len() as u64, Release)),
                Chunk::Switch(file) => self.install(&mut target, file),
            }
        }
        if last.is_some() {
            self.synced.fetch_max(self.written(), Release);
        }
        *self.fault.lock() = None;
        self.faulty.store(false, Release);
    }

    /// Closes the file. What waits is dropped.
    pub fn close(&self) {
        let mut target = self.target.lock();
        *target = Target::default();
        let mut pending = self.pending.lock();
        (pending.sealed, pending.units, pending.db) = (Vec::new(), Vec::new(), None);
        self.written.store(self.appended(), Release);
        self.synced.store(self.appended(), Release);
        self.switching.store(false, Release);
        self.file_bytes.store(0, Relaxed);
        *self.fault.lock() = None;
        self.faulty.store(false, Release);
    }
}

impl Chunk {
    fn held_bytes(&self) -> usize {
        match self {
            Chunk::Units(units) => units.capacity(),
            Chunk::Switch(_) => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::batch::OwnedRequest;
    use std::sync::Arc;

    /// What a file holds, what of it is synced, and what fails next.
    #[derive(Default)]
    struct Platter {
        bytes: Vec<u8>,
        synced: usize,
        room: Option<usize>,
        sync_fails: bool,
    }

    #[derive(Clone, Default)]
    struct FakeFile(Arc<Mutex<Platter>>);

    impl DiskFile for FakeFile {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut platter = self.0.lock();
            let count = platter.room.map_or(bytes.len(), |room| bytes.len().min(room - platter.bytes.len()));
            if count == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            platter.bytes.extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn sync(&mut self) -> io::Result<()> {
            let mut platter = self.0.lock();
            if platter.sync_fails {
                return Err(io::Error::other("no"));
            }
            platter.synced = platter.bytes.len();
            Ok(())
        }

        fn truncate(&mut self, len: u64) -> io::Result<()> {
            self.0.lock().bytes.truncate(usize::try_from(len).unwrap_or(usize::MAX));
            Ok(())
        }

        fn again(&self) -> io::Result<Box<dyn DiskFile>> {
            Ok(Box::new(self.clone()))
        }
    }

    fn log_on(file: &FakeFile) -> Log {
        let log = Log::default();
        log.switch_to(LogFile::new(Box::new(file.clone()), Path::new("a"), 0));
        log.write().expect("nothing to write");
        log
    }

    fn append(log: &Log, unit: &[(usize, &str)]) {
        let requests: Vec<_> =
            unit.iter().map(|(db, line)| (*db, OwnedRequest::from_args(line.split(' ').map(str::as_bytes)))).collect();
        let views: Vec<_> = requests.iter().map(|(db, request)| (*db, request.view())).collect();
        log.append(&views, None);
    }

    fn text(file: &FakeFile) -> String {
        String::from_utf8_lossy(&file.0.lock().bytes).replace("\r\n", " ")
    }

    #[test]
    fn units_select_their_database_and_are_wrapped() {
        let file = FakeFile::default();
        let log = log_on(&file);
        append(&log, &[(0, "A")]);
        append(&log, &[(0, "B"), (2, "C")]);
        append(&log, &[(2, "D")]);
        assert_eq!(log.write(), Ok(()));
        let select = |db| format!("*2 $6 SELECT $1 {db} ");
        let expected = format!("{}*1 $1 A *1 $5 MULTI *1 $1 B {}*1 $1 C *1 $4 EXEC *1 $1 D ", select(0), select(2));
        assert_eq!(text(&file), expected);
        assert_eq!((log.written(), log.synced()), (log.appended(), 0));
        assert_eq!(log.sync(), Ok(()));
        assert_eq!(log.synced(), log.appended());
    }

    #[test]
    fn time_is_noted_when_it_has_moved() {
        let (file, request) = (FakeFile::default(), OwnedRequest::from_args([&b"A"[..]]));
        let log = log_on(&file);
        for now_s in [5, 5, 6] {
            log.append(&[(0, request.view())], Some(now_s));
        }
        log.write().expect("room");
        assert_eq!(text(&file), "#TS:5 *2 $6 SELECT $1 0 *1 $1 A *1 $1 A #TS:6 *1 $1 A ");
    }

    #[test]
    fn a_full_disk_leaves_whole_units_and_nothing_is_lost() {
        let file = FakeFile::default();
        let log = log_on(&file);
        append(&log, &[(0, "A")]);
        log.write().expect("room");
        let before = text(&file);
        file.0.lock().room = Some(before.len() + 20);
        append(&log, &[(0, "SET a 1")]);
        append(&log, &[(0, "SET b 2")]);
        assert_eq!(log.write(), Err(Fault::Write("no storage space".to_owned())));
        assert!(log.is_faulty() && log.written() < log.appended());
        assert!(file.0.lock().bytes.len() <= before.len() + 20);
        file.0.lock().room = None;
        append(&log, &[(0, "SET c 3")]);
        assert_eq!(log.write(), Ok(()));
        log.forgive_write();
        assert!(!log.is_faulty() && log.written() == log.appended());
        assert!(
            text(&file).ends_with("*3 $3 SET $1 a $1 1 *3 $3 SET $1 b $1 2 *3 $3 SET $1 c $1 3 "),
            "{}",
            text(&file)
        );
    }

    #[test]
    fn the_old_file_is_synced_before_the_new_one_is_written() {
        let (old, new) = (FakeFile::default(), FakeFile::default());
        let log = log_on(&old);
        append(&log, &[(0, "A")]);
        log.switch_to(LogFile::new(Box::new(new.clone()), Path::new("b"), 0));
        append(&log, &[(0, "B")]);
        assert!(log.is_switching());
        old.0.lock().sync_fails = true;
        assert_eq!(log.write(), Err(Fault::Sync("no".to_owned())));
        assert!(new.0.lock().bytes.is_empty() && log.is_switching());
        old.0.lock().sync_fails = false;
        assert_eq!(log.write(), Ok(()));
        assert!(!log.is_switching());
        log.forgive_write();
        assert!(log.is_faulty(), "what could not be synced is not trusted");
        assert_eq!(text(&new), "*2 $6 SELECT $1 0 *1 $1 B ");
        let platter = old.0.lock();
        assert_eq!(platter.synced, platter.bytes.len());
    }

    #[test]
    fn after_a_failed_sync_only_new_files_help() {
        let (old, new) = (FakeFile::default(), FakeFile::default());
        let log = log_on(&old);
        append(&log, &[(0, "A")]);
        log.write().expect("room");
        old.0.lock().sync_fails = true;
        assert!(log.sync().is_err() && log.is_faulty());
        log.switch_to(LogFile::new(Box::new(new.clone()), Path::new("b"), 0));
        append(&log, &[(0, "B")]);
        assert!(log.write().is_err());
        log.start_over();
        assert!(!log.is_faulty() && !log.is_switching());
        assert_eq!(log.write(), Ok(()));
        assert_eq!(text(&new), "*2 $6 SELECT $1 0 *1 $1 B ");
        assert_eq!(log.written(), log.appended());
    }
}
