//! The append-only file on a disk that fails and loses its power: at every operation, in many ways.
//!
//! A log takes numbered units, is written and synced, and rewritten twice. Whatever becomes of the disk: what is read
//! back afterwards are the units 1, 2, 3 and so on without a gap, at least up to the last one that was synced.

use crate::disk::Disk;
use crate::faulty_disk::{Cut, FaultyDisk, Op, Outcome};
use larder::call::append_log::files::{Files, is_half_begun, plan};
use larder::config::Config;
use larder::persistence::aof::reader::{End, Reader};
use larder::persistence::aof::writer::{Fault, Log};
use larder::protocol::batch::{Batch, OwnedRequest};
use std::io;

const UNITS: u64 = 36;
const REWRITES: [u64; 2] = [13, 25];
/// Units that a snapshot has when a log begins in a server that runs.
const SNAPSHOT: u64 = 5;
/// Units that come while a rewrite is on its way.
const MEANWHILE: u64 = 4;

/// A server that writes numbers.
struct Writer {
    disk: FaultyDisk,
    config: Config,
    files: Files,
    log: Log,
    /// Positions of the log behind each unit.
    ends: Vec<u64>,
    /// The last unit that a power cut must leave.
    safe: u64,
    faults: u64,
}

fn disk() -> FaultyDisk {
    FaultyDisk::new(&[&Config::default().dir().to_string_lossy()])
}

/// A unit: every third is a transaction.
fn requests(number: u64) -> Vec<OwnedRequest> {
    let text = number.to_string();
    let request = |key: &'static [u8]| OwnedRequest::from_args([b"SET", key, text.as_bytes()]);
    if number.is_multiple_of(3) { vec![request(b"a"), request(b"b")] } else { vec![request(b"one")] }
}

impl Writer {
    fn new(disk: FaultyDisk) -> Writer {
        let (config, files, log) = (Config::default(), Files::default(), Log::default());
        Writer { disk, config, files, log, ends: Vec::new(), safe: 0, faults: 0 }
    }

    /// The whole life of a log. Stops at the first error that a server would not survive.
    fn live(&mut self) -> Result<(), String> {
        let file = self.files.open(&self.disk, &self.config, None).map_err(|error| error.to_string())?;
        self.log.switch_to(file);
        self.go_on()
    }

    /// The same of one that begins when there is a snapshot of some units. Until its first base is there the snapshot counts.
    fn begin_and_live(&mut self) -> Result<(), String> {
        self.ends = vec![0; usize::try_from(SNAPSHOT).map_err(|error| error.to_string())?];
        self.safe = SNAPSHOT;
        for _ in 0..10 {
            self.rewrite(true).map_err(|error| error.to_string())?;
            if !self.files.manifest.is_empty() {
                self.note_safe();
                return self.go_on();
            }
        }
        Err("it does not begin".to_owned())
    }

    fn go_on(&mut self) -> Result<(), String> {
        while self.units() < UNITS {
            self.put();
            if REWRITES.contains(&self.units()) || self.needs_new_files() {
                self.rewrite(false).map_err(|error| error.to_string())?;
            }
            if self.log.is_faulty() && self.disk.operations() > 400 {
                return Err("it does not recover".to_owned());
            }
        }
        Ok(())
    }

    fn units(&self) -> u64 {
        self.ends.len() as u64
    }

    /// The next unit, into the log alone.
    fn append(&mut self) -> u64 {
        let number = self.units() + 1;
        let unit = requests(number);
        let views: Vec<_> = unit.iter().map(|request| (0, request.view())).collect();
        self.log.append(&views, None);
        self.ends.push(self.log.appended());
        number
    }

    fn put(&mut self) {
        let number = self.append();
        if !number.is_multiple_of(4) && self.write().is_ok() && number.is_multiple_of(2) {
            let _ = self.log.sync();
        }
        self.note_safe();
    }

    fn write(&mut self) -> Result<(), Fault> {
        let written = self.log.write();
        if written.is_ok() {
            self.log.forgive_write();
        } else {
            self.faults += 1;
        }
        written
    }

    fn note_safe(&mut self) {
        if self.files.manifest.is_empty() {
            return; // it has no base yet
        }
        let synced = self.log.synced();
        let safe = self.ends.iter().filter(|end| **end <= synced).count() as u64;
        assert!(safe >= self.safe, "what was synced stays so");
        self.safe = safe;
    }

    fn needs_new_files(&self) -> bool {
        matches!(self.log.fault(), Some(Fault::Sync(_)))
    }

    /// What `server/append_log.rs` does, with a base of commands.
    fn rewrite(&mut self, begin: bool) -> io::Result<()> {
        if !begin {
            let _ = self.log.write().and_then(|()| self.log.sync());
        }
        let Ok(file) = self.files.begin_rewrite(&self.disk, &self.config, begin) else { return Ok(()) };
        self.log.switch_to(file);
        let cut = self.units();
        for _ in 0..MEANWHILE {
            self.append();
            let _ = self.write();
        }
        self.note_safe();
        let Ok((temporary, path)) = self.files.next_base(&self.disk, &self.config, false) else { return Ok(()) };
        let mut base = Vec::new();
        (1..=cut).flat_map(requests).for_each(|request| request.view().encode(&mut base));
        if self.disk.replace(&path, &temporary, &base).is_err() {
            return Ok(());
        }
        let installed = self.files.install_base(&self.disk, &self.config, false, 1, base.len() as u64);
        if installed.is_ok() && self.log.is_faulty() {
            self.log.start_over();
        }
        let _ = self.write();
        self.note_safe();
        Ok(())
    }
}

/// The units that a start finds, checked to follow each other; `snapshot` of them where there is no log.
fn found(disk: &FaultyDisk, snapshot: u64) -> Result<u64, String> {
    if is_half_begun(disk, &Config::default())? {
        return Ok(snapshot);
    }
    let Some(plan) = plan(disk, &Config::default())? else { return Ok(snapshot) };
    let mut numbers = Vec::new();
    for (index, (path, _)) in plan.parts.iter().enumerate() {
        if disk.bytes(path).is_some_and(|bytes| bytes.starts_with(b"REDIS")) {
            continue; // the base that a log begins with is an empty snapshot; those of the rewrites are commands
        }
        let mut reader = Reader::new(disk.open(path).map_err(|error| error.to_string())?, 0);
        let mut batch = Batch::new();
        let end = loop {
            match reader.next(&mut batch).map_err(|error| format!("{}: {error}", path.display()))? {
                Ok(buffer) => {
                    numbers.extend(batch.requests(buffer).filter_map(|request| number_of(request.arg(2))));
                }
                Err(end) => break end,
            }
        };
        let behind: u64 = plan.parts.iter().skip(index + 1).map(|(_, bytes)| bytes).sum();
        if end != End::Whole && behind > 0 {
            return Err(format!("{} ends too early and {behind} bytes follow", path.display()));
        }
    }
    follow(&numbers)
}

fn number_of(argument: &[u8]) -> Option<u64> {
    str::from_utf8(argument).ok()?.parse().ok()
}

/// Whether these are the requests of the units 1, 2, 3 and so on.
fn follow(numbers: &[u64]) -> Result<u64, String> {
    let last = numbers.last().copied().unwrap_or(0);
    let expected: Vec<u64> = (1..=last).flat_map(|number| vec![number; requests(number).len()]).collect();
    if numbers == expected { Ok(last) } else { Err(format!("not a prefix: {numbers:?}")) }
}

fn check(writer: &Writer, what: &str) {
    check_with(writer, 0, what);
}

fn check_with(writer: &Writer, snapshot: u64, what: &str) {
    for cut in [Cut::Everything].into_iter().chain((0..12).map(Cut::Some)) {
        let last = found(&writer.disk.after_power_cut(cut), snapshot);
        assert!(
            last.as_ref().is_ok_and(|last| *last >= writer.safe),
            "{what}, {cut:?}: unit {} was synced, and what is read is {last:?}",
            writer.safe
        );
    }
}

#[test]
fn whatever_the_moment_of_a_power_cut_what_was_synced_is_read_back() {
    let mut whole = Writer::new(disk());
    assert_eq!(whole.live(), Ok(()));
    assert!(whole.safe >= UNITS - 4 && whole.faults == 0, "the scenario reaches its end");
    let operations = whole.disk.operations();
    assert!(operations > 80, "it has {operations} operations only");
    for operation in 1..=operations + 1 {
        let mut writer = Writer::new(disk());
        writer.disk.die_at(operation);
        let _ = writer.live();
        check(&writer, &format!("power cut at operation {operation}"));
    }
}

#[test]
fn a_log_that_begins_in_a_running_server_leaves_the_snapshot_or_itself() {
    let mut whole = Writer::new(disk());
    assert_eq!(whole.begin_and_live(), Ok(()));
    assert!(whole.safe >= UNITS - 4 && whole.faults == 0, "the scenario reaches its end");
    for operation in 1..=whole.disk.operations() + 1 {
        let mut writer = Writer::new(disk());
        writer.disk.die_at(operation);
        let _ = writer.begin_and_live();
        check_with(&writer, SNAPSHOT, &format!("power cut at operation {operation}"));
    }
    for (op, errno) in
        [(Op::Write, libc::ENOSPC), (Op::SyncDir, libc::EIO), (Op::Rename, libc::EIO), (Op::Create, libc::EIO)]
    {
        for nth in 1..=12 {
            for times in [1, 3] {
                let mut writer = Writer::new(disk());
                writer.disk.plan(Some(op), "", nth, times, Outcome::Fail(errno));
                let what = format!("{op:?} {nth} fails {times} times");
                assert_eq!(writer.begin_and_live(), Ok(()), "{what}");
                check_with(&writer, SNAPSHOT, &what);
            }
        }
    }
}

#[test]
fn after_a_failed_operation_the_log_goes_on_and_keeps_what_was_synced() {
    let ways = [
        (Op::Write, 45, libc::EIO),
        (Op::Write, 45, libc::ENOSPC),
        (Op::Sync, 30, libc::EIO),
        (Op::SyncDir, 16, libc::EIO),
        (Op::Rename, 12, libc::EIO),
        (Op::Create, 14, libc::ENOSPC),
        (Op::Remove, 6, libc::EIO),
        (Op::Truncate, 2, libc::EIO),
    ];
    let mut met = 0;
    for (op, most, errno) in ways {
        for nth in 1..=most {
            for times in [1, 3] {
                let mut writer = Writer::new(disk());
                writer.disk.plan(Some(op), "", nth, times, Outcome::Fail(errno));
                let lived = writer.live();
                let what = format!("{op:?} {nth} fails {times} times with {errno}");
                let history = writer.disk.history();
                let opened = writer.files.manifest.incremental.len();
                assert!(lived.is_ok() || opened == 0, "{what}: only a log that could not be opened may end: {lived:?}");
                if lived.is_ok() {
                    assert!(!writer.needs_new_files() || nth > 20, "{what}: it has not recovered");
                }
                met += u64::from(history.iter().any(|record| !record.done));
                check(&writer, &what);
            }
        }
    }
    assert!(met > 150, "only {met} faults were met");
}

#[test]
fn short_writes_leave_whole_units() {
    for nth in 1..=40 {
        for bytes in [1, 7, 30] {
            let mut writer = Writer::new(disk());
            writer.disk.shorten(nth, bytes);
            writer.disk.plan(Some(Op::Write), "incr", nth + 1, 1, Outcome::Fail(libc::ENOSPC));
            let _ = writer.live();
            check(&writer, &format!("write {nth} takes {bytes} bytes, the next one fails"));
        }
    }
}
