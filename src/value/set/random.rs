//! Members drawn by chance, kept or taken out.
//!
//! Every member is as likely as any other. Numbers come from the caller, any 64-bit ones. Must not know: replies.

use super::{Limits, Set};
use crate::value::listpack::Item;
use crate::value::object::Collection;
use crate::value::word::{Form, Word};
use std::collections::HashSet;

/// Where at least one in so many members is drawn, all are listed first; below that they are drawn until they differ.
const DRAWN_SHARE: usize = 3;

/// Where at most one in so many stays, those that stay are drawn.
const KEPT_SHARE: usize = 5;

/// Random 64-bit numbers.
type Numbers<'r> = &'r mut dyn FnMut() -> u64;

/// A number below `bound`, even to one part in 2^(64 - bits of `bound`).
fn below(random: Numbers<'_>, bound: usize) -> usize {
    usize::try_from((u128::from(random()) * bound as u128) >> 64).unwrap_or(0)
}

/// Moves `count` elements, drawn by chance, to the front.
fn draw_to_front<T>(list: &mut [T], count: usize, random: Numbers<'_>) {
    for place in 0..count {
        let other = place + below(random, list.len() - place);
        list.swap(place, other);
    }
}

impl Set {
    /// A member; `None` when there is none. O(1), of a listpack O(members).
    pub fn random(&self, random: Numbers<'_>) -> Option<Item<'_>> {
        match self.form() {
            Form::A(ints) => ints.random(random).map(Item::Int),
            Form::B(pack) => pack.iter().nth(below(random, pack.len())),
            Form::C(table) => table.random(random).map(|element| Item::Text(element.name())),
        }
    }

    /// Calls `found` with `count` members, any of them perhaps several times, until it says stop. The set must not be empty.
    pub fn draw<'a>(&'a self, count: u64, random: Numbers<'_>, found: &mut dyn FnMut(Item<'a>) -> bool) {
        let listed: Vec<Item<'_>> = if let Form::B(pack) = self.form() { pack.iter().collect() } else { Vec::new() };
        for _ in 0..count {
            let drawn = match listed.len() {
                0 => self.random(random),
                len => listed.get(below(random, len)).copied(),
            };
            if !drawn.is_some_and(&mut *found) {
                return;
            }
        }
    }

    /// Calls `found` with `count` different members, fewer when the set has fewer. O(count) amortised, of a compact form
    /// O(members).
    pub fn sample<'a>(&'a self, count: usize, random: Numbers<'_>, found: &mut dyn FnMut(Item<'a>)) {
        let len = self.len();
        let few = count.saturating_mul(DRAWN_SHARE) < len;
        match self.form() {
            _ if count >= len => self.iter().for_each(found),
            Form::C(table) if few => {
                let mut drawn = HashSet::with_capacity(count);
                while drawn.len() < count {
                    let Some(element) = table.random(random) else { return };
                    if drawn.insert(element.as_raw().addr()) {
                        found(Item::Text(element.name()));
                    }
                }
            }
            _ => {
                let mut members: Vec<Item<'_>> = self.iter().collect();
                draw_to_front(&mut members, count, random);
                members.truncate(count);
                members.into_iter().for_each(found);
            }
        }
    }

    /// Takes a member out and calls `taken` with it. O(1), of a compact form O(members).
    pub fn pop(&mut self, random: Numbers<'_>, taken: &mut dyn FnMut(Item<'_>)) {
        match self.0.get_mut() {
            Form::A(ints) => {
                if let Some(value) = ints.random(random) {
                    ints.remove(value);
                    taken(Item::Int(value));
                }
            }
            Form::B(pack) => {
                let at = pack.entries().nth(below(random, pack.len())).map(|(at, _)| at);
                if let Some(at) = at {
                    taken(pack.get(at));
                    pack.remove(at);
                }
            }
            Form::C(table) => {
                if let Some(element) = table.take_random(random) {
                    taken(Item::Text(element.name()));
                }
            }
        }
    }

    /// Takes `count` members out, which must be fewer than there are, and calls `taken` with each. When few are left they
    /// become a set of the most compact form that may hold them, as in Valkey. O(count), of a compact form O(members).
    pub fn pop_many(&mut self, count: usize, random: Numbers<'_>, limits: &Limits, taken: &mut dyn FnMut(Item<'_>)) {
        let left = self.len().saturating_sub(count);
        if left.saturating_mul(KEPT_SHARE) <= count {
            self.keep_some(left, random, limits, taken);
        } else if let Form::C(table) = self.0.get_mut() {
            for _ in 0..count {
                if let Some(element) = table.take_random(random) {
                    taken(Item::Text(element.name()));
                }
            }
        } else {
            self.pop_compact(count, random, taken);
        }
    }

    /// As [`Set::pop_many`], by drawing those that are left.
    fn keep_some(&mut self, left: usize, random: Numbers<'_>, limits: &Limits, taken: &mut dyn FnMut(Item<'_>)) {
        let mut rest = if let Form::A(_) = self.form() { Set::default() } else { Set::compact() };
        if let Form::C(table) = self.0.get_mut() {
            for _ in 0..left {
                if let Some(element) = table.take_random(random) {
                    rest.insert(element.name(), limits);
                }
            }
            table.drain().for_each(|element| taken(Item::Text(element.name())));
        } else {
            let mut members: Vec<Item<'_>> = self.iter().collect();
            draw_to_front(&mut members, left, random);
            let (kept, gone) = members.split_at(left);
            for item in kept {
                rest.insert_item(*item, limits);
            }
            gone.iter().for_each(|item| taken(*item));
        }
        *self = rest;
    }

    /// Takes `count` members out of a compact form in one pass; the others keep their order.
    fn pop_compact(&mut self, count: usize, random: Numbers<'_>, taken: &mut dyn FnMut(Item<'_>)) {
        let len = self.len();
        let mut places: Vec<usize> = (0..len).collect();
        draw_to_front(&mut places, count, random);
        let mut goes = vec![false; len];
        places.iter().take(count).for_each(|place| goes[*place] = true);
        let members = self.iter().zip(&goes);
        members.clone().filter(|(_, goes)| **goes).for_each(|(item, _)| taken(item));
        let kept = members.filter(|(_, goes)| !**goes).map(|(item, _)| item);
        self.0 = match self.form() {
            Form::A(_) => Word::a(kept.filter_map(Item::integer).collect()),
            _ => {
                let mut pack = crate::value::listpack::Listpack::new();
                kept.for_each(|item| {
                    pack.push_back_item(item);
                });
                Word::b(pack)
            }
        };
    }
}
