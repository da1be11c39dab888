//! What a panic says, to whoever goes on after it.

use std::any::Any;

/// The text of a panic, as `catch_unwind` hands it over.
pub fn text(bug: &(dyn Any + Send)) -> &str {
    let owned = || bug.downcast_ref::<String>().map(String::as_str);
    bug.downcast_ref::<&str>().copied().or_else(owned).unwrap_or("It says nothing.")
}
