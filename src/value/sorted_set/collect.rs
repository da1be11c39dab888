//! A sorted set in the making: members come in any order, and several times.

use super::large::Large;
use super::{Limits, SortedSet, small};
use crate::value::element::Element;
use crate::value::listpack::Listpack;
use crate::value::object::Collection;
use crate::value::table::Table;
use crate::value::word::Word;

/// Members with scores that may still change, in no order.
#[derive(Default)]
pub struct Collected {
    members: Table,
    longest: usize,
}

impl Collected {
    /// Number of members.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Adds a member with a score, or lets `merge` make one of its own and this score. O(1).
    pub fn add(&mut self, member: &[u8], score: f64, merge: impl FnOnce(f64, f64) -> f64) {
        let (element, added) = self.members.get_or_insert(member, || Element::new(member, None, Some(score.to_bits())));
        if added {
            self.longest = self.longest.max(member.len());
        } else {
            let old = f64::from_bits(element.word().unwrap_or(0));
            element.set_word(merge(old, score).to_bits());
        }
    }

    /// The members in order, small if the limits allow. O(n log n).
    pub fn finish(self, limits: Limits) -> SortedSet {
        let (fits, longest) = (self.members.len() <= limits.entries, self.longest);
        let large = SortedSet(Word::b(Box::new(Large::from_table(self.members))));
        if !fits || longest > limits.value_bytes {
            return large;
        }
        let mut list = Listpack::new();
        for (member, score) in large.iter() {
            let mut buffer = itoa::Buffer::new();
            let text = member.text(&mut buffer);
            if !small::fits(&list, text.len()) {
                return large;
            }
            small::append(&mut list, text, score);
        }
        debug_assert_eq!(list.len(), large.len() * 2);
        SortedSet(Word::a(list))
    }
}
