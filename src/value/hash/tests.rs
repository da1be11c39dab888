//! Hashes beside a map, in every form.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

type Model = BTreeMap<Vec<u8>, (Vec<u8>, Option<i64>)>;

fn text(items: impl Iterator<Item = (Vec<u8>, Vec<u8>)>) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut count = 0;
    let map: BTreeMap<_, _> = items.inspect(|_| count += 1).collect();
    assert_eq!(map.len(), count, "each field once");
    map
}

/// A hash and what should be in it.
struct Pair {
    hash: Hash,
    model: Model,
    now: i64,
    limits: Limits,
}

impl Pair {
    fn live(&self, field: &[u8]) -> Option<&(Vec<u8>, Option<i64>)> {
        self.model.get(field).filter(|(_, deadline)| deadline.is_none_or(|deadline| deadline > self.now))
    }

    fn set(&mut self, field: Vec<u8>, value: Vec<u8>, lifetime: Lifetime) {
        let before = self.live(&field).cloned();
        let added = self.hash.set(&field, &value, lifetime, self.now, self.limits);
        assert_eq!(added, before.is_none());
        let deadline = lifetime.after(before.and_then(|(_, deadline)| deadline));
        self.model.insert(field, (value, deadline));
    }

    /// Sets fields to their own names, in a new hash half of the time.
    fn set_all(&mut self, fields: Vec<Vec<u8>>) {
        if fields.len().is_multiple_of(2) {
            (self.hash, self.model) = (Hash::default(), Model::new());
        }
        let pairs = fields.iter().map(|field| (&field[..], &field[..]));
        let added = self.hash.set_all(pairs, Lifetime::Clear, self.now, self.limits);
        let mut new = 0;
        for field in fields {
            new += usize::from(self.live(&field).is_none());
            self.model.insert(field.clone(), (field, None));
        }
        assert_eq!(added, new);
    }

    fn remove(&mut self, field: &[u8]) {
        let there = self.live(field).is_some();
        assert_eq!(self.hash.remove(field, self.now), there);
        self.model.remove(field);
    }

    fn set_deadline(&mut self, field: &[u8], deadline: Option<i64>) {
        let there = self.live(field).is_some();
        assert_eq!(self.hash.set_deadline(field, deadline, self.now), there);
        if there && let Some((_, own)) = self.model.get_mut(field) {
            *own = deadline;
        }
    }

    fn expire(&mut self, most: usize) {
        let over = self.model.values().filter(|(_, deadline)| deadline.is_some_and(|at| at <= self.now)).count();
        assert_eq!(self.hash.expire(self.now, most, &mut |_| {}), over.min(most));
        if most >= over {
            let now = self.now;
            self.model.retain(|_, (_, deadline)| deadline.is_none_or(|at| at > now));
        } else {
            let left: BTreeMap<_, _> = self.hash.iter(i64::MIN).map(|(field, _)| (field.to_vec(), ())).collect();
            self.model.retain(|field, _| left.contains_key(field));
        }
    }

    fn check(&self) {
        self.hash.validate();
        let now = self.now;
        let live: BTreeMap<_, _> = (self.model.iter())
            .filter(|(field, _)| self.live(field).is_some())
            .map(|(field, (value, _))| (field.clone(), value.clone()))
            .collect();
        assert_eq!(self.hash.len(), self.model.len());
        assert_eq!(self.hash.live_len(now), live.len());
        assert_eq!(self.hash.is_over(now), live.is_empty() && !self.model.is_empty());
        assert_eq!(self.hash.due(), self.model.values().filter_map(|(_, deadline)| *deadline).min());
        assert_eq!(text(self.hash.iter(now).map(|(field, value)| (field.to_vec(), value.to_vec()))), live);
        let (mut cursor, mut met) = (0, Vec::new());
        loop {
            cursor = self.hash.scan(cursor, 5, now, &mut |field, value| met.push((field.to_vec(), value.to_vec())));
            if cursor == 0 {
                break;
            }
        }
        assert_eq!(text(met.into_iter()), live);
        for (field, (value, deadline)) in &self.model {
            let there = live.contains_key(field);
            assert_eq!(self.hash.get(field, now).map(Item::to_vec), there.then(|| value.clone()));
            assert_eq!(self.hash.deadline(field, now), there.then_some(*deadline));
        }
        let mut seed = 7_u64;
        let drawn = self.hash.random(
            &mut || {
                seed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
                seed
            },
            now,
        );
        assert_eq!(
            drawn.map(|(field, value)| live.get(&field.to_vec()) == Some(&value.to_vec())),
            (!live.is_empty()).then_some(true)
        );
    }
}

fn name(number: u16) -> Vec<u8> {
    match number % 4 {
        0 => number.to_string().into_bytes(),
        1 => format!("field:{number}").into_bytes(),
        2 => vec![b'x'; usize::from(number % 90)],
        _ => number.to_le_bytes().to_vec(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn does_what_a_map_does(
        entries in 0_usize..40,
        value_bytes in 0_usize..80,
        steps in prop::collection::vec((0_u8..16, any::<u16>(), 0_u16..120, 0_i64..400), 1..160),
    ) {
        let limits = Limits { entries, value_bytes };
        let mut pair = Pair { hash: Hash::default(), model: Model::new(), now: 1000, limits };
        for (kind, number, span, time) in steps {
            let (field, value, until) = (name(number % (span + 1)), name(number), pair.now + time - 20);
            match kind {
                0..=4 => pair.set(field, value, Lifetime::Clear),
                5 => pair.set(field, value, Lifetime::Keep),
                6 => pair.set(field, value, Lifetime::Until(until)),
                7..=9 => pair.remove(&field),
                10 => pair.set_deadline(&field, Some(until)),
                11 => pair.set_deadline(&field, None),
                12 => pair.expire(usize::from(span)),
                13 => (0..span).for_each(|number| pair.set(name(number), value.clone(), Lifetime::Keep)),
                14 if time % 2 == 0 => pair.set_all((number..number.saturating_add(span % 20)).map(name).collect()),
                14 => pair.hash = pair.hash.clone(),
                _ => pair.now += time / 4,
            }
            pair.hash.validate();
        }
        pair.check();
        pair.now += 1_000_000;
        pair.check();
        pair.expire(usize::MAX);
        pair.check();
    }
}

#[test]
fn forms_follow_the_limits() {
    let limits = Limits { entries: 2, value_bytes: 8 };
    let mut hash = Hash::default();
    for field in ["a", "b"] {
        assert!(hash.set(field.as_bytes(), b"12345678", Lifetime::Clear, 0, limits));
        assert_eq!(hash.encoding(), "listpack");
    }
    let mut long = hash.clone();
    assert!(!long.set(b"a", b"123456789", Lifetime::Clear, 0, limits));
    assert_eq!(long.encoding(), "hashtable");
    assert!(hash.set(b"c", b"1", Lifetime::Clear, 0, limits));
    assert_eq!(hash.encoding(), "hashtable");
}

#[test]
fn a_deadline_makes_a_table_which_stays_one() {
    let limits = Limits { entries: 512, value_bytes: 64 };
    let mut hash = Hash::default();
    hash.set(b"a", b"1", Lifetime::Keep, 0, limits);
    assert!(!hash.set_deadline(b"b", Some(5), 0) && hash.set_deadline(b"a", None, 0));
    assert_eq!((hash.encoding(), hash.due()), ("listpack", None));
    assert!(hash.set_deadline(b"a", Some(5), 0));
    assert_eq!((hash.encoding(), hash.due()), ("hashtable", Some(5)));
    assert_eq!((hash.live_len(4), hash.live_len(5), hash.is_over(5)), (1, 0, true));
    assert!(hash.set_deadline(b"a", None, 4));
    assert_eq!((hash.encoding(), hash.due()), ("hashtable", None));
    hash.validate();
}

#[test]
fn large_hashes_take_few_bytes() {
    let limits = Limits { entries: 512, value_bytes: 64 };
    let mut hash = Hash::default();
    for number in 0..100_000 {
        hash.set(format!("f{number:09}").as_bytes(), format!("v{number:07}").as_bytes(), Lifetime::Clear, 0, limits);
    }
    let bytes = hash.memory_bytes() / 100_000;
    assert!(bytes <= 46, "{bytes} bytes for a pair of 18");
}
