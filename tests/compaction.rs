//! Compaction, with the allocator of the server: what lies in sparse pages moves, and stays what it was.

use larder::keyspace::reclaim::Reclaimer;
use larder::keyspace::{Key, KeyHasher, Keyspace, LockPlan, Scratch, Ttl, View};
use larder::util::clock::UnixMs;
use larder::util::memory::{Counting, find_sparse, forgo_cache, refresh_figures, used_bytes};
use larder::value::string::StringSource;
use std::sync::{Arc, Mutex};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The figures are those of the whole process: one test at a time.
static ONE: Mutex<()> = Mutex::new(());

const KEYS: usize = 120_000;

/// Small values lie in their entries, large ones outside.
fn value(number: usize) -> Vec<u8> {
    let len = if number.is_multiple_of(10) { 1500 } else { 60 };
    format!("{number:0len$}").into_bytes()
}

fn view(keyspace: &Keyspace) -> View<'_> {
    View::lock(keyspace, 0, UnixMs(1), false, LockPlan::All, std::iter::empty())
}

fn name(number: usize) -> Vec<u8> {
    format!("key:{number}").into_bytes()
}

fn key<'k>(keyspace: &Keyspace, name: &'k [u8]) -> Key<'k> {
    keyspace.hasher().key(name)
}

/// A pass over everything by a thread that keeps no cache of blocks; returns how many blocks were moved.
fn compact(keyspace: &Arc<Keyspace>) -> usize {
    let keyspace = Arc::clone(keyspace);
    let pass = std::thread::spawn(move || {
        forgo_cache();
        let (mut scratch, mut sum) = (Scratch::default(), 0);
        for shard in 0..keyspace.shards() {
            let mut next = Some(0);
            while let Some(at) = next {
                let moved;
                (moved, next) = keyspace.compact_turn(0, shard, at, &mut scratch);
                sum += moved;
            }
        }
        sum
    });
    pass.join().expect("a pass that ends")
}

#[test]
fn what_is_left_of_many_keys_moves_together() {
    let _one = ONE.lock();
    let keyspace = Arc::new(Keyspace::new(1, 1, KeyHasher::with_seed(5), Reclaimer::new(Default::default()).0));
    let stays = |number: usize| (number * 7).is_multiple_of(8);
    for number in 0..KEYS {
        let ttl = if number % 3 == 0 { Ttl::At(UnixMs(1_000_000)) } else { Ttl::Clear };
        let value = bytes::Bytes::from(value(number));
        view(&keyspace).put_string(key(&keyspace, &name(number)), StringSource::owned(&value), ttl);
    }
    for number in (0..KEYS).filter(|number| !stays(*number)) {
        assert!(view(&keyspace).remove(key(&keyspace, &name(number))));
    }
    let (before, used) = (refresh_figures(), used_bytes());
    assert!(before.active > before.allocated / 10 * 15, "sparse to begin with: {before:?}");

    let moved = compact(&keyspace);
    assert!((KEYS / 16..KEYS / 4).contains(&moved), "{moved} blocks of some {}", KEYS / 8);
    let after = refresh_figures();
    assert!(after.active < before.active / 10 * 7, "{before:?} and then {after:?}");
    assert!(used_bytes() < used + (1 << 20), "no memory is lost: {used} and then {}", used_bytes());
    let again = compact(&keyspace);
    assert!(again < moved / 4, "{again} moved again");

    let mut all = view(&keyspace);
    assert_eq!((all.len(0), all.timed(0)), (KEYS / 8, (0..KEYS).filter(|n| n % 3 == 0 && stays(*n)).count()));
    for number in (0..KEYS).filter(|number| stays(*number)) {
        let found = all.string(key(&keyspace, &name(number))).expect("a string").expect("present");
        assert_eq!(found.text()[..], value(number)[..]);
    }
}

#[test]
fn the_allocator_tells_which_blocks_lie_in_sparse_pages() {
    let _one = ONE.lock();
    let blocks: Vec<Box<[u8]>> = (0..50_000).map(|_| vec![0; 320].into()).collect();
    let kept: Vec<Box<[u8]>> = blocks.into_iter().step_by(16).collect();
    let addresses: Vec<*const u8> = kept.iter().map(|block| block.as_ptr()).collect();
    let mut sparse = Vec::new();
    // The thread's cache still holds some of what was freed.
    find_sparse(&addresses, &mut sparse);
    assert_eq!(sparse.len(), kept.len());
    let share = sparse.iter().filter(|sparse| **sparse).count();
    assert!(share > kept.len() / 2, "{share} of {}", kept.len());
    let large: Vec<Box<[u8]>> = (0..4).map(|_| vec![0; 1 << 20].into()).collect();
    find_sparse(&large.iter().map(|block| block.as_ptr()).collect::<Vec<_>>(), &mut sparse);
    assert_eq!(sparse, [false; 4]);
    find_sparse(&[], &mut sparse);
    assert!(sparse.is_empty());
}
