//! From JSON to values.

use super::{Options, stack_is_full};
use crate::script::lib::call::Refusal;
use crate::script::lib::{MAX_HELD, number};
use mlua::{Lua, Table, Value};

/// The value of a JSON text. O(its length).
///
/// As in C, the text ends at its first NUL outside a string.
pub(super) fn decode(lua: &Lua, options: &Options, text: &[u8]) -> Result<Value, Refusal> {
    if let [first, second, ..] = text
        && (*first == 0 || *second == 0)
    {
        return Err(Refusal::failure("JSON parser does not support UTF-16 or UTF-32"));
    }
    let mut decoder = Decoder { lua, options, text, at: 0, start: 0, string: Vec::new(), stack: Vec::new(), used: 1 };
    let value = decoder.document()?;
    match decoder.token() {
        Token::End => Ok(value),
        other => Err(decoder.unexpected("the end", &other)),
    }
}

#[derive(Clone, Copy)]
enum Token {
    ObjectBegin,
    ObjectEnd,
    ArrayBegin,
    ArrayEnd,
    /// The text is in `Decoder::string`.
    String,
    Number(f64),
    Boolean(bool),
    Null,
    Colon,
    Comma,
    End,
    /// No token: why, at `Decoder::start`.
    Bad(&'static str),
}

impl Token {
    /// How messages call it.
    fn name(self) -> &'static str {
        match self {
            Self::ObjectBegin => "T_OBJ_BEGIN",
            Self::ObjectEnd => "T_OBJ_END",
            Self::ArrayBegin => "T_ARR_BEGIN",
            Self::ArrayEnd => "T_ARR_END",
            Self::String => "T_STRING",
            Self::Number(_) => "T_NUMBER",
            Self::Boolean(_) => "T_BOOLEAN",
            Self::Null => "T_NULL",
            Self::Colon => "T_COLON",
            Self::Comma => "T_COMMA",
            Self::End => "T_END",
            Self::Bad(why) => why,
        }
    }
}

/// A collection that has not ended.
enum Frame {
    Array { table: Table, length: usize },
    Object { table: Table, key: Vec<u8> },
}

struct Decoder<'a> {
    lua: &'a Lua,
    options: &'a Options,
    text: &'a [u8],
    /// The next byte to read.
    at: usize,
    /// Where the last token began, or where it went wrong.
    start: usize,
    string: Vec<u8>,
    stack: Vec<Frame>,
    used: usize,
}

impl Decoder<'_> {
    fn document(&mut self) -> Result<Value, Refusal> {
        let mut token = self.token();
        loop {
            let mut value = match self.begin(token)? {
                Ok(value) => value,
                Err(next) => {
                    token = next;
                    continue;
                }
            };
            loop {
                if self.stack.is_empty() {
                    return Ok(value);
                }
                match self.attach(value)? {
                    Some(complete) => value = complete,
                    None => break,
                }
            }
            token = self.token();
        }
    }

    /// The value that begins with `token` if it is complete, else the token of the first value inside.
    fn begin(&mut self, token: Token) -> Result<Result<Value, Token>, Refusal> {
        match token {
            Token::String => Ok(Ok(Value::String(self.lua.create_string(&self.string)?))),
            Token::Number(number) => Ok(Ok(Value::Number(number))),
            Token::Boolean(value) => Ok(Ok(Value::Boolean(value))),
            Token::Null => Ok(Ok(Value::NULL)),
            Token::ArrayBegin => self.begin_array(),
            Token::ObjectBegin => self.begin_object(),
            other => Err(self.unexpected("value", &other)),
        }
    }

    fn begin_array(&mut self) -> Result<Result<Value, Token>, Refusal> {
        self.descend()?;
        let table = self.lua.create_table()?;
        match self.token() {
            Token::ArrayEnd => Ok(Ok(Value::Table(table))),
            first => {
                self.push(Frame::Array { table, length: 0 });
                Ok(Err(first))
            }
        }
    }

    fn begin_object(&mut self) -> Result<Result<Value, Token>, Refusal> {
        self.descend()?;
        let table = self.lua.create_table()?;
        match self.token() {
            Token::ObjectEnd => Ok(Ok(Value::Table(table))),
            first => {
                let key = self.key(first)?;
                self.push(Frame::Object { table, key });
                Ok(Err(self.token()))
            }
        }
    }

    fn descend(&self) -> Result<(), Refusal> {
        let depth = self.stack.len() + 1;
        let most = usize::try_from(self.options.decode_depth).unwrap_or(usize::MAX);
        if depth > most || stack_is_full(self.used, 2) || depth > MAX_HELD {
            let text = format!("Found too many nested data structures ({depth}) at character {}", self.at);
            return Err(Refusal::failure(text));
        }
        Ok(())
    }

    fn push(&mut self, frame: Frame) {
        self.used += frame.weight();
        self.stack.push(frame);
    }

    /// The name of a member and the colon behind it.
    fn key(&mut self, token: Token) -> Result<Vec<u8>, Refusal> {
        let Token::String = token else { return Err(self.unexpected("object key string", &token)) };
        let key = self.string.clone();
        match self.token() {
            Token::Colon => Ok(key),
            other => Err(self.unexpected("colon", &other)),
        }
    }

    /// Puts `value` into the innermost collection; that collection when it ends here.
    fn attach(&mut self, value: Value) -> Result<Option<Value>, Refusal> {
        let is_array = match self.stack.last_mut() {
            Some(Frame::Array { table, length }) => {
                *length += 1;
                table.raw_seti(*length, value)?;
                true
            }
            Some(Frame::Object { table, key }) => {
                table.raw_set(self.lua.create_string(&*key)?, value)?;
                false
            }
            None => return Ok(Some(value)),
        };
        match (self.token(), is_array) {
            (Token::ArrayEnd, true) | (Token::ObjectEnd, false) => Ok(self.pop()),
            (Token::Comma, true) => Ok(None),
            (Token::Comma, false) => self.next_member(),
            (other, true) => Err(self.unexpected("comma or array end", &other)),
            (other, false) => Err(self.unexpected("comma or object end", &other)),
        }
    }

    fn next_member(&mut self) -> Result<Option<Value>, Refusal> {
        let token = self.token();
        let name = self.key(token)?;
        if let Some(Frame::Object { key, .. }) = self.stack.last_mut() {
            *key = name;
        }
        Ok(None)
    }

    fn pop(&mut self) -> Option<Value> {
        let frame = self.stack.pop()?;
        self.used -= frame.weight();
        let (Frame::Array { table, .. } | Frame::Object { table, .. }) = frame;
        Some(Value::Table(table))
    }

    fn unexpected(&self, wanted: &str, found: &Token) -> Refusal {
        let (found, place) = (found.name(), self.start + 1);
        Refusal::failure(format!("Expected {wanted} but found {found} at character {place}"))
    }

    /// The byte at `at`, NUL behind the end.
    fn byte(&self, at: usize) -> u8 {
        self.text.get(at).copied().unwrap_or(0)
    }

    fn token(&mut self) -> Token {
        while matches!(self.byte(self.at), b' ' | b'\t' | b'\n' | b'\r') {
            self.at += 1;
        }
        self.start = self.at;
        let mark = match self.byte(self.at) {
            b'{' => Token::ObjectBegin,
            b'}' => Token::ObjectEnd,
            b'[' => Token::ArrayBegin,
            b']' => Token::ArrayEnd,
            b',' => Token::Comma,
            b':' => Token::Colon,
            0 => return Token::End,
            b'"' => return self.quoted(),
            b'-' | b'0'..=b'9' if self.options.decode_invalid || !self.is_invalid_number() => return self.number(),
            b'-' | b'0'..=b'9' => return Token::Bad("invalid number"),
            _ => return self.word(),
        };
        self.at += 1;
        mark
    }

    fn word(&mut self) -> Token {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let (token, length) = if rest.starts_with(b"true") {
            (Token::Boolean(true), 4)
        } else if rest.starts_with(b"false") {
            (Token::Boolean(false), 5)
        } else if rest.starts_with(b"null") {
            (Token::Null, 4)
        } else if self.options.decode_invalid && self.is_invalid_number() {
            return self.number();
        } else {
            return Token::Bad("invalid token");
        };
        self.at += length;
        token
    }

    /// Whether what follows is a number that C reads and JSON does not have: a plus, leading zeros, hexadecimal, words.
    fn is_invalid_number(&self) -> bool {
        if self.byte(self.at) == b'+' {
            return true;
        }
        let at = self.at + usize::from(self.byte(self.at) == b'-');
        match self.byte(at) {
            b'0' => matches!(self.byte(at + 1), b'x' | b'X' | b'0'..=b'9'),
            0..=b'9' => false,
            _ => self
                .text
                .get(at..at + 3)
                .is_some_and(|word| word.eq_ignore_ascii_case(b"inf") || word.eq_ignore_ascii_case(b"nan")),
        }
    }

    fn number(&mut self) -> Token {
        match number::prefix(self.text.get(self.at..).unwrap_or_default()) {
            Some((value, length)) => {
                self.at += length;
                Token::Number(value)
            }
            None => Token::Bad("invalid number"),
        }
    }

    fn bad_string(&mut self, why: &'static str) -> Token {
        self.start = self.at;
        Token::Bad(why)
    }

    /// A string; its text goes to `string`.
    fn quoted(&mut self) -> Token {
        self.at += 1;
        self.string.clear();
        loop {
            let rest = self.text.get(self.at..).unwrap_or_default();
            let plain = rest.iter().take_while(|byte| !matches!(byte, b'"' | b'\\' | 0)).count();
            self.string.extend_from_slice(&rest[..plain]);
            self.at += plain;
            match self.byte(self.at) {
                b'"' => {
                    self.at += 1;
                    return Token::String;
                }
                b'\\' => {
                    if let Err(why) = self.escape() {
                        return self.bad_string(why);
                    }
                }
                _ => return self.bad_string("unexpected end of string"),
            }
        }
    }

    fn escape(&mut self) -> Result<(), &'static str> {
        let byte = match self.byte(self.at + 1) {
            byte @ (b'"' | b'\\' | b'/') => byte,
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => return self.unicode().ok_or("invalid unicode escape code"),
            _ => return Err("invalid escape code"),
        };
        self.string.push(byte);
        self.at += 2;
        Ok(())
    }

    /// `\uXXXX`, or two of them that make one character.
    fn unicode(&mut self) -> Option<()> {
        let first = self.hex(self.at)?;
        let (code, length) = if (0xd800..0xdc00).contains(&first) {
            let second = self.hex(self.at + 6).filter(|code| (0xdc00..0xe000).contains(code))?;
            (0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00), 12)
        } else {
            (first, 6)
        };
        let character = char::from_u32(code)?; // a low half that comes first is none
        self.string.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        self.at += length;
        Some(())
    }

    /// The four digits of the `\uXXXX` at `at`.
    fn hex(&self, at: usize) -> Option<u32> {
        let (head, digits) = self.text.get(at..at + 6)?.split_at(2);
        let value = |value: u32, digit: &u8| Some(value << 4 | char::from(*digit).to_digit(16)?);
        if head == b"\\u" { digits.iter().try_fold(0, value) } else { None }
    }
}

impl Frame {
    fn weight(&self) -> usize {
        match self {
            Self::Array { .. } => 1,
            Self::Object { .. } => 2,
        }
    }
}
