//! STUB, being written.
#[allow(dead_code)] mod tree;
use super::object::{Collection, Kind, Object, ObjectMut, ObjectRef};
/// A stub.
#[derive(Default, Clone)]
pub struct SortedSet(Box<u64>);
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
        0
    }
    fn encoding(&self) -> &'static str {
        "listpack"
    }
    fn memory_bytes(&self) -> usize {
        0
    }
}
