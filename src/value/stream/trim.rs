//! Trimming: entries go from the front until the stream is short, or young, enough.
//!
//! Invariant: as that of [`Entries`]. Must not know: how a node holds its entries. Source: what Redis 7.2 (and, for what
//! becomes of references, Redis 8.2) removes, to the entry.

use super::entries::Entries;
use super::group::Groups;
use super::id::StreamId;
use super::node::Verdict;
use std::ops::Bound::{Excluded, Unbounded};

/// What becomes of the deliveries of an entry that is to be deleted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Refs {
    /// They stay pending (`KEEPREF`).
    #[default]
    Keep,
    /// They are forgotten (`DELREF`).
    Forget,
    /// The entry stays as long as a group has it pending or has not read it (`ACKED`).
    Respect,
}

/// Up to where to trim.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TrimTo {
    /// So many entries are left.
    Len(u64),
    /// No id is smaller than this.
    Id(StreamId),
}

/// A trimming.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Trim {
    /// Up to where.
    pub to: TrimTo,
    /// Only whole nodes go, so that more may be left.
    pub whole_nodes: bool,
    /// At most so many entries go; 0: any number.
    pub limit: u64,
    /// What becomes of their deliveries.
    pub refs: Refs,
}

impl Entries {
    /// Trims; returns how many entries went. O(nodes that go, and the entries of one); with [`Refs`] other than `Keep`
    /// O(entries log n).
    pub fn trim(&mut self, trim: &Trim, groups: &mut Groups) -> u64 {
        let mut deleted = 0;
        let mut at = self.nodes.first_key_value().map(|(first, _)| *first);
        while let Some(first) = at {
            let Some(gone) = self.trim_node(first, trim, deleted, groups) else { break };
            deleted += gone.count;
            if !gone.go_on {
                break;
            }
            at = self.nodes.range((Excluded(first), Unbounded)).next().map(|(first, _)| *first);
        }
        if deleted > 0 {
            self.find_first();
        }
        deleted
    }

    /// Trims one node; `None` when nothing more is to go.
    fn trim_node(&mut self, first: StreamId, trim: &Trim, deleted: u64, groups: &mut Groups) -> Option<Gone> {
        let node = self.nodes.get(&first)?;
        let entries = node.live() as u64;
        let enough = match trim.to {
            TrimTo::Len(len) => self.len() <= len,
            TrimTo::Id(_) => false,
        };
        if enough || (trim.limit != 0 && deleted + entries > trim.limit) {
            return None;
        }
        let whole = match trim.to {
            TrimTo::Len(len) => self.len().saturating_sub(entries) >= len,
            TrimTo::Id(id) => node.last_id(first) < id,
        };
        match (whole, trim.whole_nodes) {
            (true, _) if trim.refs == Refs::Keep => {
                let node = self.nodes.remove(&first);
                self.kept.note(first, || node);
                self.figures.len -= entries;
                Some(Gone { count: entries, go_on: true })
            }
            (false, true) => None,
            _ => Some(Gone { count: self.trim_entries(first, trim, groups), go_on: whole }),
        }
    }

    /// Trims inside a node; returns how many entries went.
    fn trim_entries(&mut self, first: StreamId, trim: &Trim, groups: &mut Groups) -> u64 {
        let mut left = self.figures.len;
        let Some(node) = self.nodes.get_mut(&first) else { return 0 };
        self.kept.note(first, || Some(node.clone()));
        let count = node.delete_front(first, |id, live| {
            let stop = match trim.to {
                TrimTo::Len(len) => left <= len,
                TrimTo::Id(bound) => id >= bound,
            };
            let verdict = match trim.refs {
                _ if stop => return Verdict::Stop,
                _ if !live => Verdict::Keep,
                Refs::Respect if groups.refer_to(id) => Verdict::Keep,
                Refs::Forget => {
                    groups.forget(id);
                    Verdict::Delete
                }
                _ => Verdict::Delete,
            };
            left -= u64::from(verdict == Verdict::Delete);
            verdict
        }) as u64;
        if trim.refs != Refs::Keep && node.live() == 0 {
            self.nodes.remove(&first);
        }
        self.figures.len -= count;
        count
    }
}

/// What trimming a node did.
struct Gone {
    count: u64,
    go_on: bool,
}
