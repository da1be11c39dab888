//! Whatever bytes arrive, however they are split: the same requests come out, and memory stays in proportion.
//!
//! Run: `cargo +nightly fuzz run request -- -max_len=2048 -rss_limit_mb=2048`
//!
//! | input byte | meaning |
//! |---|---|
//! | 0 | limits: bit 0 unauthenticated, bit 1 small query buffer, bit 2 short lines, bit 3 short arguments |
//! | 1 | seed of the lengths of the reads |
//! | the rest | what the peer sends; `~` stands for 8 KiB, so that small inputs reach large arguments |

#![no_main]

use bytes::Bytes;
use larder::protocol::{Batch, Limits, Need, Parser};
use libfuzzer_sys::fuzz_target;

/// The most bytes that `~` may expand an input to.
const EXPANDED_BYTES: usize = 256 * 1024;
/// Memory that may be held whatever was sent: the smallest lists.
const BASE_BYTES: usize = 4096;
/// Bytes of lists for a byte sent, at most: an empty quoted word takes 3 bytes and 40 in lists that double.
const BYTES_PER_BYTE: usize = 32;

fuzz_target!(|data: &[u8]| {
    let [flags, seed, input @ ..] = data else { return };
    let limits = limits(*flags);
    let input = expand(input);
    let whole = run(&input, 0, &limits);
    for seed in [*seed, 1] {
        let split = run(&input, seed, &limits);
        if whole.need == Need::Overflow || split.need == Need::Overflow {
            let shorter = whole.requests.len().min(split.requests.len());
            assert_eq!(whole.requests[..shorter], split.requests[..shorter], "up to the limit, the same requests");
        } else {
            assert_eq!(whole.requests, split.requests, "the same requests");
            assert_eq!(whole.need, split.need, "the same end");
        }
    }
});

fn limits(flags: u8) -> Limits {
    let mut limits = Limits { authenticated: flags & 1 == 0, ..Limits::default() };
    if flags & 2 != 0 {
        limits.query_buffer_limit = 300;
    }
    if flags & 4 != 0 {
        limits.max_inline = 24;
    }
    if flags & 8 != 0 {
        limits.max_bulk_len = 1000;
        limits.max_args = 20;
    }
    limits
}

fn expand(input: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for byte in input {
        if *byte == b'~' && bytes.len() < EXPANDED_BYTES {
            bytes.resize(bytes.len() + 8192, b'x');
        } else {
            bytes.push(*byte);
        }
    }
    bytes
}

/// What came out of a run.
struct Outcome {
    requests: Vec<Vec<Vec<u8>>>,
    need: Need,
}

/// The reading half of a connection; reads are as long as `seed` says, 0 meaning one read and 1 single bytes.
fn run(input: &[u8], seed: u8, limits: &Limits) -> Outcome {
    let mut connection = Connection::default();
    let mut outcome = Outcome { requests: Vec::new(), need: Need::Nothing };
    let (mut left, mut state, mut fed) = (input, u32::from(seed), 0);
    while !left.is_empty() {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let length = match seed {
            0 => left.len(),
            1 if input.len() < 4096 => 1,
            _ => 1 + (state >> 16) as usize % if state >> 30 == 0 { 20_000 } else { 7 },
        };
        let (read, rest) = left.split_at(length.min(left.len()));
        left = rest;
        fed += read.len();
        outcome.need = connection.read(read, limits, &mut outcome.requests);
        assert!(connection.held_bytes() <= BASE_BYTES + BYTES_PER_BYTE * fed, "memory in proportion to what came");
        if matches!(outcome.need, Need::Error(_) | Need::Overflow) {
            break;
        }
    }
    outcome
}

#[derive(Default)]
struct Connection {
    parser: Parser,
    batch: Batch,
    kept: Vec<u8>,
    large: Option<(usize, Vec<u8>)>,
}

impl Connection {
    fn held_bytes(&self) -> usize {
        self.parser.held_bytes() + self.batch.list_bytes() + self.kept.len()
    }

    fn read(&mut self, mut bytes: &[u8], limits: &Limits, requests: &mut Vec<Vec<Vec<u8>>>) -> Need {
        loop {
            if let Some((len, payload)) = &mut self.large {
                let (taken, rest) = bytes.split_at(bytes.len().min(*len + 2 - payload.len()));
                payload.extend_from_slice(taken);
                bytes = rest;
                if payload.len() < *len + 2 {
                    return Need::More;
                }
                if let Err(error) = self.parser.supply_large(Bytes::from(std::mem::take(payload))) {
                    return Need::Error(error);
                }
                self.large = None;
            }
            self.kept.extend_from_slice(std::mem::take(&mut bytes));
            self.batch.clear();
            let progress = self.parser.parse(&self.kept, &mut self.batch, limits);
            for request in self.batch.requests(&self.kept) {
                assert!(request.argc() > 0, "a request has a name");
                requests.push(request.iter().map(<[u8]>::to_vec).collect());
            }
            match progress.need {
                Need::Again => {}
                Need::Large { len, payload_at } => self.large = Some((len, self.kept.split_off(payload_at))),
                need => {
                    self.kept.drain(..progress.consumed);
                    return need;
                }
            }
            self.kept.drain(..progress.consumed);
        }
    }
}
