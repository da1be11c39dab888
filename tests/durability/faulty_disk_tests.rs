//! What the faulty disk promises to the tests that use it.

use crate::disk::{Disk, DiskFile};
use crate::faulty_disk::{Cut, FaultyDisk, Op, Outcome, counts};
use std::io::{self, Read};
use std::path::Path;
use std::thread;
use std::time::Duration;

fn read(disk: &FaultyDisk, path: &str) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    disk.open(Path::new(path))?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn file(disk: &FaultyDisk, path: &str) -> Box<dyn DiskFile> {
    disk.create(Path::new(path)).expect("a new file")
}

fn errno<T>(result: io::Result<T>) -> Option<i32> {
    result.err().and_then(|error| error.raw_os_error())
}

#[test]
fn without_faults_it_is_a_disk() -> io::Result<()> {
    let disk = FaultyDisk::new(&["/data"]);
    let (path, temporary) = (Path::new("/data/./a"), Path::new("/data/t"));
    disk.replace(path, temporary, b"one")?;
    disk.replace(path, temporary, b"two and more")?;
    let mut a = disk.append(path)?;
    a.truncate(3)?;
    a.again()?.write_all(b"!")?;
    assert_eq!((disk.len(path)?, disk.len(temporary)?), (Some(4), None));
    assert_eq!((read(&disk, "/data/a")?, disk.list(Path::new("/data"))?), (b"two!".to_vec(), vec!["a".into()]));
    assert!(disk.create(Path::new("/nowhere/a")).is_err(), "a directory that is not there");
    disk.create_dir(Path::new("/data/d"))?;
    disk.create_dir(Path::new("/data/d"))?;
    disk.remove(path)?;
    assert_eq!(disk.list(Path::new("/data"))?, ["d"]);
    assert_eq!(counts(&disk.history()).get(&(Op::Rename, "a".into())), Some(&2));
    Ok(())
}

#[test]
fn a_power_cut_takes_what_was_not_synced() -> io::Result<()> {
    let disk = FaultyDisk::new(&["data"]);
    let mut synced = file(&disk, "data/synced");
    synced.write_all(b"safe")?;
    synced.sync()?;
    disk.sync_dir(Path::new("data"))?;
    synced.write_all(b" and not")?;
    let mut nameless = file(&disk, "data/nameless");
    nameless.write_all(b"bytes")?;
    nameless.sync()?;
    disk.create_dir(Path::new("data/d"))?;
    file(&disk, "data/d/f").sync()?;
    disk.sync_dir(Path::new("data/d"))?;

    let after = disk.after_power_cut(Cut::Everything);
    assert_eq!(read(&after, "data/synced")?, b"safe");
    assert_eq!(after.list(Path::new("data"))?, ["synced"], "a name and a directory that were not synced are gone");
    disk.sync_dir(Path::new("data"))?;
    let after = disk.after_power_cut(Cut::Everything);
    assert_eq!((read(&after, "data/nameless")?, read(&after, "data/d/f")?), (b"bytes".to_vec(), Vec::new()));
    Ok(())
}

#[test]
fn a_rename_that_was_not_synced_leaves_the_old_file_and_never_none() -> io::Result<()> {
    let disk = FaultyDisk::new(&["data"]);
    disk.put("data/a", b"old");
    let mut temporary = file(&disk, "data/t");
    temporary.write_all(b"new")?;
    temporary.sync()?;
    disk.rename(Path::new("data/t"), Path::new("data/a"))?;
    assert_eq!(disk.after_power_cut(Cut::Everything).bytes("data/a"), Some(b"old".to_vec()));
    let mut seen: Vec<_> = (0..50).filter_map(|seed| disk.after_power_cut(Cut::Some(seed)).bytes("data/a")).collect();
    assert_eq!(seen.len(), 50);
    seen.sort();
    seen.dedup();
    assert_eq!(seen, [b"new", b"old"]);
    Ok(())
}

#[test]
fn unsynced_bytes_go_stay_tear_become_nul_or_leave_a_hole() -> io::Result<()> {
    let disk = FaultyDisk::new(&["data"]);
    disk.put("data/a", &[b'0'; 100]);
    let mut a = disk.append(Path::new("data/a"))?;
    for digit in b"12345678" {
        a.write_all(&[*digit; 1000])?;
    }
    let whole = disk.bytes("data/a").expect("the file");
    let (mut kinds, mut kept_writes) = ([0; 5], [0; 9]);
    for seed in 0..1000 {
        let left = disk.after_power_cut(Cut::Some(seed)).bytes("data/a").expect("a synced name");
        let same = left.iter().zip(&whole).take_while(|(one, other)| one == other).count();
        assert!(
            left.len() <= whole.len() && same >= 100,
            "what was synced is there, and nothing is longer than it was"
        );
        kept_writes[(same - 100) / 1000] += 1;
        let nul = left[same..].iter().take_while(|byte| **byte == 0).count();
        kinds[match (same == left.len(), (same - 100) % 1000) {
            (true, _) if same == whole.len() => 0,
            (true, 0) => 1,
            (true, _) => 2,
            (false, 0) if same + nul == left.len() => 3,
            (false, 0) => {
                let end = same + nul;
                assert!(end % 512 == 0 && left[end..] == whole[end..], "a hole ends with its block");
                4
            }
            (false, _) => panic!("a torn write is the end"),
        }] += 1;
    }
    assert!(kinds.iter().chain(&kept_writes).all(|count| *count > 20), "{kinds:?} {kept_writes:?}");
    Ok(())
}

#[test]
fn bytes_of_a_failed_sync_are_not_saved_by_a_later_one() -> io::Result<()> {
    let disk = FaultyDisk::new(&["data"]);
    disk.put("data/a", b"");
    let mut a = disk.append(Path::new("data/a"))?;
    a.write_all(b"lost")?;
    disk.fail(Op::Sync, 1, libc::EIO);
    assert_eq!(errno(a.sync()), Some(libc::EIO));
    a.write_all(b"kept")?;
    a.sync()?;
    assert_eq!(read(&disk, "data/a")?, b"lostkept", "as long as the power is on it can be read");
    assert_eq!(disk.after_power_cut(Cut::Everything).bytes("data/a"), Some(b"\0\0\0\0kept".to_vec()));
    Ok(())
}

#[test]
fn the_nth_operation_fails_or_falls_short() -> io::Result<()> {
    let disk = FaultyDisk::new(&["data"]);
    let (mut a, mut b) = (file(&disk, "data/a"), file(&disk, "data/b"));
    disk.fail(Op::Write, 2, libc::ENOSPC);
    disk.shorten(3, 2);
    disk.plan(Some(Op::Write), "data/b", 1, 2, Outcome::Fail(libc::EIO));
    assert_eq!(a.write(b"xyz")?, 3);
    assert_eq!(errno(a.write(b"xyz")), Some(libc::ENOSPC));
    assert_eq!(a.write(b"xyz")?, 2);
    assert_eq!((errno(b.write(b"1")), errno(b.write(b"1"))), (Some(libc::EIO), Some(libc::EIO)));
    assert_eq!(b.write(b"1")?, 1);
    disk.fail_from(Op::Rename, 1, libc::EIO);
    for _ in 0..3 {
        assert_eq!(errno(disk.rename(Path::new("data/a"), Path::new("data/c"))), Some(libc::EIO));
    }
    disk.heal();
    disk.rename(Path::new("data/a"), Path::new("data/c"))?;
    assert_eq!(read(&disk, "data/c")?, b"xyzxy");
    Ok(())
}

#[test]
fn a_full_disk_takes_a_part_then_nothing_until_there_is_room() -> io::Result<()> {
    let disk = FaultyDisk::new(&["data"]);
    disk.put("data/old", b"12345");
    disk.room(Some(8));
    let mut a = file(&disk, "data/a");
    assert_eq!(a.write(b"abcdef")?, 3);
    assert_eq!(errno(a.write(b"def")), Some(libc::ENOSPC));
    a.truncate(1)?;
    assert_eq!(a.write(b"bcdef")?, 2);
    disk.remove(Path::new("data/old"))?;
    a.write_all(b"def")?;
    assert_eq!(read(&disk, "data/a")?, b"abcdef");
    Ok(())
}

#[test]
fn after_its_death_nothing_has_an_effect() {
    // Every crash point of a replacement: there is the old or the new file, whole.
    for operation in 1..8 {
        let disk = FaultyDisk::new(&["data"]);
        disk.put("data/a", b"old");
        disk.die_at(operation);
        let done = disk.replace(Path::new("data/a"), Path::new("data/t"), b"new");
        assert_eq!(done.is_ok(), operation > 5, "create, write, sync, rename and sync of the directory");
        let left = disk.after_power_cut(Cut::Everything).bytes("data/a");
        assert_eq!(left.as_deref(), Some(if done.is_ok() { b"new" } else { b"old" }.as_slice()));
    }
}

#[test]
fn a_stalled_sync_waits_for_its_release() -> io::Result<()> {
    let disk = FaultyDisk::new(&["data"]);
    disk.put("data/a", b"");
    let mut a = disk.append(Path::new("data/a"))?;
    a.write_all(b"held")?;
    disk.stall();
    let mut again = a.again()?;
    let syncing = thread::spawn(move || again.sync());
    while disk.waiting() == 0 {
        thread::sleep(Duration::from_millis(1));
    }
    a.write_all(b" up")?; // the disk itself goes on
    assert_eq!(disk.after_power_cut(Cut::Everything).bytes("data/a"), Some(Vec::new()));
    disk.release();
    syncing.join().expect("a thread that does not panic")?;
    assert_eq!(disk.after_power_cut(Cut::Everything).bytes("data/a"), Some(b"held up".to_vec()));
    Ok(())
}
