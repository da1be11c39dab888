//! The patterns of SORT: a `*` stands for the element, `->` comes before the field of a hash, `#` is the element itself.
//!
//! Must not know: what is sorted.

use crate::keyspace::View;
use crate::value::object::ObjectRef;

/// A pattern of BY or GET.
pub struct Pattern<'a>(Form<'a>);

enum Form<'a> {
    /// `#`.
    Element,
    /// It has no `*`, so that it names nothing.
    Nothing,
    /// A key, and perhaps a field of the hash there.
    Key { before: &'a [u8], behind: &'a [u8], field: Option<&'a [u8]> },
}

impl<'a> Pattern<'a> {
    /// Reads a pattern; there is none that could not be read.
    pub fn new(text: &'a [u8]) -> Pattern<'a> {
        if text == b"#" {
            return Pattern(Form::Element);
        }
        let Some(star) = text.iter().position(|byte| *byte == b'*') else { return Pattern(Form::Nothing) };
        let (before, behind) = (&text[..star], &text[star + 1..]);
        let arrow = behind.windows(2).position(|pair| pair == b"->").filter(|at| at + 2 < behind.len());
        Pattern(match arrow {
            Some(at) => Form::Key { before, behind: &behind[..at], field: Some(&behind[at + 2..]) },
            None => Form::Key { before, behind, field: None },
        })
    }

    /// Whether it has a `*`.
    pub fn names_keys(&self) -> bool {
        matches!(self.0, Form::Key { .. })
    }

    /// Calls `found` with what it stands for when `element` is put in: a string, or a field's value; `None` when there is
    /// none. `name` is room for the key's name. The shard of that key must be held.
    pub fn find<R>(
        &self,
        db: &mut View<'_>,
        element: &[u8],
        name: &mut Vec<u8>,
        found: impl FnOnce(Option<&[u8]>) -> R,
    ) -> R {
        let (before, behind, field) = match self.0 {
            Form::Element => return found(Some(element)),
            Form::Nothing => return found(None),
            Form::Key { before, behind, field } => (before, behind, field),
        };
        name.clear();
        [before, element, behind].into_iter().for_each(|part| name.extend_from_slice(part));
        let (key, now) = (db.keyspace().hasher().key(name), db.now());
        let entry = db.read(key);
        match (field, entry.and_then(|entry| entry.object())) {
            (Some(field), Some(ObjectRef::Hash(hash))) => {
                let value = hash.get(field, now.0);
                found(value.map(|value| value.to_vec()).as_deref())
            }
            (Some(_), _) => found(None),
            (None, _) => found(entry.and_then(|entry| entry.string()).map(|string| string.text()).as_deref()),
        }
    }
}
