//! A value of an option: reading it from words, printing it as CONFIG GET does.
//!
//! Invariant: `read(print(v)) == v` for every kind, so that CONFIG REWRITE loses nothing.
//! It must not know where values live nor which options exist.
//! Source: error texts and canonical forms asked of Valkey 9.1.

use std::borrow::Cow;
use std::sync::Arc;

use crate::config::spec::{Kind, OptionSpec, Origin};
use crate::config::units;

/// Why a value was refused, in the words that a client reads.
pub type Refusal = Cow<'static, str>;

/// A value of any kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Numbers, memory (as the bits of a `u64`), yes/no, indexes and bits.
    Number(i64),
    /// Texts and lists, in canonical form.
    Text(Arc<[u8]>),
    /// Output limits of the three classes of clients, in the order of [`ClientClass`].
    Limits([OutputLimit; 3]),
}

/// The classes of clients whose output is limited apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientClass {
    /// Ordinary clients and monitors.
    Normal,
    /// Replicas.
    Replica,
    /// Clients with a subscription.
    Pubsub,
}

/// Their names as CONFIG GET prints them.
const CLASSES: [&str; 3] = ["normal", "slave", "pubsub"];

/// Limits of the output that may wait for a client; 0 is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OutputLimit {
    /// Bytes at which the client is closed at once.
    pub hard_bytes: u64,
    /// Bytes that may not be exceeded for longer than `soft_seconds`.
    pub soft_bytes: u64,
    /// Seconds that the soft limit may be exceeded.
    pub soft_seconds: u64,
}

/// Bits of `notify-keyspace-events`.
pub mod notify {
    /// `K`: publish on `__keyspace@<db>__:<key>`.
    pub const KEYSPACE: u32 = 1;
    /// `E`: publish on `__keyevent@<db>__:<event>`.
    pub const KEYEVENT: u32 = 1 << 1;
    /// `g`: DEL, EXPIRE, RENAME and other commands of no type.
    pub const GENERIC: u32 = 1 << 2;
    /// `$`: strings.
    pub const STRING: u32 = 1 << 3;
    /// `l`: lists.
    pub const LIST: u32 = 1 << 4;
    /// `s`: sets.
    pub const SET: u32 = 1 << 5;
    /// `h`: hashes.
    pub const HASH: u32 = 1 << 6;
    /// `z`: sorted sets.
    pub const SORTED_SET: u32 = 1 << 7;
    /// `x`: a key expired.
    pub const EXPIRED: u32 = 1 << 8;
    /// `e`: a key was evicted.
    pub const EVICTED: u32 = 1 << 9;
    /// `t`: streams.
    pub const STREAM: u32 = 1 << 10;
    /// `m`: a read missed; not part of `A`.
    pub const KEY_MISS: u32 = 1 << 11;
    /// `d`: module types.
    pub const MODULE: u32 = 1 << 13;
    /// `n`: a key was created; not part of `A`.
    pub const NEW: u32 = 1 << 14;
    /// `A`: `g$lshzxetd`.
    pub const ALL: u32 = GENERIC | STRING | LIST | SET | HASH | SORTED_SET | EXPIRED | EVICTED | STREAM | MODULE;

    /// Classes in the order in which they are printed: those of `A`, then the others.
    pub(super) const LETTERS: [(u8, u32); 14] = [
        (b'g', GENERIC),
        (b'$', STRING),
        (b'l', LIST),
        (b's', SET),
        (b'h', HASH),
        (b'z', SORTED_SET),
        (b'x', EXPIRED),
        (b'e', EVICTED),
        (b't', STREAM),
        (b'd', MODULE),
        (b'n', NEW),
        (b'K', KEYSPACE),
        (b'E', KEYEVENT),
        (b'm', KEY_MISS),
    ];
}

impl OptionSpec {
    /// Reads a value from the words after the option's name.
    ///
    /// `current` is what the words refine (output limits name some classes only, and save points of a second line
    /// add to those of the first when `adds` is set). The error is Redis's text.
    pub fn read(&self, words: &[&[u8]], current: &Value, adds: bool, origin: Origin) -> Result<Value, Refusal> {
        let value = match (self.kind.takes_list(), words) {
            (true, words) => self.kind.read_list(words, current, adds)?,
            (false, [word]) => self.kind.read_word(word)?,
            (false, _) => return Err("wrong number of arguments".into()),
        };
        let value = match value {
            Value::Number(n) => Value::Number(n.clamp(self.clamp.0, self.clamp.1)),
            other => other,
        };
        match self.check {
            Some(check) => check(&value, origin).map(|()| value).map_err(Into::into),
            None => Ok(value),
        }
    }

    /// The value an option has when nothing sets it.
    pub fn default_value(&self) -> Value {
        let words: Vec<&[u8]> = match (self.kind.takes_list(), self.default) {
            (true, "") => Vec::new(),
            (true, list) => list.split(' ').map(str::as_bytes).collect(),
            (false, word) => vec![word.as_bytes()],
        };
        let empty = self.kind.empty();
        // A test reads every default of the table; only a vanished working directory can fail here.
        self.read(&words, &empty, false, Origin::Startup).unwrap_or_else(|_| text(self.default.as_bytes()))
    }
}

/// Makes a text value.
fn text(bytes: &[u8]) -> Value {
    Value::Text(Arc::from(bytes))
}

impl Kind {
    /// The value from which a list is refined when there is none yet.
    fn empty(&self) -> Value {
        match self {
            Kind::OutputLimits => Value::Limits([OutputLimit::default(); 3]),
            _ => text(b""),
        }
    }

    /// Reads a value that is one word.
    fn read_word(&self, word: &[u8]) -> Result<Value, Refusal> {
        match *self {
            Kind::YesNo => read_yes_no(word),
            Kind::Integer { min, max } => read_integer(word, min, max),
            Kind::Octal { max } => read_octal(word, max),
            Kind::Memory { min, max } => read_memory(word, min, max),
            Kind::MemoryOrPercent => read_memory_or_percent(word),
            Kind::Choice(names) => index_of(names, word).map(Value::Number).ok_or_else(|| one_of(names)),
            Kind::Events => read_events(word),
            Kind::Directory => read_directory(word),
            _ => Ok(text(word)),
        }
    }

    /// Reads a value that is a list of words.
    fn read_list(&self, words: &[&[u8]], current: &Value, adds: bool) -> Result<Value, Refusal> {
        let words = if matches!(words, [b""]) { &[] } else { words };
        match *self {
            Kind::Words(names) => read_words(names, words),
            Kind::SavePoints => read_save_points(words, current, adds),
            Kind::OutputLimits => read_limits(words, current),
            Kind::OomScores => read_oom_scores(words),
            Kind::Percentiles => read_percentiles(words),
            Kind::Primary => read_primary(words),
            _ if words.len() > MAX_ADDRESSES => Err("Too many bind addresses specified.".into()),
            _ => Ok(text(&words.join(&b' '))),
        }
    }

    /// Prints a value as CONFIG GET does.
    pub fn print(&self, value: &Value) -> Vec<u8> {
        match value {
            Value::Text(bytes) => bytes.to_vec(),
            Value::Limits(limits) => print_limits(limits).into_bytes(),
            Value::Number(n) => self.print_number(*n).into_bytes(),
        }
    }

    /// Prints a value that is held as a number.
    fn print_number(&self, n: i64) -> String {
        match *self {
            Kind::YesNo => (if n == 0 { "no" } else { "yes" }).to_owned(),
            Kind::Octal { .. } => format!("{n:o}"),
            Kind::Memory { .. } => n.cast_unsigned().to_string(),
            Kind::MemoryOrPercent if n < 0 => format!("{}%", n.unsigned_abs()),
            Kind::Choice(names) => name_at(names, n).to_owned(),
            Kind::Words(names) => print_words(names, n),
            Kind::Events => print_events(n),
            _ => n.to_string(),
        }
    }
}

/// As many addresses as Redis listens on.
const MAX_ADDRESSES: usize = 16;

fn read_yes_no(word: &[u8]) -> Result<Value, Refusal> {
    index_of(&["no", "yes"], word).map(Value::Number).ok_or(Cow::Borrowed("argument must be 'yes' or 'no'"))
}

fn read_integer(word: &[u8], min: i64, max: i64) -> Result<Value, Refusal> {
    let n = units::integer(word).ok_or("argument couldn't be parsed into an integer")?;
    if (min..=max).contains(&n) { Ok(Value::Number(n)) } else { Err(between(min, max)) }
}

fn read_octal(word: &[u8], max: i64) -> Result<Value, Refusal> {
    let n = units::octal(word).ok_or("argument couldn't be parsed as an octal number")?;
    if n <= max {
        Ok(Value::Number(n))
    } else {
        Err(format!("argument must be between 0 and {max:o} inclusive").into())
    }
}

fn read_memory(word: &[u8], min: u64, max: u64) -> Result<Value, Refusal> {
    let n = units::memory(word).ok_or("argument must be a memory value")?;
    if (min..=max).contains(&n) { Ok(Value::Number(n.cast_signed())) } else { Err(between(min, max)) }
}

fn read_memory_or_percent(word: &[u8]) -> Result<Value, Refusal> {
    if let Some(percent) = units::percent(word) {
        let too_much = "percentage argument must be less or equal to 100";
        return if percent <= 100 { Ok(Value::Number(-percent)) } else { Err(too_much.into()) };
    }
    let bytes = units::memory(word).ok_or("argument must be a memory or percent value")?;
    i64::try_from(bytes).map(Value::Number).map_err(|_| between(-100, i64::MAX))
}

fn between(min: impl std::fmt::Display, max: impl std::fmt::Display) -> Refusal {
    format!("argument must be between {min} and {max} inclusive").into()
}

fn one_of(names: &[&str]) -> Refusal {
    format!("argument(s) must be one of the following: {}", names.join(", ")).into()
}

/// The place of a name in a list, in any letter case.
fn index_of(names: &[&str], word: &[u8]) -> Option<i64> {
    let found = names.iter().position(|name| name.as_bytes().eq_ignore_ascii_case(word))?;
    i64::try_from(found).ok()
}

/// The name at an index; the first one should the index be none of ours.
pub(super) fn name_at(names: &'static [&'static str], index: i64) -> &'static str {
    let index = usize::try_from(index).unwrap_or_default();
    names.get(index).or_else(|| names.first()).copied().unwrap_or_default()
}

fn read_words(names: &[&str], words: &[&[u8]]) -> Result<Value, Refusal> {
    if words.is_empty() {
        return Err(one_of(names));
    }
    let mut bits = 0;
    for word in words {
        let index = index_of(names, word).ok_or_else(|| one_of(names))?;
        bits |= (1 << index) >> 1; // the first name adds no bit
    }
    Ok(Value::Number(bits))
}

fn print_words(names: &[&str], bits: i64) -> String {
    let chosen: Vec<&str> =
        names.iter().skip(1).enumerate().filter(|(i, _)| bits >> i & 1 == 1).map(|(_, name)| *name).collect();
    if chosen.is_empty() { names.first().copied().unwrap_or_default().to_owned() } else { chosen.join(" ") }
}

fn read_events(word: &[u8]) -> Result<Value, Refusal> {
    let mut bits = 0;
    for letter in word {
        bits |= match notify::LETTERS.iter().find(|(l, _)| l == letter) {
            Some((_, bit)) => *bit,
            None if *letter == b'A' => notify::ALL,
            None => return Err("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.".into()),
        };
    }
    Ok(Value::Number(bits.into()))
}

/// Prints the letters of event classes, `A` for all that it covers. (Valkey loses `n` beside `A`; larder keeps it.)
fn print_events(bits: i64) -> String {
    let all = i64::from(notify::ALL);
    let mut letters = String::from(if bits & all == all { "A" } else { "" });
    let hidden = if letters.is_empty() { 0 } else { all };
    for (letter, bit) in notify::LETTERS {
        if bits & !hidden & i64::from(bit) != 0 {
            letters.push(char::from(letter));
        }
    }
    letters
}

fn read_directory(word: &[u8]) -> Result<Value, Refusal> {
    use std::os::unix::ffi::OsStrExt;
    let path = std::path::Path::new(std::ffi::OsStr::from_bytes(word));
    let path = std::fs::canonicalize(path).map_err(|error| os_text(&error))?;
    if !path.is_dir() {
        return Err("Not a directory".into());
    }
    Ok(text(path.as_os_str().as_bytes()))
}

/// The operating system's words for an error, without Rust's suffix.
pub(super) fn os_text(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split_once(" (os error").map_or_else(|| text.clone(), |(words, _)| words.to_owned())
}

fn read_save_points(words: &[&[u8]], current: &Value, adds: bool) -> Result<Value, Refusal> {
    const BAD: Refusal = Cow::Borrowed("Invalid save parameters");
    if !words.len().is_multiple_of(2) {
        return Err(BAD);
    }
    for pair in words.chunks_exact(2) {
        let seconds = units::integer(pair[0]).ok_or(BAD)?;
        let changes = units::integer(pair[1]).ok_or(BAD)?;
        if seconds < 1 || !(0..=i64::from(i32::MAX)).contains(&changes) {
            return Err(BAD);
        }
    }
    let added = words.join(&b' ');
    match current {
        Value::Text(before) if adds && !before.is_empty() && !added.is_empty() => {
            Ok(text(&[before, added.as_slice()].join(&b' ')))
        }
        _ => Ok(text(&added)),
    }
}

fn read_limits(words: &[&[u8]], current: &Value) -> Result<Value, Refusal> {
    const BAD: Refusal = Cow::Borrowed("Error in hard, soft or soft_seconds setting in buffer limit configuration.");
    if !words.len().is_multiple_of(4) {
        return Err("Wrong number of arguments in buffer limit configuration.".into());
    }
    let mut limits = if let Value::Limits(limits) = current { *limits } else { Default::default() };
    for four in words.chunks_exact(4) {
        let class = class_named(four[0]).ok_or("Invalid client class specified in buffer limit configuration.")?;
        let hard_bytes = units::memory(four[1]).ok_or(BAD)?;
        let soft_bytes = units::memory(four[2]).ok_or(BAD)?;
        let soft_seconds = units::integer(four[3]).and_then(|n| u64::try_from(n).ok()).ok_or(BAD)?;
        limits[class as usize] = OutputLimit { hard_bytes, soft_bytes, soft_seconds };
    }
    Ok(Value::Limits(limits))
}

fn class_named(word: &[u8]) -> Option<ClientClass> {
    match word.to_ascii_lowercase().as_slice() {
        b"normal" => Some(ClientClass::Normal),
        b"slave" | b"replica" => Some(ClientClass::Replica),
        b"pubsub" => Some(ClientClass::Pubsub),
        _ => None,
    }
}

fn print_limits(limits: &[OutputLimit; 3]) -> String {
    let each = CLASSES
        .iter()
        .zip(limits)
        .map(|(name, limit)| format!("{name} {} {} {}", limit.hard_bytes, limit.soft_bytes, limit.soft_seconds));
    each.collect::<Vec<_>>().join(" ")
}

fn read_oom_scores(words: &[&[u8]]) -> Result<Value, Refusal> {
    if words.len() != 3 {
        return Err("wrong number of arguments".into());
    }
    let fits = |word: &&[u8]| units::integer(word).is_some_and(|n| (-2000..=2000).contains(&n));
    if !words.iter().all(fits) {
        return Err("Invalid oom-score-adj-values, elements must be between -2000 and 2000.".into());
    }
    Ok(text(&words.join(&b' ')))
}

fn read_percentiles(words: &[&[u8]]) -> Result<Value, Refusal> {
    let mut printed = Vec::with_capacity(words.len());
    for word in words {
        let number = std::str::from_utf8(word).ok().and_then(|word| word.parse::<f64>().ok()).filter(|n| !n.is_nan());
        let number = number.ok_or("Invalid latency-tracking-info-percentiles parameters")?;
        if !(0.0..=100.0).contains(&number) {
            return Err("latency-tracking-info-percentiles parameters should sit between [0.0,100.0]".into());
        }
        let digits = format!("{number:.6}");
        printed.push(digits.trim_end_matches('0').trim_end_matches('.').to_owned());
    }
    Ok(text(printed.join(" ").as_bytes()))
}

fn read_primary(words: &[&[u8]]) -> Result<Value, Refusal> {
    match words {
        [] => Ok(text(b"")),
        [no, one] if no.eq_ignore_ascii_case(b"no") && one.eq_ignore_ascii_case(b"one") => Ok(text(b"")),
        [_, port] if units::integer(port).is_none_or(|port| !(0..=65535).contains(&port)) => {
            Err("Invalid primary port".into())
        }
        [host, port] => Ok(text(&[*host, *port].join(&b' '))),
        _ => Err("wrong number of arguments".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::options::ROWS;

    #[test]
    fn every_default_reads_and_prints_as_itself() {
        for spec in ROWS {
            let value = spec.default_value();
            let printed = spec.kind.print(&value);
            if matches!(spec.kind, Kind::Directory) {
                continue; // printed as the absolute path
            }
            let words: Vec<&[u8]> =
                if spec.kind.takes_list() { printed.split(|b| *b == b' ').collect() } else { vec![&printed] };
            let again = spec.read(&words, &spec.kind.empty(), false, Origin::Startup);
            assert_eq!(again.as_ref(), Ok(&value), "{}", spec.name);
        }
    }

    #[test]
    fn event_letters_print_in_canonical_order() {
        let cases = [("Egx", "gxE"), ("g$lshzxetdmnKEA", "AnKEm"), ("g$lshzxetd", "A"), ("mdg", "gdm"), ("Kn", "nK")];
        for (given, printed) in cases {
            let value = Kind::Events.read_word(given.as_bytes()).unwrap();
            assert_eq!(Kind::Events.print(&value), printed.as_bytes(), "{given}");
        }
    }
}
