//! What a walk through a map by ids needs of it, so that it meets what was there when it began.
//!
//! Invariant: for an id before the position nothing is left to be met; for one from there on the map tells it, unless it is kept.
//! Must not know: what the values mean.

use super::id::StreamId;
use crate::value::walk::Claim;
use std::collections::BTreeMap;
use std::fmt;

/// How far a walk has got, and what has changed ahead of it.
struct Kept<V> {
    claim: Claim,
    position: StreamId,
    /// What was there under an id that has changed; `None`: nothing.
    kept: BTreeMap<StreamId, Option<V>>,
}

/// Room for a walk in whatever can be walked through. It is part of nobody's value: copies have none, and it makes no difference.
pub struct Slot<V>(Option<Box<Kept<V>>>);

impl<V> Slot<V> {
    /// Begins a walk.
    pub fn begin(&mut self, claim: Claim) {
        self.0 = Some(Box::new(Kept { claim, position: StreamId::MIN, kept: BTreeMap::new() }));
    }

    /// Whether a walk is not through with it.
    pub fn is_wanted(&self) -> bool {
        self.0.as_ref().is_some_and(|kept| !kept.claim.is_over())
    }

    /// Notes what there was under an id that changes; `before` may be asked later than that.
    #[inline]
    pub fn note(&mut self, id: StreamId, before: impl FnOnce() -> Option<V>) {
        if self.0.is_some() {
            self.note_walked(id, before);
        }
    }

    #[cold]
    fn note_walked(&mut self, id: StreamId, before: impl FnOnce() -> Option<V>) {
        if !self.is_wanted() {
            self.0 = None;
        }
        if let Some(walk) = self.0.as_mut().filter(|walk| id >= walk.position) {
            walk.kept.entry(id).or_insert_with(before);
        }
    }

    /// Shows what there was when the walk began, in order, until `more`, which is asked after each, says no; `true` when all has
    /// been shown: then the walk has ended.
    pub fn walk_on(
        &mut self,
        map: &BTreeMap<StreamId, V>,
        more: &mut dyn FnMut() -> bool,
        visit: &mut dyn FnMut(StreamId, &V),
    ) -> bool {
        let Some(mut walk) = self.0.take() else { return true };
        loop {
            let there = map.range(walk.position..).next();
            let next = match (there, walk.kept.first_key_value()) {
                (Some((id, _)), Some((kept, _))) => *id.min(kept),
                (Some((id, _)), None) | (None, Some((id, _))) => *id,
                (None, None) => return true,
            };
            match (walk.kept.first_entry().filter(|kept| *kept.key() == next), there) {
                (Some(kept), _) => {
                    if let Some(value) = kept.remove() {
                        visit(next, &value);
                    }
                }
                (None, Some((_, value))) => visit(next, value),
                (None, None) => {} // one of them has this id
            }
            match next.next() {
                Some(next) => walk.position = next,
                None => return true,
            }
            if !more() {
                self.0 = Some(walk);
                return false;
            }
        }
    }
}

impl<V> Default for Slot<V> {
    fn default() -> Slot<V> {
        Slot(None)
    }
}

impl<V> Clone for Slot<V> {
    fn clone(&self) -> Slot<V> {
        Slot(None)
    }
}

impl<V> PartialEq for Slot<V> {
    fn eq(&self, _: &Slot<V>) -> bool {
        true
    }
}

impl<V> Eq for Slot<V> {}

impl<V> fmt::Debug for Slot<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "walked" } else { "not walked" })
    }
}
