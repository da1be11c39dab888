//! The table beside a map, and what its scans and draws promise.

#![expect(unsafe_code, reason = "one test looks at an element through its address")]

use super::*;
use proptest::prelude::*;
use std::collections::{HashMap, HashSet};

fn name(n: u32) -> Vec<u8> {
    format!("member:{n}").into_bytes()
}

fn element(n: u32, word: u64) -> Element {
    Element::new(&name(n), None, Some(word))
}

/// Numbers that look random and are the same in every run (SplitMix64).
fn numbers(mut state: u64) -> impl FnMut() -> u64 {
    move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }
}

/// A table beside a map.
#[derive(Default)]
struct Pair {
    table: Table,
    model: HashMap<Vec<u8>, u64>,
}

impl Pair {
    fn step(&mut self, kind: u8, range: std::ops::Range<u32>, word: u64) {
        match kind {
            0 | 1 => range.for_each(|n| self.put(n, word)),
            2 => range.for_each(|n| self.put_if_new(n, word)),
            3 => range.for_each(|n| self.change(n, word)),
            4 | 5 => range.for_each(|n| self.remove(&name(n))),
            6 => self.retain(word),
            7 => self.table = self.table.clone(),
            8 => self.take_random(range.len(), word),
            _ if word.is_multiple_of(8) => self.drain(),
            _ => {}
        }
    }

    fn put(&mut self, n: u32, word: u64) {
        let displaced = self.table.insert(element(n, word));
        assert_eq!(displaced.and_then(|old| old.word()), self.model.insert(name(n), word));
    }

    fn put_if_new(&mut self, n: u32, word: u64) {
        let (found, added) = self.table.get_or_insert(&name(n), || element(n, word));
        assert_eq!(added, !self.model.contains_key(&name(n)));
        assert_eq!(found.word(), Some(*self.model.entry(name(n)).or_insert(word)));
    }

    fn change(&mut self, n: u32, word: u64) {
        let found = self.table.get_mut(&name(n));
        assert_eq!(found.is_some(), self.model.contains_key(&name(n)));
        if let Some(found) = found {
            found.set_value(&vec![7; (word % 900) as usize]);
            assert!(found.set_word(word));
            self.model.insert(name(n), word);
        }
    }

    fn remove(&mut self, name: &[u8]) {
        assert_eq!(self.table.remove(name).and_then(|old| old.word()), self.model.remove(name));
    }

    fn retain(&mut self, word: u64) {
        let (keep, mut asked) = (|n: u64| !(n ^ word).is_multiple_of(3), HashSet::new());
        self.table.retain(|element| {
            assert!(asked.insert(element.name().to_vec()), "asked once");
            keep(element.word().expect("a word"))
        });
        assert_eq!(asked.len(), self.model.len());
        self.model.retain(|_, word| keep(*word));
    }

    fn take_random(&mut self, count: usize, word: u64) {
        let mut random = numbers(word);
        for _ in 0..count {
            let met = self.table.random(&mut random).map(|element| element.name().to_vec());
            assert!(met.is_none_or(|name| self.model.contains_key(&name)));
            let taken = self.table.take_random(&mut random);
            assert_eq!(taken.is_some(), !self.model.is_empty());
            assert!(taken.is_none_or(|element| self.model.remove(element.name()) == element.word()));
        }
    }

    fn drain(&mut self) {
        let half: Vec<Element> = self.table.drain().take(self.model.len() / 2 + 1).collect();
        assert!(self.table.is_empty() && self.table.bits == 0);
        assert!(half.iter().all(|element| self.model.get(element.name()) == element.word().as_ref()));
        self.model = half.iter().map(|e| (e.name().to_vec(), e.word().expect("a word"))).collect();
        self.table = half.into_iter().collect();
    }

    fn check(&self) {
        self.table.validate();
        assert_eq!((self.table.len(), self.table.iter().len()), (self.model.len(), self.model.len()));
        for (name, word) in &self.model {
            assert_eq!(self.table.get(name).and_then(Element::word), Some(*word));
            self.table.prefetch(Table::hash(name));
            self.table.prefetch_element(Table::hash(name));
        }
        let all: HashMap<_, _> = self.table.iter().map(|e| (e.name().to_vec(), e.word().expect("a word"))).collect();
        assert_eq!(all, self.model);
        let (mut cursor, mut seen) = (0, 0);
        loop {
            cursor = self.table.scan(cursor, 10, &mut |_| seen += 1);
            if cursor == 0 {
                break;
            }
        }
        assert_eq!(seen, self.model.len(), "met once while nothing changes");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn does_what_a_map_does(
        steps in prop::collection::vec((0_u8..10, 0_u32..5000, 1_u32..900, any::<u64>()), 1..40),
    ) {
        let mut pair = Pair::default();
        for (kind, first, count, word) in steps {
            pair.step(kind, first..first + count, word);
            pair.table.validate();
        }
        pair.check();
    }

    #[test]
    fn a_scan_meets_all_that_stay(
        stay in 0_u32..3000,
        steps in prop::collection::vec((any::<bool>(), 3000_u32..9000, 1_u32..3000, 0_usize..200), 1..30),
    ) {
        let mut table: Table = (0..stay).map(|n| element(n, 0)).collect();
        let (mut cursor, mut met) = (0, HashSet::new());
        for (insert, first, count, step) in steps.iter().cycle().take(10_000) {
            (*first..first + count).for_each(|n| {
                drop(if *insert { table.insert(element(n, 0)) } else { table.remove(&name(n)) });
            });
            cursor = table.scan(cursor, *step, &mut |element| {
                met.insert(element.name().to_vec());
            });
            if cursor == 0 {
                break;
            }
        }
        while cursor != 0 {
            cursor = table.scan(cursor, 1000, &mut |element| {
                met.insert(element.name().to_vec());
            });
        }
        prop_assert!((0..stay).all(|n| met.contains(&name(n))));
    }

    #[test]
    fn any_cursor_is_harmless(count in 0_u32..2000, mut cursor in any::<u64>(), step in 0_usize..100) {
        let table: Table = (0..count).map(|n| element(n, 0)).collect();
        for _ in 0..10_000 {
            let next = table.scan(cursor, step, &mut |_| {});
            prop_assert!(next == 0 || next > cursor);
            if next == 0 {
                return Ok(());
            }
            cursor = next;
        }
        prop_assert!(false, "a scan comes to an end");
    }
}

#[test]
fn grows_and_shrinks_back_to_nothing() {
    let mut pair = Pair::default();
    (0..60_000).for_each(|n| pair.put(n, 1));
    pair.check();
    assert!(pair.table.bits >= 7);
    assert!(pair.table.table_bytes() < 60_000 * 13, "{} bytes for 60,000 elements", pair.table.table_bytes());
    (0..59_990).for_each(|n| pair.remove(&name(n)));
    pair.check();
    assert!(pair.table.table_bytes() < 2_000, "{} bytes for 10 elements", pair.table.table_bytes());
    (0..60_000).for_each(|n| pair.put(n, u64::from(n)));
    pair.table.retain(|element| element.word().is_some_and(|word| word < 10));
    pair.table.validate();
    assert!(pair.table.table_bytes() < 2_000, "{} bytes for 10 elements", pair.table.table_bytes());
}

#[test]
fn elements_stay_where_they_are() {
    let mut table = Table::new();
    drop(table.insert(element(0, 5)));
    let address = table.get(&name(0)).map(Element::as_raw).expect("present");
    (1..20_000).for_each(|n| drop(table.insert(element(n, 0))));
    (1..20_000).for_each(|n| drop(table.remove(&name(n))));
    assert_eq!(table.get(&name(0)).map(Element::as_raw), Some(address));
    // SAFETY: the table, untouched meanwhile, keeps the element.
    assert_eq!(unsafe { Element::borrow_raw(&address) }.word(), Some(5));
}

/// Sum of (met - expected)^2 / expected over all elements of a table, for `draws` draws.
fn chi_square(table: &Table, draws: u32) -> f64 {
    let (mut met, mut random) = (HashMap::new(), numbers(7));
    for _ in 0..draws {
        *met.entry(table.random(&mut random).expect("not empty").name()).or_insert(0_u32) += 1;
    }
    let expected = f64::from(draws) / table.len() as f64;
    table.iter().map(|e| (f64::from(met.get(e.name()).copied().unwrap_or(0)) - expected).powi(2) / expected).sum()
}

/// With n - 1 degrees of freedom the sum has mean n - 1 and deviation sqrt(2n); tables whose segments differ in size and
/// depth by removals in one half of the hashes would show any bias.
#[test]
fn every_element_is_drawn_equally_often() {
    for count in [1, 5, 40, 300, 1000, 3000] {
        let mut table: Table = (0..count).map(|n| element(n, 0)).collect();
        table.retain(|element| Table::hash(element.name()) >> 63 == 0 || element.name().ends_with(b"7"));
        if table.is_empty() {
            continue;
        }
        let n = table.len() as f64;
        let sum = chi_square(&table, 100 * count);
        assert!((sum - (n - 1.0)).abs() < 7.0 * (2.0 * n).sqrt(), "{sum} for {n} elements");
    }
}

#[test]
fn a_broken_source_of_numbers_does_no_harm() {
    let mut table: Table = (0..2_000).map(|n| element(n, 0)).collect();
    for constant in [0, 1, u64::MAX, u64::from(u32::MAX), 1 << 63] {
        assert!(table.random(&mut || constant).is_some());
    }
    (0..2_000).for_each(|_| assert!(table.take_random(&mut || 0).is_some()));
    assert!(table.take_random(&mut || 0).is_none());
    table.validate();
}

#[test]
fn short_members_take_few_bytes() {
    for (count, limit) in [(19_u32, 14.0), (130, 14.0), (600, 14.0), (5_000, 13.0), (50_000, 13.0), (500_000, 12.0)] {
        let table: Table = (0..count).map(|n| Element::new(format!("m:{n:011}").as_bytes(), None, None)).collect();
        let bytes = table.memory_bytes() as f64 / f64::from(count);
        println!("{count} members: {bytes:.1} bytes each");
        assert!(bytes < 16.0 + limit, "{bytes} bytes a member of {count}");
    }
}

mod walks {
    use super::*;
    use crate::value::walk::{Claim, Left};

    /// A step of [`a_walk_meets_what_there_was_when_it_began`].
    #[derive(Clone, Debug)]
    enum Step {
        Put(u16, u8),
        Remove(u16),
        Change(u16),
        TakeRandom,
        Walk(u8),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..3000_u16, any::<u8>()).prop_map(|(n, value)| Step::Put(n, value)),
            3 => (0..3000_u16).prop_map(Step::Remove),
            3 => (0..3000_u16).prop_map(Step::Change),
            1 => Just(Step::TakeRandom),
            4 => (1..20_u8).prop_map(Step::Walk),
        ]
    }

    fn name(n: u16) -> Vec<u8> {
        format!("element:{n}").into_bytes()
    }

    fn walk(table: &mut Table, turns: u8, met: &mut Vec<(Vec<u8>, Vec<u8>)>) -> bool {
        let mut left = turns;
        let mut more = || {
            left = left.saturating_sub(1);
            left > 0
        };
        table.walk_on(&mut more, &mut |element| {
            met.push((element.name().to_vec(), element.value().unwrap_or_default().to_vec()));
        })
    }

    fn apply(table: &mut Table, step: &Step, seed: &mut u64, met: &mut Vec<(Vec<u8>, Vec<u8>)>) {
        match step {
            Step::Put(n, value) => drop(table.insert(Element::new(&name(*n), Some(&[*value]), None))),
            Step::Remove(n) => drop(table.remove(&name(*n))),
            Step::Change(n) => {
                if let Some(element) = table.get_mut(&name(*n)) {
                    element.set_value(b"changed in place, or moved");
                }
            }
            Step::TakeRandom => {
                let mut random = || {
                    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    seed.rotate_left(17)
                };
                drop(table.take_random(&mut random));
            }
            Step::Walk(turns) => drop(walk(table, *turns, met)),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
        #[test]
        fn a_walk_meets_what_there_was_when_it_began(
            count in 0..2500_u16,
            steps in prop::collection::vec(step(), 0..400),
            dropped in any::<bool>(),
        ) {
            let mut table: Table = (0..count).map(|n| Element::new(&name(n), Some(b"old"), None)).collect();
            let mut expected: Vec<_> = (0..count).map(|n| (name(n), b"old".to_vec())).collect();
            let claim = Claim::new(b"");
            table.begin_walk(claim.clone());
            let (mut met, mut seed) = (Vec::new(), 1);
            for step in &steps {
                apply(&mut table, step, &mut seed, &mut met);
                prop_assert_eq!(table.clone().len(), table.len());
            }
            if dropped {
                let walked = table.claim().is_none();
                drop(table);
                match claim.take_left() {
                    Some(Left::Table(mut left)) => while !walk(&mut left, 50, &mut met) {},
                    _ => prop_assert!(walked),
                }
            } else {
                while !walk(&mut table, 50, &mut met) {}
                table.validate();
            }
            met.sort();
            expected.sort();
            prop_assert_eq!(met, expected);
        }
    }

    #[test]
    fn a_walk_that_is_given_up_keeps_nothing() {
        let mut table: Table = (0..1000).map(|n| Element::new(&name(n), Some(b"old"), None)).collect();
        let claim = Claim::new(b"");
        table.begin_walk(claim.clone());
        claim.give_up();
        assert!(table.remove(&name(1)).is_some() && table.claim().is_none());
        table.begin_walk(claim.clone());
        drop(table);
        assert!(claim.take_left().is_none());
    }
}
