//! Walks through a stream while it changes: nodes, figures and groups, as they were when the walk began.
//!
//! What is small, the figures and who the consumers are, is copied at the beginning; nodes and deliveries are walked through (`kept`).
//! Invariant: deliveries come before the consumers whose they are, so that these need not be walked through again. Must not know:
//! what is done with the parts.

use super::Stream;
use super::entries::Figures;
use super::group::{ConsumerId, Group, Pending};
use super::id::StreamId;
use crate::value::walk::{Claim, Left};
use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;

/// A part of a stream, in the order of files.
pub enum Part<'a> {
    /// A node with its first id.
    Node(StreamId, Cow<'a, [u8]>),
    /// Behind the nodes: figures, and the number of groups.
    Figures(&'a Figures, usize),
    /// A group: name, last id, entries read, number of deliveries.
    Group(&'a [u8], StreamId, Option<i64>, usize),
    /// A delivery of the group.
    Pending(StreamId, &'a Pending),
    /// Behind the deliveries: the number of consumers.
    Consumers(usize),
    /// A consumer: name, when it was seen, number of its deliveries.
    Consumer(&'a [u8], i64, usize),
    /// The id of a delivery of the consumer.
    Owned(StreamId),
}

/// Ids that lie together: a longer array would have to be moved as it grows.
const BATCH: usize = 1024;

/// A group as it was, and what the walk has learnt of it.
struct GroupHead {
    name: Box<[u8]>,
    last_id: StreamId,
    entries_read: Option<i64>,
    pending: usize,
    begun: bool,
    /// By the order of names; emptied from the front as they are shown.
    consumers: VecDeque<ConsumerHead>,
    /// Where a consumer stands among those.
    places: BTreeMap<ConsumerId, usize>,
    /// The consumers are being shown, of whom this is the number; the first one's name has been.
    shown: Option<bool>,
}

struct ConsumerHead {
    name: Box<[u8]>,
    seen_ms: i64,
    owned: Vec<Vec<StreamId>>,
    count: usize,
}

impl ConsumerHead {
    fn own(&mut self, id: StreamId) {
        self.count += 1;
        match self.owned.last_mut().filter(|batch| batch.len() < BATCH) {
            Some(batch) => batch.push(id),
            None => self.owned.push(vec![id]),
        }
    }
}

impl GroupHead {
    fn of(name: &[u8], group: &Group) -> GroupHead {
        let ids = group.consumer_ids();
        let head = |consumer: &super::group::Consumer| ConsumerHead {
            name: consumer.name().into(),
            seen_ms: consumer.seen_ms,
            owned: Vec::new(),
            count: 0,
        };
        GroupHead {
            name: name.into(),
            last_id: group.last_id,
            entries_read: group.entries_read,
            pending: group.pending_len(),
            begun: false,
            consumers: group.consumers().map(head).collect(),
            places: ids.enumerate().map(|(place, id)| (id, place)).collect(),
            shown: None,
        }
    }

    fn own(&mut self, id: StreamId, consumer: ConsumerId) {
        if let Some(head) = self.places.get(&consumer).and_then(|place| self.consumers.get_mut(*place)) {
            head.own(id);
        }
    }

    /// Shows the consumers; `true` when all have been.
    fn walk_consumers(&mut self, more: &mut dyn FnMut() -> bool, visit: &mut dyn FnMut(Part<'_>)) -> bool {
        if self.shown.is_none() {
            visit(Part::Consumers(self.consumers.len()));
        }
        while let Some(consumer) = self.consumers.front_mut() {
            if self.shown != Some(true) {
                visit(Part::Consumer(&consumer.name, consumer.seen_ms, consumer.count));
                self.shown = Some(true);
            }
            // The order of ids within a consumer is nobody's concern.
            while let Some(batch) = consumer.owned.pop() {
                batch.into_iter().for_each(|id| visit(Part::Owned(id)));
                if !more() {
                    return false;
                }
            }
            self.consumers.pop_front();
            self.shown = Some(false);
        }
        true
    }
}

/// How far a walk has got.
struct State {
    /// `None` in a stream that nobody uses any more.
    claim: Option<Claim>,
    /// Until they are shown.
    figures: Option<Figures>,
    groups: VecDeque<GroupHead>,
    /// Groups that were removed before the walk came to them.
    gone: Vec<(Box<[u8]>, Group)>,
}

/// Room for a walk in a stream. It is no part of its value: copies have none, and it makes no difference.
#[derive(Default)]
pub struct Walk(Option<Box<State>>);

impl Walk {
    /// Keeps a group that was removed, if a walk has yet to come to it.
    pub(super) fn keep(&mut self, name: &[u8], group: Group) {
        if let Some(state) = self.0.as_mut().filter(|_| group.kept.is_wanted()) {
            state.gone.push((name.into(), group));
        }
    }
}

impl Stream {
    /// Begins a walk. O(groups and consumers).
    pub fn begin_walk(&mut self, claim: &Claim) {
        let body = &mut *self.0;
        body.entries.kept.begin(claim.clone());
        let mut groups = VecDeque::new();
        for (name, group) in body.groups.iter_mut() {
            group.kept.begin(claim.clone());
            groups.push_back(GroupHead::of(name, group));
        }
        let figures = Some(*body.entries.figures());
        body.walk = Walk(Some(Box::new(State { claim: Some(claim.clone()), figures, groups, gone: Vec::new() })));
    }

    /// Who walks through it.
    pub fn claim(&self) -> Option<&Claim> {
        self.0.walk.0.as_ref().and_then(|state| state.claim.as_ref())
    }

    /// Shows parts as they were when the walk began, until `more`, which is asked after some, says no; `true` when all have been shown:
    /// then the walk has ended.
    pub fn walk_on(&mut self, more: &mut dyn FnMut() -> bool, visit: &mut dyn FnMut(Part<'_>)) -> bool {
        let body = &mut *self.0;
        let Some(mut state) = body.walk.0.take() else { return true };
        let done = body.walk_on(&mut state, more, visit);
        if !done {
            body.walk.0 = Some(state);
        }
        done
    }
}

impl super::Body {
    fn walk_on(&mut self, state: &mut State, more: &mut dyn FnMut() -> bool, visit: &mut dyn FnMut(Part<'_>)) -> bool {
        if let Some(figures) = state.figures {
            let nodes = &mut |first, node: &super::node::Node| visit(Part::Node(first, node.pack().bytes()));
            if !self.entries.kept.walk_on(&self.entries.nodes, more, nodes) {
                return false;
            }
            visit(Part::Figures(&figures, state.groups.len()));
            state.figures = None;
        }
        while let Some(head) = state.groups.front_mut() {
            if !head.begun {
                visit(Part::Group(&head.name, head.last_id, head.entries_read, head.pending));
                head.begun = true;
            }
            let gone = state.gone.iter_mut().find(|(name, _)| *name == head.name).map(|(_, group)| group);
            if head.shown.is_none() && !self.walk_pending(head, gone, more, visit) {
                return false;
            }
            if !head.walk_consumers(more, visit) {
                return false;
            }
            state.groups.pop_front();
            if !more() {
                return state.groups.is_empty();
            }
        }
        true
    }

    /// Shows the deliveries of a group; `true` when all have been.
    fn walk_pending(
        &mut self,
        head: &mut GroupHead,
        gone: Option<&mut Group>,
        more: &mut dyn FnMut() -> bool,
        visit: &mut dyn FnMut(Part<'_>),
    ) -> bool {
        // One of the same name may have come in its place.
        let there = self.groups.get_mut(&head.name).filter(|group| group.kept.is_wanted());
        let Some(group) = gone.or(there) else { return true };
        group.kept.walk_on(&group.pending, more, &mut |id, pending| {
            visit(Part::Pending(id, pending));
            head.own(id, pending.consumer);
        })
    }

    #[cold]
    fn leave_walked(&mut self) {
        let Some(mut state) = self.walk.0.take() else { return };
        let Some(claim) = state.claim.take().filter(|claim| !claim.is_over()) else { return };
        let left = super::Body {
            entries: std::mem::take(&mut self.entries),
            groups: std::mem::take(&mut self.groups),
            walk: Walk(Some(state)),
        };
        claim.leave(Left::Stream(Stream(Box::new(left))));
    }
}

impl Drop for super::Body {
    fn drop(&mut self) {
        if self.walk.0.is_some() {
            self.leave_walked();
        }
    }
}

impl Clone for Walk {
    fn clone(&self) -> Walk {
        Walk::default()
    }
}

impl PartialEq for Walk {
    fn eq(&self, _: &Walk) -> bool {
        true
    }
}

impl Eq for Walk {}

impl fmt::Debug for Walk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "walked" } else { "not walked" })
    }
}
