//! The arguments of a command, from the syntax text of its row to the tree that `COMMAND DOCS` shows.
//!
//! Arguments are separated by one space. Each is an optional token, a name with its kind, and suffixes in this order:
//!
//! | text | meaning |
//! |---|---|
//! | `name:type` | a value: `key`, `string`, `integer`, `double`, `unix-time`, `pattern` |
//! | `name=TOKEN` | a word that stands for itself |
//! | `name<a\|b>` | one of these arguments |
//! | `name(a b)` | these arguments, in this order |
//! | `TOKEN name:type` | a value, one of, or block, behind a word |
//! | `name~shown:type` | displayed by another name |
//! | `""` | as a token: the empty word |
//! | `#2` | a key of key specification number 2 |
//! | `...` | may be repeated |
//! | `+` | and its token with it |
//! | `{Says this.}` | a sentence about it |
//! | `@6.2.0` | since that version |
//! | `!7.0.0` | deprecated since that version |
//! | `[...]` | around one argument: optional |
//!
//! Invariant: what is parsed prints as the same text. Must not know: replies, commands. Source: our own notation for
//! the argument lists of the Redis command reference.

use std::fmt;

/// One argument of a command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Argument {
    /// Its name, unique among its siblings.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// What help texts show for a value; the name unless another was given.
    pub display: &'static str,
    /// The word before it, or the word that it is.
    pub token: Option<&'static str>,
    /// Number of the key specification that a key belongs to.
    pub key_spec: Option<usize>,
    /// A sentence about it.
    pub summary: Option<&'static str>,
    /// First version that takes it, if later than the command's.
    pub since: Option<&'static str>,
    /// Since when it should no longer be used.
    pub deprecated_since: Option<&'static str>,
    /// May be left out.
    pub optional: bool,
    /// May be repeated.
    pub multiple: bool,
    /// When it is repeated, so is its token.
    pub multiple_token: bool,
}

/// What an argument is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A value of a named type.
    Value(&'static str),
    /// A word that stands for itself.
    PureToken,
    /// One of several arguments.
    OneOf(Vec<Argument>),
    /// Several arguments in order.
    Block(Vec<Argument>),
}

impl Kind {
    /// The name in `COMMAND DOCS`.
    pub fn name(&self) -> &'static str {
        match self {
            Kind::Value(name) => name,
            Kind::PureToken => "pure-token",
            Kind::OneOf(_) => "oneof",
            Kind::Block(_) => "block",
        }
    }

    /// The arguments inside.
    pub fn inner(&self) -> &[Argument] {
        match self {
            Kind::OneOf(arguments) | Kind::Block(arguments) => arguments,
            _ => &[],
        }
    }
}

/// Types of values.
const TYPES: [&str; 6] = ["key", "string", "integer", "double", "unix-time", "pattern"];

/// Where a syntax text departs from the notation, as a byte offset into it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SyntaxError(pub usize);

/// The arguments that a syntax text describes; none for an empty text. O(length).
///
/// # Errors
/// The place where it departs from the notation; a test parses the texts of all rows.
pub fn parse(syntax: &'static str) -> Result<Vec<Argument>, SyntaxError> {
    if syntax.is_empty() {
        return Ok(Vec::new());
    }
    let mut parser = Parser { text: syntax, at: 0 };
    let arguments = parser.list(" ")?;
    if parser.rest().is_empty() { Ok(arguments) } else { Err(parser.error()) }
}

/// What ends a name, a token or a displayed name.
const WORD_ENDS: [char; 14] = [' ', '[', ']', '<', '>', '(', ')', '{', '}', '|', '#', '@', '!', ':'];

struct Parser {
    text: &'static str,
    at: usize,
}

impl Parser {
    fn rest(&self) -> &'static str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn error(&self) -> SyntaxError {
        SyntaxError(self.at)
    }

    fn takes(&mut self, sign: &str) -> bool {
        let found = self.rest().starts_with(sign);
        self.at += if found { sign.len() } else { 0 };
        found
    }

    fn expect(&mut self, sign: &str) -> Result<(), SyntaxError> {
        if self.takes(sign) { Ok(()) } else { Err(self.error()) }
    }

    /// Arguments with `separator` between them.
    fn list(&mut self, separator: &str) -> Result<Vec<Argument>, SyntaxError> {
        let mut arguments = vec![self.argument()?];
        while self.takes(separator) {
            arguments.push(self.argument()?);
        }
        Ok(arguments)
    }

    fn argument(&mut self) -> Result<Argument, SyntaxError> {
        let optional = self.takes("[");
        let mut argument = self.with_token()?;
        argument.optional = optional;
        self.suffixes(&mut argument)?;
        if optional {
            self.expect("]")?;
        }
        Ok(argument)
    }

    /// An argument that may have a token before it.
    fn with_token(&mut self) -> Result<Argument, SyntaxError> {
        let (start, word) = (self.at, self.word(&['=']));
        if word.is_empty() || !self.takes(" ") {
            self.at = start;
            return self.named();
        }
        let mut argument = self.named()?;
        match argument.token {
            Some(_) => Err(self.error()),
            None => {
                argument.token = Some(unquoted(word));
                Ok(argument)
            }
        }
    }

    /// A name and what it names.
    fn named(&mut self) -> Result<Argument, SyntaxError> {
        let name = self.word(&['~', '=']);
        if name.is_empty() {
            return Err(self.error());
        }
        let display = if self.takes("~") { self.displayed() } else { name };
        let mut token = None;
        let kind = match self.rest().chars().next() {
            Some('=') => {
                self.at += 1;
                token = Some(unquoted(self.word(&[])));
                Kind::PureToken
            }
            Some('<') => Kind::OneOf(self.inner("<", "|", ">")?),
            Some('(') => Kind::Block(self.inner("(", " ", ")")?),
            _ => {
                self.expect(":")?;
                Kind::Value(self.value_type()?)
            }
        };
        let (key_spec, summary, since, deprecated_since) = (None, None, None, None);
        let (optional, multiple, multiple_token) = (false, false, false);
        Ok(Argument {
            name,
            kind,
            display,
            token,
            key_spec,
            summary,
            since,
            deprecated_since,
            optional,
            multiple,
            multiple_token,
        })
    }

    fn inner(&mut self, open: &str, separator: &str, close: &str) -> Result<Vec<Argument>, SyntaxError> {
        self.expect(open)?;
        let arguments = self.list(separator)?;
        self.expect(close)?;
        Ok(arguments)
    }

    fn value_type(&mut self) -> Result<&'static str, SyntaxError> {
        let word = self.word(&[]);
        TYPES.into_iter().find(|name| *name == word).ok_or_else(|| self.error())
    }

    fn suffixes(&mut self, argument: &mut Argument) -> Result<(), SyntaxError> {
        if self.takes("#") {
            argument.key_spec = Some(self.word(&[]).parse().map_err(|_| self.error())?);
        }
        argument.multiple = self.takes("...");
        argument.multiple_token = argument.multiple && self.takes("+");
        if self.takes("{") {
            let rest = self.rest();
            let end = rest.find('}').ok_or_else(|| self.error())?;
            argument.summary = Some(&rest[..end]);
            self.at += end + 1;
        }
        if self.takes("@") {
            argument.since = Some(self.word(&[]));
        }
        if self.takes("!") {
            argument.deprecated_since = Some(self.word(&[]));
        }
        Ok(())
    }

    /// What comes before the next sign of the notation, or of `ends`.
    fn word(&mut self, ends: &[char]) -> &'static str {
        let rest = self.rest();
        let end = rest.find(|sign| WORD_ENDS.contains(&sign) || ends.contains(&sign)).unwrap_or(rest.len());
        self.advance(rest, end)
    }

    /// A displayed name, which may hold colons: the last one ends it.
    fn displayed(&mut self) -> &'static str {
        let rest = self.rest();
        let end = rest.find(|sign| sign != ':' && (WORD_ENDS.contains(&sign) || sign == '=')).unwrap_or(rest.len());
        let end = rest[..end].rfind(':').unwrap_or(end);
        self.advance(rest, end)
    }

    /// Takes `rest` up to `end`, or to the dots of a repetition before it.
    fn advance(&mut self, rest: &'static str, end: usize) -> &'static str {
        let word = &rest[..end];
        let word = word.find("...").map_or(word, |dots| &word[..dots]);
        self.at += word.len();
        word
    }
}

fn unquoted(token: &'static str) -> &'static str {
    if token == "\"\"" { "" } else { token }
}

fn quoted(token: &str) -> &str {
    if token.is_empty() { "\"\"" } else { token }
}

impl fmt::Display for Argument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.optional { "[" } else { "" })?;
        if let (Some(token), false) = (self.token, self.kind == Kind::PureToken) {
            write!(f, "{} ", quoted(token))?;
        }
        f.write_str(self.name)?;
        if self.display != self.name {
            write!(f, "~{}", self.display)?;
        }
        match &self.kind {
            Kind::Value(name) => write!(f, ":{name}")?,
            Kind::PureToken => write!(f, "={}", quoted(self.token.unwrap_or_default()))?,
            Kind::OneOf(inner) => write!(f, "<{}>", joined(inner, "|"))?,
            Kind::Block(inner) => write!(f, "({})", joined(inner, " "))?,
        }
        if let Some(number) = self.key_spec {
            write!(f, "#{number}")?;
        }
        f.write_str(if self.multiple { "..." } else { "" })?;
        f.write_str(if self.multiple_token { "+" } else { "" })?;
        if let Some(summary) = self.summary {
            write!(f, "{{{summary}}}")?;
        }
        for (sign, version) in [('@', self.since), ('!', self.deprecated_since)] {
            if let Some(version) = version {
                write!(f, "{sign}{version}")?;
            }
        }
        f.write_str(if self.optional { "]" } else { "" })
    }
}

/// Arguments in the notation that [`parse`] reads.
pub fn joined(arguments: &[Argument], separator: &str) -> String {
    arguments.iter().map(Argument::to_string).collect::<Vec<_>>().join(separator)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one(syntax: &'static str) -> Argument {
        let parsed = parse(syntax).unwrap();
        assert_eq!(joined(&parsed, " "), syntax);
        assert_eq!(parsed.len(), 1);
        parsed[0].clone()
    }

    #[test]
    fn values() {
        let argument = one("key:key#1...");
        assert_eq!((argument.name, argument.kind.name(), argument.key_spec), ("key", "key", Some(1)));
        assert!(argument.multiple && !argument.multiple_token && !argument.optional);
        let argument = one("[PREFIX prefix:string...+@6.0.0!7.0.0]");
        assert!(argument.multiple && argument.multiple_token && argument.optional);
        assert_eq!((argument.token, argument.since), (Some("PREFIX"), Some("6.0.0")));
        assert_eq!(argument.deprecated_since, Some("7.0.0"));
        let argument = one("LADDR laddr~ip:port:string@6.2.0");
        assert_eq!((argument.name, argument.display, argument.kind), ("laddr", "ip:port", Kind::Value("string")));
    }

    #[test]
    fn tokens() {
        assert_eq!(one("replace=REPLACE").token, Some("REPLACE"));
        assert_eq!(one("equal==").token, Some("="));
        assert_eq!(one("approximately=~").token, Some("~"));
        assert_eq!(one("all=*...").token, Some("*"));
        assert_eq!(one("empty-string=\"\"").token, Some(""));
        assert_eq!(one("\"\" value:string").token, Some(""));
        assert_eq!(one("LIB-NAME libname~x<a=A|b:string>").token, Some("LIB-NAME"));
    }

    #[test]
    fn sentences() {
        let argument = one("[IFEQ value:string...{Not [this]: that.}@8.1.0]");
        assert_eq!((argument.summary, argument.since), (Some("Not [this]: that."), Some("8.1.0")));
    }

    #[test]
    fn nested() {
        let argument = one("[GET get(field:string [data(a:key#0 b:double)...] mode<on=ON|[off=OFF]>)...+]");
        assert_eq!(argument.token, Some("GET"));
        assert_eq!(argument.kind.inner().len(), 3);
        assert_eq!(argument.kind.inner()[1].kind.inner().len(), 2);
        assert!(argument.kind.inner()[2].kind.inner()[1].optional);
    }

    #[test]
    fn refused() {
        for bad in [
            "a",
            "a:bogus",
            "A b=C",
            "[a:key",
            "a:key]",
            "a<b:key",
            "a:key  b:key",
            "a:key ",
            ":key",
            "a:key#x",
            "a:key{",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    fn any_argument() -> impl Strategy<Value = String> {
        let leaf =
            prop_oneof!["[a-z-]{1,5}:(key#1|string|unix-time)", "[a-z]{1,5}=[A-Z*=~$]{1,4}", "z=\"\"", "a~b:c:key"];
        leaf.prop_recursive(3, 12, 3, |inner| {
            let many = prop::collection::vec(inner, 1..4);
            let suffix = "(\\.\\.\\.\\+?)?(@[0-9]\\.[0-9])?(![0-9]\\.[0-9])?";
            (many, 0..6, suffix).prop_map(|(inner, form, suffix)| match form {
                0 => format!("n<{}>{suffix}", inner.join("|")),
                1 => format!("n({}){suffix}", inner.join(" ")),
                2 => format!("[n<{}>{suffix}]", inner.join("|")),
                3 => format!("[TOKEN n({}){suffix}]", inner.join(" ")),
                4 => format!("TOKEN n:integer{suffix}"),
                _ => format!("[n=TOKEN{suffix}]"),
            })
        })
    }

    proptest! {
        #[test]
        fn prints_what_it_reads(arguments in prop::collection::vec(any_argument(), 1..4)) {
            let syntax: &'static str = Box::leak(arguments.join(" ").into_boxed_str());
            prop_assert_eq!(joined(&parse(syntax).unwrap(), " "), syntax);
        }

        #[test]
        fn survives_anything(syntax in "[a-zA-Z\\[\\]<>()|#@!:=~. +\"é]{0,40}") {
            let syntax: &'static str = Box::leak(syntax.into_boxed_str());
            let _ = parse(syntax);
        }
    }
}
