//! STUB, being written.
use super::object::{Collection, Kind, Object, ObjectMut, ObjectRef};
/// A stub.
#[derive(Default, Clone)]
pub struct Hash(Box<u64>);
impl Collection for Hash {
    const KIND: Kind = Kind::Hash;
    fn of(object: ObjectRef<'_>) -> Option<&Hash> {
        if let ObjectRef::Hash(it) = object { Some(it) } else { None }
    }
    fn of_mut(object: ObjectMut<'_>) -> Option<&mut Hash> {
        if let ObjectMut::Hash(it) = object { Some(it) } else { None }
    }
    fn into_object(self) -> Object {
        Object::Hash(self)
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
