//! The bounds of values in a file, found without decoding them.
//!
//! One thread finds where values end; others decode them meanwhile. Invariant: what is walked over completely has the grammar
//! of its type, and what is not complete changes nothing. Must not know: where the bytes come from. Source: the RDB format.

/// Why a walk does not go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// At least so many bytes are missing.
    More(u64),
    /// The bytes do not follow the format, for this reason.
    Bad(&'static str),
}

/// The reason why a walk stops at a type of value that is not known.
pub const UNKNOWN_TYPE: &str = "a type of value that is not known";

/// A place in bytes of which more may come.
#[derive(Clone, Copy, Debug)]
pub struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Walk<'a> {
    /// At place `at` of `bytes`.
    pub fn new(bytes: &'a [u8], at: usize) -> Walk<'a> {
        Walk { bytes, at: at.min(bytes.len()) }
    }

    /// The place.
    pub fn at(&self) -> usize {
        self.at
    }

    /// The bytes from the place on.
    pub fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// Passes over `count` bytes.
    #[inline]
    pub fn skip(&mut self, count: u64) -> Result<(), Stop> {
        let left = (self.bytes.len() - self.at) as u64;
        match usize::try_from(count) {
            Ok(count) if count as u64 <= left => {
                self.at += count;
                Ok(())
            }
            _ => Err(Stop::More(count - left)),
        }
    }

    /// The next byte.
    #[inline]
    pub fn byte(&mut self) -> Result<u8, Stop> {
        Ok(self.array::<1>()?[0])
    }

    /// The next `N` bytes.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Stop> {
        let rest = self.rest();
        match rest.first_chunk() {
            Some(bytes) => {
                self.at += N;
                Ok(*bytes)
            }
            None => Err(Stop::More((N - rest.len()) as u64)),
        }
    }

    /// A number in the form of a length.
    #[inline]
    pub fn number(&mut self) -> Result<u64, Stop> {
        match self.byte()? {
            short @ 0x00..=0x3f => Ok(u64::from(short)),
            first @ 0x40..=0x7f => Ok(u64::from(u16::from_be_bytes([first & 0x3f, self.byte()?]))),
            0x80 => Ok(u64::from(u32::from_be_bytes(self.array()?))),
            0x81 => Ok(u64::from_be_bytes(self.array()?)),
            _ => Err(Stop::Bad("no number where one has to be")),
        }
    }

    /// Passes over a string, in any of its forms.
    #[inline]
    pub fn string(&mut self) -> Result<(), Stop> {
        let first = *self.rest().first().ok_or(Stop::More(1))?;
        match first {
            0xc0..=0xc2 => self.skip(1 + (1 << (first & 3))),
            0xc3 => {
                self.at += 1;
                let packed = self.number()?;
                self.number()?;
                self.skip(packed)
            }
            0x82..=0xbf | 0xc4..=0xff => Err(Stop::Bad("no string where one has to be")),
            _ => {
                let len = self.number()?;
                self.skip(len)
            }
        }
    }

    fn each(&mut self, mut pass: impl FnMut(&mut Self) -> Result<(), Stop>) -> Result<(), Stop> {
        for _ in 0..self.number()? {
            pass(self)?;
        }
        Ok(())
    }

    /// Passes over a score that is text.
    fn text_double(&mut self) -> Result<(), Stop> {
        match self.byte()? {
            253..=255 => Ok(()),
            len => self.skip(u64::from(len)),
        }
    }

    /// Passes over a value of type `kind`.
    pub fn value(&mut self, kind: u8) -> Result<(), Stop> {
        match kind {
            0 | 9..=13 | 16 | 17 | 20 => self.string(),
            1 | 2 | 14 => self.each(Walk::string),
            3 => self.each(|walk| walk.string().and_then(|()| walk.text_double())),
            4 => self.each(|walk| walk.string().and_then(|()| walk.string())),
            5 => self.each(|walk| walk.string().and_then(|()| walk.skip(8))),
            18 => self.each(|walk| walk.number().and_then(|_| walk.string())),
            15 | 19 | 21 => self.stream(kind),
            22 => self.each(|walk| {
                walk.string()?;
                walk.string()?;
                walk.skip(8)
            }),
            24 => {
                self.skip(8)?;
                self.each(|walk| {
                    walk.number()?;
                    walk.string()?;
                    walk.string()
                })
            }
            25 => self.skip(8).and_then(|()| self.string()),
            6 | 7 => Err(Stop::Bad("a value of a module, and there are no modules here")),
            _ => Err(Stop::Bad(UNKNOWN_TYPE)),
        }
    }

    fn stream(&mut self, kind: u8) -> Result<(), Stop> {
        self.each(|walk| walk.string().and_then(|()| walk.string()))?;
        for _ in 0..if kind == 15 { 3 } else { 8 } {
            self.number()?;
        }
        self.each(|walk| {
            walk.string()?;
            for _ in 0..if kind == 15 { 2 } else { 3 } {
                walk.number()?;
            }
            walk.each(|walk| walk.skip(24).and_then(|()| walk.number()).map(|_| ()))?;
            walk.each(|walk| {
                walk.string()?;
                walk.skip(if kind == 21 { 16 } else { 8 })?;
                let pending = walk.number()?;
                walk.skip(pending.checked_mul(16).ok_or(Stop::Bad("more pending entries than there can be"))?)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is complete ends where it should, and whatever is cut off asks for more, never for too much.
    #[test]
    fn a_walk_ends_with_its_value() {
        let hash = b"\x04\x02\x01f\xc0\x07\x01g\x02vv";
        let list = b"\x12\x01\x02\xc3\x04\x10abcd";
        for value in [&hash[..], list] {
            for len in 1..=value.len() {
                let mut walk = Walk::new(&value[..len], 1);
                match walk.value(value[0]) {
                    Ok(()) => assert_eq!((len, walk.at()), (value.len(), value.len())),
                    Err(Stop::More(more)) => assert!(len + usize::try_from(more).expect("few") <= value.len()),
                    Err(Stop::Bad(why)) => panic!("{why}"),
                }
            }
        }
    }

    #[test]
    fn what_is_no_value_is_refused() {
        assert!(matches!(Walk::new(b"\xff", 0).value(0), Err(Stop::Bad(_))));
        assert!(matches!(
            Walk::new(b"\x01\x01a\x81\xff\xff\xff\xff\xff\xff\xff\xff", 0).value(15),
            Err(Stop::Bad(_) | Stop::More(_))
        ));
        assert!(matches!(Walk::new(b"", 0).value(200), Err(Stop::Bad(_))));
        assert_eq!(Walk::new(b"\x81\xff\xff\xff\xff\xff\xff\xff\xff", 0).value(0), Err(Stop::More(u64::MAX)));
    }
}
