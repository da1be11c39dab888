//! Every error that a command can answer, each with the text that Redis gives, stated once.

use crate::keyspace::{AddError, WrongType};
use std::borrow::Cow;
use std::fmt;

/// An error reply; the connection stays open. `Display` is the text after the `-` of the reply.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CommandError {
    /// Arguments that fit no form of the command.
    Syntax,
    /// A value of another type than the command works on.
    WrongType,
    /// Not a 64-bit signed integer in canonical text.
    NotInteger,
    /// Not a floating-point number.
    NotFloat,
    /// An increment left the range of 64-bit signed integers.
    Overflow,
    /// A floating-point increment gave NaN or infinity.
    NanOrInfinity,
    /// The name of the command whose arity is violated (`container|sub` for a subcommand).
    WrongArity(Cow<'static, str>),
    /// A deadline that is not positive or overflows, in the named command.
    InvalidExpire(&'static str),
    /// A key that must exist does not.
    NoSuchKey,
    /// An offset or index out of range.
    OutOfRange(&'static str),
    /// A string would outgrow `proto-max-bulk-len`.
    StringTooLong,
    /// A database index beyond `databases`.
    DbIndex,
    /// Not authenticated.
    NoAuth,
    /// Memory is over `maxmemory`.
    OutOfMemory,
    /// Data is being loaded.
    Loading,
    /// Any other text, with its code word.
    Text(Cow<'static, str>),
    /// Any other text, with its code word, that quotes bytes of the client.
    Bytes(Vec<u8>),
    /// The error of a command that a script ran, which was counted then.
    Counted(Vec<u8>),
}

impl CommandError {
    /// An error with a fixed text, its code word included.
    pub const fn text(text: &'static str) -> CommandError {
        CommandError::Text(Cow::Borrowed(text))
    }

    /// The text of the reply, without the leading `-` and the line end.
    pub fn reply_text(&self) -> Vec<u8> {
        match self {
            CommandError::Bytes(bytes) | CommandError::Counted(bytes) => bytes.clone(),
            other => other.to_string().into_bytes(),
        }
    }

    /// The word before the first space or line break, as `errorstats` counts it; ERR where the first 32 bytes have none.
    pub fn code(&self) -> String {
        let text = self.reply_text();
        let space = text.iter().take(32).position(|byte| matches!(byte, b' ' | b'\r' | b'\n'));
        let word = space.map_or(&b"ERR"[..], |space| &text[..space]);
        String::from_utf8_lossy(word).into_owned()
    }
}

impl From<WrongType> for CommandError {
    fn from(_: WrongType) -> CommandError {
        CommandError::WrongType
    }
}

impl From<AddError> for CommandError {
    fn from(error: AddError) -> CommandError {
        match error {
            AddError::WrongType => CommandError::WrongType,
            AddError::NotInteger => CommandError::NotInteger,
            AddError::Overflow => CommandError::Overflow,
        }
    }
}

impl From<String> for CommandError {
    fn from(text: String) -> CommandError {
        CommandError::Text(Cow::Owned(text))
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            CommandError::Syntax => "ERR syntax error",
            CommandError::WrongType => "WRONGTYPE Operation against a key holding the wrong kind of value",
            CommandError::NotInteger => "ERR value is not an integer or out of range",
            CommandError::NotFloat => "ERR value is not a valid float",
            CommandError::Overflow => "ERR increment or decrement would overflow",
            CommandError::NanOrInfinity => "ERR increment would produce NaN or Infinity",
            CommandError::WrongArity(name) => {
                return write!(f, "ERR wrong number of arguments for '{name}' command");
            }
            CommandError::InvalidExpire(name) => return write!(f, "ERR invalid expire time in '{name}' command"),
            CommandError::NoSuchKey => "ERR no such key",
            CommandError::OutOfRange(what) => return write!(f, "ERR {what} is out of range"),
            CommandError::StringTooLong => "ERR string exceeds maximum allowed size (proto-max-bulk-len)",
            CommandError::DbIndex => "ERR DB index is out of range",
            CommandError::NoAuth => "NOAUTH Authentication required.",
            CommandError::OutOfMemory => "OOM command not allowed when used memory > 'maxmemory'.",
            CommandError::Loading => "LOADING Valkey is loading the dataset in memory",
            CommandError::Text(text) => text,
            CommandError::Bytes(bytes) | CommandError::Counted(bytes) => {
                return f.write_str(&String::from_utf8_lossy(bytes));
            }
        };
        f.write_str(text)
    }
}

impl std::error::Error for CommandError {}
