//! What sets cost by the member: adding, asking, and comparing ten sets of 100,000.

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use larder::value::object::Collection;
use larder::value::set::algebra::{difference, intersect, union};
use larder::value::set::{Limits, Set};
use std::hint::black_box;

const LIMITS: Limits = Limits { intset: 512, listpack: 128, value: 64 };
const MEMBERS: usize = 100_000;
const SETS: usize = 10;

/// Members of which every second one is in the next set too.
fn members(set: usize) -> Vec<Vec<u8>> {
    (0..MEMBERS).map(|i| format!("element:{:012}", i * 7 + set * i % 2).into_bytes()).collect()
}

fn set_of(members: &[Vec<u8>]) -> Set {
    let mut set = Set::default();
    for member in members {
        set.insert(member, &LIMITS);
    }
    set
}

fn members_one_by_one(c: &mut Criterion) {
    let mut group = c.benchmark_group("set");
    let large = members(0);
    group.throughput(Throughput::Elements(MEMBERS as u64));
    group.bench_function("add 100,000", |bencher| bencher.iter(|| black_box(set_of(&large)).len()));
    let set = set_of(&large);
    group.bench_function("ask 100,000", |bencher| {
        bencher.iter(|| large.iter().filter(|member| set.contains(black_box(member))).count());
    });
    let mut seed = 0_u64;
    group.bench_function("pop 90,000 of 100,000", |bencher| {
        let mut random = || {
            seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            seed
        };
        bencher.iter_batched(
            || set.clone(),
            |mut set| {
                set.pop_many(90_000, &mut random, &LIMITS, &mut |item| {
                    black_box(item.len());
                });
                set
            },
            BatchSize::LargeInput,
        );
    });
    group.throughput(Throughput::Elements(100));
    let small = &large[..100];
    group.bench_function("add 100, as a listpack", |bencher| bencher.iter(|| black_box(set_of(small)).len()));
}

/// From ten members to ten million.
fn by_size(c: &mut Criterion) {
    let mut group = c.benchmark_group("set by size");
    for count in [10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000] {
        let names: Vec<Vec<u8>> = (0..count).map(|i| format!("element:{i:012}").into_bytes()).collect();
        let (mut set, mut seed) = (set_of(&names), 1_usize);
        let mut next = || {
            seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            (seed >> 20) % count
        };
        group.bench_function(BenchmarkId::new("ask", count), |bencher| {
            bencher.iter(|| set.contains(black_box(&names[next()])));
        });
        group.bench_function(BenchmarkId::new("remove and add", count), |bencher| {
            bencher.iter(|| {
                let name = &names[next()];
                set.remove(name);
                set.insert(name, &LIMITS)
            });
        });
    }
}

fn algebra(c: &mut Criterion) {
    let own: Vec<Set> = (0..SETS).map(|set| set_of(&members(set))).collect();
    let sets: Vec<&Set> = own.iter().collect();
    let mut group = c.benchmark_group("ten sets of 100,000");
    group.throughput(Throughput::Elements((MEMBERS * SETS) as u64));
    group.sample_size(20);
    group.bench_function("intersection", |bencher| {
        bencher.iter(|| {
            let mut count = 0;
            intersect(black_box(&sets), &mut |_| {
                count += 1;
                true
            });
            count
        });
    });
    group.bench_function("union", |bencher| {
        bencher.iter(|| {
            let mut count = 0;
            union(black_box(&sets), &mut |_| count += 1);
            count
        });
    });
    group.bench_function("difference", |bencher| {
        bencher.iter(|| {
            let mut count = 0;
            difference(black_box(&sets), &mut |_| count += 1);
            count
        });
    });
}

criterion_group!(benches, members_one_by_one, by_size, algebra);
criterion_main!(benches);
