//! What small collections cost: a hash of 64 short fields, a list of 128 integers, a set of 512 integers.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use larder::value::intset::Intset;
use larder::value::listpack::{Item, Listpack};

const FIELDS: usize = 64;

/// Fields and values in turn, as a small hash holds them.
fn hash() -> (Listpack, Vec<String>) {
    let fields: Vec<_> = (0..FIELDS).map(|index| format!("field:{index:04}")).collect();
    let mut pack = Listpack::new();
    for (index, field) in fields.iter().enumerate() {
        pack.push_back(field.as_bytes());
        pack.push_back(format!("value of {index}").as_bytes());
    }
    (pack, fields)
}

fn find(pack: &Listpack, field: &[u8]) -> bool {
    pack.first().is_some_and(|first| pack.find(first, field, 1).is_some())
}

fn hashes(c: &mut Criterion) {
    let (pack, fields) = hash();
    let mut group = c.benchmark_group("listpack of 64 fields");
    group.bench_function("find each", |bencher| {
        bencher.iter(|| fields.iter().filter(|field| find(black_box(&pack), field.as_bytes())).count());
    });
    group.bench_function("miss 64 times", |bencher| {
        bencher.iter(|| (0..FIELDS).filter(|_| find(black_box(&pack), b"field:none")).count());
    });
    group.bench_function("miss 64 times with an integer", |bencher| {
        bencher.iter(|| (0..FIELDS).filter(|_| find(black_box(&pack), b"123456")).count());
    });
    group.bench_function("read all", |bencher| {
        bencher.iter(|| black_box(&pack).iter().map(Item::len).sum::<usize>());
    });
    group.bench_function("check", |bencher| bencher.iter(|| Listpack::from_bytes(black_box(&pack.bytes()))));
    group.finish();
}

fn lists(c: &mut Criterion) {
    let ints: Listpack = (0..128).fold(Listpack::new(), |mut pack, value| {
        pack.push_back_int(value * 100);
        pack
    });
    let mut group = c.benchmark_group("listpack of 128");
    group.bench_function("push integers", |bencher| {
        bencher.iter(|| {
            let mut pack = Listpack::new();
            (0..128).for_each(|value| _ = pack.push_back_int(black_box(value * 100)));
            pack
        });
    });
    group.bench_function("push texts of 16 bytes", |bencher| {
        bencher.iter(|| {
            let mut pack = Listpack::new();
            (0..128).for_each(|_| _ = pack.push_back(black_box(b"sixteen  letters")));
            pack
        });
    });
    group.bench_function("push first and take the last 128 times", |bencher| {
        let step = |mut pack: Listpack| {
            for _ in 0..128 {
                pack.push_front(black_box(b"12345"));
                pack.last().and_then(|at| pack.remove(at));
            }
            pack
        };
        bencher.iter_batched(|| ints.clone(), step, BatchSize::SmallInput);
    });
    group.bench_function("go to each index", |bencher| {
        bencher.iter(|| (0..128).filter_map(|index| black_box(&ints).at_index(index)).count());
    });
    group.bench_function("read all", |bencher| {
        bencher.iter(|| black_box(&ints).iter().filter_map(Item::integer).sum::<i64>());
    });
    group.finish();
}

fn sets(c: &mut Criterion) {
    let set: Intset = (0..512).map(|value| value * 7).collect();
    let mut group = c.benchmark_group("intset of 512");
    group.bench_function("look up 512", |bencher| {
        bencher.iter(|| (0..512).filter(|value| black_box(&set).contains(value * 7 + value % 2)).count());
    });
    group.bench_function("insert ascending", |bencher| bencher.iter(|| (0..512).collect::<Intset>()));
    group.bench_function("insert scattered", |bencher| {
        bencher.iter(|| (0..512).map(|value| value * 7919 % 30_000).collect::<Intset>());
    });
    group.finish();
}

criterion_group!(benches, hashes, lists, sets);
criterion_main!(benches);
