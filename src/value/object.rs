//! Collections of any type, for those who store, copy, count and free them without caring which.
//!
//! Invariant: every collection is one word. Must not know: what is inside one.

use super::hash::Hash;
use super::list::List;
use super::set::Set;
use super::sorted_set::SortedSet;
use super::stream::Stream;
use super::string::StringSource;
use super::table::Table;
use super::walk::{Claim, Part};

/// The type of a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A string.
    String,
    /// A list.
    List,
    /// A hash.
    Hash,
    /// A set.
    Set,
    /// A sorted set.
    SortedSet,
    /// A stream.
    Stream,
}

impl Kind {
    /// The name that TYPE answers.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::String => "string",
            Kind::List => "list",
            Kind::Hash => "hash",
            Kind::Set => "set",
            Kind::SortedSet => "zset",
            Kind::Stream => "stream",
        }
    }
}

/// What the keyspace asks of a collection.
pub trait Collection: Sized + Clone + Default {
    /// Its type.
    const KIND: Kind;
    /// The collection, if `object` is of this type.
    fn of(object: ObjectRef<'_>) -> Option<&Self>;
    /// As [`Collection::of`], to change it.
    fn of_mut(object: ObjectMut<'_>) -> Option<&mut Self>;
    /// As a collection of any type.
    fn into_object(self) -> Object;
    /// Number of elements, fields, members or entries. O(1).
    fn len(&self) -> usize;
    /// Whether it has none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The name of the encoding that Redis would use, as OBJECT ENCODING answers it.
    fn encoding(&self) -> &'static str;
    /// Bytes taken from the allocator, beside the word itself. O(1), or from a sample.
    fn memory_bytes(&self) -> usize;
}

/// A collection.
#[derive(Clone)]
pub enum Object {
    /// A list.
    List(List),
    /// A hash.
    Hash(Hash),
    /// A set.
    Set(Set),
    /// A sorted set.
    SortedSet(SortedSet),
    /// A stream.
    Stream(Stream),
}

/// A look at a collection.
#[derive(Clone, Copy)]
pub enum ObjectRef<'a> {
    /// A list.
    List(&'a List),
    /// A hash.
    Hash(&'a Hash),
    /// A set.
    Set(&'a Set),
    /// A sorted set.
    SortedSet(&'a SortedSet),
    /// A stream.
    Stream(&'a Stream),
}

/// A look at a collection that may change it.
pub enum ObjectMut<'a> {
    /// A list.
    List(&'a mut List),
    /// A hash.
    Hash(&'a mut Hash),
    /// A set.
    Set(&'a mut Set),
    /// A sorted set.
    SortedSet(&'a mut SortedSet),
    /// A stream.
    Stream(&'a mut Stream),
}

/// A node of some kilobytes is copied about as fast as so many elements.
const NODE_STEPS: usize = 32;

const _: () = assert!(size_of::<List>() == 8 && size_of::<Hash>() == 8 && size_of::<Set>() == 8);
const _: () = assert!(size_of::<SortedSet>() == 8 && size_of::<Stream>() == 8);

impl Object {
    /// Its type.
    pub fn kind(&self) -> Kind {
        self.as_ref().kind()
    }

    /// A look at it.
    pub fn as_ref(&self) -> ObjectRef<'_> {
        match self {
            Object::List(it) => ObjectRef::List(it),
            Object::Hash(it) => ObjectRef::Hash(it),
            Object::Set(it) => ObjectRef::Set(it),
            Object::SortedSet(it) => ObjectRef::SortedSet(it),
            Object::Stream(it) => ObjectRef::Stream(it),
        }
    }
}

impl<'a> ObjectRef<'a> {
    /// Its type.
    pub fn kind(self) -> Kind {
        match self {
            ObjectRef::List(_) => Kind::List,
            ObjectRef::Hash(_) => Kind::Hash,
            ObjectRef::Set(_) => Kind::Set,
            ObjectRef::SortedSet(_) => Kind::SortedSet,
            ObjectRef::Stream(_) => Kind::Stream,
        }
    }

    /// See [`Collection::len`].
    #[expect(clippy::len_without_is_empty, reason = "collections of the keyspace are never empty")]
    pub fn len(self) -> usize {
        match self {
            ObjectRef::List(it) => it.len(),
            ObjectRef::Hash(it) => it.len(),
            ObjectRef::Set(it) => it.len(),
            ObjectRef::SortedSet(it) => it.len(),
            ObjectRef::Stream(it) => it.len(),
        }
    }

    /// See [`Collection::encoding`].
    pub fn encoding(self) -> &'static str {
        match self {
            ObjectRef::List(it) => it.encoding(),
            ObjectRef::Hash(it) => it.encoding(),
            ObjectRef::Set(it) => it.encoding(),
            ObjectRef::SortedSet(it) => it.encoding(),
            ObjectRef::Stream(it) => it.encoding(),
        }
    }

    /// See [`Collection::memory_bytes`].
    pub fn memory_bytes(self) -> usize {
        match self {
            ObjectRef::List(it) => it.memory_bytes(),
            ObjectRef::Hash(it) => it.memory_bytes(),
            ObjectRef::Set(it) => it.memory_bytes(),
            ObjectRef::SortedSet(it) => it.memory_bytes(),
            ObjectRef::Stream(it) => it.memory_bytes(),
        }
    }

    /// The table in which it finds elements by name, if it is large enough to have one.
    #[inline]
    pub fn table(self) -> Option<&'a Table> {
        match self {
            ObjectRef::SortedSet(it) => it.table(),
            ObjectRef::Set(it) => it.table(),
            ObjectRef::Hash(it) => it.table(),
            ObjectRef::List(_) | ObjectRef::Stream(_) => None,
        }
    }

    /// How many steps a walk through it would take, about as long as one of a hash from field to field; `None` for what is so small
    /// that there is none.
    pub fn walk_len(self) -> Option<usize> {
        match self {
            ObjectRef::List(it) => Some(it.walkable()?.len() * NODE_STEPS),
            ObjectRef::Stream(it) => Some(it.entries().nodes().len() * NODE_STEPS + it.groups().pending_len()),
            _ => Some(self.table()?.len()),
        }
    }

    /// Who walks through it.
    #[inline]
    pub fn claim(self) -> Option<&'a Claim> {
        match self {
            ObjectRef::List(it) => it.walkable()?.claim(),
            ObjectRef::Stream(it) => it.claim(),
            _ => self.table()?.claim(),
        }
    }

    /// A copy of its own.
    pub fn to_object(self) -> Object {
        match self {
            ObjectRef::List(it) => Object::List(it.clone()),
            ObjectRef::Hash(it) => Object::Hash(it.clone()),
            ObjectRef::Set(it) => Object::Set(it.clone()),
            ObjectRef::SortedSet(it) => Object::SortedSet(it.clone()),
            ObjectRef::Stream(it) => Object::Stream(it.clone()),
        }
    }
}

impl<'a> ObjectMut<'a> {
    /// As [`ObjectRef::table`], to walk through it.
    fn into_table(self) -> Option<&'a mut Table> {
        match self {
            ObjectMut::SortedSet(it) => it.walkable_mut(),
            ObjectMut::Set(it) => it.walkable_mut(),
            ObjectMut::Hash(it) => it.walkable_mut(),
            ObjectMut::List(_) | ObjectMut::Stream(_) => None,
        }
    }

    /// Begins a walk, see [`walk`](super::walk), where one is possible. O(1), but for a stream's groups and consumers.
    pub fn begin_walk(self, claim: &Claim) {
        match self {
            ObjectMut::Stream(it) => it.begin_walk(claim),
            ObjectMut::List(it) => {
                if let Some(nodes) = it.walkable_mut() {
                    nodes.begin_walk(claim.clone());
                }
            }
            it => {
                if let Some(table) = it.into_table() {
                    table.begin_walk(claim.clone());
                }
            }
        }
    }

    /// Goes on with a walk: shows parts as they were when it began, until `more`, which is asked after some, says no; `true` when all have been shown, and when there is no walk.
    pub fn walk_on(self, more: &mut dyn FnMut() -> bool, visit: &mut dyn FnMut(Part<'_>)) -> bool {
        match self {
            ObjectMut::Stream(it) => it.walk_on(more, &mut |part| visit(Part::Stream(part))),
            ObjectMut::List(it) => {
                it.walkable_mut().is_none_or(|nodes| nodes.walk_on(more, &mut |node| visit(Part::Node(node))))
            }
            ObjectMut::SortedSet(it) => it.walk_on(more, &mut |element| visit(Part::Element(element))),
            it => it.into_table().is_none_or(|table| table.walk_on(more, &mut |element| visit(Part::Element(element)))),
        }
    }
}

/// A value about to be stored.
pub enum Source<'a> {
    /// A string.
    String(StringSource<'a>),
    /// A collection.
    Object(Object),
}

impl<'a> From<StringSource<'a>> for Source<'a> {
    fn from(string: StringSource<'a>) -> Source<'a> {
        Source::String(string)
    }
}
