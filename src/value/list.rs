//! STUB, being written.
use super::object::{Collection, Kind, Object, ObjectMut, ObjectRef};
/// A stub.
#[derive(Default, Clone)]
pub struct List(Box<u64>);
impl Collection for List {
    const KIND: Kind = Kind::List;
    fn of(object: ObjectRef<'_>) -> Option<&List> {
        if let ObjectRef::List(it) = object { Some(it) } else { None }
    }
    fn of_mut(object: ObjectMut<'_>) -> Option<&mut List> {
        if let ObjectMut::List(it) = object { Some(it) } else { None }
    }
    fn into_object(self) -> Object {
        Object::List(self)
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
