use super::*;
use crate::config::Config;
use crate::keyspace::reclaim::Reclaimer;
use crate::keyspace::{KeyHasher, LockPlan, View};
use crate::persistence::rdb::bytes::{checksum, finish, put_number, put_string};
use crate::persistence::rdb::lzf::Compressor;
use crate::util::pieces::Pieces;
use proptest::prelude::*;
use std::sync::Arc;

const NOW: UnixMs = UnixMs(1_800_000_000_000);

fn options(threads: usize) -> Options {
    Options {
        limits: Limits::default(),
        now: NOW,
        keep_expired: false,
        replace: false,
        threads,
        checksum: true,
        any_version: false,
        key_delay_us: 0,
    }
}

fn keyspace() -> Keyspace {
    let (reclaimer, _reclaiming) = Reclaimer::new(Arc::new(Config::default()));
    Keyspace::new(16, 1, KeyHasher::with_seed(7), reclaimer)
}

/// A file in the making.
struct Maker(Vec<u8>);

impl Maker {
    fn new(header: &str) -> Maker {
        Maker(header.as_bytes().to_vec())
    }

    fn raw(mut self, bytes: &[u8]) -> Maker {
        self.0.extend_from_slice(bytes);
        self
    }

    fn text(mut self, text: &[u8]) -> Maker {
        let mut pieces = Pieces::default();
        put_string(text, &mut pieces);
        finish(&pieces, Some(&mut Compressor::default()), &mut self.0);
        self
    }

    fn string(self, key: &[u8], value: &[u8]) -> Maker {
        self.raw(&[0]).text(key).text(value)
    }

    fn aux(self, name: &str, value: &str) -> Maker {
        self.raw(&[0xfa]).text(name.as_bytes()).text(value.as_bytes())
    }

    fn finish(self) -> Vec<u8> {
        let mut file = self.raw(&[0xff]).0;
        file.extend_from_slice(&checksum(&file).to_le_bytes());
        file
    }
}

/// One of everything.
fn sample() -> Vec<u8> {
    let mut file = Maker::new("REDIS0011")
        .aux("redis-ver", "7.2.4")
        .aux("used-mem", "123456")
        .raw(b"\xf5")
        .text(b"#!lua name=x\n");
    file = file.raw(b"\xfe\x00\xfb\x05\x02").string(b"a", b"1").string(b"b", &[b'x'; 3000]);
    file = file.raw(&[0xfc]).raw(&(NOW.0 + 5).to_le_bytes()).string(b"later", b"soon gone");
    file = file.raw(&[0xfc]).raw(&(NOW.0 - 5).to_le_bytes()).string(b"past", b"gone");
    file = file.raw(b"\xfd").raw(&2_000_000_000_i32.to_le_bytes()).string(b"seconds", b"of an old version");
    file = file.raw(b"\x01").text(b"list").raw(b"\x03").text(b"x").text(b"17").text(&[b'y'; 500]);
    file =
        file.raw(b"\xfe\x0f\xf8\x40\x50\x04").text(b"hash").raw(b"\x02").text(b"f").text(b"v").text(b"g").text(b"-9");
    file = file.raw(b"\x02").text(b"nothing").raw(b"\x00");
    file.raw(b"\x05").text(b"zset").raw(b"\x01").text(b"m").raw(&1.5_f64.to_le_bytes()).finish()
}

fn run(file: &[u8], threads: usize) -> (Result<Loaded, Fault>, Keyspace, Progress) {
    let (keyspace, progress) = (keyspace(), Progress::default());
    let result = load(&mut &file[..], Some(file.len() as u64), Some(&keyspace), &options(threads), &progress);
    (result, keyspace, progress)
}

fn text_of(keyspace: &Keyspace, db: usize, key: &str) -> Option<String> {
    let key = keyspace.hasher().key(key.as_bytes());
    let mut view = View::lock(keyspace, db, NOW, false, LockPlan::Keys, std::iter::once(key.hash));
    let text = view.peek(key)?.string().map(|string| string.text().into_owned());
    Some(text.map_or_else(|| "collection".to_owned(), |text| String::from_utf8_lossy(&text).into_owned()))
}

#[test]
fn one_of_everything() {
    for threads in [1, 2, 5] {
        let (result, keyspace, progress) = run(&sample(), threads);
        let loaded = result.expect("a file");
        assert_eq!((loaded.version, loaded.databases, loaded.end), (11, 2, sample().len() as u64));
        assert_eq!(loaded.libraries, [b"#!lua name=x\n".to_vec()]);
        assert_eq!(loaded.aux("redis-ver"), Some(&b"7.2.4"[..]));
        let counts = [&progress.keys, &progress.timed, &progress.expired, &progress.empty, &progress.writer_bytes];
        assert_eq!(counts.map(|count| count.load(Relaxed)), [7, 3, 1, 1, 123_456]);
        for (db, key, text) in
            [(0, "a", "1"), (0, "later", "soon gone"), (0, "list", "collection"), (15, "hash", "collection")]
        {
            assert_eq!(text_of(&keyspace, db, key).as_deref(), Some(text), "{key}");
        }
        assert_eq!(text_of(&keyspace, 0, "past"), None);
        let key = keyspace.hasher().key(b"seconds");
        let mut view = View::lock(&keyspace, 0, NOW, false, LockPlan::Keys, std::iter::once(key.hash));
        assert_eq!(view.peek(key).and_then(|entry| entry.deadline()), Some(UnixMs(2_000_000_000_000)));
        drop(view);
        let key = keyspace.hasher().key(b"hash");
        let mut view = View::lock(&keyspace, 15, NOW, false, LockPlan::Keys, std::iter::once(key.hash));
        let idle_s = crate::keyspace::access_seconds(NOW) - view.peek(key).expect("the hash").access();
        assert_eq!(idle_s, 0x50);
    }
}

/// Redis writes no such nodes and passes over them; larder took the file for damaged.
#[test]
fn nodes_without_elements_are_passed_over() {
    const NONE: &[u8] = &[7, 0, 0, 0, 0, 0, 0xff];
    const ONE: &[u8] = &[9, 0, 0, 0, 1, 0, 5, 1, 0xff];
    let list = |file: Maker, key: &[u8], nodes: &[&[u8]]| {
        let file = file.raw(&[18]).text(key).raw(&[u8::try_from(nodes.len()).expect("few")]);
        nodes.iter().fold(file, |file, node| file.raw(&[2]).text(node))
    };
    let file = list(Maker::new("REDIS0011").raw(b"\xfe\x00"), b"some", &[NONE, ONE, NONE]);
    let file = list(list(file, b"none", &[NONE, NONE]), b"one", &[ONE]).finish();
    let (result, keyspace, progress) = run(&file, 1);
    assert!(result.is_ok(), "{result:?}");
    assert_eq!((progress.keys.load(Relaxed), progress.empty.load(Relaxed)), (2, 1));
    assert!(text_of(&keyspace, 0, "some").is_some() && text_of(&keyspace, 0, "none").is_none());
}

#[test]
fn many_keys_over_many_blocks_on_many_threads() {
    let count = 40_000;
    let mut maker = Maker::new("REDIS0010").raw(b"\xfe\x03");
    for number in 0..count {
        maker = maker.string(format!("key:{number}").as_bytes(), format!("value {number}").as_bytes());
    }
    let huge = vec![b'h'; 3_000_000];
    let file = maker.raw(&[0]).text(b"huge").raw(b"\x80").raw(&3_000_000_u32.to_be_bytes()).raw(&huge).finish();
    let (result, keyspace, progress) = run(&file, 4);
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(progress.keys.load(Relaxed), count + 1);
    for number in (0..count).step_by(997) {
        assert_eq!(text_of(&keyspace, 3, &format!("key:{number}")), Some(format!("value {number}")));
    }
    assert_eq!(text_of(&keyspace, 3, "huge").map(|text| text.len()), Some(huge.len()));
}

#[test]
fn what_follows_the_end_is_given_back() {
    let mut file = sample();
    let end = file.len() as u64;
    file.extend_from_slice(b"*1\r\n$4\r\nPING\r\n");
    let (result, ..) = run(&file, 2);
    let loaded = result.expect("a file");
    assert_eq!((loaded.end, loaded.rest), (end, b"*1\r\n$4\r\nPING\r\n".to_vec()));
}

#[test]
fn faults_have_a_place_and_a_reason() {
    let twice = Maker::new("REDIS0010").string(b"k", b"v").string(b"k", b"w");
    let (offset, file) = (twice.0.len() as u64 - 4, twice.finish());
    let fault = run(&file, 2).0.expect_err("a key that comes twice");
    assert_eq!((fault.offset, &fault.what[..]), (offset, "RDB has duplicated key 'k' in DB 0"));
    let beyond = Maker::new("REDIS0010").raw(b"\xfe\x10").string(b"k", b"v").finish();
    let fault = run(&beyond, 1).0.expect_err("a database beyond the last");
    assert!(fault.offset == 9 && fault.what.contains("more than 16 databases"), "{fault:?}");
    let damaged = Maker::new("REDIS0010").raw(b"\x10").text(b"h\xff").text(b"no listpack").string(b"a", b"b").finish();
    let fault = run(&damaged, 2).0.expect_err("no listpack");
    assert_eq!(
        (fault.offset, &fault.what[..]),
        (13, "the value of key 'h\\xff', of type 16, is damaged: Hash listpack integrity check failed")
    );
    let mut flipped = sample();
    flipped[14] ^= 1;
    assert!(run(&flipped, 2).0.expect_err("a wrong checksum").what.starts_with("RDB CRC error"));
    assert_eq!(run(b"RODIS0009", 1).0.expect_err("no header").offset, 0);
    for (opcode, word) in
        [(6_u8, "module"), (0xf6, "release candidate"), (0xf7, "module"), (99, "Invalid object type: 99")]
    {
        let file = Maker::new("REDIS0010").raw(&[opcode]).text(b"x").finish();
        let fault = run(&file, 1).0.expect_err("an opcode");
        assert!(fault.what.contains(word), "{opcode}: {fault:?}");
    }
}

#[test]
fn a_checksum_of_zero_is_not_verified_and_old_versions_have_none() {
    let mut unchecked = sample();
    let end = unchecked.len();
    unchecked[end - 8..].fill(0);
    assert!(run(&unchecked, 1).0.is_ok());
    let old = Maker::new("REDIS0003").string(b"k", b"v").raw(&[0xff]).0;
    assert_eq!(run(&old, 1).0.map(|loaded| loaded.end), Ok(old.len() as u64));
}

#[test]
fn every_prefix_is_an_error() {
    let file = sample();
    for len in 0..file.len() {
        let (result, ..) = run(&file[..len], 1);
        let fault = result.expect_err("a prefix");
        assert!(fault.offset <= len as u64, "{len}: {fault:?}");
    }
}

proptest! {
    #[test]
    fn flipped_bits_and_rubbish_do_no_harm(
        flips in prop::collection::vec((any::<prop::sample::Index>(), 0_u8..8), 1..4),
        rubbish in prop::collection::vec(any::<u8>(), 0..300),
        checked: bool,
    ) {
        let mut file = sample();
        for (place, bit) in flips {
            let at = place.index(file.len());
            file[at] ^= 1 << bit;
        }
        let progress = Progress::default();
        let how = Options { checksum: checked, ..options(1) };
        // Unchecked, a flipped bit may make another file that is as good.
        let _ = load(&mut &file[..], None, Some(&keyspace()), &how, &progress);
        let header = [&b"REDIS0011"[..], &rubbish].concat();
        let _ = load(&mut &header[..], None, Some(&keyspace()), &how, &progress);
    }

    #[test]
    fn lengths_that_lie_take_no_memory(kind in 0_u8..26, length in any::<u64>(), rest in prop::collection::vec(any::<u8>(), 0..40)) {
        let mut file = Maker::new("REDIS0011").raw(&[kind]).text(b"k").0;
        put_number(length, &mut file);
        file.extend_from_slice(&rest);
        let _ = load(&mut &file[..], None, Some(&keyspace()), &options(1), &Progress::default());
    }
}

/// Snapshots of other servers, with every type (tests/e2e/fill.py): name and bytes.
fn real_files() -> Vec<(&'static str, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/snapshots");
    let read = |name: &'static str| {
        let packed = std::fs::read(folder.join(name)).expect("a file of the repository");
        (name, zstd::decode_all(&packed[..]).expect("a file that was packed"))
    };
    ["redis-7.0.rdb.zst", "redis-8.2.rdb.zst", "valkey-9.1.rdb.zst"].map(read).into()
}

/// What `source` gives when it gives little at a time.
struct Drops<'a>(&'a [u8], usize);

impl Read for Drops<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let count = into.len().min(self.1).min(self.0.len());
        into[..count].copy_from_slice(&self.0[..count]);
        self.0 = &self.0[count..];
        Ok(count)
    }
}

#[test]
fn real_files_are_loaded_however_they_come() {
    for (name, file) in real_files() {
        for (threads, drop, total) in [(1, 1 << 20, true), (3, 1, false), (2, 1000, true)] {
            let (keyspace, progress) = (keyspace(), Progress::default());
            let total = total.then_some(file.len() as u64);
            let result = load(&mut Drops(&file, drop), total, Some(&keyspace), &options(threads), &progress);
            let loaded = result.unwrap_or_else(|fault| panic!("{name}: {fault:?}"));
            assert!(loaded.checked && loaded.databases == 2 && loaded.libraries.len() == 2, "{name}: {loaded:?}");
            assert_eq!(progress.bytes.load(Relaxed), file.len() as u64, "{name}");
            let counts = [&progress.keys, &progress.expired, &progress.empty].map(|count| count.load(Relaxed));
            assert_eq!(counts, [76, 22, 0], "{name}: some keys expire before {NOW:?}");
            assert_eq!(text_of(&keyspace, 1, "long:3").map(|text| text.len()), Some(21), "{name}");
        }
    }
}

#[test]
fn every_prefix_of_real_files_is_an_error() {
    for (name, file) in real_files() {
        for len in (0..file.len()).step_by(97).chain(file.len() - 20..file.len()) {
            // As if the file ended there, and as if what follows could not be had.
            for total in [len, file.len()] {
                let target = keyspace();
                let progress = Progress::default();
                let result = load(&mut &file[..len], Some(total as u64), Some(&target), &options(1), &progress);
                let fault = result.expect_err("a prefix");
                assert!(fault.offset <= len as u64, "{name} of {len}: {fault:?}");
            }
        }
    }
}

/// Whatever a flipped bit makes of a value of any type: a fault inside the file, or another value.
#[test]
fn flipped_bits_of_real_files_do_no_harm() {
    let (mut loaded, mut refused) = (0, 0);
    for (_, file) in real_files() {
        for at in (9..file.len()).step_by(47) {
            let mut file = file.clone();
            file[at] ^= 1 << (at / 47 % 8);
            let how = Options { checksum: false, ..options(1) };
            let target = keyspace();
            match load(&mut &file[..], Some(file.len() as u64), Some(&target), &how, &Progress::default()) {
                Ok(_) => loaded += 1,
                Err(fault) => {
                    assert!(fault.offset <= file.len() as u64);
                    refused += 1;
                }
            }
            let fault = load(&mut &file[..], None, None, &options(1), &Progress::default());
            assert!(fault.is_err(), "the checksum finds every flipped bit");
        }
    }
    assert!(loaded > 200 && refused > 200, "{loaded} {refused}");
}
