//! Whatever a snapshot file holds: loading it ends, with entries or with a fault inside the file, and memory stays in proportion.
//!
//! Run: `cargo +nightly fuzz run snapshot -- -max_len=4096 -rss_limit_mb=2048`
//!
//! | input byte | meaning |
//! |---|---|
//! | 0 | bit 0: the checksum is verified; bit 1: versions that are not known are tried; bit 2: the rest is the file, header and all |
//! | the rest | what stands behind the header `REDIS0012`, or (odd length) `VALKEY080` |

#![no_main]

use larder::call::loading;
use larder::config::Config;
use larder::keyspace::reclaim::Reclaimer;
use larder::keyspace::{KeyHasher, Keyspace};
use larder::persistence::rdb::load::{Options, Progress, load};
use larder::util::clock::UnixMs;
use libfuzzer_sys::fuzz_target;
use std::sync::Arc;

fuzz_target!(|data: &[u8]| {
    let [flags, input @ ..] = data else { return };
    let header: &[u8] = match (flags & 4 != 0, input.len() % 2) {
        (true, _) => b"",
        (_, 0) => b"REDIS0012",
        _ => b"VALKEY080",
    };
    let file = [header, input].concat();
    let config = Arc::new(Config::default());
    let base = loading::options(&config, UnixMs(1_800_000_000_000));
    let options = Options { threads: 1, checksum: flags & 1 != 0, any_version: flags & 2 != 0, ..base };
    let (reclaimer, _reclaiming) = Reclaimer::new(config);
    let keyspace = Keyspace::new(16, 1, KeyHasher::with_seed(1), reclaimer);
    let total = Some(file.len() as u64).filter(|_| flags & 8 == 0);
    match load(&mut &file[..], total, Some(&keyspace), &options, &Progress::default()) {
        Ok(loaded) => assert_eq!(loaded.end + loaded.rest.len() as u64, file.len() as u64),
        Err(fault) => assert!(fault.offset <= file.len() as u64 && !fault.what.is_empty()),
    }
});
