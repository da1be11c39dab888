//! A disk in memory that fails when it is told to, fills up, stalls, and forgets in a power cut what was not synced.
//!
//! For every test of persistence that takes a [`Disk`]. A test binary has it by `use larder::persistence::disk;` and
//! `#[path = "../durability/faulty_disk.rs"] mod faulty_disk;`; a unit test inside the crate by the same with `crate::`.
//!
//! Invariant, stricter than any real file system: bytes survive a cut only when their file was synced after they were
//! written, a name only when its directory was synced after it was given. Whoever is correct here is correct on ext4,
//! XFS and the others. As on Linux, bytes of a failed sync count as clean: a later sync that succeeds does not save them.
#![allow(dead_code, reason = "each test binary that includes this file uses another part of it")]

use super::disk::{Disk, DiskFile, directory_of};
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// What a disk is asked to do.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Op {
    Create,
    Append,
    Open,
    Read,
    Len,
    Rename,
    Remove,
    CreateDir,
    List,
    SyncDir,
    Write,
    Sync,
    Truncate,
    Again,
}

/// What becomes of an operation that is hit by a fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It has no effect and fails with this error of the system (`libc::EIO`, `libc::ENOSPC`).
    Fail(i32),
    /// A write or read moves at most so many bytes; other operations succeed.
    Short(usize),
    /// The program has a bug there.
    Panic,
}

struct Fault {
    op: Option<Op>,
    /// Only files whose path contains this are counted and hit.
    path: String,
    /// How many more of these operations pass before the first is hit.
    pass: u64,
    /// How many are hit.
    times: u64,
    outcome: Outcome,
}

/// One operation as it happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    pub op: Op,
    pub path: PathBuf,
    /// Bytes that were written, read or (of a truncation) left; 0 for other operations.
    pub bytes: usize,
    /// Whether it succeeded.
    pub done: bool,
}

#[derive(Clone, Default)]
struct Inode {
    /// What a reader sees.
    data: Vec<u8>,
    /// What a power cut leaves for certain.
    durable: Vec<u8>,
    /// Bytes of `data` that a sync has yet to save.
    dirty: Vec<Range<usize>>,
    /// The file was cut off and that is not synced: its length after the cut is the old or the new one.
    cut: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Node {
    File(usize),
    Dir,
}

type Names = BTreeMap<PathBuf, Node>;

#[derive(Default)]
struct State {
    inodes: Vec<Inode>,
    names: Names,
    durable: Names,
    faults: Vec<Fault>,
    history: Vec<Record>,
    operations: u64,
    dies_at: Option<u64>,
    room: Option<usize>,
    stalled: bool,
    waiting: usize,
}

/// Which of the things that were not synced a power cut takes.
#[derive(Clone, Copy, Debug)]
pub enum Cut {
    /// All of them.
    Everything,
    /// A part that this seed decides. The first writes to a file stay, then bytes go, tear, become NUL bytes or a hole of them,
    /// see [`Inode::tear`]; names stay or go.
    Some(u64),
}

/// The disk; clones are the same disk.
#[derive(Clone, Default)]
pub struct FaultyDisk {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    moved: Condvar,
}

impl FaultyDisk {
    /// An empty disk that works, with these directories (and those they are in).
    pub fn new(directories: &[&str]) -> FaultyDisk {
        let disk = FaultyDisk::default();
        let mut state = disk.shared.state.lock();
        for directory in directories {
            for each in plain(Path::new(directory)).ancestors() {
                state.names.insert(each.to_owned(), Node::Dir);
            }
        }
        state.names.insert(PathBuf::new(), Node::Dir);
        state.durable = state.names.clone();
        drop(state);
        disk
    }

    /// As a trait object, the way the server takes it.
    pub fn shared(&self) -> Arc<dyn Disk> {
        Arc::new(self.clone())
    }

    /// The `nth` operation `op` from now on (1 is the next) fails with `errno`.
    pub fn fail(&self, op: Op, nth: u64, errno: i32) {
        self.plan(Some(op), "", nth, 1, Outcome::Fail(errno));
    }

    /// Every operation `op` from the `nth` from now on fails with `errno`, until [`FaultyDisk::heal`].
    pub fn fail_from(&self, op: Op, nth: u64, errno: i32) {
        self.plan(Some(op), "", nth, u64::MAX, Outcome::Fail(errno));
    }

    /// The `nth` write from now on takes `bytes` bytes and says so.
    pub fn shorten(&self, nth: u64, bytes: usize) {
        self.plan(Some(Op::Write), "", nth, 1, Outcome::Short(bytes));
    }

    /// The general fault: of the operations `op` (`None`: all) on paths that contain `path`, those from the `nth` on, `times` of them.
    pub fn plan(&self, op: Option<Op>, path: &str, nth: u64, times: u64, outcome: Outcome) {
        assert!(nth > 0, "operations are counted from 1");
        self.shared.state.lock().faults.push(Fault { op, path: path.to_owned(), pass: nth - 1, times, outcome });
    }

    /// From the operation with this number on (1 is the first ever) nothing has an effect, as after the death of the process:
    /// together with [`FaultyDisk::after_power_cut`] a crash at every point of a run can be tried.
    pub fn die_at(&self, operation: u64) {
        self.shared.state.lock().dies_at = Some(operation);
    }

    /// No more faults, however many were planned, and room without end.
    pub fn heal(&self) {
        let mut state = self.shared.state.lock();
        state.faults.clear();
        state.dies_at = None;
        state.room = None;
        drop(state);
        self.release();
    }

    /// So many bytes fit on the disk from now on, with what is there: further ones are written short, then refused with ENOSPC.
    pub fn room(&self, bytes: Option<usize>) {
        self.shared.state.lock().room = bytes;
    }

    /// Syncs do not return until [`FaultyDisk::release`].
    pub fn stall(&self) {
        self.shared.state.lock().stalled = true;
    }

    /// Syncs go on.
    pub fn release(&self) {
        self.shared.state.lock().stalled = false;
        self.shared.moved.notify_all();
    }

    /// How many syncs are held up by [`FaultyDisk::stall`] at this moment.
    pub fn waiting(&self) -> usize {
        self.shared.state.lock().waiting
    }

    /// Number of operations so far.
    pub fn operations(&self) -> u64 {
        self.shared.state.lock().operations
    }

    /// Everything that was asked of the disk, in order.
    pub fn history(&self) -> Vec<Record> {
        self.shared.state.lock().history.clone()
    }

    /// The bytes of a file as a reader sees them; `None` when there is none.
    pub fn bytes(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        let state = self.shared.state.lock();
        let inode = state.file(&plain(path.as_ref())).ok()?;
        state.inodes.get(inode).map(|found| found.data.clone())
    }

    /// Puts a file there, synced, without counting as an operation.
    pub fn put(&self, path: impl AsRef<Path>, bytes: &[u8]) {
        let path = plain(path.as_ref());
        let mut state = self.shared.state.lock();
        let node = state.add(Inode { data: bytes.to_vec(), durable: bytes.to_vec(), ..Inode::default() });
        state.names.insert(path.clone(), node);
        state.durable.insert(path, node);
    }

    /// A disk that has what this one has after a power cut, and works.
    pub fn after_power_cut(&self, cut: Cut) -> FaultyDisk {
        let state = self.shared.state.lock();
        let mut chance = Chance::new(cut);
        let inodes: Vec<_> = state.inodes.iter().map(|inode| inode.survivor(&mut chance)).collect();
        let mut names = state.durable.clone();
        let paths: Vec<_> = state.names.keys().chain(state.durable.keys()).cloned().collect();
        for path in paths {
            if state.names.get(&path) != state.durable.get(&path) && chance.happens() {
                match state.names.get(&path) {
                    Some(node) => names.insert(path, *node),
                    None => names.remove(&path),
                };
            }
        }
        // A name is reached through its directories alone.
        let reached = |path: &Path| path.ancestors().skip(1).all(|each| names.get(each) == Some(&Node::Dir));
        let names: Names =
            names.iter().filter(|(path, _)| reached(path)).map(|(path, node)| (path.clone(), *node)).collect();
        let after = State { inodes, durable: names.clone(), names, ..State::default() };
        FaultyDisk { shared: Arc::new(Shared { state: Mutex::new(after), moved: Condvar::new() }) }
    }

    /// Counts an operation; its fault, if it is hit by one.
    fn begin(&self, op: Op, path: &Path) -> io::Result<(MutexGuard<'_, State>, usize)> {
        let mut state = self.shared.state.lock();
        if op == Op::Sync && state.stalled {
            state.waiting += 1;
            while state.stalled {
                self.shared.moved.wait(&mut state);
            }
            state.waiting -= 1;
        }
        state.operations += 1;
        let dead = state.dies_at.is_some_and(|at| state.operations >= at);
        let hit = if dead { Some(Outcome::Fail(libc::EIO)) } else { state.hit(op, path) };
        let at_most = match hit {
            Some(Outcome::Short(bytes)) => bytes,
            Some(Outcome::Panic) => {
                state.failed(op, path, dead);
                drop(state);
                std::panic::resume_unwind(Box::new("planted"));
            }
            Some(Outcome::Fail(errno)) => {
                state.failed(op, path, dead);
                return Err(io::Error::from_raw_os_error(errno));
            }
            None => usize::MAX,
        };
        state.history.push(Record { op, path: path.to_owned(), bytes: 0, done: true });
        Ok((state, at_most))
    }
}

impl State {
    fn hit(&mut self, op: Op, path: &Path) -> Option<Outcome> {
        let text = path.to_string_lossy();
        let mut found = None;
        for fault in &mut self.faults {
            if fault.op.is_some_and(|only| only != op) || !text.contains(&fault.path) || fault.times == 0 {
                continue;
            }
            if fault.pass > 0 {
                fault.pass -= 1;
            } else {
                fault.times = fault.times.saturating_sub(1);
                found = found.or(Some(fault.outcome));
            }
        }
        found
    }

    fn failed(&mut self, op: Op, path: &Path, dead: bool) {
        self.history.push(Record { op, path: path.to_owned(), bytes: 0, done: false });
        if op == Op::Sync
            && !dead
            && let Ok(inode) = self.file(path)
        {
            // Linux marks the pages of a failed writeback clean: nothing will write them again.
            self.inodes[inode].dirty.clear();
        }
    }

    fn add(&mut self, inode: Inode) -> Node {
        self.inodes.push(inode);
        Node::File(self.inodes.len() - 1)
    }

    fn file(&self, path: &Path) -> io::Result<usize> {
        match self.names.get(path) {
            Some(Node::File(inode)) => Ok(*inode),
            Some(Node::Dir) => Err(io::Error::from_raw_os_error(libc::EISDIR)),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn parent(&self, path: &Path) -> io::Result<()> {
        match self.names.get(&plain(directory_of(path))) {
            Some(Node::Dir) => Ok(()),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn used(&self) -> usize {
        let named = |inode: &usize| self.names.values().any(|node| *node == Node::File(*inode));
        (0..self.inodes.len()).filter(named).map(|inode| self.inodes[inode].data.len()).sum()
    }

    fn note_bytes(&mut self, bytes: usize) {
        if let Some(last) = self.history.last_mut() {
            last.bytes = bytes;
        }
    }
}

impl Inode {
    fn append(&mut self, bytes: &[u8]) {
        let start = self.data.len();
        self.data.extend_from_slice(bytes);
        self.dirty.push(start..self.data.len());
    }

    fn truncate(&mut self, len: usize) {
        self.cut |= len < self.durable.len();
        self.data.truncate(len);
        self.dirty.iter_mut().for_each(|range| range.end = range.end.min(len));
        self.dirty.retain(|range| !range.is_empty());
    }

    fn sync(&mut self) {
        self.durable.resize(self.data.len(), 0);
        for range in std::mem::take(&mut self.dirty) {
            self.durable[range.clone()].copy_from_slice(&self.data[range]);
        }
        self.cut = false;
    }

    /// What a power cut leaves of the file.
    fn survivor(&self, chance: &mut Chance) -> Inode {
        let mut left = self.durable.clone();
        if self.cut && chance.happens() {
            left.truncate(self.data.len());
        }
        let whole = chance.below(self.dirty.len() + 1);
        for range in self.dirty.iter().take(whole) {
            self.keep(range.clone(), &mut left);
        }
        if let Some(first) = self.dirty.get(whole) {
            self.tear(first.clone(), chance, &mut left);
        }
        Inode { data: left.clone(), durable: left, ..Inode::default() }
    }
}

impl Inode {
    /// Bytes that survive, behind what is not known to have survived.
    fn keep(&self, range: Range<usize>, left: &mut Vec<u8>) {
        left.resize(left.len().max(range.end), 0);
        left[range.clone()].copy_from_slice(&self.data[range]);
    }

    /// What is left from the first write on that does not survive whole: nothing, a part of it, NUL bytes in place of all
    /// that follows, or (as seen on ext4) only up to the next block, behind which everything is there.
    fn tear(&self, first: Range<usize>, chance: &mut Chance, left: &mut Vec<u8>) {
        match chance.below(4) {
            0 => {}
            1 => self.keep(first.start..first.start + chance.below(first.len()), left),
            2 => left.resize(left.len().max(first.end + chance.below(self.data.len() - first.end + 1)), 0),
            _ => {
                let block = [512, 4096][chance.below(2)];
                let from = first.start.next_multiple_of(block).min(self.data.len());
                left.resize(left.len().max(self.data.len()), 0);
                left[from..].copy_from_slice(&self.data[from..]);
            }
        }
    }
}

/// What a power cut decides, by a small generator of its own (splitmix64) so that a seed means the same everywhere.
struct Chance(Option<u64>);

impl Chance {
    fn new(cut: Cut) -> Chance {
        match cut {
            Cut::Everything => Chance(None),
            Cut::Some(seed) => Chance(Some(seed)),
        }
    }

    /// A number below `end`, always 0 when everything is to go.
    fn below(&mut self, end: usize) -> usize {
        let Some(state) = &mut self.0 else { return 0 };
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = *state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % u64::try_from(end.max(1)).unwrap_or(1)).unwrap_or(0)
    }

    fn happens(&mut self) -> bool {
        self.below(2) == 1
    }
}

/// A path without `.` and repeated separators; the root and the current directory are one and the same.
fn plain(path: &Path) -> PathBuf {
    path.components().filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir)).collect()
}

struct Handle {
    disk: FaultyDisk,
    path: PathBuf,
    inode: usize,
}

impl DiskFile for Handle {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (mut state, at_most) = self.disk.begin(Op::Write, &self.path)?;
        let free = state.room.map_or(usize::MAX, |room| room.saturating_sub(state.used()));
        if free == 0 && !bytes.is_empty() {
            if let Some(last) = state.history.last_mut() {
                last.done = false;
            }
            return Err(io::Error::from_raw_os_error(libc::ENOSPC));
        }
        let count = bytes.len().min(at_most).min(free);
        state.inodes[self.inode].append(&bytes[..count]);
        state.note_bytes(count);
        Ok(count)
    }

    fn sync(&mut self) -> io::Result<()> {
        let (mut state, _) = self.disk.begin(Op::Sync, &self.path)?;
        state.inodes[self.inode].sync();
        Ok(())
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        let (mut state, _) = self.disk.begin(Op::Truncate, &self.path)?;
        let len = usize::try_from(len).map_err(|_| io::Error::from_raw_os_error(libc::EFBIG))?;
        assert!(len <= state.inodes[self.inode].data.len(), "{:?} is cut off behind its end", self.path);
        state.inodes[self.inode].truncate(len);
        state.note_bytes(len);
        Ok(())
    }

    fn again(&self) -> io::Result<Box<dyn DiskFile>> {
        drop(self.disk.begin(Op::Again, &self.path)?);
        Ok(Box::new(Handle { disk: self.disk.clone(), path: self.path.clone(), inode: self.inode }))
    }
}

struct Reading {
    disk: FaultyDisk,
    path: PathBuf,
    inode: usize,
    position: usize,
}

impl Read for Reading {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (mut state, at_most) = self.disk.begin(Op::Read, &self.path)?;
        let rest = state.inodes[self.inode].data.get(self.position..).unwrap_or_default();
        let count = rest.len().min(buffer.len()).min(at_most.max(1));
        buffer[..count].copy_from_slice(&rest[..count]);
        self.position += count;
        state.note_bytes(count);
        Ok(count)
    }
}

impl Disk for FaultyDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let path = plain(path);
        let (mut state, _) = self.begin(Op::Create, &path)?;
        state.parent(&path)?;
        let inode = match state.file(&path) {
            Ok(inode) => {
                state.inodes[inode].truncate(0);
                inode
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let node = state.add(Inode::default());
                state.names.insert(path.clone(), node);
                state.inodes.len() - 1
            }
            Err(error) => return Err(error),
        };
        drop(state);
        Ok(Box::new(Handle { disk: self.clone(), path, inode }))
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let path = plain(path);
        let inode = self.begin(Op::Append, &path)?.0.file(&path)?;
        Ok(Box::new(Handle { disk: self.clone(), path, inode }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn Read + Send>> {
        let path = plain(path);
        let inode = self.begin(Op::Open, &path)?.0.file(&path)?;
        Ok(Box::new(Reading { disk: self.clone(), path, inode, position: 0 }))
    }

    fn len(&self, path: &Path) -> io::Result<Option<u64>> {
        let path = plain(path);
        let (state, _) = self.begin(Op::Len, &path)?;
        match state.file(&path) {
            Ok(inode) => Ok(u64::try_from(state.inodes[inode].data.len()).ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(_) => Ok(Some(4096)), // a directory has a length too
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (from, to) = (plain(from), plain(to));
        let (mut state, _) = self.begin(Op::Rename, &to)?;
        let inode = state.file(&from)?;
        state.parent(&to)?;
        state.names.remove(&from);
        state.names.insert(to, Node::File(inode));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let path = plain(path);
        let (mut state, _) = self.begin(Op::Remove, &path)?;
        state.file(&path)?;
        state.names.remove(&path);
        Ok(())
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let path = plain(path);
        let (mut state, _) = self.begin(Op::CreateDir, &path)?;
        state.parent(&path)?;
        match state.names.get(&path) {
            Some(Node::File(_)) => Err(io::ErrorKind::AlreadyExists.into()),
            _ => {
                state.names.insert(path, Node::Dir);
                Ok(())
            }
        }
    }

    fn list(&self, path: &Path) -> io::Result<Vec<OsString>> {
        let path = plain(path);
        let (state, _) = self.begin(Op::List, &path)?;
        let inside = state.names.keys().filter(|name| name.parent() == Some(&path));
        Ok(inside.filter_map(|name| name.file_name()).map(OsString::from).collect())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let path = plain(path);
        let (mut state, _) = self.begin(Op::SyncDir, &path)?;
        if state.names.get(&path) != Some(&Node::Dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let inside = |name: &Path| name.parent() == Some(&path);
        let current: Names =
            state.names.iter().filter(|(name, _)| inside(name)).map(|(name, node)| (name.clone(), *node)).collect();
        state.durable.retain(|name, _| !inside(name));
        state.durable.extend(current);
        Ok(())
    }
}

/// How often each operation succeeded, by name of the file.
pub fn counts(history: &[Record]) -> HashMap<(Op, OsString), usize> {
    let mut found = HashMap::new();
    for record in history.iter().filter(|record| record.done) {
        *found.entry((record.op, record.path.file_name().unwrap_or_default().to_owned())).or_default() += 1;
    }
    found
}
