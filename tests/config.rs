//! The configuration from outside: the example file, files and arguments, CONFIG GET, SET and REWRITE.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a helper of a test fails by panicking, as tests do")]

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use larder::config::options::{GROUPS, ROWS};
use larder::config::spec::{Kind, OptionSpec};
use larder::config::{ClientClass, CommandLine, Config, ConfigError, EvictionPolicy, notify};

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/redis.conf.example");
const REDIS_72: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/redis-7.2.conf");

/// A folder of its own for a test, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("larder-config-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn load(args: &[&str]) -> Result<Config, ConfigError> {
    load_with(args, "")
}

fn load_with(args: &[&str], stdin: &str) -> Result<Config, ConfigError> {
    Config::load(&CommandLine::read(args.iter().map(OsStr::new)), &mut stdin.as_bytes())
}

fn load_text(text: &str) -> Result<Config, ConfigError> {
    let folder = Folder::new();
    load(&[&folder.file("a.conf", text)])
}

fn get(config: &Config, name: &str) -> String {
    String::from_utf8(config.text_of(name).unwrap_or_else(|| panic!("no option {name}"))).unwrap()
}

fn set(config: &Config, name: &str, value: &str) -> Result<(), String> {
    config.set_many(&[(name.as_bytes(), value.as_bytes())]).map(|_| ()).map_err(|error| error.to_string())
}

// ---- the example file ----

/// The example as the table orders it.
fn example() -> String {
    let mut text = String::from(
        "# larder's configuration: every option with its default.\n\
         #\n\
         # Sizes take units: 1k is 1000 bytes, 1kb 1024; m, mb, g and gb likewise, in any letter case.\n\
         # Arguments override this file: larder redis.conf --port 7000 --save 60 1.\n\
         # More files are read where a line says: include PATH, in which *, ? and [...] match names.\n",
    );
    for group in GROUPS {
        text.push_str(&format!("\n{:#<100}\n\n", format!("######## {} ", group.title)));
        let blocks: Vec<String> = group.rows.iter().map(example_of).collect();
        text.push_str(&blocks.join("\n"));
    }
    text
}

fn example_of(spec: &OptionSpec) -> String {
    let mut text = format!("# {}\n", spec.doc);
    if !spec.aliases.is_empty() {
        text.push_str(&format!("# Also named {}.\n", spec.aliases.join(", ")));
    }
    if let Kind::Choice(names) = spec.kind {
        text.push_str(&format!("# One of: {}.\n", names.join(", ")));
    }
    if let Some(warning) = spec.warning() {
        let (_, why) = warning.split_once("is accepted but ").unwrap();
        text.push_str(&format!("# Accepted, but {why}.\n"));
    }
    text + &match (spec.default, spec.kind) {
        ("", _) => format!("# {} \"\"\n", spec.name),
        (default, Kind::Text) if default.contains(' ') => format!("{} \"{default}\"\n", spec.name),
        (default, _) => format!("{} {default}\n", spec.name),
    }
}

/// To bring the file up to the table: `LARDER_WRITE_EXAMPLE=1 cargo test --test config example`.
#[test]
fn example_says_what_the_table_says() {
    if std::env::var_os("LARDER_WRITE_EXAMPLE").is_some() {
        std::fs::write(EXAMPLE, example()).unwrap();
    }
    let text = std::fs::read_to_string(EXAMPLE).unwrap();
    for (number, (is, should)) in text.lines().zip(example().lines()).enumerate() {
        assert_eq!(is, should, "line {} of redis.conf.example", number + 1);
    }
    assert_eq!(text.lines().count(), example().lines().count());
}

#[test]
fn example_names_every_option_once_and_loads_to_the_defaults() {
    let text = std::fs::read_to_string(EXAMPLE).unwrap();
    let unset = |line: &str| line.strip_prefix("# ").and_then(|line| line.strip_suffix(" \"\"")).map(str::to_owned);
    let name = |line: &str| line.split(' ').next().filter(|word| !word.is_empty() && *word != "#").map(str::to_owned);
    let named: Vec<String> = text
        .lines()
        .filter_map(|line| unset(line).or_else(|| name(line).filter(|name| !name.starts_with('#'))))
        .collect();
    let known: BTreeSet<&str> = ROWS.iter().map(|spec| spec.name).collect();
    assert_eq!(named.iter().map(String::as_str).collect::<BTreeSet<_>>(), known);
    assert_eq!(named.len(), ROWS.len());

    let (config, default) = (load(&[EXAMPLE]).unwrap(), Config::default());
    assert_eq!(config.warnings(), [] as [String; 0]);
    for spec in ROWS {
        assert_eq!(get(&config, spec.name), get(&default, spec.name), "{}", spec.name);
    }
}

#[test]
fn names_are_unique_and_lower_case() {
    let mut seen = BTreeSet::new();
    for name in ROWS.iter().flat_map(|spec| spec.names()) {
        assert!(seen.insert(name), "{name} twice");
        assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b)), "{name}");
    }
}

#[test]
fn documentation_is_one_sentence() {
    for spec in ROWS {
        assert!(spec.doc.ends_with('.') && spec.doc.len() < 120, "{}: {}", spec.name, spec.doc);
    }
}

// ---- files and arguments ----

#[test]
fn a_file_with_every_directive_of_redis_72_loads() {
    let config = load(&[REDIS_72]).unwrap();
    assert_eq!(get(&config, "save"), "3600 1 300 100 60 10000");
    assert_eq!(get(&config, "slave-priority"), "100");
    assert_eq!(config.maxmemory_policy(), EvictionPolicy::NoEviction);
    assert_eq!(config.renames(), [(b"CONFIG".to_vec(), b"b840fc02".to_vec()), (b"DEBUG".to_vec(), Vec::new())]);
    assert!(config.warnings().iter().any(|line| line.contains("'io-threads'")), "{:?}", config.warnings());
    assert!(config.warnings().iter().all(|line| !line.contains("'save'")));
    assert!(config.warnings().iter().all(|line| !line.contains("'port'")));
}

/// The fixture would prove little if it forgot a directive.
#[test]
fn the_fixture_has_the_directives_that_redis_72_documents() {
    let text = std::fs::read_to_string(REDIS_72).unwrap();
    let named: BTreeSet<&str> = text.lines().filter_map(|line| line.split_whitespace().next()).collect();
    let later_than_72 = |name: &str| {
        let newer = ["threads", "mptcp", "rdma", "commandlog", "log-", "cluster-announce-client", "tls-auto", "import"];
        newer.iter().any(|part| name.contains(part)) && !name.starts_with("io-threads")
    };
    let missing: Vec<&str> = ROWS
        .iter()
        .filter(|spec| !spec.hidden && !later_than_72(spec.name))
        .map(|spec| spec.name)
        .filter(|name| !named.contains(name) && !NOT_IN_72.contains(name))
        .collect();
    assert_eq!(missing, [] as [&str; 0]);
}

/// Options of the table that Redis 7.2's file does not mention: Valkey's, and those refused below.
const NOT_IN_72: &[&str] = &[
    "compaction",
    "eviction-algorithm",
    "hotkeys-top-k",
    "active-defrag-cycle-us",
    "aclfile",
    "availability-zone",
    "cluster-blacklist-ttl",
    "cluster-config-save-behavior",
    "cluster-databases",
    "cluster-manual-failover-timeout",
    "cluster-slot-migration-log-max-len",
    "cluster-slot-stats-enabled",
    "coalesce-us",
    "compaction",
    "dual-channel-replication-enabled",
    "eviction-algorithm",
    "extended-redis-compatibility",
    "hash-seed",
    "hide-user-data-from-log",
    "hotkeys-top-k",
    "max-new-connections-per-cycle",
    "max-new-tls-connections-per-cycle",
    "prefetch-batch-max-size",
    "rdb-version-check",
    "slot-migration-max-failover-repl-bytes",
    "tls-auth-clients-user",
    "unixsocketgroup",
];

#[test]
fn errors_name_file_and_line() {
    let folder = Folder::new();
    let path = folder.file("a.conf", "# fine\nport 1\n  foo bar  \n");
    let error = load(&[&path]).unwrap_err();
    assert_eq!((error.file.as_str(), error.line, error.option.as_str()), (path.as_str(), 3, "foo bar"));
    assert_eq!(
        error.to_string(),
        format!(
            "\n*** FATAL CONFIG FILE ERROR (Version 7.4.2) ***\nReading the configuration file, at line 3 of {path}\n\
             >>> 'foo bar'\nBad directive or wrong number of arguments"
        )
    );
}

#[test]
fn errors_give_the_reason() {
    let cases = [
        ("port abc", "argument couldn't be parsed into an integer"),
        ("port 1 2", "wrong number of arguments"),
        ("port", "wrong number of arguments"),
        ("bind \"a", "Unbalanced quotes in configuration line"),
        ("requirepass 'a", "Unbalanced quotes in configuration line"),
        ("maxmemory 1zb", "argument must be a memory value"),
        ("maxmemory 50%", "argument must be a memory value"),
        ("databases 0", "argument must be between 1 and 2147483647 inclusive"),
        ("appendonly maybe", "argument must be 'yes' or 'no'"),
        ("dir /nonexistent", "No such file or directory"),
        ("slaveof a b", "Invalid primary port"),
        ("save 60", "Invalid save parameters"),
        ("client-output-buffer-limit normal 0 0", "Wrong number of arguments in buffer limit configuration."),
        ("unixsocketperm 999", "argument couldn't be parsed as an octal number"),
        ("notify-keyspace-events q", "Invalid event class character. Use 'Ag$lshzxeKEtmdn'."),
        ("rename-command get", "Bad directive or wrong number of arguments"),
        ("user", "Bad directive or wrong number of arguments"),
        ("user default on nopass ~* &* +@all -get", "ACL users are not supported yet: set requirepass instead"),
        ("user default on >secret ~* &* +@all", "ACL users are not supported yet: set requirepass instead"),
        ("user alice on nopass", "ACL users are not supported yet: set requirepass instead"),
        ("aclfile /etc/users.acl", "ACL users are not supported yet: set requirepass instead"),
        ("loadmodule /x.so", "Modules are not supported"),
        ("tls-port 6380", "TLS is not supported yet: tls-port must be 0"),
        ("sentinel monitor x", "sentinel directive while not in sentinel mode"),
    ];
    for (line, why) in cases {
        let error = load_text(line).unwrap_err();
        assert_eq!((error.line, error.option.as_str(), error.why.as_str()), (1, line, why));
    }
}

#[test]
fn arguments_override_files_and_are_named_in_errors() {
    let folder = Folder::new();
    let path = folder.file("a.conf", "port 1\nmaxmemory 1mb\nMAXMEMORY 2mb\n");
    let config = load(&[&path, "--port", "2", "--bind", "127.0.0.1", "::1", "--requirepass", "--x"]).unwrap();
    assert_eq!((config.port(), config.maxmemory()), (2, 2 << 20));
    assert_eq!(load(&["", "--port", "3"]).unwrap().port(), 3, "a variable that is not set names no file");
    let twice = load_text("user default on >a ~* &* +@all\nuser default on nopass ~* &* +@all").unwrap_err();
    assert_eq!((twice.line, twice.why.as_str()), (2, "ACL users are not supported yet: set requirepass instead"));
    assert_eq!(config.bind(), ["127.0.0.1", "::1"]);
    assert_eq!(config.requirepass().as_deref(), Some(&b"--x"[..]));

    let error = load(&["--port", "1", "--foo", "bar"]).unwrap_err();
    assert_eq!((error.file.as_str(), error.line, error.option.as_str()), ("the arguments", 2, "foo \"bar\""));
    assert_eq!(load(&["--port=3"]).unwrap_err().option, "port=3");
    let missing = load(&["/nonexistent.conf"]).unwrap_err();
    assert_eq!(missing.why, "Fatal error, can't open config file '/nonexistent.conf': No such file or directory");
    assert!(missing.to_string().starts_with("\n*** FATAL CONFIG FILE ERROR"));
}

#[test]
fn save_lines_add_up_and_an_empty_one_clears() {
    let folder = Folder::new();
    let path = folder.file("a.conf", "save 60 1\nsave 30 2\n");
    assert_eq!(get(&load(&[&path, "--save", "10", "5"]).unwrap(), "save"), "60 1 30 2 10 5");
    assert_eq!(get(&load(&[&path, "--save", ""]).unwrap(), "save"), "");
    assert_eq!(get(&load(&[&path, "--save", "--port", "1"]).unwrap(), "save"), "");
    assert_eq!(get(&load(&["--save", "4 4 5 5"]).unwrap(), "save"), "4 4 5 5");
    assert_eq!(load(&[&path]).unwrap().save_points(), [(60, 1), (30, 2)]);
}

#[test]
fn standard_input_is_read_between_file_and_arguments() {
    let folder = Folder::new();
    let path = folder.file("a.conf", "port 1\nhz 20\ntimeout 1\n");
    let config = load_with(&[&path, "--timeout", "3", "-"], "timeout 2\nhz 30\n").unwrap();
    assert_eq!((config.port(), config.hz(), config.timeout_s()), (1, 30, 3));
    assert_eq!(load_with(&["-"], "x y").unwrap_err().file, "standard input");
}

#[test]
fn includes() {
    let folder = Folder::new();
    let dir = folder.0.display();
    folder.file("1.inc", "port 1\nhz 20\n");
    folder.file("2.inc", "port 2\n");
    folder.file("loop", &format!("include {dir}/loop\n"));
    folder.file("bad", "\nport x\n");
    let try_include = |what: &str| load(&[&folder.file("main", &format!("port 9\ninclude {dir}/{what}\ntimeout 5\n"))]);

    let config = try_include("*.inc").unwrap();
    assert_eq!((config.port(), config.hz(), config.timeout_s()), (2, 20, 5));
    assert_eq!(try_include("*.none").unwrap().port(), 9);
    assert_eq!(try_include("loop").unwrap_err().why, "Too many levels of included files");
    let inner = try_include("bad").unwrap_err();
    assert_eq!((inner.file, inner.line), (format!("{dir}/bad"), 2));
    let missing = try_include("none").unwrap_err();
    assert_eq!(missing.line, 2);
    assert!(missing.why.starts_with("Fatal error, can't open config file"), "{missing}");
}

// ---- CONFIG GET and SET ----

#[test]
fn defaults_print_as_redis_prints_them() {
    let config = Config::default();
    let cases = [
        ("client-output-buffer-limit", "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60"),
        ("bind", "127.0.0.1 -::1"),
        ("maxmemory", "0"),
        ("maxmemory-policy", "noeviction"),
        ("proto-max-bulk-len", "536870912"),
        ("unixsocketperm", "0"),
        ("latency-tracking-info-percentiles", "50 99 99.9"),
        ("oom-score-adj-values", "0 200 800"),
        ("proc-title-template", "{title} {listen-addr} {server-mode}"),
        ("shutdown-on-sigint", "default"),
        ("save", ""),
        ("appendonly", "no"),
        ("notify-keyspace-events", ""),
    ];
    for (name, value) in cases {
        assert_eq!(get(&config, name), value, "{name}");
    }
    assert_eq!(get(&config, "dir"), std::env::current_dir().unwrap().to_str().unwrap());
}

#[test]
fn set_values_print_in_canonical_form() {
    let config = Config::default();
    let cases = [
        ("maxmemory", "1kb", "1024"),
        ("maxmemory", "18446744073709551615", "18446744073709551615"),
        ("maxmemory", "3g", "3000000000"),
        ("maxmemory-clients", "50%", "50%"),
        ("maxmemory-clients", "1mb", "1048576"),
        ("loglevel", "WARNING", "warning"),
        ("appendonly", "YES", "yes"),
        ("hz", "0", "1"),
        ("hz", "1000", "500"),
        ("repl-backlog-size", "1", "16384"),
        ("notify-keyspace-events", "Egx", "gxE"),
        ("notify-keyspace-events", "KEA", "AKE"),
        (
            "client-output-buffer-limit",
            "replica 1mb 1k 6 normal 1 2 3",
            "normal 1 2 3 slave 1048576 1000 6 pubsub 33554432 8388608 60",
        ),
        ("shutdown-on-sigterm", "save force now", "save now force"),
        ("shutdown-on-sigterm", "default save", "save"),
        ("shutdown-on-sigterm", "default", "default"),
        ("latency-tracking-info-percentiles", "1 2 3 99.123456789", "1 2 3 99.123457"),
        ("latency-tracking-info-percentiles", "", ""),
        ("save", "10 1 20 2", "10 1 20 2"),
        ("save", "", ""),
        ("slave-priority", "10", "10"),
        ("list-max-ziplist-size", "3", "3"),
    ];
    for (name, value, printed) in cases {
        set(&config, name, value).unwrap_or_else(|why| panic!("{name} {value}: {why}"));
        assert_eq!(get(&config, name), printed, "{name} {value}");
    }
    assert_eq!(config.output_limits(ClientClass::Replica).soft_bytes, 1000);
    assert_eq!(config.notify_keyspace_events(), notify::ALL | notify::KEYSPACE | notify::KEYEVENT);
    assert_eq!(get(&config, "replica-priority"), "10");
}

#[test]
fn refused_values() {
    let policies = "volatile-lru, volatile-lfu, volatile-random, volatile-ttl, allkeys-lru, allkeys-lfu, allkeys-random, noeviction";
    let cases = [
        ("cluster-announce-port", "99999", "argument must be between 0 and 65535 inclusive"),
        ("cluster-announce-port", "", "argument couldn't be parsed into an integer"),
        ("cluster-announce-port", "1 2", "argument couldn't be parsed into an integer"),
        ("maxmemory", "abc", "argument must be a memory value"),
        ("maxmemory", "-1", "argument must be a memory value"),
        ("maxmemory", "50%", "argument must be a memory value"),
        ("maxmemory", "17179869184gb", "argument must be a memory value"), // Valkey wraps to 0
        ("maxmemory-clients", "500%", "percentage argument must be less or equal to 100"),
        ("maxmemory-clients", "-5", "argument must be a memory or percent value"),
        ("maxmemory-policy", "foo", &format!("argument(s) must be one of the following: {policies}")),
        (
            "loglevel",
            "notice warning",
            "argument(s) must be one of the following: debug, verbose, notice, warning, nothing",
        ),
        ("protected-mode", "foo", "argument must be 'yes' or 'no'"),
        ("databases", "5", "can't set immutable config"),
        ("dir", "/tmp", "can't set protected config"),
        ("maxclients", "0", "argument must be between 1 and 4294967295 inclusive"),
        ("proto-max-bulk-len", "100", "argument must be between 1048576 and 9223372036854775807 inclusive"),
        ("save", "10", "Invalid save parameters"),
        ("save", "0 1", "Invalid save parameters"),
        ("save", " 3600   1 ", "Invalid save parameters"),
        ("save", "10 999999999999", "Invalid save parameters"), // Valkey overflows
        ("client-output-buffer-limit", "foo", "Wrong number of arguments in buffer limit configuration."),
        ("client-output-buffer-limit", "foo 0 0 0", "Invalid client class specified in buffer limit configuration."),
        (
            "client-output-buffer-limit",
            "normal 0 0 -1",
            "Error in hard, soft or soft_seconds setting in buffer limit configuration.",
        ),
        ("notify-keyspace-events", "foo", "Invalid event class character. Use 'Ag$lshzxeKEtmdn'."),
        ("latency-tracking-info-percentiles", "nan", "Invalid latency-tracking-info-percentiles parameters"),
        (
            "latency-tracking-info-percentiles",
            "101",
            "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]",
        ),
        ("oom-score-adj-values", "1", "wrong number of arguments"),
        ("oom-score-adj-values", "1 2 3000", "Invalid oom-score-adj-values, elements must be between -2000 and 2000."),
        (
            "shutdown-on-sigint",
            "foo",
            "argument(s) must be one of the following: default, save, nosave, now, force, safe, failover",
        ),
        ("shutdown-on-sigint", "save nosave", "shutdown options SAVE and NOSAVE can't be used simultaneously"),
        ("list-max-listpack-size", "99999999999", "argument must be between -2147483648 and 2147483647 inclusive"),
        ("slowlog-max-len", "-1", "argument must be between 0 and 9223372036854775807 inclusive"),
        ("stream-node-max-entries", "99999999999999999999", "argument couldn't be parsed into an integer"),
        ("proc-title-template", "{foo}", "template format is invalid or contains unknown variables"),
        ("proc-title-template", "{title", "template format is invalid or contains unknown variables"),
        ("cluster-announce-hostname", "a b", "Hostnames may only contain alphanumeric characters, hyphens or dots"),
        ("cluster-announce-client-ipv4", "foo", "Invalid IPv4 address"),
        ("cluster-announce-client-ipv6", "foo", "Invalid IPv6 address"),
        ("cluster-announce-human-nodename", "a b", "Announced human node name contained invalid character"),
        ("replicaof", "a 1", "can't set immutable config"),
        ("rdma-port", "1", "No RDMA building support."),
        ("tls-port", "1", "TLS is not supported yet: tls-port must be 0"),
    ];
    let config = Config::default();
    for (name, value, why) in cases {
        let text = format!("CONFIG SET failed (possibly related to argument '{name}') - {why}");
        assert_eq!(set(&config, name, value), Err(text), "{name} {value}");
    }
    let unknown = Err("Unknown option or number of arguments for CONFIG SET - 'foo'".to_owned());
    assert_eq!(set(&config, "foo", "bar"), unknown);
    for spec in ROWS {
        assert_eq!(get(&config, spec.name), get(&Config::default(), spec.name), "{}", spec.name);
    }
}

#[test]
fn protected_options_ask_who_wants_to_change_them() {
    let pairs: [(&[u8], &[u8]); 1] = [(b"dbfilename", b"x.rdb")];
    let allowed =
        |mode: &str, local| load(&["--enable-protected-configs", mode]).unwrap().set_many_from(&pairs, local).is_ok();
    assert_eq!((allowed("no", true), allowed("local", false)), (false, false));
    assert_eq!((allowed("local", true), allowed("yes", false)), (true, true));
    let config = load(&["--enable-protected-configs", "yes"]).unwrap();
    let failed =
        |name: &str, value: &str| set(&config, name, value).unwrap_err().split_once(") - ").unwrap().1.to_owned();
    assert_eq!(failed("dbfilename", "x/y"), "dbfilename can't be a path, just a filename");
    assert_eq!(failed("dbfilename", ""), "dbfilename can't be empty");
    assert_eq!(failed("dir", "/nonexistent"), "No such file or directory");
}

#[test]
fn set_is_all_or_nothing() {
    let config = Config::default();
    let refused = |pairs: &[(&[u8], &[u8])]| config.set_many(pairs).unwrap_err().to_string();
    let text = refused(&[(b"maxmemory", b"1mb"), (b"timeout", b"x")]);
    assert!(text.contains("'timeout'"), "{text}");
    assert_eq!(
        refused(&[(b"timeout", b"x"), (b"foo", b"1")]),
        "Unknown option or number of arguments for CONFIG SET - 'foo'"
    );
    let twice = "CONFIG SET failed (possibly related to argument 'Slave-priority') - duplicate parameter";
    assert_eq!(refused(&[(b"slave-priority", b"1"), (b"Slave-priority", b"2")]), twice);
    let text = refused(&[(b"Slave-Priority", b"x")]);
    assert!(text.contains("'slave-priority'"), "{text}");
    assert_eq!(config.maxmemory(), 0);

    let changed = config.set_many(&[(b"maxmemory", b"1mb"), (b"hz", b"10"), (b"REQUIREPASS", b"s\xff")]).unwrap();
    assert_eq!(changed.iter().map(|change| change.name).collect::<Vec<_>>(), ["maxmemory", "requirepass"]);
    assert_eq!(config.requirepass().as_deref(), Some(&b"s\xff"[..]));
    config.undo(&changed);
    assert_eq!((config.maxmemory(), config.requirepass()), (0, None));

    let changed = config.set_many(&[(b"slave-priority", b"1"), (b"replica-priority", b"2")]).unwrap();
    assert_eq!(config.text_of("replica-priority").as_deref(), Some(&b"2"[..]));
    config.undo(&changed);
    assert_eq!(config.text_of("replica-priority").as_deref(), Some(&b"100"[..]));
}

#[test]
fn get_answers_each_matching_name_once() {
    let config = Config::default();
    let names = |patterns: &[&str]| -> Vec<String> {
        let patterns: Vec<&[u8]> = patterns.iter().map(|pattern| pattern.as_bytes()).collect();
        config.matching(&patterns).into_iter().map(|(name, _)| name).collect()
    };
    assert_eq!(names(&["MAXMEMORY"]), ["MAXMEMORY"]);
    assert_eq!(names(&["maxmemory", "maxmemory"]), ["maxmemory"]);
    assert_eq!(names(&["*-PRIORITY"]), ["replica-priority", "slave-priority"]);
    assert_eq!(names(&["watchdog-period"]), ["watchdog-period"]);
    assert_eq!(names(&["watchdog-*", "unknown"]), [] as [String; 0]);
    let all = names(&["*"]).len();
    assert_eq!(all, ROWS.iter().filter(|spec| !spec.hidden).flat_map(|spec| spec.names()).count());
    assert_eq!(names(&["*", "port", "save"]).len(), all);
}

// ---- CONFIG REWRITE ----

#[test]
fn rewrite_keeps_what_is_true_and_changes_the_rest_in_place() {
    let folder = Folder::new();
    let path = folder.file(
        "a.conf",
        "# head comment\nsave 60 1\n  SAVE 30 2   \nport 7810\nmaxmemory 100mb\nmaxmemory 200mb\nslave-priority 50\n\
         requirepass \"a b\\x41\\n'\"\nclient-output-buffer-limit slave 1mb 0 0\n\n# middle\nnotify-keyspace-events Ex\n\
         loglevel NOTICE\ntimeout 0\nrename-command SWAPDB foo\n",
    );
    let config = load(&[&path, "--hz", "20"]).unwrap();
    let pairs: [(&[u8], &[u8]); 6] = [
        (b"save", b"5 6 7 8"),
        (b"maxclients", b"9000"),
        (b"loglevel", b"verbose"),
        (b"proto-max-bulk-len", b"64mb"),
        (b"masterauth", b"x\"y"),
        (b"notify-keyspace-events", b"KEAn"),
    ];
    config.set_many(&pairs).unwrap();
    config.rewrite().unwrap();
    let expected = "# head comment\nsave 5 6 7 8\nport 7810\nmaxmemory 200mb\nslave-priority 50\n\
         requirepass \"a b\\x41\\n'\"\nclient-output-buffer-limit slave 1mb 0 0\n\n# middle\n\
         notify-keyspace-events \"AnKE\"\nloglevel verbose\ntimeout 0\nrename-command SWAPDB foo\n\n\
         # Generated by CONFIG REWRITE\nmasterauth \"x\\\"y\"\nmaxclients 9000\nproto-max-bulk-len 64mb\nhz 20\n";
    assert_eq!(std::fs::read_to_string(&path).unwrap(), expected);
    assert_eq!(std::fs::read_dir(&folder.0).unwrap().count(), 1, "no temporary file stays");

    let again = load(&[&path]).unwrap();
    for spec in ROWS {
        assert_eq!(again.text_of(spec.name), config.text_of(spec.name), "{}", spec.name);
    }
    again.rewrite().unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), expected, "a second rewrite changes nothing");
}

/// Every option survives being moved off its default, rewritten and loaded.
#[test]
fn rewrite_round_trip_of_every_option() {
    let folder = Folder::new();
    let path = folder.file("a.conf", "");
    let config = load(&[&path, "--enable-protected-configs", "yes"]).unwrap();
    let mut moved = 0;
    for spec in ROWS.iter().filter(|spec| !spec.startup_only) {
        let Some(value) = other_value(spec) else { continue };
        moved += usize::from(set(&config, spec.name, &value).is_ok());
    }
    assert!(moved > 150, "{moved}");
    config.rewrite().unwrap();
    let again = load(&[&path]).unwrap();
    for spec in ROWS {
        assert_eq!(again.text_of(spec.name), config.text_of(spec.name), "{}", spec.name);
    }
}

fn other_value(spec: &OptionSpec) -> Option<String> {
    Some(match spec.kind {
        Kind::YesNo => if spec.default == "yes" { "no" } else { "yes" }.to_owned(),
        Kind::Integer { max, .. } => max.min(7).to_string(),
        Kind::Memory { min, .. } => (min + 1000).to_string(),
        Kind::MemoryOrPercent => "7%".to_owned(),
        Kind::Choice(names) => (*names.iter().find(|name| **name != spec.default)?).to_owned(),
        Kind::Words(_) => "now force".to_owned(),
        Kind::Text if spec.name == "proc-title-template" => "{title} x".to_owned(),
        Kind::Text => "odd\"name".to_owned(),
        Kind::Directory => "/".to_owned(),
        Kind::Events => "KEAnm".to_owned(),
        Kind::SavePoints => "1 2 3 4".to_owned(),
        Kind::OutputLimits => "pubsub 5mb 6 7".to_owned(),
        Kind::OomScores => "-1 2 3".to_owned(),
        Kind::Percentiles => "1 99.5".to_owned(),
        Kind::Addresses => "* -::*".to_owned(),
        Kind::Octal { .. } | Kind::Primary => return None,
    })
}

#[test]
fn rewrite_needs_a_file_and_reports_the_system() {
    let error = Config::default().rewrite().unwrap_err();
    assert_eq!(error.to_string(), "The server is running without a config file");
    let folder = Folder::new();
    let path = folder.file("a.conf", "port 1\n");
    let config = load(&[&path]).unwrap();
    drop(folder);
    assert_eq!(config.rewrite().unwrap_err().to_string(), "Rewriting config file: No such file or directory");
}

/// A relative `dir` meant the folder the server started in, which it leaves when `dir` changes.
#[test]
fn rewrite_makes_a_changed_dir_absolute() {
    let folder = Folder::new();
    let other = std::fs::canonicalize(&folder.0).unwrap();
    for (line, value, expected) in [
        ("dir ./", None, "dir ./\n".to_owned()),
        ("dir ./", Some(&other), format!("dir \"{}\"\n", other.display())),
        ("dir src", None, format!("dir \"{}/src\"\n", std::env::current_dir().unwrap().display())),
    ] {
        let path = folder.file("a.conf", &format!("{line}\n"));
        let config = load(&[&path, "--enable-protected-configs", "local"]).unwrap();
        if let Some(value) = value {
            let pairs: [(&[u8], &[u8]); 1] = [(b"dir", value.to_str().unwrap().as_bytes())];
            config.set_many_from(&pairs, true).unwrap();
        }
        config.rewrite().unwrap();
        assert!(std::fs::read_to_string(&path).unwrap().starts_with(&expected), "{line}");
    }
}

#[cfg(unix)]
#[test]
fn rewrite_keeps_permissions_and_links() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    let path = folder.file("real.conf", "timeout 1\n");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    let link = folder.0.join("link.conf");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let config = load(&[link.to_str().unwrap()]).unwrap();
    set(&config, "timeout", "2").unwrap();
    config.rewrite().unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "timeout 2\n");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
}
