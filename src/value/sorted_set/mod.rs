//! Sorted sets: members, each with a score, in the order of (score, member).
//!
//! A small set is a listpack of pairs; from the thresholds of its caller on, a table of members beside a tree that keeps
//! them in order. Invariants: a member is there once; no score is NaN. Must not know: keys, requests, what a score means.
//! Source: the semantics of Redis's sorted sets.

mod add;
mod collect;
mod large;
mod range;
mod small;
mod tree;

pub use add::{Change, NotANumber, Rules};
pub use collect::Collected;
pub use range::{LexBound, LexRange, ScoreRange, ranks};

use super::element::Element;
use super::listpack::{Item, Listpack};
use super::object::{Collection, Kind, Object, ObjectMut, ObjectRef};
use super::table::Table;
use super::word::{Form, Word};
use large::Large;
pub use large::score_of;
use std::ops::Range;

/// How large a listpack may grow before it is given up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Members.
    pub entries: usize,
    /// Bytes of the longest member.
    pub value_bytes: usize,
}

/// A sorted set; one word.
pub struct SortedSet(Word<Listpack, Box<Large>>);

impl Default for SortedSet {
    fn default() -> SortedSet {
        SortedSet(Word::a(Listpack::new()))
    }
}

impl Clone for SortedSet {
    fn clone(&self) -> SortedSet {
        match self.0.get() {
            Form::A(list) => SortedSet(Word::a(list.clone())),
            Form::B(large) => SortedSet(Word::b(Box::new(large.clone()))),
            Form::C(never) => match *never {},
        }
    }
}

impl Collection for SortedSet {
    const KIND: Kind = Kind::SortedSet;

    fn of(object: ObjectRef<'_>) -> Option<&SortedSet> {
        if let ObjectRef::SortedSet(it) = object { Some(it) } else { None }
    }

    fn of_mut(object: ObjectMut<'_>) -> Option<&mut SortedSet> {
        if let ObjectMut::SortedSet(it) = object { Some(it) } else { None }
    }

    fn into_object(self) -> Object {
        Object::SortedSet(self)
    }

    fn len(&self) -> usize {
        match self.0.get() {
            Form::A(list) => list.len() / 2,
            Form::B(large) => large.len(),
            Form::C(never) => match *never {},
        }
    }

    fn encoding(&self) -> &'static str {
        if self.as_listpack().is_some() { "listpack" } else { "skiplist" }
    }

    fn memory_bytes(&self) -> usize {
        match self.0.get() {
            Form::A(list) => list.memory_bytes(),
            Form::B(large) => large.memory_bytes(),
            Form::C(never) => match *never {},
        }
    }
}

/// Reading.
impl SortedSet {
    /// The table of members, once there is one.
    pub fn table(&self) -> Option<&Table> {
        match self.0.get() {
            Form::B(large) => Some(large.table()),
            _ => None,
        }
    }

    /// As [`SortedSet::table`], to begin a walk through it.
    pub(super) fn walkable_mut(&mut self) -> Option<&mut Table> {
        if let Form::B(large) = self.0.get_mut() { Some(large.walkable_mut()) } else { None }
    }

    /// Goes on with a walk; see [`ObjectMut::walk_on`](super::object::ObjectMut::walk_on).
    pub(super) fn walk_on(&mut self, more: &mut dyn FnMut() -> bool, visit: &mut dyn FnMut(&Element)) -> bool {
        if let Form::B(large) = self.0.get_mut() { large.walk_on(more, visit) } else { true }
    }

    /// The listpack of pairs, as long as it is one: what RDB files and DUMP hold.
    pub fn as_listpack(&self) -> Option<&Listpack> {
        if let Form::A(list) = self.0.get() { Some(list) } else { None }
    }

    /// The score of a member. O(1), or O(n) while small.
    #[inline]
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        match self.0.get() {
            Form::A(list) => small::find(list, member).map(|(_, score)| score),
            Form::B(large) => large.score(member),
            Form::C(never) => match *never {},
        }
    }

    /// How many members come before this one, and its score. O(log n), or O(n) while small.
    pub fn rank(&self, member: &[u8]) -> Option<(usize, f64)> {
        match self.0.get() {
            Form::A(list) => small::rank(list, member),
            Form::B(large) => large.rank(member),
            Form::C(never) => match *never {},
        }
    }

    /// The ranks of a range of scores. O(log n), or O(n) while small.
    pub fn score_ranks(&self, range: &ScoreRange) -> Range<usize> {
        match self.0.get() {
            Form::A(list) => small::score_ranks(list, |score| range.is_above(score), |score| range.is_below(score)),
            Form::B(large) => large.score_ranks(range),
            Form::C(never) => match *never {},
        }
    }

    /// The ranks of a range of members, all of which should have one score; if not, the answer is some range, which may
    /// depend on the end where the search begins. O(log n), or O(n) while small.
    pub fn lex_ranks(&self, range: &LexRange<'_>, reverse: bool) -> Range<usize> {
        match self.0.get() {
            Form::A(list) => small::lex_ranks(list, range, reverse),
            Form::B(large) => large.lex_ranks(range),
            Form::C(never) => match *never {},
        }
    }

    /// The members of these ranks with their scores, in order or backwards. O(log n) and O(1) a member, or O(n) while small.
    pub fn walk(&self, ranks: Range<usize>, reverse: bool) -> Walk<'_> {
        let ranks = ranks.start..ranks.end.min(self.len());
        let left = ranks.len();
        let first = if reverse { ranks.end.saturating_sub(1) } else { ranks.start };
        let source = match self.0.get() {
            _ if left == 0 => Source::Nothing,
            Form::A(list) => Source::Small(small::Pairs::from(list, first, reverse)),
            Form::B(large) => Source::Large(large::Entries::from(large, first, reverse)),
            Form::C(never) => match *never {},
        };
        Walk { source, left }
    }

    /// All members with their scores, in order.
    pub fn iter(&self) -> Walk<'_> {
        self.walk(0..self.len(), false)
    }

    /// The member of a rank. O(log n), or O(n) while small.
    pub fn at(&self, rank: usize) -> Option<(Item<'_>, f64)> {
        self.walk(rank..rank.saturating_add(1), false).next()
    }

    /// Shows about `count` members from `cursor` on (0 at first) and returns where to go on, 0 at the end: all of a small
    /// set at once. What is there from the first call to the last is met at least once.
    pub fn scan(&self, cursor: u64, count: usize, visit: &mut dyn FnMut(Item<'_>, f64)) -> u64 {
        match self.0.get() {
            Form::A(_) => {
                self.iter().for_each(|(member, score)| visit(member, score));
                0
            }
            Form::B(large) => large.scan(cursor, count, &mut |member, score| visit(Item::Text(member), score)),
            Form::C(never) => match *never {},
        }
    }

    /// Checks the invariants; for tests.
    #[cfg(test)]
    pub(crate) fn validate(&self) {
        match self.0.get() {
            Form::A(list) => small::validate(list),
            Form::B(large) => large.validate(),
            Form::C(never) => match *never {},
        }
    }
}

/// Changing.
impl SortedSet {
    /// Takes over a listpack of pairs that came from elsewhere, or gives it back when it is none: a wrong number of
    /// elements, a score that is no number, a member twice, a wrong order. O(n log n).
    pub fn from_listpack(list: Listpack) -> Result<SortedSet, Listpack> {
        if small::is_valid(&list) { Ok(SortedSet(Word::a(list))) } else { Err(list) }
    }

    /// Gives up the listpack ahead of changes if that many members to come, or one of so many bytes, exceed the limits. (As
    /// in Redis, members to come are not added to those that are there.)
    pub fn prepare(&mut self, members: usize, longest: usize, limits: Limits) {
        if members > limits.entries || longest > limits.value_bytes {
            self.grow();
        }
    }

    /// Gives a member a score, adding it if it is not there; returns the score that it had. O(log n), or O(n) while small.
    pub fn set(&mut self, member: &[u8], score: f64, limits: Limits) -> Option<f64> {
        debug_assert!(!score.is_nan(), "scores have an order");
        match self.0.get_mut() {
            Form::A(list) => {
                if let Some((at, old)) = small::find(list, member) {
                    if old != score {
                        small::set_score(list, at, member, score, old);
                    }
                    return Some(old);
                }
                let room = list.len() / 2 < limits.entries && member.len() <= limits.value_bytes;
                if room && small::fits(list, member.len()) {
                    small::insert(list, member, score);
                    return None;
                }
                self.grow().set(member, score)
            }
            Form::B(large) => large.set(member, score),
            Form::C(never) => match *never {},
        }
    }

    /// Removes a member; returns its score. O(log n), or O(n) while small.
    pub fn remove(&mut self, member: &[u8]) -> Option<f64> {
        match self.0.get_mut() {
            Form::A(list) => {
                let (at, score) = small::find(list, member)?;
                small::remove(list, at);
                Some(score)
            }
            Form::B(large) => large.remove(member),
            Form::C(never) => match *never {},
        }
    }

    /// Removes the members of these ranks, which must be there. O(log n + removed), or O(n) while small.
    pub fn remove_ranks(&mut self, ranks: Range<usize>) {
        debug_assert!(ranks.end <= self.len());
        if ranks.is_empty() {
            return;
        }
        match self.0.get_mut() {
            Form::A(list) => small::remove_ranks(list, ranks),
            Form::B(large) => large.remove_ranks(ranks),
            Form::C(never) => match *never {},
        }
    }

    /// Makes the set a large one. O(n).
    fn grow(&mut self) -> &mut Large {
        if self.as_listpack().is_some() {
            let mut large = Large::default();
            for (member, score) in self.iter() {
                large.append(member.text(&mut itoa::Buffer::new()), score);
            }
            self.0 = Word::b(Box::new(large));
        }
        match self.0.get_mut() {
            Form::B(large) => large,
            _ => unreachable!("made so above"),
        }
    }
}

/// Members with their scores; see [`SortedSet::walk`].
#[derive(Clone)]
pub struct Walk<'a> {
    source: Source<'a>,
    left: usize,
}

#[derive(Clone)]
enum Source<'a> {
    Nothing,
    Small(small::Pairs<'a>),
    Large(large::Entries<'a>),
}

impl<'a> Iterator for Walk<'a> {
    type Item = (Item<'a>, f64);

    #[inline]
    fn next(&mut self) -> Option<(Item<'a>, f64)> {
        self.left = self.left.checked_sub(1)?;
        match &mut self.source {
            Source::Nothing => None,
            Source::Small(pairs) => pairs.next(),
            Source::Large(entries) => entries.next().map(|(member, score)| (Item::Text(member), score)),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Walk<'_> {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const SMALL: Limits = Limits { entries: 128, value_bytes: 64 };
    const LARGE: Limits = Limits { entries: 0, value_bytes: 0 };
    const BOTH: Limits = Limits { entries: 8, value_bytes: 20 };

    #[derive(Clone, Debug)]
    enum Step {
        Set(String, f64),
        Remove(String),
        RemoveRanks(u8, u8),
        Add(String, f64, Rules),
    }

    fn any_member() -> impl Strategy<Value = String> {
        prop_oneof!["[a-c]{0,2}", "-?[0-9]{1,2}", "[a-z]{19,22}"]
    }

    fn any_score() -> impl Strategy<Value = f64> {
        let odd = [0.0, -0.0, 0.1, 1e300, -1e300, 5e18, f64::INFINITY, f64::NEG_INFINITY];
        prop_oneof![(-3..3_i8).prop_map(f64::from), prop::sample::select(odd.to_vec())]
    }

    fn any_step() -> impl Strategy<Value = Step> {
        let rules = any::<(bool, bool, bool, bool, bool)>().prop_map(
            |(increment, only_new, only_existing, only_greater, only_less)| Rules {
                increment,
                only_new,
                only_existing,
                only_greater,
                only_less,
            },
        );
        prop_oneof![
            4 => (any_member(), any_score()).prop_map(|(member, score)| Step::Set(member, score)),
            2 => any_member().prop_map(Step::Remove),
            1 => any::<(u8, u8)>().prop_map(|(start, count)| Step::RemoveRanks(start, count % 4)),
            2 => (any_member(), any_score(), rules).prop_map(|(member, score, rules)| Step::Add(member, score, rules)),
        ]
    }

    fn ordered(model: &BTreeMap<String, f64>) -> Vec<(String, f64)> {
        let mut pairs: Vec<(String, f64)> = model.iter().map(|(member, score)| (member.clone(), *score)).collect();
        pairs.sort_by(|a, b| a.1.partial_cmp(&b.1).unwrap().then_with(|| a.0.cmp(&b.0)));
        pairs
    }

    fn pairs(walk: Walk<'_>) -> Vec<(String, f64)> {
        walk.map(|(member, score)| (String::from_utf8(member.to_vec()).unwrap(), score)).collect()
    }

    fn apply(set: &mut SortedSet, model: &mut BTreeMap<String, f64>, step: &Step, limits: Limits) {
        match step {
            Step::Set(member, score) => {
                let old = set.set(member.as_bytes(), *score, limits);
                assert_eq!(old, model.insert(member.clone(), *score));
            }
            Step::Remove(member) => assert_eq!(set.remove(member.as_bytes()), model.remove(member)),
            Step::RemoveRanks(start, count) => {
                let start = usize::from(*start) % (model.len() + 1);
                let end = (start + usize::from(*count)).min(model.len());
                for (member, _) in &ordered(model)[start..end] {
                    model.remove(member);
                }
                set.remove_ranks(start..end);
            }
            Step::Add(member, score, rules) => {
                let old = model.get(member).copied();
                let new = if rules.increment { old.unwrap_or(0.0) + score } else { *score };
                let change = set.add(member.as_bytes(), *score, *rules, limits);
                match change {
                    Err(NotANumber) => assert!(new.is_nan()),
                    Ok(Change::Added(score)) => assert!(old.is_none() && score == new),
                    Ok(Change::Updated(score)) => assert!(old.is_some_and(|old| old != score) && score == new),
                    Ok(Change::Same(score)) => assert!(old == Some(score) && score == new),
                    Ok(Change::Refused) => assert!(*rules != Rules::default()),
                }
                if let Ok(Change::Added(score) | Change::Updated(score)) = change {
                    model.insert(member.clone(), score);
                }
            }
        }
    }

    fn check(set: &SortedSet, model: &BTreeMap<String, f64>) {
        set.validate();
        let expected = ordered(model);
        assert_eq!(set.len(), expected.len());
        assert_eq!(pairs(set.iter()), expected);
        let backwards: Vec<(String, f64)> = expected.iter().rev().cloned().collect();
        assert_eq!(pairs(set.walk(0..set.len(), true)), backwards);
        for (rank, (member, score)) in expected.iter().enumerate() {
            assert_eq!(set.rank(member.as_bytes()), Some((rank, *score)));
            assert_eq!(set.at(rank).map(|(member, _)| member.to_vec()), Some(member.as_bytes().to_vec()));
        }
        assert!(set.at(expected.len()).is_none() && set.rank(b"nobody").is_none());
    }

    fn check_ranges(set: &SortedSet, model: &BTreeMap<String, f64>, range: &ScoreRange) {
        let expected: Vec<(String, f64)> = ordered(model)
            .into_iter()
            .filter(|(_, score)| !range.is_above(*score) && !range.is_below(*score))
            .collect();
        assert_eq!(pairs(set.walk(set.score_ranks(range), false)), expected);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]
        #[test]
        fn does_what_a_map_does(
            steps in prop::collection::vec(any_step(), 1..120),
            ranges in prop::collection::vec((any_score(), any::<bool>(), any_score(), any::<bool>()), 10),
        ) {
            for limits in [SMALL, LARGE, BOTH] {
                let (mut set, mut model) = (SortedSet::default(), BTreeMap::new());
                for step in &steps {
                    apply(&mut set, &mut model, step, limits);
                }
                check(&set, &model);
                let copy = set.clone();
                set.remove_ranks(0..set.len());
                check(&set, &BTreeMap::new());
                check(&copy, &model);
                for (min, above_min, max, below_max) in &ranges {
                    let (above_min, below_max) = (*above_min, *below_max);
                    check_ranges(&copy, &model, &ScoreRange { min: *min, above_min, max: *max, below_max });
                }
            }
        }

        #[test]
        fn members_of_one_score_have_ranges(
            members in prop::collection::btree_set(any_member(), 1..30),
            min in any_member(),
            max in any_member(),
        ) {
            for limits in [SMALL, LARGE] {
                let mut set = SortedSet::default();
                members.iter().for_each(|member| assert!(set.set(member.as_bytes(), 1.0, limits).is_none()));
                let range = LexRange { min: LexBound::Included(min.as_bytes()), max: LexBound::Excluded(max.as_bytes()) };
                let expected: Vec<&String> = members.iter().filter(|member| **member >= min && **member < max).collect();
                for reverse in [false, true] {
                    let found = pairs(set.walk(set.lex_ranks(&range, reverse), false));
                    prop_assert_eq!(found.iter().map(|(member, _)| member).collect::<Vec<_>>(), expected.clone());
                }
            }
        }

        #[test]
        fn collects_in_any_order(pairs_in in prop::collection::vec((any_member(), any_score()), 0..60)) {
            for limits in [SMALL, LARGE, BOTH] {
                let (mut collected, mut model) = (Collected::default(), BTreeMap::<String, f64>::new());
                for (member, score) in &pairs_in {
                    collected.add(member.as_bytes(), *score, f64::max);
                    model.entry(member.clone()).and_modify(|old| *old = old.max(*score)).or_insert(*score);
                }
                check(&collected.finish(limits), &model);
            }
        }
    }

    #[test]
    fn a_scan_meets_everybody() {
        for limits in [SMALL, LARGE] {
            let mut set = SortedSet::default();
            (0..100).for_each(|n| assert!(set.set(n.to_string().as_bytes(), f64::from(n), limits).is_none()));
            let (mut met, mut cursor) = (BTreeMap::new(), 0);
            loop {
                cursor =
                    set.scan(cursor, 10, &mut |member, score| assert!(met.insert(member.to_vec(), score).is_none()));
                if cursor == 0 {
                    break;
                }
            }
            assert_eq!(met.len(), 100);
        }
    }

    #[test]
    fn foreign_listpacks_are_checked() {
        let list = |items: &[&str]| {
            let mut list = Listpack::new();
            for item in items {
                list.push_back(item.as_bytes());
            }
            list
        };
        assert!(SortedSet::from_listpack(list(&["a", "1", "b", "1", "5", "2.5"])).is_ok());
        for bad in [&["a"][..], &["a", "x"], &["a", ""], &["a", "nan"], &["b", "1", "a", "1"], &["a", "1", "a", "2"]] {
            assert!(SortedSet::from_listpack(list(bad)).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn bytes_a_member() {
        const COUNT: u32 = 100_000;
        let mut set = SortedSet::default();
        for n in 0..COUNT {
            set.set(format!("member{n:07}").as_bytes(), f64::from(n), SMALL);
        }
        let bytes = set.memory_bytes() as f64 / f64::from(COUNT);
        assert!(bytes < 64.0, "{bytes}");
        assert_eq!(set.encoding(), "skiplist");
    }
}
