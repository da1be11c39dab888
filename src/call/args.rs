//! The cursor over a request's arguments: every handler reads all of them, calls [`Args::finish`], then acts.

use super::error::CommandError;
use crate::keyspace::{Key, KeyHasher};
use crate::protocol::batch::RequestView;
use crate::util::extended::Extended;
use crate::util::number;
use crate::value::string::StringSource;
use std::time::Duration;

const LONG_TIMEOUT: CommandError = CommandError::text("ERR timeout is out of range");
const NEGATIVE_TIMEOUT: CommandError = CommandError::text("ERR timeout is negative");

/// Redis adds the wait to the present and refuses what does not fit 64 bits; this leaves the present some centuries.
const LONGEST_WAIT_MS: i64 = i64::MAX - (1 << 43);

/// A declared key of a request: where it stands and what it hashes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeyUse {
    /// Index of the argument.
    pub index: usize,
    /// Hash of the key.
    pub hash: u64,
}

/// A cursor over the arguments behind the command's name. A copy of it reads the same arguments again.
#[derive(Clone)]
pub struct Args<'a> {
    request: RequestView<'a>,
    next: usize,
    keys: &'a [KeyUse],
    hasher: &'a KeyHasher,
}

impl<'a> Args<'a> {
    /// A cursor at argument `next` of `request`, whose declared keys are `keys`.
    #[inline]
    pub fn new(request: RequestView<'a>, next: usize, keys: &'a [KeyUse], hasher: &'a KeyHasher) -> Args<'a> {
        Args { request, next, keys, hasher }
    }

    /// The whole request, its name at 0.
    pub fn request(&self) -> RequestView<'a> {
        self.request
    }

    /// How many arguments are left.
    #[inline]
    pub fn remaining(&self) -> usize {
        self.request.argc().saturating_sub(self.next)
    }

    /// The next argument without taking it.
    pub fn peek(&self) -> Option<&'a [u8]> {
        self.request.get(self.next)
    }

    /// The next argument; a syntax error when there is none.
    #[inline]
    pub fn bytes(&mut self) -> Result<&'a [u8], CommandError> {
        let argument = self.request.get(self.next).ok_or(CommandError::Syntax)?;
        self.next += 1;
        Ok(argument)
    }

    /// The next argument as a key, with the hash that dispatch has computed.
    #[inline]
    pub fn key(&mut self) -> Result<Key<'a>, CommandError> {
        let index = self.next;
        let bytes = self.bytes()?;
        match self.keys {
            [first, rest @ ..] if first.index == index => {
                self.keys = rest;
                Ok(Key { bytes, hash: first.hash })
            }
            _ => Ok(self.key_further_on(bytes, index)),
        }
    }

    #[inline(never)]
    fn key_further_on(&mut self, bytes: &'a [u8], index: usize) -> Key<'a> {
        while let [first, rest @ ..] = self.keys
            && first.index < index
        {
            self.keys = rest;
        }
        match self.keys {
            [first, ..] if first.index == index => Key { bytes, hash: first.hash },
            _ => self.hasher.key(bytes),
        }
    }

    /// The next argument as a string to store; a large one keeps its own allocation.
    #[inline]
    pub fn value(&mut self) -> Result<StringSource<'a>, CommandError> {
        let index = self.next;
        let bytes = self.bytes()?;
        Ok(match self.request.owned(index) {
            Some(owned) => StringSource::owned(owned),
            None => StringSource::new(bytes),
        })
    }

    /// The next argument as a 64-bit signed integer.
    #[inline]
    pub fn integer(&mut self) -> Result<i64, CommandError> {
        number::parse_i64(self.bytes()?).ok_or(CommandError::NotInteger)
    }

    /// The next argument as an integer, with another error than the usual one.
    pub fn integer_or(&mut self, error: CommandError) -> Result<i64, CommandError> {
        number::parse_i64(self.bytes()?).ok_or(error)
    }

    /// The next argument as a double, such as a score; not NaN.
    #[inline]
    pub fn float(&mut self) -> Result<f64, CommandError> {
        self.float_or(CommandError::NotFloat)
    }

    /// The next argument as a double, with another error than the usual one.
    #[inline]
    pub fn float_or(&mut self, error: CommandError) -> Result<f64, CommandError> {
        number::parse_f64(self.bytes()?).ok_or(error)
    }

    /// The next argument as seconds to wait, with a fraction; `None` is for ever, and written 0.
    pub fn timeout(&mut self) -> Result<Option<Duration>, CommandError> {
        let text = self.bytes()?;
        let seconds = Extended::parse(text).ok_or(CommandError::text("ERR timeout is not a float or out of range"))?;
        let too_far = if seconds.is_negative() { NEGATIVE_TIMEOUT } else { LONG_TIMEOUT };
        let millis = seconds.ceil_times(1000).ok_or(too_far)?;
        if millis < 0 {
            return Err(NEGATIVE_TIMEOUT);
        }
        Args::wait(millis)
    }

    /// The next argument as milliseconds to wait, as [`Args::timeout`].
    pub fn timeout_ms(&mut self) -> Result<Option<Duration>, CommandError> {
        let millis = self.integer_or(CommandError::text("ERR timeout is not an integer or out of range"))?;
        if millis < 0 {
            return Err(NEGATIVE_TIMEOUT);
        }
        Args::wait(millis)
    }

    fn wait(millis: i64) -> Result<Option<Duration>, CommandError> {
        if millis > LONGEST_WAIT_MS {
            return Err(LONG_TIMEOUT);
        }
        let millis = u64::try_from(millis).unwrap_or(0);
        Ok((millis != 0).then(|| Duration::from_millis(millis)))
    }

    /// All arguments that are left.
    #[inline]
    pub fn rest(&mut self) -> impl ExactSizeIterator<Item = &'a [u8]> + Clone + use<'a> {
        let (request, first) = (self.request, self.next);
        self.next = request.argc();
        (first..self.next).map(move |index| request.arg(index))
    }

    /// Takes the next argument if it is `word` in any letter case.
    pub fn word(&mut self, word: &str) -> bool {
        let found = self.peek().is_some_and(|argument| argument.eq_ignore_ascii_case(word.as_bytes()));
        self.next += usize::from(found);
        found
    }

    /// Goes one argument back, to read it in another way.
    pub fn back(&mut self) {
        self.next -= 1;
    }

    /// A syntax error unless every argument has been read.
    #[inline]
    pub fn finish(&self) -> Result<(), CommandError> {
        if self.remaining() == 0 { Ok(()) } else { Err(CommandError::Syntax) }
    }
}
