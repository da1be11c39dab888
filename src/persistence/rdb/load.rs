//! Reading snapshot files.
//!
//! One thread reads the file and finds the bounds of its values ([`records`](super::records)); as many others as there are cores take
//! blocks of them from a [`queue`](super::queue), decode them and store the entries under the locks of their shards, many at a time
//! ([`decode`](super::decode)). Where they do not keep up the first one decodes too.
//!
//! Invariant: whatever the file holds, loading it ends, with entries or with the place and the reason of a fault; memory beside the
//! entries is in proportion to the bytes at hand. Must not know: commands, clients. Source: the RDB format.

use super::decode::{Decoder, Job};
use super::feed::{Dry, Feed};
use super::queue::{Block, Queue};
use super::records::{self, Found, HEADER_BYTES, Record, Version};
use super::value::Limits;
use super::walk::{Stop, UNKNOWN_TYPE, Walk};
use crate::keyspace::{Keyspace, View};
use crate::persistence::disk::Disk;
use crate::util::clock::UnixMs;
use crate::util::memory::count_to_the_end;
use crate::util::number;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::{self, Scope};
use std::time::Duration;

/// Bytes that an entry takes in a file, if its key and its value are small.
const SMALL_ENTRY_BYTES: u64 = 8;

/// What a file says about itself beyond so many fields is not kept.
const MOST_AUX: usize = 1000;

/// How a file is loaded.
#[derive(Clone, Debug)]
pub struct Options {
    /// Thresholds of the compact forms.
    pub limits: Limits,
    /// What has expired by then is dropped.
    pub now: UnixMs,
    /// Expired keys are kept: what follows the file may refer to them.
    pub keep_expired: bool,
    /// A key that is there already is replaced; otherwise it is a fault.
    pub replace: bool,
    /// Threads to work on, this one included.
    pub threads: usize,
    /// The checksum is verified, if the file has one.
    pub checksum: bool,
    /// Versions of the format that are not known are tried.
    pub any_version: bool,
    /// Microseconds to wait for each key, for tests; below 0, one for each so many keys.
    pub key_delay_us: i64,
}

/// How far a load is, for whoever wants to look; and how to end it.
#[derive(Default, Debug)]
pub struct Progress {
    /// Bytes that there are to read, of all files together; set by whoever loads them.
    pub total_bytes: AtomicU64,
    /// Bytes of them that were read.
    pub bytes: AtomicU64,
    /// Keys stored.
    pub keys: AtomicU64,
    /// Of all keys, those with a deadline.
    pub timed: AtomicU64,
    /// Keys dropped because they had expired.
    pub expired: AtomicU64,
    /// Keys dropped because their collection has no elements.
    pub empty: AtomicU64,
    /// Bytes of memory that the data took in the server that wrote the file.
    pub writer_bytes: AtomicU64,
    /// Set by whoever wants it to end.
    pub stop: AtomicBool,
}

impl Progress {
    /// Begins anew, with so many bytes to read.
    pub fn reset(&self, total_bytes: u64) {
        let counts = [&self.bytes, &self.keys, &self.timed, &self.expired, &self.empty, &self.writer_bytes];
        counts.into_iter().for_each(|count| count.store(0, Relaxed));
        self.total_bytes.store(total_bytes, Relaxed);
    }
}

/// What a file held beside its keys.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Loaded {
    /// Version of the format.
    pub version: u16,
    /// Texts of the libraries of functions.
    pub libraries: Vec<Vec<u8>>,
    /// What the file says about itself, by name.
    pub aux: Vec<(Vec<u8>, Vec<u8>)>,
    /// Whether it had a checksum, which was verified.
    pub checked: bool,
    /// How many databases it names.
    pub databases: usize,
    /// Where it ended, in bytes from its beginning.
    pub end: u64,
    /// Bytes behind the end that were read already.
    pub rest: Vec<u8>,
}

impl Loaded {
    /// What the file says about itself under this name.
    pub fn aux(&self, name: &str) -> Option<&[u8]> {
        self.aux.iter().find(|(known, _)| known == name.as_bytes()).map(|(_, value)| &value[..])
    }
}

/// What is wrong with a file, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// Bytes from its beginning.
    pub offset: u64,
    /// What.
    pub what: String,
}

/// Why a file was not loaded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LoadError {
    /// The file.
    pub path: PathBuf,
    /// Where, in bytes from its beginning.
    pub offset: u64,
    /// Why.
    pub what: String,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}: {}", self.path.display(), self.offset, self.what)
    }
}

impl std::error::Error for LoadError {}

/// Loads a file into `keyspace`; without one, only looks at it.
///
/// # Errors
/// A file that cannot be read, that does not follow the format, or that does not fit the keyspace. Some of its entries may have
/// been stored.
pub fn load_file(
    disk: &dyn Disk,
    path: &Path,
    keyspace: Option<&Keyspace>,
    options: &Options,
    progress: &Progress,
) -> Result<Loaded, LoadError> {
    open(disk, path, |source, total| load(source, total, keyspace, options, progress))
}

/// As [`load_file`], into a keyspace of which `view` holds every shard: on the calling thread alone.
///
/// # Errors
/// As there.
pub fn load_held(
    disk: &dyn Disk,
    path: &Path,
    view: &mut View<'static>,
    options: &Options,
    progress: &Progress,
) -> Result<Loaded, LoadError> {
    let (keyspace, options) = (view.keyspace(), &Options { threads: 1, ..options.clone() });
    open(disk, path, |source, total| run(source, total, (Some(keyspace), Some(view)), options, progress))
}

/// Whether a file can be one that is loaded, by its first bytes.
///
/// # Errors
/// What is wrong with them.
pub fn check_version(disk: &dyn Disk, path: &Path, options: &Options) -> Result<(), LoadError> {
    let wrong = |what: String| LoadError { path: path.to_owned(), offset: 0, what };
    let mut header = [0; HEADER_BYTES];
    let read = disk.open(path).and_then(|mut source| source.read_exact(&mut header));
    read.map_err(|error| wrong(error.to_string()))?;
    Version::read(&header, options.any_version).map(|_| ()).map_err(wrong)
}

fn open(
    disk: &dyn Disk,
    path: &Path,
    read: impl FnOnce(&mut (dyn Read + Send), Option<u64>) -> Result<Loaded, Fault>,
) -> Result<Loaded, LoadError> {
    let failed = |error: std::io::Error| LoadError { path: path.to_owned(), offset: 0, what: error.to_string() };
    let total = disk.len(path).map_err(failed)?;
    let mut source = disk.open(path).map_err(failed)?;
    let fault = |fault: Fault| LoadError { path: path.to_owned(), offset: fault.offset, what: fault.what };
    read(&mut *source, total).map_err(fault)
}

/// Loads what `source` holds, of `total` bytes if that is known, up to its end; see [`load_file`].
///
/// # Errors
/// As there.
pub fn load(
    source: &mut (dyn Read + Send),
    total: Option<u64>,
    keyspace: Option<&Keyspace>,
    options: &Options,
    progress: &Progress,
) -> Result<Loaded, Fault> {
    run(source, total, (keyspace, None), options, progress)
}

fn run(
    source: &mut (dyn Read + Send),
    total: Option<u64>,
    (keyspace, held): (Option<&Keyspace>, Option<&mut View<'static>>),
    options: &Options,
    progress: &Progress,
) -> Result<Loaded, Fault> {
    let mut feed = Feed::new(source, total, options.checksum);
    while feed.bytes().len() < HEADER_BYTES {
        feed.more(1).map_err(|dry| fault_of(&feed, feed.bytes().len(), dry))?;
    }
    progress.bytes.fetch_add(feed.bytes().len() as u64, Relaxed);
    let version = Version::read(&feed.bytes()[..HEADER_BYTES], options.any_version).map_err(|what| Fault {
        offset: 0,
        what: format!("{what} ({})", feed.bytes()[..HEADER_BYTES].escape_ascii()),
    })?;
    let job = Job::new(keyspace, options, progress, version);
    let queue = Queue::default();
    let result = thread::scope(|scope| {
        for number in 1..options.threads {
            help(scope, number, &job, &queue);
        }
        let mut decoder = job.decoder();
        decoder.held = held;
        let result = Reading::new(&job, &queue, &mut decoder, feed).read();
        queue.close();
        while let Some(block) = queue.take() {
            decoder.decode(&block);
        }
        result
    });
    if let Some(keyspace) = keyspace {
        keyspace.pressure().note_replaced();
    }
    match (job.take_fault(), result) {
        (Some(fault), Err(other)) if other.offset < fault.offset => Err(other),
        (Some(fault), _) => Err(fault),
        (None, result) => result,
    }
}

/// Starts a thread that decodes. Where there is none to be had, the others do its work.
fn help<'scope>(scope: &'scope Scope<'scope, '_>, number: usize, job: &'scope Job<'_>, queue: &'scope Queue) {
    let work = move || {
        count_to_the_end();
        let mut decoder = job.decoder();
        while let Some(block) = queue.take() {
            decoder.decode(&block);
        }
    };
    let started = thread::Builder::new().name(format!("larder-load-{number}")).spawn_scoped(scope, work);
    if let Err(error) = started {
        tracing::warn!("Can't start a thread that loads: {error}");
    }
}

/// What is said of a type of value that is not known, here and in the log.
fn unknown(kind: u8, version: Version) -> String {
    let number = version.number;
    match version.origin() {
        Some("foreign") => tracing::error!("Can't handle foreign type or opcode {kind} in RDB with version {number}"),
        _ => tracing::error!("Unknown type or opcode when loading DB. Unrecoverable error, aborting now."),
    }
    match version.origin() {
        Some(origin) => format!("Unknown object type {kind} in RDB file with {origin} version {number}"),
        None => format!("Invalid object type: {kind}"),
    }
}

fn fault_of(feed: &Feed<'_>, place: usize, dry: Dry) -> Fault {
    let what = match dry {
        Dry::End => "the file ends too early".to_owned(),
        Dry::Error(error) => error.to_string(),
    };
    Fault { offset: feed.offset(place), what }
}

/// The thread that reads.
struct Reading<'j, 'd, 'a, 's> {
    job: &'j Job<'a>,
    queue: &'j Queue,
    /// For blocks that find no room.
    decoder: &'j mut Decoder<'d, 'a>,
    feed: Feed<'s>,
    /// Up to here the bytes at hand were walked over.
    at: usize,
    db: usize,
    entries: Vec<(usize, Found)>,
    loaded: Loaded,
    /// So many keys more can the file hold: what it says beyond that is not believed.
    believed: u64,
    keys: i64,
}

impl<'j, 'd, 'a, 's> Reading<'j, 'd, 'a, 's> {
    fn new(job: &'j Job<'a>, queue: &'j Queue, decoder: &'j mut Decoder<'d, 'a>, feed: Feed<'s>) -> Self {
        let loaded = Loaded { version: job.version.number, ..Loaded::default() };
        let believed = feed.total().unwrap_or(0) / SMALL_ENTRY_BYTES;
        Reading { job, queue, decoder, feed, believed, at: HEADER_BYTES, db: 0, entries: Vec::new(), loaded, keys: 0 }
    }

    /// Reads to the end.
    fn read(mut self) -> Result<Loaded, Fault> {
        loop {
            let mut walk = Walk::new(self.feed.bytes(), self.at);
            match records::next(&mut walk) {
                Ok(Record::Entry(found)) => {
                    self.at = walk.at();
                    self.entries.push((self.db, found));
                    self.delay();
                }
                Ok(Record::End) => {
                    self.at = walk.at();
                    return self.end();
                }
                Ok(Record::Sizes(keys)) => {
                    self.at = walk.at();
                    self.reserve(keys);
                }
                Ok(record) => {
                    let (end, noted) = (walk.at(), self.loaded.note(&record, &mut self.db, self.job));
                    noted.map_err(|what| Fault { offset: self.feed.offset(self.at), what })?;
                    self.at = end;
                }
                Err(Stop::More(least)) => self.more(least)?,
                Err(Stop::Bad(what)) => {
                    let kind = (what == UNKNOWN_TYPE).then(|| records::kind_at(self.feed.bytes(), self.at)).flatten();
                    let what = kind.map_or_else(|| what.to_owned(), |kind| unknown(kind, self.job.version));
                    return Err(Fault { offset: self.feed.offset(walk.at()), what });
                }
            }
        }
    }

    /// Makes the current database ready for its keys, as far as the file has room for so many.
    fn reserve(&mut self, keys: u64) {
        let keys = keys.min(self.believed);
        self.believed -= keys;
        self.decoder.reserve(self.db, usize::try_from(keys).unwrap_or(0));
    }

    /// Hands over what was walked over, then reads on.
    fn more(&mut self, least: u64) -> Result<(), Fault> {
        if self.at > 0 {
            self.hand_over();
        }
        let stopped = self.job.progress.stop.load(Relaxed);
        if stopped || self.job.failed() {
            return Err(Fault { offset: self.feed.offset(self.at), what: "loading was ended".to_owned() });
        }
        let before = self.feed.bytes().len();
        let read = self.feed.more(least);
        self.job.progress.bytes.fetch_add((self.feed.bytes().len() - before) as u64, Relaxed);
        read.map_err(|dry| fault_of(&self.feed, self.feed.bytes().len(), dry))
    }

    fn hand_over(&mut self) {
        let (bytes, start) = self.feed.cut(self.at);
        self.at = 0;
        if self.entries.is_empty() {
            return;
        }
        let room = Vec::with_capacity(self.entries.len());
        let entries = std::mem::replace(&mut self.entries, room);
        let (block, alone) = (Block { bytes, start, entries }, self.job.options.threads < 2);
        let block = if alone { Some(block) } else { self.queue.put(block) };
        if let Some(block) = block {
            self.decoder.decode(&block);
        }
    }

    /// Verifies the checksum behind the end.
    fn end(mut self) -> Result<Loaded, Fault> {
        self.hand_over();
        let place = self.feed.offset(0);
        if self.job.version.has_checksum() {
            while self.feed.bytes().len() < size_of::<u64>() {
                let missing = size_of::<u64>() - self.feed.bytes().len();
                self.more(missing as u64)?;
            }
            let computed = self.feed.checksum();
            let (bytes, _) = self.feed.cut(size_of::<u64>());
            let stored = bytes.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
            self.loaded.checked = stored != 0 && computed.is_some();
            if self.loaded.checked && computed != Some(stored) {
                let computed = computed.unwrap_or(0);
                let what = format!("RDB CRC error: the checksum is {stored:016x}, the bytes give {computed:016x}");
                return Err(Fault { offset: place, what });
            }
        }
        self.loaded.end = self.feed.offset(0);
        self.loaded.rest = self.feed.into_rest();
        Ok(self.loaded)
    }

    /// Waits as `key-load-delay` says.
    fn delay(&mut self) {
        let delay_us = self.job.options.key_delay_us;
        if delay_us == 0 {
            return;
        }
        self.keys += 1;
        if delay_us > 0 {
            thread::sleep(Duration::from_micros(delay_us.unsigned_abs()));
        } else if self.keys % delay_us == 0 {
            thread::sleep(Duration::from_micros(1));
        }
    }
}

impl Loaded {
    /// Takes in a record that is no entry.
    fn note(&mut self, record: &Record<'_>, db: &mut usize, job: &Job<'_>) -> Result<(), String> {
        match record {
            Record::Database(number) => {
                *db = usize::try_from(*number).unwrap_or(usize::MAX);
                self.databases += 1;
                let databases = job.keyspace.map_or(usize::MAX, Keyspace::databases);
                if *db >= databases {
                    return Err(format!(
                        "Data file was created with a server configured to handle more than {databases} databases"
                    ));
                }
            }
            Record::Aux(name, value) => {
                if **name == *b"used-mem" {
                    let bytes = number::parse_i64(value).and_then(|bytes| u64::try_from(bytes).ok());
                    job.progress.writer_bytes.store(bytes.unwrap_or(0), Relaxed);
                }
                if self.aux.len() < MOST_AUX {
                    self.aux.push((name.to_vec(), value.to_vec()));
                }
            }
            Record::Library(code) => self.libraries.push(code.to_vec()),
            Record::Sizes(_) | Record::Other | Record::Entry(_) | Record::End => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
