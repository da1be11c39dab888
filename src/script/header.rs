//! The first line of a script or library: `#!lua name=... flags=...`.

use crate::protocol::inline;
use std::fmt;

/// What a script says of itself, one bit each.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct ScriptFlags(pub u8);

impl ScriptFlags {
    /// Runs no command that writes.
    pub const NO_WRITES: ScriptFlags = ScriptFlags(1);
    /// May run when memory is over `maxmemory`.
    pub const ALLOW_OOM: ScriptFlags = ScriptFlags(2);
    /// May run on a replica whose data is stale.
    pub const ALLOW_STALE: ScriptFlags = ScriptFlags(4);
    /// Does not run in cluster mode.
    pub const NO_CLUSTER: ScriptFlags = ScriptFlags(8);
    /// May touch keys of several slots.
    pub const CROSS_SLOT: ScriptFlags = ScriptFlags(16);

    /// Every flag by its name, in the order in which they are listed.
    pub const NAMES: [(&'static str, ScriptFlags); 5] = [
        ("no-writes", ScriptFlags::NO_WRITES),
        ("allow-oom", ScriptFlags::ALLOW_OOM),
        ("allow-stale", ScriptFlags::ALLOW_STALE),
        ("no-cluster", ScriptFlags::NO_CLUSTER),
        ("allow-cross-slot-keys", ScriptFlags::CROSS_SLOT),
    ];

    /// The flag of this name.
    pub fn named(name: &[u8]) -> Option<ScriptFlags> {
        Self::NAMES.iter().find(|(known, _)| known.as_bytes() == name).map(|(_, flag)| *flag)
    }

    /// Whether every bit of `other` is set.
    pub const fn has(self, other: ScriptFlags) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both.
    #[must_use]
    pub const fn and(self, other: ScriptFlags) -> ScriptFlags {
        ScriptFlags(self.0 | other.0)
    }
}

/// Why a first line is refused; `Display` is the text behind `ERR `.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum HeaderError {
    /// It has no end.
    Unfinished,
    /// A quote is open at its end.
    Quotes,
    /// Its engine is not Lua.
    Engine(Vec<u8>),
    /// A word that no script may say.
    Option(Vec<u8>),
    /// A flag of no meaning.
    Flag(Vec<u8>),
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HeaderError::Unfinished => f.write_str("Invalid script shebang"),
            HeaderError::Quotes => f.write_str("Invalid engine in script shebang"),
            HeaderError::Engine(name) => {
                write!(f, "Could not find scripting engine '{}'", String::from_utf8_lossy(name))
            }
            HeaderError::Option(word) => write!(f, "Unknown lua shebang option: {}", String::from_utf8_lossy(word)),
            HeaderError::Flag(word) => {
                write!(f, "Unexpected flag in script shebang: {}", String::from_utf8_lossy(word))
            }
        }
    }
}

/// What the first line of a script says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScriptHeader {
    engine: Vec<u8>,
    /// Its flags, of whatever engine.
    pub flags: ScriptFlags,
}

impl ScriptHeader {
    /// Its flags, if its engine is Lua.
    ///
    /// # Errors
    /// It is not.
    pub fn of_lua(self) -> Result<ScriptFlags, HeaderError> {
        if self.engine.eq_ignore_ascii_case(b"lua") { Ok(self.flags) } else { Err(HeaderError::Engine(self.engine)) }
    }
}

/// What the first line of a script says: `None` without one.
///
/// # Errors
/// It begins with `#!` and is not understood.
pub fn script_header(text: &[u8]) -> Result<Option<ScriptHeader>, HeaderError> {
    let Some((line, _)) = first_line(text) else {
        return if text.starts_with(b"#!") { Err(HeaderError::Unfinished) } else { Ok(None) };
    };
    let (engine, words) = engine_and_words(line).ok_or(HeaderError::Quotes)?;
    let mut flags = ScriptFlags::default();
    for word in words {
        let list = word.strip_prefix(b"flags=").ok_or_else(|| HeaderError::Option(word.clone()))?;
        for name in list.split(|byte| *byte == b',').filter(|_| !list.is_empty()) {
            flags = flags.and(ScriptFlags::named(name).ok_or_else(|| HeaderError::Flag(name.to_vec()))?);
        }
    }
    Ok(Some(ScriptHeader { engine, flags }))
}

/// The line that begins with `#!`, and the rest from its end on; it has no end if a NUL comes first.
fn first_line(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr2(b'\n', 0, text).filter(|end| text.starts_with(b"#!") && text[*end] == b'\n')?;
    Some(text.split_at(end))
}

/// What stands behind `#!`, which may be nothing, and the words that follow; `None` when a quote is open.
fn engine_and_words(line: &[u8]) -> Option<(Vec<u8>, impl Iterator<Item = Vec<u8>>)> {
    let mut words = inline::words(line)?.into_iter();
    let engine = words.next()?.get(2..)?.to_vec();
    Some((engine, words))
}

/// The name in the first line of a library.
///
/// # Errors
/// The whole text behind `ERR `.
pub fn library_name(text: &[u8]) -> Result<Vec<u8>, String> {
    const INVALID: &str = "Invalid library metadata";
    if !text.starts_with(b"#!") {
        return Err("Missing library metadata".to_owned());
    }
    let (line, _) = first_line(text).ok_or(INVALID)?;
    let (engine, words) = engine_and_words(line).ok_or(INVALID)?;
    let mut name = None;
    for word in words {
        let Some((_, value)) = word.split_at_checked(5).filter(|(option, _)| option.eq_ignore_ascii_case(b"name="))
        else {
            return Err(format!("Invalid metadata value given: {}", String::from_utf8_lossy(&word)));
        };
        if name.replace(value.to_vec()).is_some() {
            return Err("Invalid metadata value, name argument was given multiple times".to_owned());
        }
    }
    let name = name.ok_or("Library name was not given")?;
    if !is_name(&name) {
        return Err(format!("Library {BAD_NAME}"));
    }
    if !engine.eq_ignore_ascii_case(b"lua") {
        return Err(format!("Engine '{}' not found", String::from_utf8_lossy(&engine)));
    }
    Ok(name)
}

/// What follows `Library ` or `Function ` when a name is refused.
pub const BAD_NAME: &str =
    "names can only contain letters, numbers, or underscores(_) and must be at least one character long";

/// Whether libraries and functions may be called so.
pub fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}

/// The text without its first line, which keeps its line end so that lines are counted right.
pub fn body(text: &[u8]) -> &[u8] {
    if !text.starts_with(b"#!") {
        return text;
    }
    first_line(text).map_or(&[], |(_, rest)| rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_lines() {
        let flags = |text: &[u8]| script_header(text).and_then(|header| header.map(ScriptHeader::of_lua).transpose());
        assert_eq!(flags(b"return 1"), Ok(None));
        assert_eq!(flags(b"#!LUA \nreturn 1"), Ok(Some(ScriptFlags::default())));
        let both = ScriptFlags::NO_WRITES.and(ScriptFlags::ALLOW_OOM);
        assert_eq!(flags(b"#!lua flags=no-writes,allow-oom\n"), Ok(Some(both)));
        assert_eq!(flags(b"#!lua\t'flags=no-writes' flags=allow-oom flags=\r\n"), Ok(Some(both)));
        let text = |header: &[u8]| flags(header).map_err(|error| error.to_string());
        assert_eq!(text(b"#!lua"), Err("Invalid script shebang".to_owned()));
        assert_eq!(text(b"#!lua \"flags\n"), Err("Invalid engine in script shebang".to_owned()));
        assert_eq!(text(b"#!\n"), Err("Could not find scripting engine ''".to_owned()));
        assert_eq!(text(b"#! flags=no-writes\n"), Err("Could not find scripting engine ''".to_owned()));
        assert_eq!(text(b"#!x y\n"), Err("Unknown lua shebang option: y".to_owned()));
        assert_eq!(text(b"#!lua name=x\n"), Err("Unknown lua shebang option: name=x".to_owned()));
        assert_eq!(text(b"#!lua flags=x\n"), Err("Unexpected flag in script shebang: x".to_owned()));
        assert_eq!(text(b"#!lua flags=no-writes, z\n"), Err("Unexpected flag in script shebang: ".to_owned()));
        assert_eq!(library_name(b"#!lua 'NAME=q'\nx"), Ok(b"q".to_vec()));
        assert_eq!(library_name(b"#!\nx"), Err("Library name was not given".to_owned()));
        assert_eq!(library_name(b"#! name=a\nx"), Err("Engine '' not found".to_owned()));
        assert_eq!(library_name(b"#! lua name=a\nx"), Err("Invalid metadata value given: lua".to_owned()));
        assert_eq!(library_name(b"#!lua name=ab_1\nx"), Ok(b"ab_1".to_vec()));
        assert_eq!(body(b"#!lua\nreturn 1"), b"\nreturn 1");
    }
}
