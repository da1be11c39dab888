//! Walks through long collections while they change: whoever saves one takes it in small parts, and gets what it was at the
//! beginning of the walk.
//!
//! A collection that is walked keeps what is about to change until the walk has come by; what it holds and how far the walk has got is
//! its own affair (`table::walk`, `list::nodes`, `stream::walk`). Invariant: whatever becomes of the collection, nothing is lost to
//! the walk: one that is dropped, for whichever reason, leaves what it held to its [`Claim`], whose holder walks on there, and frees it.
//! Must not know: keys, locks, what is done with the parts.

use super::element::Element;
use super::list::{NodeRef, Nodes};
use super::stream;
use super::table::Table;
use crate::util::sync::PlainMutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// A part of a collection, as it was when the walk began. Nodes come in their order, members of sorted sets from the highest score down
/// but for those that change meanwhile, fields and members of sets in none.
pub enum Part<'a> {
    /// A field, a member.
    Element(&'a Element),
    /// A node of a list.
    Node(NodeRef<'a>),
    /// Something of a stream.
    Stream(stream::walk::Part<'a>),
}

/// What is left of a collection that is gone.
pub enum Left {
    /// A hash, a set or a sorted set.
    Table(Table),
    /// A list.
    Nodes(Nodes),
    /// A stream.
    Stream(stream::Stream),
}

impl Left {
    /// Goes on with the walk; see [`ObjectMut::walk_on`](super::object::ObjectMut::walk_on).
    pub fn walk_on(&mut self, more: &mut dyn FnMut() -> bool, visit: &mut dyn FnMut(Part<'_>)) -> bool {
        match self {
            Left::Table(table) => table.walk_on(more, &mut |element| visit(Part::Element(element))),
            Left::Nodes(nodes) => nodes.walk_on(more, &mut |node| visit(Part::Node(node))),
            Left::Stream(stream) => stream.walk_on(more, &mut |part| visit(Part::Stream(part))),
        }
    }
}

/// Who walks through a collection: held by the collection and by the walker.
#[derive(Clone)]
pub struct Claim(Arc<Inner>);

struct Inner {
    over: AtomicBool,
    name: PlainMutex<Box<[u8]>>,
    left: PlainMutex<Option<Left>>,
}

impl Claim {
    /// A claim to a collection that is found under `name`.
    pub fn new(name: &[u8]) -> Claim {
        Claim(Arc::new(Inner {
            over: AtomicBool::new(false),
            name: PlainMutex::new(name.into()),
            left: PlainMutex::default(),
        }))
    }

    /// Whether it is the same claim.
    pub fn is(&self, other: &Claim) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Gives the walk up, wherever it has got to.
    pub fn give_up(&self) {
        let mut left = self.0.left.lock();
        self.0.over.store(true, Relaxed);
        let gone = left.take();
        drop(left); // what is gone may take long to free
        drop(gone);
    }

    /// Whether the walk was given up.
    pub fn is_over(&self) -> bool {
        self.0.over.load(Relaxed)
    }

    /// The name under which the collection is found.
    pub fn name(&self) -> Box<[u8]> {
        self.0.name.lock().clone()
    }

    /// The collection is found under another name from now on.
    pub fn rename(&self, name: &[u8]) {
        *self.0.name.lock() = name.into();
    }

    /// Leaves what is left of the collection to the walker, unless there is none any more.
    pub(super) fn leave(&self, left: Left) {
        let mut slot = self.0.left.lock();
        if !self.is_over() {
            *slot = Some(left);
        }
    }

    /// Takes what the collection has left, once it is gone.
    pub fn take_left(&self) -> Option<Left> {
        self.0.left.lock().take()
    }
}
