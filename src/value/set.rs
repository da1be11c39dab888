//! STUB, being written.
use super::object::{Collection, Kind, Object, ObjectMut, ObjectRef};
/// A stub.
#[derive(Default, Clone)]
pub struct Set(Box<u64>);
impl Collection for Set {
    const KIND: Kind = Kind::Set;
    fn of(object: ObjectRef<'_>) -> Option<&Set> {
        if let ObjectRef::Set(it) = object { Some(it) } else { None }
    }
    fn of_mut(object: ObjectMut<'_>) -> Option<&mut Set> {
        if let ObjectMut::Set(it) = object { Some(it) } else { None }
    }
    fn into_object(self) -> Object {
        Object::Set(self)
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
