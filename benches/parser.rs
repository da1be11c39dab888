//! What a pipelined batch costs to parse: 100 requests in one buffer, as a client with a pipeline of 100 sends them.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use larder::protocol::batch::encode;
use larder::protocol::{Batch, Limits, Output, Parser, Reply, Resp};

const REQUESTS: u64 = 100;

fn pipeline(args: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    (0..REQUESTS).for_each(|_| encode(args.iter().copied(), &mut bytes));
    bytes
}

fn parse(c: &mut Criterion, name: &str, input: &[u8]) {
    let (mut parser, mut batch, limits) = (Parser::new(), Batch::new(), Limits::default());
    let mut group = c.benchmark_group("parse");
    group.throughput(Throughput::Elements(REQUESTS));
    group.bench_function(name, |bencher| {
        bencher.iter(|| {
            batch.clear();
            let progress = parser.parse(black_box(input), &mut batch, &limits);
            black_box((progress.consumed, batch.len()))
        });
    });
    group.finish();
}

fn parsing(c: &mut Criterion) {
    parse(c, "100 GET", &pipeline(&[b"GET", b"key:000000123456"]));
    parse(c, "100 SET of 64 bytes", &pipeline(&[b"SET", b"key:000000123456", &[b'x'; 64]]));
    parse(c, "100 SET of 2000 bytes", &pipeline(&[b"SET", b"key:000000123456", &[b'x'; 2000]]));
    parse(c, "100 inline GET", &b"GET key:000000123456\r\n".repeat(100));
}

fn replying(c: &mut Criterion) {
    let mut out = Output::new();
    let mut group = c.benchmark_group("reply");
    group.throughput(Throughput::Elements(REQUESTS));
    group.bench_function("100 bulks of 64 bytes", |bencher| {
        bencher.iter(|| {
            out.clear();
            let mut reply = Reply::new(&mut out, Resp::V2);
            (0..REQUESTS).for_each(|_| reply.bulk(black_box(&[b'x'; 64])));
        });
    });
    group.bench_function("100 integers", |bencher| {
        bencher.iter(|| {
            out.clear();
            let mut reply = Reply::new(&mut out, Resp::V2);
            (0..100).for_each(|value| reply.integer(black_box(value * 1000)));
        });
    });
    group.finish();
}

criterion_group!(benches, parsing, replying);
criterion_main!(benches);
