//! Lua's patterns, matched in bounded stack and with a look at the clock now and then.
//!
//! The matcher of stock Lua recurses once for an item of the pattern and cannot be interrupted: a hostile pattern crashes
//! it or keeps it busy for years. This one recurses to a fixed depth and calls back every so many steps. A NUL ends a
//! pattern, as it does in Lua 5.1. Must not know: the interpreter. Source: the reference manual of Lua 5.1, section 5.4.1.

use std::ffi::CStr;

/// Captures that a pattern may have.
const MAX_CAPTURES: usize = 32;

/// Items of a pattern that one attempt may stand in; some kilobyte of stack each.
const MAX_DEPTH: usize = 5000;

/// Steps between two looks at the clock.
const STEPS: u32 = 20_000;

/// Why a match was given up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The pattern is wrong.
    Text(&'static CStr),
    /// The callback said so.
    Stopped,
}

/// What a part of the text was captured as.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Len {
    Open,
    Position,
    Bytes(usize),
}

/// A capture of a match.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Captured<'a> {
    /// Part of the text.
    Text(&'a [u8]),
    /// A place in it, counted from 1.
    Position(usize),
}

/// A text and a pattern.
pub struct Matcher<'a, 't> {
    text: &'a [u8],
    pattern: &'a [u8],
    level: usize,
    captures: [(usize, Len); MAX_CAPTURES],
    depth: usize,
    steps: u32,
    /// Called now and then; `true` gives the match up.
    stop: &'t mut dyn FnMut() -> bool,
}

type Match = Result<Option<usize>, Fault>;

fn fault<T>(text: &'static CStr) -> Result<T, Fault> {
    Err(Fault::Text(text))
}

/// The pattern up to its end.
pub fn effective(pattern: &[u8]) -> &[u8] {
    memchr::memchr(0, pattern).map_or(pattern, |end| &pattern[..end])
}

impl<'a, 't> Matcher<'a, 't> {
    /// A matcher of `pattern`, without the `^` at its beginning, on `text`.
    pub fn new(text: &'a [u8], pattern: &'a [u8], stop: &'t mut dyn FnMut() -> bool) -> Matcher<'a, 't> {
        let captures = [(0, Len::Open); MAX_CAPTURES];
        Matcher { text, pattern: effective(pattern), level: 0, captures, depth: 0, steps: 0, stop }
    }

    /// Where a match that begins at `start` ends, if there is one.
    ///
    /// # Errors
    /// See [`Fault`].
    pub fn match_at(&mut self, start: usize) -> Match {
        (self.level, self.depth) = (0, 0);
        self.run(start, 0)
    }

    /// How many captures the last match made.
    pub fn captures(&self) -> usize {
        self.level
    }

    /// Capture number `index`, from 0, of a match from `start` to `end`; the whole match where there is none.
    ///
    /// # Errors
    /// There is no such capture, or it has no end.
    pub fn capture(&self, index: usize, start: usize, end: usize) -> Result<Captured<'a>, Fault> {
        if index >= self.level {
            let whole = self.text.get(start..end).unwrap_or(&[]);
            return if index == 0 { Ok(Captured::Text(whole)) } else { fault(c"invalid capture index") };
        }
        match self.captures[index] {
            (_, Len::Open) => fault(c"unfinished capture"),
            (at, Len::Position) => Ok(Captured::Position(at + 1)),
            (at, Len::Bytes(len)) => Ok(Captured::Text(self.text.get(at..at + len).unwrap_or(&[]))),
        }
    }

    fn at(&self, index: usize) -> Option<u8> {
        self.pattern.get(index).copied()
    }

    fn count_step(&mut self) -> Result<(), Fault> {
        self.steps += 1;
        if self.steps >= STEPS {
            self.steps = 0;
            if (self.stop)() {
                return Err(Fault::Stopped);
            }
        }
        Ok(())
    }

    /// Matches the pattern from `p` on, one level deeper.
    fn run(&mut self, s: usize, p: usize) -> Match {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return fault(c"pattern too complex");
        }
        let result = self.run_items(s, p);
        self.depth -= 1;
        result
    }

    fn run_items(&mut self, mut s: usize, mut p: usize) -> Match {
        loop {
            self.count_step()?;
            let Some(item) = self.at(p) else { return Ok(Some(s)) };
            match (item, self.at(p + 1)) {
                (b'(', Some(b')')) => return self.open_capture(s, p + 2, Len::Position),
                (b'(', _) => return self.open_capture(s, p + 1, Len::Open),
                (b')', _) => return self.close_capture(s, p + 1),
                (b'$', None) => return Ok((s == self.text.len()).then_some(s)),
                (b'%', Some(b'b')) => {
                    let Some(end) = self.balanced(s, p + 2)? else { return Ok(None) };
                    (s, p) = (end, p + 4);
                }
                (b'%', Some(b'f')) => {
                    let Some(end) = self.frontier(s, p + 2)? else { return Ok(None) };
                    p = end;
                }
                (b'%', Some(digit @ b'0'..=b'9')) => {
                    let Some(end) = self.repeat_capture(s, digit)? else { return Ok(None) };
                    (s, p) = (end, p + 2);
                }
                _ => {
                    let end = self.class_end(p)?;
                    let fits = self.fits(s, p, end);
                    match self.at(end) {
                        Some(b'?') => {
                            if fits && let Some(found) = self.run(s + 1, end + 1)? {
                                return Ok(Some(found));
                            }
                            p = end + 1;
                        }
                        Some(b'*') => return self.most(s, p, end),
                        Some(b'+') => return if fits { self.most(s + 1, p, end) } else { Ok(None) },
                        Some(b'-') => return self.fewest(s, p, end),
                        _ if !fits => return Ok(None),
                        _ => (s, p) = (s + 1, end),
                    }
                }
            }
        }
    }

    /// As many as fit, then fewer and fewer.
    fn most(&mut self, s: usize, p: usize, end: usize) -> Match {
        let mut count = 0;
        while self.fits(s + count, p, end) {
            count += 1;
            self.count_step()?;
        }
        loop {
            if let Some(found) = self.run(s + count, end + 1)? {
                return Ok(Some(found));
            }
            if count == 0 {
                return Ok(None);
            }
            count -= 1;
        }
    }

    /// As few as will do.
    fn fewest(&mut self, mut s: usize, p: usize, end: usize) -> Match {
        loop {
            if let Some(found) = self.run(s, end + 1)? {
                return Ok(Some(found));
            }
            if !self.fits(s, p, end) {
                return Ok(None);
            }
            s += 1;
        }
    }

    fn open_capture(&mut self, s: usize, p: usize, len: Len) -> Match {
        if self.level >= MAX_CAPTURES {
            return fault(c"too many captures");
        }
        self.captures[self.level] = (s, len);
        self.level += 1;
        let found = self.run(s, p)?;
        if found.is_none() {
            self.level -= 1;
        }
        Ok(found)
    }

    fn close_capture(&mut self, s: usize, p: usize) -> Match {
        let open = self.captures[..self.level].iter().rposition(|(_, len)| *len == Len::Open);
        let Some(open) = open else { return fault(c"invalid pattern capture") };
        let start = self.captures[open].0;
        self.captures[open].1 = Len::Bytes(s - start);
        let found = self.run(s, p)?;
        if found.is_none() {
            self.captures[open].1 = Len::Open;
        }
        Ok(found)
    }

    /// `%1`: what was captured, once more.
    fn repeat_capture(&mut self, s: usize, digit: u8) -> Match {
        let index = usize::from(digit).checked_sub(usize::from(b'1')).filter(|index| *index < self.level);
        match index.map(|index| self.captures[index]) {
            None | Some((_, Len::Open)) => fault(c"invalid capture index"),
            Some((_, Len::Position)) => Ok(None),
            Some((at, Len::Bytes(len))) => {
                let same = self.text.get(s..s + len).is_some_and(|text| *text == self.text[at..at + len]);
                Ok(same.then_some(s + len))
            }
        }
    }

    /// `%bxy`.
    fn balanced(&mut self, s: usize, p: usize) -> Match {
        let (Some(open), Some(close)) = (self.at(p), self.at(p + 1)) else { return fault(c"unbalanced pattern") };
        if self.text.get(s) != Some(&open) {
            return Ok(None);
        }
        let mut depth = 1_usize;
        for (offset, byte) in self.text[s + 1..].iter().enumerate() {
            if *byte == close {
                depth -= 1;
                if depth == 0 {
                    return Ok(Some(s + offset + 2));
                }
            } else if *byte == open {
                depth += 1;
            }
        }
        Ok(None)
    }

    /// `%f[set]`: the end of the set in the pattern, if the place lies between what is not in the set and what is.
    fn frontier(&mut self, s: usize, p: usize) -> Match {
        if self.at(p) != Some(b'[') {
            return fault(c"missing '[' after '%f' in pattern");
        }
        let end = self.class_end(p)?;
        let before = s.checked_sub(1).and_then(|before| self.text.get(before)).copied().unwrap_or(0);
        let here = self.text.get(s).copied().unwrap_or(0);
        let found = !self.in_set(before, p, end - 1) && self.in_set(here, p, end - 1);
        Ok(found.then_some(end))
    }

    /// Where the single item that begins at `p` ends.
    fn class_end(&self, p: usize) -> Result<usize, Fault> {
        match self.at(p) {
            Some(b'%') if self.at(p + 1).is_none() => fault(c"malformed pattern (ends with '%')"),
            Some(b'%') => Ok(p + 2),
            Some(b'[') => {
                let mut p = p + 1;
                if self.at(p) == Some(b'^') {
                    p += 1;
                }
                // The first byte belongs to the set, even if it is `]`.
                loop {
                    let Some(byte) = self.at(p) else { return fault(c"malformed pattern (missing ']')") };
                    p += 1;
                    if byte == b'%' && self.at(p).is_some() {
                        p += 1;
                    }
                    if self.at(p) == Some(b']') {
                        return Ok(p + 1);
                    }
                }
            }
            _ => Ok(p + 1),
        }
    }

    /// Whether the byte at `s` is what the item from `p` to `end` wants.
    fn fits(&self, s: usize, p: usize, end: usize) -> bool {
        let Some(byte) = self.text.get(s).copied() else { return false };
        match self.pattern[p] {
            b'.' => true,
            b'%' => in_class(byte, self.pattern[p + 1]),
            b'[' => self.in_set(byte, p, end - 1),
            literal => literal == byte,
        }
    }

    /// Whether a byte is in the set from the `[` at `p` to the `]` at `last`.
    fn in_set(&self, byte: u8, p: usize, last: usize) -> bool {
        let mut p = p + 1;
        let negated = self.at(p) == Some(b'^');
        if negated {
            p += 1;
        }
        while p < last {
            let item = self.pattern[p];
            let found = if item == b'%' {
                p += 1;
                in_class(byte, self.at(p).unwrap_or(0))
            } else if self.at(p + 1) == Some(b'-') && p + 2 < last {
                p += 2;
                (item..=self.pattern[p]).contains(&byte)
            } else {
                item == byte
            };
            if found {
                return !negated;
            }
            p += 1;
        }
        negated
    }
}

/// Whether a byte is in the class of a letter behind `%`; any other character stands for itself.
fn in_class(byte: u8, class: u8) -> bool {
    let found = match class.to_ascii_lowercase() {
        b'a' => byte.is_ascii_alphabetic(),
        b'c' => byte.is_ascii_control(),
        b'd' => byte.is_ascii_digit(),
        b'l' => byte.is_ascii_lowercase(),
        b'p' => byte.is_ascii_punctuation(),
        b's' => byte == b' ' || (9..=13).contains(&byte),
        b'u' => byte.is_ascii_uppercase(),
        b'w' => byte.is_ascii_alphanumeric(),
        b'x' => byte.is_ascii_hexdigit(),
        b'z' => byte == 0,
        _ => return class == byte,
    };
    found != class.is_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(text: &str, pattern: &str) -> Result<Option<(usize, usize)>, Fault> {
        let mut stop = || false;
        let mut matcher = Matcher::new(text.as_bytes(), pattern.as_bytes(), &mut stop);
        for start in 0..=text.len() {
            if let Some(end) = matcher.match_at(start)? {
                return Ok(Some((start, end)));
            }
        }
        Ok(None)
    }

    #[test]
    fn items() {
        assert_eq!(find("hello world", "o w"), Ok(Some((4, 7))));
        assert_eq!(find("THE (quick) fox", "%((%a+)%)"), Ok(Some((4, 11))));
        assert_eq!(find("f(a(b)c)d", "%b()"), Ok(Some((1, 8))));
        assert_eq!(find("THE (quick) fox", "%f[%a]%a+%f[%A]"), Ok(Some((0, 3))));
        assert_eq!(find("abcabc", "(abc)%1"), Ok(Some((0, 6))));
        assert_eq!(find("a]b", "[]]"), Ok(Some((1, 2))));
        assert_eq!(find("a-b", "[a-]-"), Ok(Some((0, 0))));
        assert_eq!(find("x1y", "%d"), Ok(Some((1, 2))));
        assert_eq!(find("ab", "b$"), Ok(Some((1, 2))));
        assert_eq!(find("a", "["), fault(c"malformed pattern (missing ']')"));
        assert_eq!(find("a", "[a"), fault(c"malformed pattern (missing ']')"));
        assert_eq!(find("a", "%"), fault(c"malformed pattern (ends with '%')"));
        assert_eq!(find("a", ")"), fault(c"invalid pattern capture"));
    }

    #[test]
    fn hostile_patterns_end() {
        assert_eq!(find(&"a".repeat(300_000), &"a?".repeat(300_000)), fault(c"pattern too complex"));
        assert_eq!(find(&"a".repeat(4000), &"a?".repeat(4000)), Ok(Some((0, 4000))));
        let (text, pattern) = ("a".repeat(200), format!("{}b", ".-".repeat(30)));
        let mut looks = 0;
        let mut stop = || {
            looks += 1;
            looks == 10
        };
        let result = Matcher::new(text.as_bytes(), pattern.as_bytes(), &mut stop).match_at(0);
        assert_eq!((result, looks), (Err(Fault::Stopped), 10));
    }
}
