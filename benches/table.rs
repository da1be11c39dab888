//! What a collection's table costs beside the standard map (hashbrown) of boxed names under the same hash and allocator.
//!
//! Names are the 13-byte members `m:00000000042`, met in random order. Figures are for one element. Sizes are 10 to
//! 1,000,000, and what `TABLE_SIZE` says beside them. Bytes an element are printed first.

#![expect(clippy::print_stdout, reason = "bytes an element are a result, which criterion has no place for")]

use ahash::RandomState;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use larder::util::memory::{Counting, used_bytes};
use larder::value::element::Element;
use larder::value::table::Table;
use std::collections::HashMap;
use std::env;
use std::hint::black_box;
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The map to compare with; std's is hashbrown.
type Map = HashMap<Box<[u8]>, (), RandomState>;

/// Lookups in one measured round.
const ROUND: usize = 1000;

/// Lookups between the prefetch of a bucket, that of its element, and the lookup itself.
const AHEAD: usize = 8;

/// From here on the drift of the counting allocator does not matter.
const EXACT: u64 = 50_000;

fn sizes() -> Vec<u64> {
    let more = env::var("TABLE_SIZE").ok().and_then(|text| text.parse().ok());
    [10, 1_000, 100_000, 1_000_000].into_iter().chain(more).collect()
}

/// `count` names from `first` on, in random order.
fn names(first: u64, count: u64) -> Vec<Vec<u8>> {
    let mut names: Vec<Vec<u8>> = (first..first + count).map(|n| format!("m:{n:011}").into_bytes()).collect();
    let order = RandomState::with_seeds(1, 2, 3, 4);
    names.sort_by_cached_key(|name| order.hash_one(name));
    names
}

fn table_of(names: &[Vec<u8>]) -> Table {
    let mut table = Table::new();
    for name in names {
        table.get_or_insert(name, || Element::new(name, None, None));
    }
    table
}

fn map_of(names: &[Vec<u8>]) -> Map {
    let mut map = Map::default();
    for name in names {
        map.entry(name.as_slice().into()).or_insert(());
    }
    map
}

/// Prints the allocator's bytes an element of what `make` makes.
fn print_bytes<T>(what: &str, count: u64, make: impl FnOnce() -> T) {
    let before = used_bytes();
    let made = make();
    let bytes = (used_bytes() - before) as f64 / count as f64;
    println!("{what} of {count}: {bytes:.1} bytes an element");
    drop(made);
}

/// Measures rounds of `ROUND` lookups, each of other names than the one before.
fn lookups(c: &mut Criterion, group: &str, what: &str, names: &[Vec<u8>], round: impl Fn(&[Vec<u8>]) -> usize) {
    let mut group = c.benchmark_group(group);
    let size = ROUND.min(names.len());
    group.throughput(Throughput::Elements(size as u64)).measurement_time(Duration::from_secs(2));
    let mut at = 0;
    group.bench_function(BenchmarkId::new(what, names.len()), |bencher| {
        bencher.iter(|| {
            at = if at + 2 * size <= names.len() { at + size } else { 0 };
            black_box(round(&names[at..at + size]))
        });
    });
    group.finish();
}

/// Finds names as a command with many arguments does: hashes first, then buckets and elements ahead of their lookup.
fn find_ahead(table: &Table, names: &[Vec<u8>]) -> usize {
    let hashes: Vec<u64> = names.iter().map(|name| Table::hash(name)).collect();
    let mut found = 0;
    for at in 0..names.len() + 2 * AHEAD {
        hashes.get(at).inspect(|hash| table.prefetch(**hash));
        at.checked_sub(AHEAD).and_then(|at| hashes.get(at)).inspect(|hash| table.prefetch_element(**hash));
        if let Some(at) = at.checked_sub(2 * AHEAD) {
            found += usize::from(table.get_hashed(hashes[at], &names[at]).is_some());
        }
    }
    found
}

fn reading(c: &mut Criterion) {
    for count in sizes() {
        let (present, absent) = (names(0, count), names(count, count));
        if count > EXACT {
            print_bytes("table", count, || table_of(&present));
            print_bytes("map", count, || map_of(&present));
        }
        let (table, map) = (table_of(&present), map_of(&present));
        for (group, asked) in [("get hit", &present), ("get miss", &absent)] {
            let in_table = |names: &[Vec<u8>]| names.iter().filter(|name| table.contains(name)).count();
            lookups(c, group, "table", asked, in_table);
            lookups(c, group, "table, prefetched", asked, |names| find_ahead(&table, names));
            let in_map = |names: &[Vec<u8>]| names.iter().filter(|name| map.contains_key(name.as_slice())).count();
            lookups(c, group, "map", asked, in_map);
        }
    }
}

/// Measures `pass`, which does something `names.len()` times to what `make` makes; neither making nor freeing counts.
fn passes<T>(
    c: &mut Criterion,
    group: &str,
    what: &str,
    names: &[Vec<u8>],
    make: impl Fn() -> T,
    pass: impl Fn(T) -> T,
) {
    let mut group = c.benchmark_group(group);
    group.sample_size(10).throughput(Throughput::Elements(names.len() as u64));
    group.measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(500));
    let size = criterion::BatchSize::PerIteration;
    group.bench_function(BenchmarkId::new(what, names.len()), |bencher| bencher.iter_batched(&make, &pass, size));
    group.finish();
}

fn writing(c: &mut Criterion) {
    for count in sizes() {
        let names = names(0, count);
        let (table, map) = (table_of(&names), map_of(&names));
        passes(c, "insert", "table", &names, Table::new, |_| table_of(&names));
        passes(c, "insert", "map", &names, Map::default, |_| map_of(&names));
        let empty_table = |mut table: Table| {
            names.iter().for_each(|name| assert!(table.remove(name).is_some()));
            table
        };
        passes(c, "remove", "table", &names, || table.clone(), empty_table);
        let empty_map = |mut map: Map| {
            names.iter().for_each(|name| assert!(map.remove(name.as_slice()).is_some()));
            map
        };
        passes(c, "remove", "map", &names, || map.clone(), empty_map);
    }
}

criterion_group!(benches, reading, writing);
criterion_main!(benches);
