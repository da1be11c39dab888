//! Hashes: a field written and read in each form, and a large hash with deadlines beside one without.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use larder::util::memory::Counting;
use larder::value::hash::{Hash, Lifetime, Limits};
use std::hint::black_box;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const LIMITS: Limits = Limits { entries: 512, value_bytes: 64 };

/// Numbers that visit all of 0..`bound` (a power of two) in a scattered order.
struct Scattered {
    at: usize,
    mask: usize,
}

impl Scattered {
    fn new(bound: usize) -> Scattered {
        Scattered { at: 0, mask: bound - 1 }
    }

    fn next(&mut self) -> usize {
        self.at = self.at.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (self.at >> 20) & self.mask
    }
}

fn names(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|number| format!("element:{number:012}").into_bytes()).collect()
}

fn filled(names: &[Vec<u8>], lifetime: Lifetime) -> Hash {
    let mut hash = Hash::default();
    for name in names {
        hash.set(name, b"xxx", lifetime, 0, LIMITS);
    }
    hash
}

fn fields(c: &mut Criterion) {
    let mut group = c.benchmark_group("hash");
    group.throughput(Throughput::Elements(1));
    for count in [8, 32, 512, 1 << 17, 1 << 20, 1 << 24] {
        let (names, mut numbers) = (names(count), Scattered::new(count));
        let mut hash = filled(&names, Lifetime::Clear);
        group.bench_function(BenchmarkId::new("get", count), |b| {
            b.iter(|| black_box(hash.get(&names[numbers.next()], 0)).is_some());
        });
        group.bench_function(BenchmarkId::new("set over", count), |b| {
            b.iter(|| hash.set(&names[numbers.next()], b"yyy", Lifetime::Clear, 0, LIMITS));
        });
        group.bench_function(BenchmarkId::new("remove and set", count), |b| {
            b.iter(|| {
                let name = &names[numbers.next()];
                hash.remove(name, 0);
                hash.set(name, b"xxx", Lifetime::Clear, 0, LIMITS)
            });
        });
    }
    let (names, mut numbers) = (names(1 << 20), Scattered::new(1 << 20));
    let mut timed = filled(&names, Lifetime::Until(1000));
    group.bench_function("get, a million deadlines", |b| {
        b.iter(|| black_box(timed.get(&names[numbers.next()], 0)).is_some());
    });
    let mut deadline = 1000;
    group.bench_function("set with a deadline, a million deadlines", |b| {
        b.iter(|| {
            deadline += 1;
            timed.set(&names[numbers.next()], b"yyy", Lifetime::Until(deadline), 0, LIMITS)
        });
    });
    group.finish();
}

criterion_group!(benches, fields);
criterion_main!(benches);
