//! What lists cost: both ends of a listpack and of a quicklist, the middle, and a range.
//!
//! The head of a quicklist is the case that the packs exist for: in a plain listpack every element put there moves up to
//! 8 KiB.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use larder::value::list::{Fill, List, Side};
use larder::value::object::Collection;
use std::hint::black_box;

/// A list of `len` elements of 8 bytes.
fn list(len: usize, fill: Fill) -> List {
    let mut list = List::default();
    for number in 0..len {
        list.grow(fill, 8, 1);
        list.push(Side::Right, format!("item{number:04}").as_bytes());
    }
    list
}

const SIZES: [usize; 6] = [10, 500, 5_000, 100_000, 1_000_000, 10_000_000];

fn ends(c: &mut Criterion) {
    let (fill, mut group) = (Fill::new(-2), c.benchmark_group("push one end, pop the other"));
    for (len, side) in SIZES.into_iter().flat_map(|len| [(len, Side::Left), (len, Side::Right)]) {
        let mut list = list(len, fill);
        group.bench_function(BenchmarkId::new(format!("{side:?}"), len), |bencher| {
            bencher.iter(|| {
                list.grow(fill, 8, 1);
                list.push(side, black_box(b"item1234"));
                list.pop(side.other(), |element| black_box(element.len()))
            });
        });
    }
    group.finish();
}

fn inside(c: &mut Criterion) {
    let (fill, mut group) = (Fill::new(-2), c.benchmark_group("inside"));
    for len in SIZES {
        let mut list = list(len, fill);
        group.bench_function(BenchmarkId::new("index", len), |bencher| {
            bencher.iter(|| black_box(list.get(black_box(len / 3)).map(|element| element.len())));
        });
        group.bench_function(BenchmarkId::new("insert and remove", len), |bencher| {
            bencher.iter(|| {
                list.insert(len / 3, Side::Left, b"item1234");
                list.remove(len / 3, 1);
            });
        });
        group.bench_function(BenchmarkId::new("100 from the start", len), |bencher| {
            bencher.iter(|| list.iter_from(0, Side::Left).take(100).map(|element| element.len()).sum::<usize>());
        });
        assert_eq!(list.len(), len);
    }
    group.finish();
}

criterion_group!(benches, ends, inside);
criterion_main!(benches);
