//! The manifest: which files make up a log, and in which order.
//!
//! One line for each file: `file NAME seq N type b|h|i`, names with odd bytes in double quotes; lines that begin with `#` are
//! comments. Invariant: at most one base; the numbers of incremental files grow. Must not know: what is in the files.
//! Source: the manifest of Redis 7.

use super::names::Names;
use std::fmt;

/// The longest line, in bytes.
const LINE_MAX: usize = 1024;

/// What a file is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The data as of a moment.
    Base,
    /// Replaced by a later base: to be deleted.
    History,
    /// What was done since.
    Incremental,
}

impl Kind {
    fn letter(self) -> char {
        match self {
            Kind::Base => 'b',
            Kind::History => 'h',
            Kind::Incremental => 'i',
        }
    }
}

/// A file of the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Part {
    /// Its name in the directory.
    pub name: String,
    /// Its number among those of its kind.
    pub seq: u64,
    /// What it is.
    pub kind: Kind,
}

/// The files of a log.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Manifest {
    /// The data as of a moment.
    pub base: Option<Part>,
    /// What was done since, in order.
    pub incremental: Vec<Part>,
    /// What is to be deleted.
    pub history: Vec<Part>,
    /// The greatest number that a base has had.
    pub base_seq: u64,
    /// The greatest number that an incremental file has had.
    pub incremental_seq: u64,
}

/// Why a manifest cannot be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ManifestError {
    /// The line, from 1; 0 when the whole is at fault.
    pub line: usize,
    /// What the line holds.
    pub text: String,
    /// What is wrong.
    pub why: &'static str,
}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "Reading the manifest file, at line {} >>> '{}': ", self.line, self.text)?;
        }
        f.write_str(self.why)
    }
}

impl std::error::Error for ManifestError {}

impl Manifest {
    /// Reads the text of a manifest.
    pub fn parse(text: &[u8]) -> Result<Manifest, ManifestError> {
        let mut manifest = Manifest::default();
        if text.is_empty() {
            return Err(ManifestError { line: 0, text: String::new(), why: "Found an empty AOF manifest" });
        }
        let lines = text.strip_suffix(b"\n").unwrap_or(text).split(|byte| *byte == b'\n');
        let ended = text.ends_with(b"\n");
        let count = lines.clone().count();
        for (index, line) in lines.enumerate() {
            let shown = String::from_utf8_lossy(line).trim_matches([' ', '\t', '\r']).to_owned();
            let fail = |why| ManifestError { line: index + 1, text: shown.clone(), why };
            if line.starts_with(b"#") {
                continue;
            }
            if line.len() >= LINE_MAX || (index + 1 == count && !ended) {
                return Err(fail("The AOF manifest file contains too long line"));
            }
            let part = read_line(line.trim_ascii()).map_err(fail)?;
            manifest.add(part).map_err(fail)?;
        }
        Ok(manifest)
    }

    fn add(&mut self, part: Part) -> Result<(), &'static str> {
        match part.kind {
            Kind::Base if self.base.is_some() => return Err("Found duplicate base file information"),
            Kind::Base => {
                self.base_seq = part.seq;
                self.base = Some(part);
            }
            Kind::History => self.history.push(part),
            Kind::Incremental if part.seq <= self.incremental_seq => {
                return Err("Found a non-monotonic sequence number");
            }
            Kind::Incremental => {
                self.incremental_seq = part.seq;
                self.incremental.push(part);
            }
        }
        Ok(())
    }

    /// The text of the manifest.
    pub fn format(&self) -> Vec<u8> {
        let parts = self.base.iter().chain(&self.history).chain(&self.incremental);
        let lines =
            parts.map(|part| format!("file {} seq {} type {}\n", quote(&part.name), part.seq, part.kind.letter()));
        lines.collect::<String>().into_bytes()
    }

    /// The files to load, in order.
    pub fn parts(&self) -> impl Iterator<Item = &Part> {
        self.base.iter().chain(&self.incremental)
    }

    /// Whether it names nothing to load.
    pub fn is_empty(&self) -> bool {
        self.base.is_none() && self.incremental.is_empty()
    }

    /// Adds the next incremental file, and returns its name.
    pub fn next_incremental(&mut self, names: &Names) -> String {
        self.incremental_seq += 1;
        let (name, seq) = (names.incremental(self.incremental_seq), self.incremental_seq);
        self.incremental.push(Part { name: name.clone(), seq, kind: Kind::Incremental });
        name
    }

    /// Puts a new base in the place of the former one and of all incremental files but the `kept` last ones, which become
    /// history. Returns its name.
    pub fn next_base(&mut self, names: &Names, rdb: bool, kept: usize) -> String {
        self.base_seq += 1;
        let (name, seq) = (names.base(self.base_seq, rdb), self.base_seq);
        let replaced = self.incremental.len().saturating_sub(kept);
        let old = self.base.replace(Part { name: name.clone(), seq, kind: Kind::Base });
        for part in old.into_iter().chain(self.incremental.drain(..replaced)) {
            self.history.push(Part { kind: Kind::History, ..part });
        }
        name
    }
}

fn read_line(line: &[u8]) -> Result<Part, &'static str> {
    const INVALID: &str = "Invalid AOF manifest file format";
    let words = split(line).ok_or(INVALID)?;
    let (pairs, odd) = words.as_chunks::<2>();
    if pairs.len() < 3 || !odd.is_empty() {
        return Err(INVALID);
    }
    let (mut name, mut seq, mut kind) = (None, 0, None);
    // Other keys are those of later versions.
    for [key, value] in pairs {
        if key.eq_ignore_ascii_case(b"file") {
            if value.iter().any(|byte| matches!(byte, b'/' | b'\\')) {
                return Err("File can't be a path, just a filename");
            }
            name = Some(String::from_utf8(value.clone()).map_err(|_| INVALID)?);
        } else if key.eq_ignore_ascii_case(b"seq") {
            seq = str::from_utf8(value).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
        } else if key.eq_ignore_ascii_case(b"type") {
            kind = value.first().copied();
        }
    }
    let (Some(name), Some(kind), 1..) = (name.filter(|name| !name.is_empty()), kind, seq) else { return Err(INVALID) };
    let kind = match kind {
        b'b' => Kind::Base,
        b'h' => Kind::History,
        b'i' => Kind::Incremental,
        _ => return Err("Unknown AOF file type"),
    };
    Ok(Part { name, seq, kind })
}

/// The words of a line; quoted ones as they were meant. `None` when a quote does not end, or something follows it.
fn split(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let (mut words, mut rest) = (Vec::new(), line.trim_ascii());
    while let Some(first) = rest.first() {
        let word = match first {
            b'"' | b'\'' => {
                let (word, behind) = quoted(&rest[1..], *first)?;
                if behind.first().is_some_and(|byte| !byte.is_ascii_whitespace()) {
                    return None;
                }
                rest = behind;
                word
            }
            _ => {
                let end = rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len());
                let (word, behind) = rest.split_at(end);
                rest = behind;
                word.to_vec()
            }
        };
        words.push(word);
        rest = rest.trim_ascii_start();
    }
    Some(words)
}

/// The word before the closing quote, and what follows that.
fn quoted(text: &[u8], quote: u8) -> Option<(Vec<u8>, &[u8])> {
    let (mut word, mut at) = (Vec::new(), 0);
    loop {
        let byte = *text.get(at)?;
        at += 1;
        match byte {
            _ if byte == quote => return Some((word, text.get(at..)?)),
            b'\\' if quote == b'\'' => {
                let literal = text.get(at) == Some(&b'\'');
                word.push(if literal { b'\'' } else { b'\\' });
                at += usize::from(literal);
            }
            b'\\' => at += escaped(text.get(at..)?, &mut word)?,
            other => word.push(other),
        }
    }
}

/// Adds the byte that an escape stands for; returns the length of the escape behind its backslash.
fn escaped(text: &[u8], word: &mut Vec<u8>) -> Option<usize> {
    if text.first() == Some(&b'x')
        && let Some(digits) = text.get(1..3)
        && let Some(byte) = str::from_utf8(digits).ok().and_then(|digits| u8::from_str_radix(digits, 16).ok())
    {
        word.push(byte);
        return Some(3);
    }
    word.push(match text.first()? {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 8,
        b'a' => 7,
        other => *other,
    });
    Some(1)
}

/// A name as the manifest shows it: in quotes if it needs them.
fn quote(name: &str) -> String {
    let odd = |byte: u8| matches!(byte, b'\\' | b'"' | b'\'' | b' ') || !byte.is_ascii_graphic();
    if !name.bytes().any(odd) {
        return name.to_owned();
    }
    let mut shown = String::from("\"");
    for byte in name.bytes() {
        match byte {
            b'\\' => shown.push_str("\\\\"),
            b'"' => shown.push_str("\\\""),
            b'\n' => shown.push_str("\\n"),
            b'\r' => shown.push_str("\\r"),
            b'\t' => shown.push_str("\\t"),
            7 => shown.push_str("\\a"),
            8 => shown.push_str("\\b"),
            b' '..=b'~' => shown.push(char::from(byte)),
            other => shown.push_str(&format!("\\x{other:02x}")),
        }
    }
    shown.push('"');
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> (usize, &'static str) {
        let error = Manifest::parse(text.as_bytes()).expect_err(text);
        (error.line, error.why)
    }

    #[test]
    fn what_redis_writes_is_read_and_written_alike() {
        let text = "file a.1.base.rdb seq 1 type b\nfile a.0.base.rdb seq 3 type h\nfile a.2.incr.aof seq 2 type i\n\
                    file a.3.incr.aof seq 3 type i\n";
        let manifest = Manifest::parse(text.as_bytes()).expect("a manifest");
        assert_eq!(manifest.format(), text.as_bytes());
        assert_eq!((manifest.base_seq, manifest.incremental_seq, manifest.history.len()), (1, 3, 1));
        let loose = "# remark\n  FILE \"a b\\x41\" seq 1 type b startoffset 7 \r\n";
        let manifest = Manifest::parse(loose.as_bytes()).expect("a manifest");
        assert_eq!(manifest.base.as_ref().map(|part| part.name.as_str()), Some("a bA"));
        assert_eq!(manifest.format(), b"file \"a bA\" seq 1 type b\n");
    }

    #[test]
    fn names_survive_quoting() {
        for name in ["a b", "ü", "\"", "\\", "'", "\t\n\r\u{7}\u{8}\u{1}", "plain"] {
            assert_eq!(split(quote(name).as_bytes()), Some(vec![name.as_bytes().to_vec()]), "{name:?}");
        }
        assert_eq!(split(b"'a\\'b' c"), Some(vec![b"a'b".to_vec(), b"c".to_vec()]));
        assert_eq!(split(b"\"a\"b"), None);
        assert_eq!(split(b"\"a"), None);
    }

    #[test]
    fn errors_are_those_of_redis() {
        assert_eq!(error(""), (0, "Found an empty AOF manifest"));
        let invalid = "Invalid AOF manifest file format";
        for text in [
            "\n",
            "file a seq 1\n",
            "file a seq 1 type\n",
            "file a seq 0 type b\n",
            "x a seq 1 type b\n",
            "file \"a seq 1 type b\n",
        ] {
            assert_eq!(error(text), (1, invalid), "{text:?}");
        }
        assert_eq!(error("file a seq 1 type b\nfile b seq 2 type b\n"), (2, "Found duplicate base file information"));
        assert_eq!(error("file a seq 2 type i\nfile b seq 2 type i\n"), (2, "Found a non-monotonic sequence number"));
        assert_eq!(error("file a seq 1 type z\n"), (1, "Unknown AOF file type"));
        assert_eq!(error("file x/a seq 1 type b\n"), (1, "File can't be a path, just a filename"));
        let long = format!("file {} seq 1 type b\n", "a".repeat(LINE_MAX));
        assert_eq!(error(&long), (1, "The AOF manifest file contains too long line"));
        assert_eq!(error("file a seq 1 type b"), (1, "The AOF manifest file contains too long line"));
    }

    #[test]
    fn a_rewrite_turns_the_old_files_into_history() {
        let names = Names::new(".", "a");
        let mut manifest = Manifest::default();
        assert_eq!(manifest.next_base(&names, false, 0), "a.1.base.aof");
        assert_eq!(manifest.next_incremental(&names), "a.1.incr.aof");
        assert_eq!(manifest.next_incremental(&names), "a.2.incr.aof");
        assert_eq!(manifest.next_base(&names, true, 1), "a.2.base.rdb");
        let parts: Vec<&str> = manifest.parts().map(|part| part.name.as_str()).collect();
        assert_eq!(parts, ["a.2.base.rdb", "a.2.incr.aof"]);
        let old: Vec<&str> = manifest.history.iter().map(|part| part.name.as_str()).collect();
        assert_eq!(old, ["a.1.base.aof", "a.1.incr.aof"]);
    }

    #[test]
    fn any_bytes_give_a_manifest_or_an_error() {
        let seed = b"file \"a\\x41\" seq 1 type b\nfile b seq 2 type i\n# c\n";
        for at in 0..seed.len() {
            for byte in [0, b'"', b'\\', b'\n', 255] {
                let mut text = seed.to_vec();
                text[at] = byte;
                let _ = Manifest::parse(&text);
                let _ = Manifest::parse(&text[..at]);
            }
        }
    }
}
