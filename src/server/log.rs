//! The log: one line per message, in the shape that tools which start a Redis server expect.
//!
//! `<pid>:M 21 Nov 2026 04:14:00.123 * <message>`, the time in UTC; or with the same parts under names, as `log-format` says. Messages
//! are those of [`tracing`]:
//!
//! | macro | Redis's level | sign | name in `logfmt` and `json` |
//! |---|---|---|---|
//! | `trace!` | debug | `.` | `debug` |
//! | `debug!` | verbose | `-` | `info` |
//! | `info!` | notice | `*` | `notice` |
//! | `warn!`, `error!` | warning | `#` | `warning` |
//!
//! Invariant: a line is written by one unbuffered write, so that lines of threads never mix and none is lost when the
//! process dies. It must not know what is logged; who logs keys or arguments asks `hide_user_data_from_log` first.
//! Source: the log of Valkey 9.1.

use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Registry;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::reload;

use crate::config::{Config, LogFormat, LogLevel, LogTime};

/// The running log; keeps the means to change its level.
#[derive(Debug, Clone)]
pub struct Log {
    level: reload::Handle<LevelFilter, Registry>,
}

impl Log {
    /// Starts the log at the level and place that the configuration names; once per process.
    ///
    /// # Errors
    /// The log file cannot be opened, or the process logs already.
    pub fn start(config: &Arc<Config>) -> io::Result<Self> {
        let place = Place::new(config.logfile())?;
        let (filter, level) = reload::Layer::new(filter(config.loglevel()));
        let lines = Lines { config: Arc::clone(config) };
        let lines =
            tracing_subscriber::fmt::Layer::new().event_format(lines).with_writer(place).log_internal_errors(false);
        let subscriber = Registry::default().with(filter).with(lines);
        tracing::subscriber::set_global_default(subscriber).map_err(io::Error::other)?;
        Ok(Self { level })
    }

    /// Puts `loglevel` into effect, after CONFIG SET changed it.
    pub fn set_level(&self, level: LogLevel) {
        // Fails only when the subscriber is gone, and then nothing is logged anyway.
        let _ = self.level.modify(|current| *current = filter(level));
    }
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Debug => LevelFilter::TRACE,
        LogLevel::Verbose => LevelFilter::DEBUG,
        LogLevel::Notice => LevelFilter::INFO,
        LogLevel::Warning => LevelFilter::WARN,
        LogLevel::Nothing => LevelFilter::OFF,
    }
}

/// Where lines go.
#[derive(Debug)]
enum Place {
    Stdout,
    /// A file, opened for each line so that one which was renamed or removed is begun anew.
    File(PathBuf),
}

impl Place {
    fn new(file: Option<PathBuf>) -> io::Result<Self> {
        let Some(path) = file else { return Ok(Self::Stdout) };
        append(&path)?; // a place that cannot be written is an error at the start, not silence later
        // Absolute, because `CONFIG SET dir` moves the process.
        Ok(Self::File(std::path::absolute(path)?))
    }
}

fn append(path: &Path) -> io::Result<File> {
    File::options().append(true).create(true).open(path)
}

impl<'a> MakeWriter<'a> for Place {
    type Writer = Box<dyn Write + 'a>;

    fn make_writer(&'a self) -> Self::Writer {
        match self {
            Self::Stdout => Box::new(io::stdout()), // flushes at every line end
            Self::File(path) => match append(path) {
                Ok(file) => Box::new(file),
                Err(_) => Box::new(io::sink()),
            },
        }
    }
}

/// The shape of a line: that which the configuration says now.
struct Lines {
    config: Arc<Config>,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut line: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let (pid, (sign, level)) = (std::process::id(), sign(event.metadata().level()));
        let (format, now) = (self.config.log_format(), Utc::now());
        let time = Stamp { time: &now, shape: self.config.log_timestamp_format() };
        if format == LogFormat::Legacy {
            write!(line, "{pid}:M {time} {sign} ")?;
            context.field_format().format_fields(line.by_ref(), event)?;
            return writeln!(line);
        }
        let mut message = String::new();
        context.field_format().format_fields(Writer::new(&mut message), event)?;
        if format == LogFormat::Json {
            let message = Json(&message);
            return writeln!(
                line,
                r#"{{"pid":{pid},"role":"primary","timestamp":"{time}","level":"{level}","message":"{message}"}}"#
            );
        }
        let message = message.replace(['\r', '\n'], " ").replace('"', "'");
        writeln!(line, r#"pid={pid} role=primary timestamp="{time}" level={level} message="{message}""#)
    }
}

/// How the forms mark a level.
fn sign(level: &Level) -> (char, &'static str) {
    match *level {
        Level::TRACE => ('.', "debug"),
        Level::DEBUG => ('-', "info"),
        Level::INFO => ('*', "notice"),
        _ => ('#', "warning"),
    }
}

/// A text within the quotes of JSON.
struct Json<'a>(&'a str);

impl fmt::Display for Json<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for letter in self.0.chars() {
            match letter {
                '"' | '\\' => write!(f, "\\{letter}")?,
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                '\0'..='\u{1f}' => write!(f, "\\u{:04x}", u32::from(letter))?,
                _ => f.write_char(letter)?,
            }
        }
        Ok(())
    }
}

/// A time in the shape that the configuration says.
struct Stamp<'a> {
    time: &'a Utc,
    shape: LogTime,
}

impl fmt::Display for Stamp<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.time.date();
        let (hour, minute, second, ms) = self.time.clock();
        match self.shape {
            LogTime::Legacy => self.time.fmt(f),
            LogTime::Iso8601 => write!(f, "{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}+00:00"),
            LogTime::Milliseconds => self.time.unix_ms.fmt(f),
        }
    }
}

/// A time that prints as `21 Nov 2026 04:14:00.123`.
struct Utc {
    unix_ms: u64,
}

impl Utc {
    #[expect(clippy::disallowed_methods, reason = "a line tells when it was written, not when its batch began")]
    fn now() -> Self {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Self { unix_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX) }
    }

    /// Year, month from 1 and day from 1. The year is taken to start in March, so that leap days end it.
    fn date(&self) -> (u64, u64, u64) {
        const DAYS_OF_400_YEARS: u64 = 146_097;
        let days = self.unix_ms / 86_400_000 + 719_468; // from 1 March of year 0
        let (era, day) = (days / DAYS_OF_400_YEARS, days % DAYS_OF_400_YEARS);
        let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153; // from March
        let day_of_month = day - (153 * month + 2) / 5 + 1;
        let calendar_month = if month < 10 { month + 3 } else { month - 9 };
        (era * 400 + year + u64::from(calendar_month <= 2), calendar_month, day_of_month)
    }

    /// Hour, minute, second and millisecond.
    fn clock(&self) -> (u64, u64, u64, u64) {
        let seconds = self.unix_ms / 1000 % 86_400;
        (seconds / 3600, seconds / 60 % 60, seconds % 60, self.unix_ms % 1000)
    }
}

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let (year, month, day) = self.date();
        let month = usize::try_from(month - 1).ok().and_then(|at| MONTHS.get(at)).unwrap_or(&"???");
        let (hour, minute, second, ms) = self.clock();
        write!(f, "{day:02} {month} {year} {hour:02}:{minute:02}:{second:02}.{ms:03}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_print_as_redis_prints_them() {
        let cases = [
            (0, "01 Jan 1970 00:00:00.000"),
            (951_782_399_999, "28 Feb 2000 23:59:59.999"),
            (951_782_400_000, "29 Feb 2000 00:00:00.000"),
            (951_868_800_000, "01 Mar 2000 00:00:00.000"),
            (1_795_234_440_123, "21 Nov 2026 04:14:00.123"),
            (4_107_542_400_000, "01 Mar 2100 00:00:00.000"),
        ];
        for (unix_ms, text) in cases {
            assert_eq!(Utc { unix_ms }.to_string(), text);
        }
    }

    #[test]
    fn messages_appear_as_they_are() {
        let path = std::env::temp_dir().join(format!("larder-log-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let place = Place::new(Some(path.clone())).unwrap();
        let (filter, level) = reload::Layer::new(filter(LogLevel::Notice));
        let config = Arc::new(Config::default());
        let lines = Lines { config: Arc::clone(&config) };
        let lines = tracing_subscriber::fmt::Layer::new().event_format(lines).with_writer(place);
        let log = Log { level };
        tracing::subscriber::with_default(Registry::default().with(filter).with(lines), || {
            tracing::info!(" PID: {}", 123);
            tracing::debug!("not yet");
            log.set_level(LogLevel::Verbose);
            tracing::debug!("now");
            tracing::warn!("careful");
            let shape = |format: &[u8], time: &[u8]| {
                config.set_many(&[(b"log-format", format), (b"log-timestamp-format", time)]).unwrap();
            };
            shape(b"json", b"milliseconds");
            tracing::debug!("a \"b\" \\ \r\n\t\u{1}é");
            shape(b"logfmt", b"iso8601");
            tracing::info!("a \"b\"\r\nc");
        });
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let ends: Vec<&str> = lines[..3].iter().map(|line| &line[line.find(":M ").unwrap() + 28..]).collect();
        assert_eq!(ends, ["*  PID: 123", "- now", "# careful"]);
        let pid = std::process::id();
        let (head, rest) = lines[3].split_once(r#","timestamp":""#).unwrap();
        let (ms, rest) = rest.split_once('"').unwrap();
        assert_eq!(head, format!(r#"{{"pid":{pid},"role":"primary""#));
        assert!(ms.parse::<u64>().unwrap() > 1_700_000_000_000);
        assert_eq!(rest, r#","level":"info","message":"a \"b\" \\ \r\n\t\u0001é"}"#);
        let (head, rest) = lines[4].split_once(" timestamp=").unwrap();
        assert_eq!(head, format!("pid={pid} role=primary"));
        assert_eq!(&rest[24..], r#"+00:00" level=notice message="a 'b'  c""#);
        assert_eq!(lines.len(), 5);
    }
}
