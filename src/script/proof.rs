//! What a script's text proves about the keys that it touches.
//!
//! A script whose every call of the server has the form `redis.call('name', KEYS[1]` is known, without running it, to touch nothing
//! but the keys that its request declares, if each of these commands takes its only key in this place: so their shards are the only
//! ones that it has to lock. The proof is of words, not of meaning, and errs on one side: whatever could lead to `redis` or `KEYS` in
//! another way (another name for them, an environment, code from text) makes the answer "unknown".
//!
//! Must not know: commands. Source: the Lua 5.1 reference manual, chapter 2 and its grammar.

/// A word of Lua.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Token<'t> {
    /// A name that is no keyword.
    Name(&'t [u8]),
    Keyword(&'t [u8]),
    /// What stands between the quotes of a string without escapes; `None` for any other string.
    Text(Option<&'t [u8]>),
    Number(&'t [u8]),
    /// `=` is an assignment or a definition; longer operators are [`Token::Operator`].
    Sign(u8),
    Operator,
}

const KEYWORDS: [&str; 21] = [
    "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "if", "in", "local", "nil", "not", "or",
    "repeat", "return", "then", "true", "until", "while",
];

/// Names that lead to globals in other ways than by their names.
const BACK_DOORS: [&[u8]; 8] =
    [b"_G", b"getfenv", b"setfenv", b"getmetatable", b"setmetatable", b"load", b"loadstring", b"coroutine"];

/// Functions and numbers of the server's table that touch no key.
const HARMLESS: [&[u8]; 13] = [
    b"error_reply",
    b"status_reply",
    b"sha1hex",
    b"log",
    b"setresp",
    b"replicate_commands",
    b"LOG_DEBUG",
    b"LOG_VERBOSE",
    b"LOG_NOTICE",
    b"LOG_WARNING",
    b"REDIS_VERSION",
    b"REDIS_VERSION_NUM",
    b"SERVER_NAME",
];

/// What a script calls.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Call {
    /// The command's name.
    pub name: Box<[u8]>,
    /// Whether an element of `KEYS` is its first argument; else it has none.
    pub key: bool,
}

/// The commands that a script calls, if it is certain that it calls no others and that the first argument of each, if it has any, is an
/// element of `KEYS` as the request gave it (or nil, which no command takes). O(length), some microseconds for a short script.
pub fn calls_on_keys(text: &[u8]) -> Option<Vec<Call>> {
    let tokens = tokens(text)?;
    let aliases = aliases(&tokens)?;
    let mut calls: Vec<Call> = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        match token {
            Token::Name(name) if BACK_DOORS.contains(name) => return None,
            Token::Name(b"redis" | b"server") => match call_at(&tokens, at, &aliases)? {
                Some(call) if !calls.contains(&call) => calls.push(call),
                _ => {}
            },
            Token::Name(b"KEYS") if key_at(&tokens, at).is_none() && !is_counted(&tokens, at) => return None,
            Token::Sign(b'=') | Token::Keyword(b"in") if binds_keys(&tokens, at, &aliases) => return None,
            _ => {}
        }
    }
    Some(calls)
}

/// The command that is called where `redis` stands at `at`; `Some(None)` where none is, `None` where that is not certain.
fn call_at(tokens: &[Token<'_>], at: usize, aliases: &[&[u8]]) -> Option<Option<Call>> {
    match *tokens.get(at + 1..)? {
        [Token::Sign(b'.'), Token::Name(name), ..] if HARMLESS.contains(&name) => Some(None),
        [
            Token::Sign(b'.'),
            Token::Name(b"call" | b"pcall"),
            Token::Sign(b'('),
            Token::Text(Some(name)),
            Token::Sign(b')'),
            ..,
        ] => Some(Some(Call { name: name.into(), key: false })),
        [
            Token::Sign(b'.'),
            Token::Name(b"call" | b"pcall"),
            Token::Sign(b'('),
            Token::Text(Some(name)),
            Token::Sign(b','),
            ref rest @ ..,
        ] => {
            let behind = match *rest {
                [Token::Name(b"KEYS"), ..] => key_at(rest, 0)?,
                [Token::Name(alias), ..] if aliases.contains(&alias) => 1,
                _ => return None,
            };
            matches!(rest.get(behind), Some(Token::Sign(b',' | b')')))
                .then(|| Some(Call { name: name.into(), key: true }))
        }
        _ => None,
    }
}

/// The place behind `KEYS[number]` at `at`.
fn key_at(tokens: &[Token<'_>], at: usize) -> Option<usize> {
    match tokens.get(at..)? {
        [Token::Name(b"KEYS"), Token::Sign(b'['), Token::Number(number), Token::Sign(b']'), ..]
            if number.iter().all(u8::is_ascii_digit) =>
        {
            Some(at + 4)
        }
        _ => None,
    }
}

/// Whether `KEYS` at `at` stands behind `#`.
fn is_counted(tokens: &[Token<'_>], at: usize) -> bool {
    let before = at.checked_sub(1).and_then(|before| tokens.get(before));
    let behind = tokens.get(at + 1);
    before == Some(&Token::Sign(b'#'))
        && !matches!(behind, Some(Token::Sign(b'[' | b'.' | b':' | b'(' | b'{') | Token::Text(_)))
}

/// Names that are given to elements of `KEYS`, by `local name = KEYS[number]`, and to nothing else; `None` where that is not certain.
fn aliases<'t>(tokens: &[Token<'t>]) -> Option<Vec<&'t [u8]>> {
    let mut aliases = Vec::new();
    for at in 0..tokens.len() {
        if let [Token::Keyword(b"local"), Token::Name(name), Token::Sign(b'='), ref rest @ ..] = tokens[at..]
            && let Some(behind) = key_at(rest, 0)
            && matches!(rest.get(behind), None | Some(Token::Name(_) | Token::Sign(b';') | Token::Keyword(_)))
            && !matches!(rest.get(behind), Some(Token::Keyword(b"and" | b"or")))
            && name != b"KEYS"
        {
            aliases.push(name);
        }
    }
    // Parameters could have the same names.
    let functions = tokens.contains(&Token::Keyword(b"function"));
    let bound_elsewhere = (1..tokens.len()).any(|at| match (tokens[at - 1], tokens[at]) {
        (Token::Keyword(b"local"), Token::Name(name)) => aliases.contains(&name) && !is_definition(tokens, at + 1),
        (Token::Keyword(b"for"), Token::Name(name)) => aliases.contains(&name),
        _ => false,
    });
    (aliases.is_empty() || !functions && !bound_elsewhere).then_some(aliases)
}

/// Whether the `=` at `at` gives a local name an element of `KEYS` alone.
fn is_definition(tokens: &[Token<'_>], at: usize) -> bool {
    let is_local = at >= 2 && matches!(tokens[at - 2..at], [Token::Keyword(b"local"), Token::Name(_)]);
    let behind = (tokens.get(at) == Some(&Token::Sign(b'='))).then(|| key_at(tokens, at + 1)).flatten();
    let ends = |behind: usize| match tokens.get(behind) {
        None | Some(Token::Name(_) | Token::Sign(b';')) => true,
        Some(Token::Keyword(word)) => !matches!(*word, b"and" | b"or"),
        Some(_) => false,
    };
    is_local && behind.is_some_and(ends)
}

/// Whether what is assigned to, or bound, before the `=` or `in` at `at` may be `KEYS`, an element of it, or an alias of one. What it
/// takes for names that are bound may reach too far back, never not far enough.
fn binds_keys(tokens: &[Token<'_>], at: usize, aliases: &[&[u8]]) -> bool {
    if is_definition(tokens, at) {
        return false;
    }
    let mut depth = 0_usize;
    for token in tokens[..at].iter().rev() {
        match token {
            Token::Sign(b')' | b']' | b'}') => depth += 1,
            Token::Sign(b'(' | b'[' | b'{') => match depth.checked_sub(1) {
                Some(outer) => depth = outer,
                None => return false,
            },
            _ if depth > 0 => {}
            Token::Name(name) if *name == b"KEYS" || aliases.contains(name) => return true,
            Token::Keyword(_) | Token::Sign(b'=' | b';') => return false,
            _ => {}
        }
    }
    false
}

/// The words of a text; `None` where it is not Lua.
fn tokens(text: &[u8]) -> Option<Vec<Token<'_>>> {
    let (mut tokens, mut rest) = (Vec::new(), text);
    while let [first, behind @ ..] = rest {
        let (token, left) = match first {
            b' ' | b'\t' | b'\r' | b'\n' | 0x0b | 0x0c => {
                rest = behind;
                continue;
            }
            b'-' if behind.first() == Some(&b'-') => {
                rest = behind_comment(&behind[1..])?;
                continue;
            }
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => name(rest),
            b'0'..=b'9' => number(rest),
            b'.' if behind.first().is_some_and(u8::is_ascii_digit) => number(rest),
            b'"' | b'\'' => quoted(*first, behind)?,
            b'[' if long_level(behind).is_some() => (Token::Text(None), behind_long(rest)?),
            b'=' | b'<' | b'>' | b'~' if behind.first() == Some(&b'=') => (Token::Operator, &behind[1..]),
            b'.' if behind.first() == Some(&b'.') => (Token::Operator, behind.trim_prefix_of(b'.')),
            b'+' | b'-' | b'*' | b'/' | b'%' | b'^' | b'<' | b'>' => (Token::Operator, behind),
            b'#' | b'(' | b')' | b'{' | b'}' | b'[' | b']' | b';' | b':' | b',' | b'.' | b'=' => {
                (Token::Sign(*first), behind)
            }
            _ => return None,
        };
        tokens.push(token);
        rest = left;
    }
    Some(tokens)
}

/// Leaving out what begins a run of one byte.
trait TrimPrefix {
    /// Behind all of these bytes at the front.
    fn trim_prefix_of(&self, byte: u8) -> &Self;
}

impl TrimPrefix for [u8] {
    fn trim_prefix_of(&self, byte: u8) -> &[u8] {
        &self[self.iter().take_while(|other| **other == byte).count()..]
    }
}

fn name(text: &[u8]) -> (Token<'_>, &[u8]) {
    let len = text.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
    let (word, rest) = text.split_at(len);
    let keyword = KEYWORDS.iter().any(|keyword| keyword.as_bytes() == word);
    (if keyword { Token::Keyword(word) } else { Token::Name(word) }, rest)
}

/// A number, or more than one where that is not told apart; what is taken for one is none that ends a key's name.
fn number(text: &[u8]) -> (Token<'_>, &[u8]) {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_');
    let (word, rest) = text.split_at(text.iter().take_while(|byte| is_part(byte)).count());
    (Token::Number(word), rest)
}

/// The string behind a quote.
fn quoted(quote: u8, text: &[u8]) -> Option<(Token<'_>, &[u8])> {
    let (mut at, mut plain) = (0, true);
    loop {
        match *text.get(at)? {
            b'\\' => {
                plain = false;
                at += 1;
            }
            b'\n' | b'\r' => return None,
            byte if byte == quote => break,
            _ => {}
        }
        at += 1;
    }
    Some((Token::Text(plain.then_some(&text[..at])), &text[at + 1..]))
}

/// The level of the long bracket whose first `[` stands before `text`.
fn long_level(text: &[u8]) -> Option<usize> {
    let level = text.iter().take_while(|byte| **byte == b'=').count();
    (text.get(level) == Some(&b'[')).then_some(level)
}

/// Behind the long string or comment that begins `text`.
fn behind_long(text: &[u8]) -> Option<&[u8]> {
    let level = long_level(text.get(1..)?)?;
    let end = [&b"]"[..], &vec![b'='; level], b"]"].concat();
    let inside = &text[level + 2..];
    let at = memchr::memmem::find(inside, &end)?;
    Some(&inside[at + end.len()..])
}

/// Behind the comment whose dashes stand before `text`.
fn behind_comment(text: &[u8]) -> Option<&[u8]> {
    if text.first() == Some(&b'[') && long_level(&text[1..]).is_some() {
        return behind_long(text);
    }
    Some(memchr::memchr2(b'\n', b'\r', text).map_or(&[], |end| &text[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calls(text: &str) -> Option<Vec<String>> {
        let calls = calls_on_keys(text.as_bytes())?;
        assert!(calls.iter().all(|call| call.key != (*call.name == *b"TIME")));
        Some(calls.into_iter().map(|call| String::from_utf8_lossy(&call.name).into_owned()).collect())
    }

    #[test]
    fn proves_what_touches_its_keys_alone() {
        for text in [
            "local n = redis.call('GET', KEYS[1]) if n then return n end return redis.call('INCR',KEYS[2])",
            "-- counts\nlocal key = KEYS[1]\nlocal n = redis.pcall(\"GET\", key)\nreturn redis.call('INCR', key)",
            "--[[ redis.call(x) ]] local a = KEYS[1]; local b = KEYS[2] redis.call('GET', a) return redis.call('INCR', b)",
            "local t = {} t[KEYS[1]] = redis.call('GET', KEYS[1]) local u = { a = 1, b = #KEYS } return redis.call('INCR', KEYS[1], #u)",
            "local f = function(x, y) return redis.call('GET', KEYS[1], x) end redis.call('INCR', KEYS[2]) return f(1 == 2, [[KEYS]])",
            "if KEYS[1] == 'x' then redis.log(redis.LOG_NOTICE, KEYS[1]..'x') end redis.call('GET', KEYS[1]) redis.call('INCR', KEYS[1])",
        ] {
            assert_eq!(calls(text), Some(vec!["GET".into(), "INCR".into()]), "{text}");
        }
        assert_eq!(calls("return #KEYS"), Some(vec![]));
        assert_eq!(calls("return redis.call('TIME')"), Some(vec!["TIME".into()]));
    }

    #[test]
    fn does_not_prove_what_may_touch_others() {
        for text in [
            "return redis.call('GET', 'key')",
            "return redis.call('GET', KEYS[1]..'x')",
            "return redis.call('GET', KEYS[1] or 'x')",
            "return redis.call('GET', KEYS[i])",
            "return redis.call('GET', KEYS[0x1])",
            "return redis.call('GET', (KEYS[1]))",
            "return redis.call('GET', ARGV[1])",
            "return redis.call('G\\69T', KEYS[1])",
            "return redis.call(name, KEYS[1])",
            "return redis.call([[GET]], KEYS[1])",
            "return redis.call(unpack(ARGV))",
            "return redis.call'GET'",
            "return redis['call']('GET', 'x')",
            "local call = redis.call return call('GET', 'x')",
            "local r = redis return r.call('GET', 'x')",
            "return server.call('GET', 'x')",
            "return _G.redis.call('GET', 'x')",
            "return loadstring('return redis.call(\"GET\", \"x\")')()",
            "return getfenv(1)['red' .. 'is'].call('GET', 'x')",
            "KEYS[1] = 'x' return redis.call('GET', KEYS[1])",
            "KEYS[1], y = 'x', 2 return redis.call('GET', KEYS[1])",
            "local t = {} t.x, KEYS[1] = 1, 'x' return redis.call('GET', KEYS[1])",
            "local t = {} KEYS[1], t[1 and 2] = 'x', 2 return redis.call('GET', KEYS[1])",
            "f(function() KEYS[1], y = 'x', 2 end) return redis.call('GET', KEYS[1])",
            "a = b KEYS[1], y = 1, 2 return redis.call('GET', KEYS[1])",
            "local KEYS = {'x'} return redis.call('GET', KEYS[1])",
            "local K = KEYS K[1] = 'x' return redis.call('GET', KEYS[1])",
            "for _, KEYS in pairs({{'x'}}) do redis.call('GET', KEYS[1]) end",
            "local function f(KEYS) return redis.call('GET', KEYS[1]) end return f({'x'})",
            "table.insert(KEYS, 1, 'x') return redis.call('GET', KEYS[1])",
            "(KEYS)[1] = 'x' return redis.call('GET', KEYS[1])",
            "local k = KEYS[1] k = 'x' return redis.call('GET', k)",
            "local k = KEYS[1] a, k = 1, 'x' return redis.call('GET', k)",
            "local k = KEYS[1] local k = 'x' return redis.call('GET', k)",
            "local k = KEYS[1] local a, k = 1, 'x' return redis.call('GET', k)",
            "local k = KEYS[1] local a, k, b = 1, 'x' return redis.call('GET', k)",
            "local k = KEYS[1] .. 'x' return redis.call('GET', k)",
            "local k = KEYS[1] or 'x' return redis.call('GET', k)",
            "local k = KEYS[1] 'x' return redis.call('GET', k)",
            "local k = KEYS[1] for k = 1, 2 do redis.call('GET', k) end",
            "local k = KEYS[1] for i, k in ipairs({'x'}) do redis.call('GET', k) end",
            "local k = KEYS[1] for i, k, j in ipairs({'x'}) do redis.call('GET', k) end",
            "local k = KEYS[1] local f = function(i, k, j) return redis.call('GET', k) end return f(1, 'x', 2)",
            "local k = KEYS[1] local function k() end return redis.call('GET', k)",
            "return redis.call('GET', k)",
            "return redis.call('GET', #KEYS[1])",
            "return 'unfinished",
            "return `x`",
        ] {
            assert_eq!(calls(text), None, "{text}");
        }
    }
}
