//! A walk against what there was when it began, while members come, go and move.

use super::*;
use crate::value::walk::{Claim, Left};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Set(u16, i8),
    Remove(u16),
    RemoveRanks(u16, u8),
    Walk(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..3000_u16, any::<i8>()).prop_map(|(number, score)| Step::Set(number, score)),
        3 => (0..3000_u16).prop_map(Step::Remove),
        1 => (0..2000_u16, 0..100_u8).prop_map(|(start, count)| Step::RemoveRanks(start, count)),
        4 => (1..6_u8).prop_map(Step::Walk),
    ]
}

fn name(number: u16) -> Vec<u8> {
    format!("member:{number}").into_bytes()
}

/// Few scores, so that many members share one.
fn score(number: u16) -> f64 {
    f64::from(number.wrapping_mul(40_503) >> 9)
}

fn filled(count: u16) -> Large {
    let mut set = Large::default();
    for number in 0..count {
        set.set(&name(number), score(number));
    }
    set
}

type Met = Vec<(Vec<u8>, f64)>;

fn stopping_after(turns: u8) -> impl FnMut() -> bool {
    let mut left = turns;
    move || {
        left = left.saturating_sub(1);
        left > 0
    }
}

fn apply(set: &mut Large, step: &Step, met: &mut Met) {
    match *step {
        Step::Set(number, score) => drop(set.set(&name(number), f64::from(score))),
        Step::Remove(number) => drop(set.remove(&name(number))),
        Step::RemoveRanks(start, count) => {
            let end = set.len().min(usize::from(start) + usize::from(count));
            set.remove_ranks(usize::from(start).min(end)..end);
        }
        Step::Walk(turns) => drop(set.walk_on(&mut stopping_after(turns), &mut noting(met))),
    }
}

fn noting(met: &mut Met) -> impl FnMut(&Element) {
    |element| met.push((element.name().to_vec(), score_of(element)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn a_walk_meets_what_there_was_when_it_began(
        count in 0..2500_u16,
        steps in prop::collection::vec(step(), 0..400),
        dropped in any::<bool>(),
    ) {
        let mut set = filled(count);
        let mut expected: Met = (0..count).map(|number| (name(number), score(number))).collect();
        let claim = Claim::new(b"");
        set.walkable_mut().begin_walk(claim.clone());
        let mut met = Met::new();
        for step in &steps {
            apply(&mut set, step, &mut met);
        }
        set.validate();
        if dropped {
            let walked = set.table().claim().is_none();
            drop(set);
            match claim.take_left() {
                Some(Left::Table(mut left)) => while !left.walk_on(&mut stopping_after(50), &mut noting(&mut met)) {},
                _ => prop_assert!(walked),
            }
        } else {
            while !set.walk_on(&mut stopping_after(2), &mut noting(&mut met)) {}
            set.validate();
        }
        met.sort_by(|a, b| a.0.cmp(&b.0));
        expected.sort_by(|a, b| a.0.cmp(&b.0));
        prop_assert_eq!(met, expected);
    }
}

/// Redis and Valkey take five times as long to load a sorted set whose members come in no order.
#[test]
fn a_walk_goes_from_the_highest_score_down() {
    let mut set = filled(3000);
    set.walkable_mut().begin_walk(Claim::new(b""));
    let (mut met, mut turns) = (Met::new(), 0);
    while !set.walk_on(&mut stopping_after(2), &mut noting(&mut met)) {
        turns += 1;
    }
    assert!(turns > 10 && met.len() == 3000);
    assert!(met.is_sorted_by(|a, b| (a.1, &a.0) > (b.1, &b.0)));
}
