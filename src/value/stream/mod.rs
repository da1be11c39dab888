//! STUB, being written.
use super::object::{Collection, Kind, Object, ObjectMut, ObjectRef};
/// A stub.
#[derive(Default, Clone)]
pub struct Stream(Box<u64>);
impl Collection for Stream {
    const KIND: Kind = Kind::Stream;
    fn of(object: ObjectRef<'_>) -> Option<&Stream> {
        if let ObjectRef::Stream(it) = object { Some(it) } else { None }
    }
    fn of_mut(object: ObjectMut<'_>) -> Option<&mut Stream> {
        if let ObjectMut::Stream(it) = object { Some(it) } else { None }
    }
    fn into_object(self) -> Object {
        Object::Stream(self)
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
