//! Hit ratios of the eviction algorithms on traces, cache-aside, in entries: the server's own structures over a simulated keyspace.
//!
//! `TRACES=folder cargo bench --bench hit_ratio [-- trace,trace]`. A trace: 16 bytes of header (`LTR1`, u32 flags, u64 count), then u32 ids,
//! each followed by a u32 size when flag 1 is set; little endian, under zstd.
//! `KEYS=12000000 cargo bench --bench hit_ratio`: what the algorithm needs for an insertion while a cache fills, and for the longest ones.

#![expect(clippy::expect_used, clippy::print_stdout, reason = "a program for people")]

use larder::keyspace::evict::duo::Duo;
use larder::keyspace::evict::{Algorithm, MAX_USES, Place, Resident, Residents, Turn};
use larder::util::clock::Ticks;
use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

/// Traces with the numbers of entries at which they are replayed: 1, 5, 10 and 25 % of their keys.
const ROWS: &[(&str, [usize; 4])] = &[
    ("arc-oltp", [1868, 9344, 18688, 46720]),
    ("arc-p3", [7625, 38127, 76254, 190_635]),
    ("lirs-loop", [101, 252, 505, 758]),
    ("lirs-multi3", [74, 372, 745, 1863]),
    ("meta-kv", [6100, 30503, 61007, 152_517]),
    ("orm-busy", [607, 3036, 6073, 15183]),
    ("scarab-recs", [2583, 12918, 25836, 64592]),
    ("w106", [2151, 10757, 21514, 53785]),
    ("w92", [489, 2448, 4897, 12243]),
    ("web12", [137, 687, 1375, 3439]),
];

fn load(name: &str) -> Vec<u32> {
    let folder = std::env::var_os("TRACES").map_or_else(|| PathBuf::from("../shared/traces"), PathBuf::from);
    let file = File::open(folder.join(format!("{name}.ltr.zst"))).expect("a trace in the folder that TRACES names");
    let mut bytes = Vec::new();
    zstd::Decoder::new(file).and_then(|mut trace| trace.read_to_end(&mut bytes)).expect("zstd");
    assert!(bytes.starts_with(b"LTR1"), "{name} is no trace");
    let width = if bytes[4] & 1 == 1 { 8 } else { 4 };
    bytes[16..].chunks_exact(width).map(|id| u32::from_le_bytes([id[0], id[1], id[2], id[3]])).collect()
}

/// A mark for an id, another for each.
fn mark_of(id: u32, seed: u32) -> u32 {
    let mut mark = id.wrapping_add(seed);
    for odd in [0x21f0_aaad_u32, 0xd35a_2d97] {
        mark = (mark ^ mark >> 16).wrapping_mul(odd);
    }
    mark ^ mark >> 15
}

#[derive(Default)]
struct Keys(HashMap<u32, (Place, u8), ahash::RandomState>);

impl Residents for Keys {
    fn look(&mut self, mark: u32) -> Option<Resident> {
        self.0.get(&mark).map(|(place, uses)| Resident { place: *place, uses: *uses, score: 0 })
    }

    fn set(&mut self, mark: u32, place: Place, uses: u8) {
        if let Some(state) = self.0.get_mut(&mark) {
            *state = (place, uses);
        }
    }

    fn evict(&mut self, mark: u32) -> bool {
        self.0.remove(&mark).is_some()
    }

    fn sample(&mut self, _: usize, _: &mut dyn FnMut(u32, Resident)) {}
}

/// Percent of requests that hit, and bytes of bookkeeping an entry.
fn replay(ids: &[u32], capacity: usize, seed: u32) -> (f64, f64) {
    let (mut keys, mut duo, mut hits) = (Keys::default(), Duo::new(0), 0_u32);
    for id in ids {
        let mark = mark_of(*id, seed);
        if let Some((_, uses)) = keys.0.get_mut(&mark) {
            hits += 1;
            *uses = (*uses + 1).min(MAX_USES);
            if mark & duo.wants() == 0 {
                duo.used(mark);
            }
            continue;
        }
        while keys.0.len() >= capacity {
            assert_ne!(duo.evict(&mut keys), Turn::Empty, "there is a key to evict");
        }
        keys.0.insert(mark, (Place::Window, 0));
        duo.insert(mark, keys.0.len(), &mut keys);
    }
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let figures = (f64::from(hits) * 100.0 / ids.len() as f64, duo.memory_bytes() as f64 / capacity as f64);
    figures
}

/// Prints the mean time of an insertion into a cache that is not full, and the longest ones with the number of the key.
fn fill(keys: u32) {
    let (mut none, mut duo, mut longest) = (Keys::default(), Duo::new(0), Vec::new());
    let mut sum = 0;
    for (live, id) in (1..).zip(0..keys) {
        let started = Ticks::now();
        duo.insert(mark_of(id, 1), live, &mut none);
        let took = Ticks::now().nanos_since(started);
        sum += took;
        if took > 50_000 {
            longest.push((took / 1000, id));
        }
    }
    longest.sort_unstable_by(|a, b| b.cmp(a));
    longest.truncate(8);
    println!(
        "{} ns an insertion; the longest, in microseconds, with the number of the key: {longest:?}",
        sum / u64::from(keys.max(1))
    );
}

fn main() {
    if let Some(keys) = std::env::var("KEYS").ok().and_then(|keys| keys.parse().ok()) {
        return fill(keys);
    }
    let chosen = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    println!("| trace | entries | duo | bytes an entry |\n|---|---|---|---|");
    for (name, sizes) in ROWS {
        if chosen.as_ref().is_some_and(|chosen| !chosen.split(',').any(|one| one == *name)) {
            continue;
        }
        let ids = load(name);
        for capacity in sizes {
            let (ratio, bytes) = replay(&ids, *capacity, seed);
            println!("| {name} | {capacity} | {ratio:.1} | {bytes:.1} |");
        }
    }
}
