//! Walks over lists, from either end.

use super::Side;
use super::quicklist::{Node, Quicklist};
use crate::value::listpack::{Entries, Item, Listpack};
use std::collections::vec_deque;

/// What is left of the node that is walked over.
#[derive(Clone, Debug)]
enum Current<'a> {
    Packed(Entries<'a>),
    Plain(Option<&'a [u8]>),
}

impl<'a> Current<'a> {
    fn of(node: &'a Node) -> Current<'a> {
        match node {
            Node::Packed(pack) => Current::Packed(pack.entries()),
            Node::Plain(bytes) => Current::Plain(Some(bytes)),
        }
    }
}

/// The elements of a list from one on, away from a side.
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    current: Current<'a>,
    rest: vec_deque::Iter<'a, Node>,
    side: Side,
}

impl<'a> Iter<'a> {
    pub(super) fn of_listpack(pack: &'a Listpack, index: usize, side: Side) -> Iter<'a> {
        let mut entries = pack.entries();
        let len = pack.len();
        if index >= len {
            return Iter { current: Current::Plain(None), rest: vec_deque::Iter::default(), side };
        }
        let _ = match side {
            Side::Left => index.checked_sub(1).and_then(|skipped| entries.nth(skipped)),
            Side::Right => (len - 1 - index).checked_sub(1).and_then(|skipped| entries.nth_back(skipped)),
        };
        Iter { current: Current::Packed(entries), rest: vec_deque::Iter::default(), side }
    }

    pub(super) fn of_quicklist(list: &'a Quicklist, index: usize, side: Side) -> Iter<'a> {
        let nodes = list.nodes();
        let Some((at, inside)) = list.place(index) else {
            return Iter { current: Current::Plain(None), rest: vec_deque::Iter::default(), side };
        };
        let current = match &nodes[at] {
            Node::Packed(pack) => Current::Packed(pack.entries_from(inside, side)),
            node => Current::of(node),
        };
        let rest = match side {
            Side::Left => nodes.range(at + 1..),
            Side::Right => nodes.range(..at),
        };
        Iter { current, rest, side }
    }

    #[cold]
    fn next_node(&mut self) -> Option<()> {
        let node = match self.side {
            Side::Left => self.rest.next(),
            Side::Right => self.rest.next_back(),
        };
        self.current = Current::of(node?);
        Some(())
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = Item<'a>;

    #[inline]
    fn next(&mut self) -> Option<Item<'a>> {
        loop {
            let found = match (&mut self.current, self.side) {
                (Current::Packed(entries), Side::Left) => entries.next().map(|(_, item)| item),
                (Current::Packed(entries), Side::Right) => entries.next_back().map(|(_, item)| item),
                (Current::Plain(bytes), _) => bytes.take().map(Item::Text),
            };
            if found.is_some() {
                return found;
            }
            self.next_node()?;
        }
    }
}
