//! What a sorted set costs, from ten members to ten million: insert, remove, move, rank, and ranges of ten.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use larder::value::object::Collection;
use larder::value::sorted_set::{Limits, ScoreRange, SortedSet};

const LIMITS: Limits = Limits { entries: 128, value_bytes: 64 };
const SIZES: [u32; 7] = [10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000];

fn member(number: u32) -> Vec<u8> {
    format!("member{number:08}").into_bytes()
}

/// Numbers below `count` in an order that looks random.
fn scattered(step: &mut u32, count: u32) -> u32 {
    *step = step.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
    u32::try_from((u64::from(*step) * u64::from(count)) >> 32).unwrap_or(0)
}

fn filled(count: u32) -> SortedSet {
    let mut set = SortedSet::default();
    for number in 0..count {
        set.set(&member(number), f64::from(number), LIMITS);
    }
    set
}

fn memory(count: u32) {
    let set = filled(count);
    eprintln!("{count} members: {:.1} bytes each", set.memory_bytes() as f64 / f64::from(count));
}

fn sorted_sets(c: &mut Criterion) {
    memory(500_000);
    for count in SIZES {
        let mut set = filled(count);
        let mut step = 1;
        let mut group = c.benchmark_group("sorted set");
        group.bench_function(BenchmarkId::new("remove and insert", count), |bencher| {
            bencher.iter(|| {
                let name = member(scattered(&mut step, count));
                let score = set.remove(&name).unwrap_or(0.0);
                set.set(&name, score, LIMITS)
            });
        });
        group.bench_function(BenchmarkId::new("move", count), |bencher| {
            bencher.iter(|| {
                let name = member(scattered(&mut step, count));
                set.set(&name, f64::from(scattered(&mut step, count)), LIMITS)
            });
        });
        group.bench_function(BenchmarkId::new("score", count), |bencher| {
            bencher.iter(|| set.score(&member(scattered(&mut step, count))));
        });
        group.bench_function(BenchmarkId::new("rank", count), |bencher| {
            bencher.iter(|| set.rank(&member(scattered(&mut step, count))));
        });
        group.bench_function(BenchmarkId::new("ten by rank", count), |bencher| {
            bencher.iter(|| {
                let start = scattered(&mut step, count) as usize;
                set.walk(start..start + 10, false).map(|(member, _)| black_box(member).len()).sum::<usize>()
            });
        });
        group.bench_function(BenchmarkId::new("ten by score", count), |bencher| {
            bencher.iter(|| {
                let min = f64::from(scattered(&mut step, count));
                let range = ScoreRange { min, above_min: false, max: min + 10.0, below_max: true };
                set.walk(set.score_ranks(&range), false).map(|(member, _)| black_box(member).len()).sum::<usize>()
            });
        });
        group.finish();
    }
}

criterion_group!(benches, sorted_sets);
criterion_main!(benches);
