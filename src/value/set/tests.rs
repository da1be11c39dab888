//! Sets against a naive model, in all forms.

use super::algebra::{difference, difference_set, intersect, intersection_set, union, union_set};
use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

type Model = BTreeSet<Vec<u8>>;

const LIMITS: [Limits; 5] = [
    Limits { intset: 512, listpack: 128, value: 64 },
    Limits { intset: 8, listpack: 8, value: 4 },
    Limits { intset: 4, listpack: 0, value: 64 },
    Limits { intset: 0, listpack: 20, value: 64 },
    Limits { intset: 0, listpack: 0, value: 0 },
];

fn limits() -> impl Strategy<Value = Limits> {
    (0..LIMITS.len()).prop_map(|index| LIMITS[index])
}

fn member() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => (-5..40_i64).prop_map(|value| value.to_string().into_bytes()),
        1 => any::<i64>().prop_map(|value| value.to_string().into_bytes()),
        4 => "[ab]{0,3}".prop_map(String::into_bytes),
        1 => "0[1-9]|-0|x{65}".prop_map(String::into_bytes),
    ]
}

fn members() -> impl Strategy<Value = Vec<Vec<u8>>> {
    prop_oneof![
        prop::collection::vec(member(), 0..60),
        prop::collection::vec((-5..40_i64).prop_map(|value| value.to_string().into_bytes()), 0..60),
        prop::collection::vec((0..900_i64).prop_map(|value| format!("m{value}").into_bytes()), 0..900),
    ]
}

fn model(set: &Set) -> Model {
    let members: Model = set.iter().map(Item::to_vec).collect();
    assert_eq!(members.len(), set.len());
    members
}

fn set_of(members: &[Vec<u8>], limits: &Limits) -> Set {
    let mut set = members.first().map_or_else(Set::default, |first| Set::for_member(first, members.len(), limits));
    members.iter().for_each(|member| {
        set.insert(member, limits);
    });
    set.validate();
    set
}

/// Numbers that spread well and are the same in every run.
fn numbers(mut state: u64) -> impl FnMut() -> u64 {
    move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb) ^ mixed >> 31
    }
}

proptest! {
    #[test]
    fn behaves_like_a_set(limits in limits(), steps in prop::collection::vec((member(), any::<bool>()), 0..200)) {
        let (mut set, mut expected) = (Set::default(), Model::new());
        for (member, add) in steps {
            if add {
                prop_assert_eq!(set.insert(&member, &limits), expected.insert(member.clone()));
            } else {
                prop_assert_eq!(set.remove(&member), expected.remove(&member));
            }
            prop_assert_eq!(set.contains(&member), expected.contains(&member));
            set.validate();
            prop_assert_eq!(set.len(), expected.len());
        }
        prop_assert_eq!(&model(&set), &expected);
        prop_assert_eq!(model(&set.clone()), expected);
    }

    #[test]
    fn algebra(
        limits in limits(),
        lists in prop::collection::vec(members(), 1..5),
        again in prop::collection::vec(0..5_usize, 0..12),
        twice in any::<bool>(),
    ) {
        let own: Vec<Set> = lists.iter().enumerate().map(|(i, list)| set_of(list, &LIMITS[i % LIMITS.len()])).collect();
        let mut sets: Vec<&Set> = own.iter().collect();
        // A difference from which the first set is taken again is empty, so that this one comes again at times only.
        let again = again.iter().map(|index| index % own.len()).filter(|index| twice || *index > 0);
        sets.extend(again.map(|index| &own[index]));
        let models: Vec<Model> = sets.iter().map(|set| model(set)).collect();
        let (first, others) = models.split_first().unwrap();
        let common: Model = others.iter().fold(first.clone(), |all, next| &all & next);
        let all: Model = models.iter().flatten().cloned().collect();
        let only: Model = others.iter().fold(first.clone(), |all, next| &all - next);

        let mut found = Vec::new();
        intersect(&sets, &mut |item| {
            found.push(item.to_vec());
            true
        });
        same(found, &common)?;
        let mut found = Vec::new();
        union(&sets, &mut |item| found.push(item.to_vec()));
        same(found, &all)?;
        let mut found = Vec::new();
        difference(&sets, &mut |item| found.push(item.to_vec()));
        same(found, &only)?;

        let stored = [intersection_set(&sets, &limits), union_set(&sets, &limits), difference_set(&sets, &limits)];
        for (set, expected) in stored.iter().zip([&common, &all, &only]) {
            set.validate();
            prop_assert_eq!(&model(set), expected);
        }
    }

    #[test]
    fn draws(limits in limits(), list in members(), count in 0..900_usize, seed in any::<u64>()) {
        let (mut set, mut random) = (set_of(&list, &limits), numbers(seed));
        let before = model(&set);
        let mut found = Vec::new();
        set.sample(count, &mut random, &mut |item| found.push(item.to_vec()));
        let distinct: Model = found.iter().cloned().collect();
        prop_assert!(distinct.is_subset(&before));
        prop_assert_eq!((found.len(), distinct.len()), (count.min(before.len()), count.min(before.len())));

        let mut found = Vec::new();
        set.draw(20, &mut random, &mut |item| {
            found.push(item.to_vec());
            true
        });
        prop_assert_eq!(found.len(), if before.is_empty() { 0 } else { 20 });
        prop_assert!(found.iter().all(|member| before.contains(member)));

        if count < before.len() {
            let mut taken = Model::new();
            set.pop_many(count, &mut random, &limits, &mut |item| assert!(taken.insert(item.to_vec())));
            set.validate();
            prop_assert_eq!(taken.len(), count);
            prop_assert_eq!(&model(&set) | &taken, before.clone());
            prop_assert_eq!(set.len(), before.len() - count);
        }
        for left in (0..set.len()).rev() {
            set.pop(&mut random, &mut |item| assert!(before.contains(&item.to_vec())));
            prop_assert_eq!(set.len(), left);
        }
    }

    #[test]
    fn walks_meet_every_member(limits in limits(), list in members(), count in 1..50_usize) {
        let set = set_of(&list, &limits);
        let (mut cursor, mut met) = (0, Model::new());
        loop {
            cursor = set.scan(cursor, count, &mut |item| {
                met.insert(item.to_vec());
            });
            if cursor == 0 {
                break;
            }
            prop_assert_eq!(cursor & 0x7ff, 0, "clients get cursors without these bits");
        }
        prop_assert_eq!(met, model(&set));
    }
}

fn same(mut found: Vec<Vec<u8>>, expected: &Model) -> Result<(), TestCaseError> {
    found.sort_unstable();
    prop_assert_eq!(&found, &expected.iter().cloned().collect::<Vec<_>>());
    Ok(())
}

#[test]
fn every_member_is_drawn_about_as_often() {
    for limits in LIMITS {
        let members: Vec<Vec<u8>> =
            (0..10).map(|i| format!("{i}{}", if i % 2 == 0 { "" } else { "x" }).into()).collect();
        let (set, mut random) = (set_of(&members, &limits), numbers(7));
        let mut counts = std::collections::HashMap::new();
        for _ in 0..10_000 {
            *counts.entry(set.random(&mut random).unwrap().to_vec()).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 10);
        assert!(counts.values().all(|count| (850..1150).contains(count)), "{counts:?}");
    }
}

#[test]
fn a_limit_of_zero_makes_tables() {
    let set = set_of(&[b"1".to_vec()], &LIMITS[4]);
    assert_eq!(set.encoding(), "hashtable");
    assert!(matches!(set.form(), Form::C(_)));
}
