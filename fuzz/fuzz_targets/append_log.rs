//! Whatever lies in the directory of a log: its manifest is read or refused, and what a manifest says it says again when it is
//! written and read; reading a file ends, in whole units, the same ones however the file is cut into reads, and what is kept of a
//! file ends the same way when it is read alone.
//!
//! Run: `cargo +nightly fuzz run append_log -- -max_len=4096 -rss_limit_mb=2048`
//!
//! | input byte | meaning |
//! |---|---|
//! | 0 | bit 0: the rest is a manifest, else a file of the log; bit 1: time stamps after 1,000 are not read; bits 2 to 7: bytes of a read, less one |
//! | the rest | the text |

#![no_main]

use larder::persistence::aof::manifest::Manifest;
use larder::persistence::aof::reader::{End, ReadError, Reader};
use larder::protocol::batch::Batch;
use libfuzzer_sys::fuzz_target;
use std::io::{self, Read};

/// Gives a few bytes at a time.
struct Slow(Vec<u8>, usize);

impl Read for Slow {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.1.min(buffer.len()).min(self.0.len());
        buffer[..count].copy_from_slice(&self.0[..count]);
        self.0.drain(..count);
        Ok(count)
    }
}

/// The requests of a file, where they end, and how: `Err` with the offset of what is wrong.
type Found = (Vec<Vec<Vec<u8>>>, u64, Result<End, u64>);

fn read(bytes: &[u8], at_once: usize, until_s: Option<i64>) -> Found {
    let mut reader = Reader::new(Box::new(Slow(bytes.to_vec(), at_once)), 0).until(until_s);
    let (mut requests, mut batch) = (Vec::new(), Batch::new());
    loop {
        match reader.next(&mut batch) {
            Ok(Ok(buffer)) => {
                let words = batch.requests(buffer).map(|request| request.iter().map(<[u8]>::to_vec).collect::<Vec<_>>());
                requests.extend(words);
            }
            Ok(Err(end)) => return (requests, reader.offset(), Ok(end)),
            Err(ReadError::Malformed(malformed)) => {
                assert!(malformed.offset <= bytes.len() as u64 && !malformed.what.is_empty());
                return (requests, reader.offset(), Err(malformed.offset));
            }
            Err(ReadError::Io(error)) => panic!("memory does not fail: {error}"),
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let [flags, input @ ..] = data else { return };
    if flags & 1 != 0 {
        if let Ok(manifest) = Manifest::parse(input) {
            let text = manifest.format();
            // Quoted, a name may be four times as long: no file system has names for which that would be too much for a line.
            if text.split(|byte| *byte == b'\n').any(|line| line.len() >= 1024) {
                return;
            }
            let again = (!text.is_empty()).then(|| Manifest::parse(&text).expect("what it writes it reads"));
            assert_eq!(again.unwrap_or_default().format(), text);
        }
        return;
    }
    let until_s = (flags & 2 != 0).then_some(1000);
    let whole = read(input, usize::MAX, until_s);
    assert!(whole.1 <= input.len() as u64);
    let (requests, offset, end) = read(input, usize::from(flags >> 2) + 1, until_s);
    assert!(end.is_ok() == whole.2.is_ok() && (&requests, offset) == (&whole.0, whole.1));
    if whole.2.is_ok() {
        let kept = read(&input[..usize::try_from(offset).expect("it is in the input")], usize::MAX, until_s);
        assert_eq!(kept, (requests, offset, Ok(End::Whole)), "what is kept is whole");
    }
});
