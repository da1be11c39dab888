//! Snapshots on a disk that fails and loses its power: there is the old file or the new one, whole.

use crate::faulty_disk::{Cut, FaultyDisk, Op, Outcome};
use crate::harness::Client;
use larder::persistence::rdb::load::{self, load_file};
use larder::persistence::rdb::save::{Options, Progress, SaveError, recorder, save_file};
use larder::protocol::reply::Resp;
use larder::util::clock::UnixMs;
use std::path::Path;

const PATH: &str = "data/dump.rdb";
const TEMPORARY: &str = "data/temp-1.rdb";

fn client() -> Client {
    let mut c = Client::new(Resp::V2);
    for line in ["MSET a 1 b text", "RPUSH list a b c", "HSET hash f v", "ZADD zset 1 m", "XADD stream 1-1 f v"] {
        c.ask(line);
    }
    let mut state = 1_u64;
    for n in 0..30_u8 {
        // Not to be compressed, so that the file is written in several pieces.
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state.to_le_bytes()[7]
        };
        let value: Vec<u8> = (0..60_000).map(|_| next()).collect();
        c.bytes(&[b"SET", &[b'k', n], &value]);
    }
    c
}

/// Saves; the file can be told from others by the library in it.
fn save(c: &Client, disk: &FaultyDisk, library: &str) -> Result<(), SaveError> {
    let keyspace = &c.shared.keyspace;
    let cut = keyspace.cut(recorder(keyspace, c.shared.config.maxmemory_policy()), &mut || {}).expect("no other cut");
    let functions = [library.as_bytes().into()];
    let options = Options { config: &c.shared.config, functions: &functions, aof_base: false };
    save_file(disk, (Path::new(PATH), Path::new(TEMPORARY)), cut, options, &Progress::default()).map(|_| ())
}

/// The library of the snapshot on a disk, which must be whole.
fn library(disk: &FaultyDisk) -> Result<String, String> {
    let options = load::Options {
        limits: Default::default(),
        now: UnixMs::now(),
        keep_expired: false,
        replace: false,
        threads: 1,
        checksum: true,
        any_version: false,
        key_delay_us: 0,
    };
    let loaded = load_file(disk, Path::new(PATH), None, &options, &load::Progress::default());
    let loaded = loaded.map_err(|error| error.to_string())?;
    if !loaded.checked {
        return Err("it has no checksum".to_owned());
    }
    let text = loaded.libraries.into_iter().next().unwrap_or_default();
    String::from_utf8(text).map_err(|error| error.to_string())
}

/// A disk on which a snapshot was saved and synced.
fn with_snapshot(c: &Client) -> FaultyDisk {
    let disk = FaultyDisk::new(&["data"]);
    save(c, &disk, "old").expect("a disk without faults");
    disk.after_power_cut(Cut::Everything)
}

#[test]
fn whatever_the_moment_of_a_power_cut_there_is_a_whole_snapshot() {
    let c = client();
    let whole = with_snapshot(&c);
    save(&c, &whole, "new").expect("a disk without faults");
    for operation in 1..=whole.operations() + 1 {
        let disk = with_snapshot(&c);
        disk.die_at(operation);
        let saved = save(&c, &disk, "new").is_ok();
        for cut in [Cut::Everything].into_iter().chain((0..20).map(Cut::Some)) {
            let left = library(&disk.after_power_cut(cut));
            let good = left.as_ref().is_ok_and(|left| left == "new" || left == "old" && !saved);
            assert!(good, "power cut at operation {operation} ({cut:?}), saved: {saved}: {left:?}");
        }
    }
}

#[test]
fn a_snapshot_that_fails_leaves_the_old_one_and_nothing_else() {
    let c = client();
    let faults = [Outcome::Fail(libc::EIO), Outcome::Fail(libc::ENOSPC), Outcome::Panic];
    for (op, most) in [(Op::Create, 1), (Op::Write, 3), (Op::Sync, 2), (Op::Rename, 1)] {
        for (nth, fault) in (1..=most).flat_map(|nth| faults.map(|fault| (nth, fault))) {
            if fault == Outcome::Panic && !matches!(op, Op::Write | Op::Sync) {
                continue; // where the snapshot is written, not where its file is made and named
            }
            let disk = with_snapshot(&c);
            disk.plan(Some(op), "", nth, 1, fault);
            let saved = save(&c, &disk, "new");
            if disk.history().iter().all(|record| record.done) {
                continue; // there are not as many of these operations
            }
            assert!(matches!(saved, Err(SaveError::Disk(_))), "{op:?} {nth} fails: {saved:?}");
            assert_eq!(library(&disk).as_deref(), Ok("old"), "{op:?} {nth} fails");
            assert!(disk.bytes(TEMPORARY).is_none(), "{op:?} {nth} fails: the temporary file stays");
            disk.heal();
            save(&c, &disk, "new").expect("a disk that works again");
            assert_eq!(library(&disk.after_power_cut(Cut::Everything)).as_deref(), Ok("new"));
        }
    }
}

#[test]
fn short_writes_are_no_failures() {
    let c = client();
    let disk = with_snapshot(&c);
    disk.plan(Some(Op::Write), "", 1, 500, Outcome::Short(7));
    save(&c, &disk, "new").expect("a disk that is slow, not broken");
    assert_eq!(library(&disk).as_deref(), Ok("new"));
}
