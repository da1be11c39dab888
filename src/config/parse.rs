//! The syntax of `redis.conf` and of the arguments that override it.
//!
//! Invariant: a line is taken whole or the load fails naming file, line, text and reason; nothing is half applied,
//! because the caller gets either every value or an error. No file recurses without bound.
//! It must not know what an option means beyond what its row says.
//! Source: `redis.conf` as Redis 7.2 documents it; quoting and messages asked of Valkey 9.1.

use std::ffi::OsStr;
use std::fmt;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::config::REDIS_VERSION;
use crate::config::options::{COUNT, DIRECTIVES, Directive, NO_USERS, ROWS, find, row};
use crate::config::spec::{Origin, Status};
use crate::config::user::DefaultUser;
use crate::config::value::{Refusal, Value, os_text};
use crate::util::glob;

/// Files that may include one another in depth.
const MAX_DEPTH: usize = 16;

/// Why a configuration was refused; shown on standard error before the program ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The file, `standard input` or `the arguments`.
    pub file: String,
    /// Its line, from 1 (for arguments the number of the option); 0 when the file could not be read.
    pub line: usize,
    /// The line itself.
    pub option: String,
    /// The reason, in Redis's words where it has some.
    pub why: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n*** FATAL CONFIG FILE ERROR (Version {REDIS_VERSION}) ***")?;
        if self.line > 0 {
            writeln!(f, "Reading the configuration file, at line {} of {}", self.line, self.file)?;
            writeln!(f, ">>> '{}'", self.option)?;
        }
        f.write_str(&self.why)
    }
}

impl std::error::Error for ConfigError {}

/// What the command line asks for.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct CommandLine {
    /// The file to read first.
    pub file: Option<PathBuf>,
    /// Whether to read standard input after it.
    pub stdin: bool,
    /// Options after that, each with its words.
    pub options: Vec<Vec<Vec<u8>>>,
}

impl CommandLine {
    /// Sorts arguments: a file first unless it starts with `-`, a `-` for standard input first or last, then
    /// `--name word ...`; a word that starts with `--` is the value of an option that has none yet (except `save`,
    /// which stands alone for "no save points").
    pub fn read<'a>(args: impl IntoIterator<Item = &'a OsStr>) -> Self {
        let mut args: Vec<&[u8]> = args.into_iter().map(OsStr::as_bytes).collect();
        let mut line = Self::default();
        if args.first().is_some_and(|first| first.is_empty()) {
            args.remove(0); // the name of a file in a variable that is not set
        }
        if args.first().is_some_and(|first| !first.starts_with(b"-")) {
            line.file = Some(PathBuf::from(OsStr::from_bytes(args.remove(0))));
        }
        if args.first() == Some(&b"-".as_slice()) {
            line.stdin = true;
            args.remove(0);
        }
        if args.last() == Some(&b"-".as_slice()) {
            line.stdin = true;
            args.pop();
        }
        for arg in args {
            line.push(arg);
        }
        line.close_save();
        line
    }

    /// Adds an argument to the last option or starts another.
    fn push(&mut self, arg: &[u8]) {
        let name = arg.strip_prefix(b"--");
        let wants_value =
            self.options.last().is_some_and(|words| words.len() == 1 && !words[0].eq_ignore_ascii_case(b"save"));
        match (name, self.options.last_mut()) {
            (Some(name), _) if !wants_value => {
                self.close_save();
                // Values may stand in the same argument, as lists of arguments in other programs' files have them.
                let words = split_words(name).filter(|words| !words.is_empty());
                self.options.push(words.unwrap_or_else(|| vec![name.to_vec()]));
            }
            (_, Some(words)) => words.push(arg.to_vec()),
            (_, None) => self.options.push(vec![arg.to_vec()]),
        }
    }

    /// Gives a lone `--save` its empty list.
    fn close_save(&mut self) {
        if let Some(words) = self.options.last_mut()
            && let [name] = words.as_slice()
            && name.eq_ignore_ascii_case(b"save")
        {
            words.push(Vec::new());
        }
    }
}

/// What a load has gathered.
#[derive(Debug)]
pub struct Loaded {
    /// The value of each row.
    pub values: Vec<Value>,
    /// Commands to rename, `(from, to)`; an empty `to` removes the command.
    pub renames: Vec<(Vec<u8>, Vec<u8>)>,
    /// Lines for the log.
    pub warnings: Vec<String>,
    /// Which rows a line has set.
    set: Vec<bool>,
    /// What a line says of the default user, and where.
    user: Option<DefaultUser>,
    user_at: Option<ConfigError>,
}

impl Default for Loaded {
    fn default() -> Self {
        let values = ROWS.iter().map(|spec| spec.default_value()).collect();
        Self { values, renames: Vec::new(), warnings: Vec::new(), set: vec![false; COUNT], user: None, user_at: None }
    }
}

impl Loaded {
    /// Reads everything that a command line names, in order.
    ///
    /// # Errors
    /// The first line or argument that is refused, or the file that cannot be read.
    pub fn read(line: &CommandLine, stdin: &mut dyn Read) -> Result<Self, ConfigError> {
        let mut loaded = Self::default();
        if let Some(path) = &line.file {
            loaded.file(path, 0)?;
        }
        if line.stdin {
            let mut bytes = Vec::new();
            stdin.read_to_end(&mut bytes).map_err(|error| unreadable("standard input", &error))?;
            loaded.text("standard input", &bytes, 0)?;
        }
        for (number, words) in line.options.iter().enumerate() {
            let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
            let place = || ConfigError {
                file: "the arguments".to_owned(),
                line: number + 1,
                option: argument_text(&words),
                why: String::new(),
            };
            loaded.directive(&words, 0).map_err(|why| at(place(), why))?;
            loaded.note_user(place);
        }
        loaded.check_user()?;
        loaded.warn();
        Ok(loaded)
    }

    /// Reads a file.
    fn file(&mut self, path: &Path, depth: usize) -> Result<(), ConfigError> {
        let name = path.display().to_string();
        let bytes = std::fs::read(path).map_err(|error| unreadable(&name, &error))?;
        self.text(&name, &bytes, depth)
    }

    /// Reads the lines of a file.
    pub fn text(&mut self, file: &str, bytes: &[u8], depth: usize) -> Result<(), ConfigError> {
        for (number, line) in bytes.split(|b| *b == b'\n').enumerate() {
            let line = line.trim_ascii();
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            let place = || ConfigError {
                file: file.to_owned(),
                line: number + 1,
                option: String::from_utf8_lossy(line).into_owned(),
                why: String::new(),
            };
            let words =
                split_words(line).ok_or_else(|| at(place(), "Unbalanced quotes in configuration line".into()))?;
            let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
            self.directive(&words, depth).map_err(|why| at(place(), why))?;
            self.note_user(place);
        }
        Ok(())
    }

    /// Notes where the default user was described first.
    fn note_user(&mut self, place: impl FnOnce() -> ConfigError) {
        if self.user.is_some() && self.user_at.is_none() {
            self.user_at = Some(place());
        }
    }

    /// Whether the password that a line gives the default user, wherever it stands, is that of `requirepass`.
    fn check_user(&self) -> Result<(), ConfigError> {
        let (Some(user), Some(place)) = (&self.user, &self.user_at) else { return Ok(()) };
        match &self.values[const { row("requirepass") }] {
            Value::Text(password) if !user.has(password) => {
                Err(ConfigError { why: NO_USERS.to_owned(), ..place.clone() })
            }
            _ => Ok(()),
        }
    }

    /// Takes one line: an option's name and its words, or a directive.
    fn directive(&mut self, words: &[&[u8]], depth: usize) -> Result<(), Failure> {
        const BAD: &str = "Bad directive or wrong number of arguments";
        let Some((name, mut values)) = words.split_first() else { return Ok(()) };
        if values.is_empty() && name.eq_ignore_ascii_case(b"save") {
            values = &[b""]; // no save points
        }
        if let Some(row) = find(name) {
            return self.option(row, values).map_err(Failure::Refused);
        }
        let known = DIRECTIVES.iter().find(|(known, ..)| known.as_bytes().eq_ignore_ascii_case(name));
        let (name, _, directive) = known.filter(|(_, count, _)| count.contains(&values.len())).ok_or(BAD)?;
        match (directive, values) {
            (Directive::Include, [pattern]) => self.include(pattern, depth),
            (Directive::RenameCommand, [from, to]) => {
                self.renames.push((from.to_vec(), to.to_vec()));
                Ok(())
            }
            (Directive::User, words) => {
                if self.user.is_some() {
                    return Err(NO_USERS.into()); // the second would hide what the first asks for
                }
                self.user = Some(DefaultUser::read(words).ok_or(NO_USERS)?);
                Ok(())
            }
            (Directive::Refused(why), _) => Err((*why).into()),
            _ => {
                self.warnings.push(format!("Directive '{name}' is obsolete and has no effect"));
                Ok(())
            }
        }
    }

    /// Sets an option from its words.
    fn option(&mut self, row: usize, words: &[&[u8]]) -> Result<(), Refusal> {
        let (Some(spec), Some(value), Some(set)) = (ROWS.get(row), self.values.get_mut(row), self.set.get_mut(row))
        else {
            return Ok(());
        };
        let parts = match words {
            [list] if spec.kind.takes_list() && !list.is_empty() => {
                split_words(list).ok_or("wrong number of arguments")?
            }
            _ => words.iter().map(|word| word.to_vec()).collect(),
        };
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        if words.is_empty() {
            return Err("wrong number of arguments".into());
        }
        *value = spec.read(&parts, value, *set, Origin::Startup)?;
        *set = true;
        Ok(())
    }

    /// Reads the files that a path or pattern names, in alphabetical order; a pattern may name none.
    fn include(&mut self, pattern: &[u8], depth: usize) -> Result<(), Failure> {
        if depth == MAX_DEPTH {
            return Err("Too many levels of included files".into());
        }
        for path in matching_files(pattern) {
            self.file(&path, depth + 1).map_err(Failure::Inner)?;
        }
        Ok(())
    }

    /// Notes the options that were moved off their default without effect.
    fn warn(&mut self) {
        for (spec, value) in ROWS.iter().zip(&self.values) {
            if spec.status != Status::Honoured && *value != spec.default_value() {
                self.warnings.extend(spec.warning());
            }
        }
    }
}

/// Why a line failed: for its own sake, or inside a file that it includes.
enum Failure {
    Refused(Refusal),
    Inner(ConfigError),
}

impl From<&'static str> for Failure {
    fn from(why: &'static str) -> Self {
        Self::Refused(why.into())
    }
}

/// Puts a failure at its place, unless an included file has a better one.
fn at(place: ConfigError, failure: Failure) -> ConfigError {
    match failure {
        Failure::Inner(error) if error.line > 0 => error,
        Failure::Inner(error) => ConfigError { why: error.why, ..place },
        Failure::Refused(why) => ConfigError { why: why.into_owned(), ..place },
    }
}

fn unreadable(file: &str, error: &std::io::Error) -> ConfigError {
    let why = format!("Fatal error, can't open config file '{file}': {}", os_text(error));
    ConfigError { file: file.to_owned(), line: 0, option: String::new(), why }
}

/// Shows an argument as the line that it stands for.
fn argument_text(words: &[&[u8]]) -> String {
    let (name, values) = words.split_first().map_or((&[][..], &[][..]), |(name, values)| (*name, values));
    let quoted = values.iter().map(|value| format!(" {}", quoted(value)));
    String::from_utf8_lossy(name).into_owned() + &quoted.collect::<String>()
}

/// The files that a path names; each part of it may hold `*`, `?` and `[...]`.
fn matching_files(pattern: &[u8]) -> Vec<PathBuf> {
    let path = Path::new(OsStr::from_bytes(pattern));
    let mut found = vec![PathBuf::new()];
    for part in path.components() {
        let part = part.as_os_str();
        found = match part.as_bytes().iter().any(|b| b"*?[".contains(b)) {
            false => found.into_iter().map(|folder| folder.join(part)).collect(),
            true => found.iter().flat_map(|folder| matching_names(folder, part.as_bytes())).collect(),
        };
    }
    if pattern.iter().any(|b| b"*?[".contains(b)) {
        found.retain(|path| path.exists());
    }
    found.sort();
    found
}

/// The entries of a folder that match a pattern; hidden ones only when the pattern starts with a dot.
fn matching_names(folder: &Path, pattern: &[u8]) -> Vec<PathBuf> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let names = entries.filter_map(|entry| Some(entry.ok()?.file_name()));
    let visible = |name: &[u8]| !name.starts_with(b".") || pattern.starts_with(b".");
    names
        .filter(|name| visible(name.as_bytes()) && glob::matches(pattern, name.as_bytes(), false))
        .map(|name| folder.join(name))
        .collect()
}

/// Splits a line into words: blanks separate them, `"..."` takes escapes (`\n \r \t \b \a \xHH`, else the next byte
/// itself), `'...'` only `\'`. `None` when a quote is not closed or is followed by anything but a blank.
pub fn split_words(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut words = Vec::new();
    let mut rest = line.trim_ascii_start();
    while !rest.is_empty() {
        let (word, after) = first_word(rest)?;
        words.push(word);
        rest = after.trim_ascii_start();
    }
    Some(words)
}

/// Takes the word at the start of a line that does not start with a blank.
fn first_word(mut rest: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut word = Vec::new();
    while let Some((&byte, after)) = rest.split_first() {
        match byte {
            b'"' | b'\'' => {
                rest = quoted_part(byte, after, &mut word)?;
                let ends = rest.first().is_none_or(u8::is_ascii_whitespace);
                return ends.then_some((word, rest));
            }
            byte if byte.is_ascii_whitespace() || byte == 0 => break,
            _ => word.push(byte),
        }
        rest = after;
    }
    Some((word, rest.strip_prefix(b"\0").unwrap_or(rest)))
}

/// Takes what stands before the closing quote, and gives what follows it.
fn quoted_part<'a>(quote: u8, mut rest: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        let (&byte, after) = rest.split_first()?;
        rest = match byte {
            b if b == quote => return Some(after),
            b'\\' if quote == b'"' => escape(after, word)?,
            b'\\' if after.first() == Some(&b'\'') => {
                word.push(b'\'');
                &after[1..]
            }
            b => {
                word.push(b);
                after
            }
        };
    }
}

/// Takes what follows a backslash in double quotes.
fn escape<'a>(rest: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    if let [b'x', high, low, after @ ..] = rest
        && let (Some(high), Some(low)) = (hex(*high), hex(*low))
    {
        word.push(high << 4 | low);
        return Some(after);
    }
    let (&byte, after) = rest.split_first()?;
    word.push(match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 0x08,
        b'a' => 0x07,
        other => other,
    });
    Some(after)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|n| u8::try_from(n).ok())
}

/// Writes a word in double quotes so that [`split_words`] reads it back.
pub fn quoted(word: &[u8]) -> String {
    let mut text = String::from("\"");
    for &byte in word {
        match byte {
            b'"' | b'\\' => text.extend(['\\', char::from(byte)]),
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\t' => text.push_str("\\t"),
            0x08 => text.push_str("\\b"),
            0x07 => text.push_str("\\a"),
            b' '..=b'~' => text.push(char::from(byte)),
            _ => text.push_str(&format!("\\x{byte:02x}")),
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Option<Vec<String>> {
        let words = split_words(line.as_bytes())?;
        Some(words.into_iter().map(|word| String::from_utf8_lossy(&word).into_owned()).collect())
    }

    #[test]
    fn words_and_quotes() {
        assert_eq!(words("  a  b\tc ").unwrap(), ["a", "b", "c"]);
        assert_eq!(words(r#"a "b c" 'd e'"#).unwrap(), ["a", "b c", "d e"]);
        assert_eq!(words(r#""\n\r\t\b\a\x41\"\\\q""#).unwrap(), ["\n\r\t\u{8}\u{7}A\"\\q"]);
        assert_eq!(words(r#"'it\'s \n'"#).unwrap(), ["it's \\n"]);
        assert_eq!(words("\"\" ''").unwrap(), ["", ""]);
        assert_eq!(words("").unwrap(), Vec::<String>::new());
        for bad in ["\"a", "'a", "\"a\"b", "'a'b", "\"a\\"] {
            assert_eq!(words(bad), None, "{bad}");
        }
    }

    #[test]
    fn quoted_words_read_back() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(split_words(quoted(&all).as_bytes()), Some(vec![all]));
    }

    fn line(args: &[&str]) -> CommandLine {
        CommandLine::read(args.iter().map(OsStr::new))
    }

    #[test]
    fn arguments() {
        let read = line(&["a.conf", "--save", "60", "1", "--port", "1", "-"]);
        assert_eq!(read.file.as_deref(), Some(Path::new("a.conf")));
        assert!(read.stdin);
        let expected: [&[&str]; 2] = [&["save", "60", "1"], &["port", "1"]];
        let options: Vec<Vec<&str>> = read
            .options
            .iter()
            .map(|words| words.iter().map(|word| std::str::from_utf8(word).unwrap()).collect())
            .collect();
        assert_eq!(options, expected);
        assert_eq!(line(&["--requirepass", "--x"]).options, [[b"requirepass".to_vec(), b"--x".to_vec()]]);
        assert_eq!(line(&["--save", "--port", "1"]).options[0], [b"save".to_vec(), b"".to_vec()]);
        assert_eq!(line(&["-"]), CommandLine { stdin: true, ..Default::default() });
    }
}
