//! The table of options: one row per option, grouped as `redis.conf.example` is.
//!
//! Invariant: a fact about an option (names, kind, bounds, default, whether it is honoured, its documentation) is
//! stated here and nowhere else; a value is found by the row's number, so that a live option costs one load.
//! It must not know live values, files or sockets.
//! Source: `CONFIG GET *` of Redis 7.0 and Valkey 9.1, the `redis.conf` of Redis 7.2, bounds asked of a running server.

use crate::config::spec::{Kind, OptionSpec, Origin};
use crate::config::value::Value;

/// Options of one subject.
#[derive(Debug)]
pub struct Group {
    /// The heading in `redis.conf.example`.
    pub title: &'static str,
    /// Its options.
    pub rows: &'static [OptionSpec],
}

/// Number of rows in all groups.
pub const COUNT: usize = count();

/// All rows, in the order of the groups; a row's index here is its number everywhere.
pub static ROWS: [&OptionSpec; COUNT] = flatten();

/// The number of the row that has `name` as its canonical name; fails to compile where there is none.
pub(super) const fn row(name: &str) -> usize {
    let rows = flatten();
    let mut at = 0;
    while at < COUNT {
        if same(rows[at].name, name) {
            return at;
        }
        at += 1;
    }
    #[expect(clippy::panic, reason = "only ever evaluated by the compiler")]
    {
        panic!("no such option");
    }
}

/// The number of the row that answers to a name or alias, in any letter case.
pub fn find(name: &[u8]) -> Option<usize> {
    ROWS.iter().position(|spec| spec.names().any(|known| known.as_bytes().eq_ignore_ascii_case(name)))
}

/// Whether two names are equal, for the compiler.
const fn same(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut at = 0;
    while at < a.len() && at < b.len() && a[at] == b[at] {
        at += 1;
    }
    a.len() == b.len() && at == a.len()
}

const fn count() -> usize {
    let (mut group, mut total) = (0, 0);
    while group < GROUPS.len() {
        total += GROUPS[group].rows.len();
        group += 1;
    }
    total
}

const fn flatten() -> [&'static OptionSpec; COUNT] {
    let mut rows = [&GROUPS[0].rows[0]; COUNT];
    let (mut group, mut at) = (0, 0);
    while group < GROUPS.len() {
        let mut i = 0;
        while i < GROUPS[group].rows.len() {
            rows[at] = &GROUPS[group].rows[i];
            at += 1;
            i += 1;
        }
        group += 1;
    }
    rows
}

/// A word of a file that is no option: nothing reads it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Directive {
    /// Loads other files, by path or pattern.
    Include,
    /// Gives a command another name, or none.
    RenameCommand,
    /// A user: the default one, as CONFIG REWRITE of Redis and Valkey always describes it; no other.
    User,
    /// Meant something to older servers.
    Obsolete,
    /// Cannot be done, and ignoring it would be unsafe or surprising; the text says so.
    Refused(&'static str),
}

/// Every directive, with the number of words that it takes after its name.
pub const DIRECTIVES: &[(&str, std::ops::RangeInclusive<usize>, Directive)] = &[
    ("include", 1..=1, Directive::Include),
    ("rename-command", 2..=2, Directive::RenameCommand),
    ("list-max-ziplist-entries", 1..=1, Directive::Obsolete),
    ("list-max-ziplist-value", 1..=1, Directive::Obsolete),
    ("lua-replicate-commands", 1..=1, Directive::Obsolete),
    ("user", 1..=usize::MAX, Directive::User),
    ("loadmodule", 1..=usize::MAX, Directive::Refused("Modules are not supported")),
    ("sentinel", 1..=usize::MAX, Directive::Refused("sentinel directive while not in sentinel mode")),
];

/// Why a user cannot be had.
pub(super) const NO_USERS: &str = "ACL users are not supported yet: set requirepass instead";

/// Policies of eviction in the order of [`crate::config::EvictionPolicy`].
pub(super) const POLICIES: &[&str] = &[
    "volatile-lru",
    "volatile-lfu",
    "volatile-random",
    "volatile-ttl",
    "allkeys-lru",
    "allkeys-lfu",
    "allkeys-random",
    "noeviction",
];

/// Algorithms of eviction.
const EVICTION_ALGORITHMS: &[&str] = &["duo", "sampled"];

/// Log levels in the order of [`crate::config::LogLevel`].
pub(super) const LEVELS: &[&str] = &["debug", "verbose", "notice", "warning", "nothing"];

/// Answers of `enable-*` in the order of [`crate::config::Permission`].
const PERMISSIONS: &[&str] = &["no", "yes", "local"];

/// Modes of shutdown; the first stands for none of the others.
const SHUTDOWN: &[&str] = &["default", "save", "nosave", "now", "force", "safe", "failover"];

const I32: i64 = i32::MAX as i64;
const I64: i64 = i64::MAX;
const MEM: u64 = i64::MAX as u64;
const MB: u64 = 1 << 20;

// What brings the options that larder does not act on yet.
const ACL: &str = "ACL users";
const CLUSTER: &str = "cluster mode";
const RDB: &str = "snapshots on disk";
const REPLICATION: &str = "replication";
const TLS: &str = "TLS";
const OS: &str = "operating system integration";
// Why the others never will have an effect.
const ONE_PROCESS: &str = "larder never forks, so there are no child processes to steer";
const NO_DEFRAG: &str = "larder's jemalloc has no hooks for moving blocks";
const NO_REHASH: &str = "larder's key table splits segment by segment and never rehashes";
const THREADS: &str = "the 'threads' option sets the number of worker threads";
const NO_OLD_LUA: &str = "these parts stay away";
const NO_COPIES: &str = "larder never copies values that leave in pieces of their own";
const NO_MODULES: &str = "larder loads no modules";
const NO_RDMA: &str = "larder has no RDMA transport";

type Row = OptionSpec;

const fn flag(name: &'static str, default: &'static str, doc: &'static str) -> Row {
    Row::new(name, Kind::YesNo, default, doc)
}
const fn int(name: &'static str, min: i64, max: i64, default: &'static str, doc: &'static str) -> Row {
    Row::new(name, Kind::Integer { min, max }, default, doc)
}
const fn mem(name: &'static str, min: u64, max: u64, default: &'static str, doc: &'static str) -> Row {
    Row::new(name, Kind::Memory { min, max }, default, doc)
}
const fn text(name: &'static str, default: &'static str, doc: &'static str) -> Row {
    Row::new(name, Kind::Text, default, doc)
}
const fn pick(name: &'static str, of: &'static [&'static str], default: &'static str, doc: &'static str) -> Row {
    Row::new(name, Kind::Choice(of), default, doc)
}
const fn list(name: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Row {
    Row::new(name, kind, default, doc)
}

/// The groups, in the order of Redis's own file.
#[rustfmt::skip]
pub const GROUPS: &[Group] = &[
    Group { title: "Threads", rows: &[
        int("threads", 0, 1024, "0",
            "Worker threads that serve requests; 0 means one per core that the process may use.").startup(),
        int("coalesce-us", 0, 1000, "50",
            "Longest pause, in microseconds, in which a worker lets requests of many busy clients gather; 0 never."),
        int("io-threads", 1, 256, "1", "Redis's count of input/output threads.").unneeded(THREADS),
        flag("io-threads-always-active", "no", "Keeps Valkey's input/output threads at work, for tests.").hidden().unneeded(THREADS),
        int("min-io-threads-avoid-copy-reply", 0, I32, "7", "Threads from which on Valkey sends values without a copy.")
            .hidden().unneeded(NO_COPIES),
        int("min-string-size-avoid-copy-reply", 0, I32, "16384", "Bytes from which on Valkey sends values without a copy.")
            .hidden().unneeded(NO_COPIES),
        int("min-string-size-avoid-copy-reply-threaded", 0, I32, "65536", "The same beside input/output threads.")
            .hidden().unneeded(NO_COPIES),
        flag("io-threads-do-reads", "no", "Whether Redis's input/output threads also read.").startup().unneeded(THREADS),
        int("prefetch-batch-max-size", 0, 128, "16", "Valkey's limit on keys prefetched together.")
            .unneeded("larder prefetches the whole batch"),
        int("max-new-connections-per-cycle", 1, 1000, "10", "Connections accepted in one turn of the event loop.")
            .unneeded("larder accepts without starving other connections"),
        int("max-new-tls-connections-per-cycle", 1, 1000, "1", "TLS connections accepted in one turn of the event loop.").later(TLS),
    ] },
    Group { title: "Network", rows: &[
        list("bind", Kind::Addresses, "127.0.0.1 -::1",
            "Addresses to listen on; a leading - makes one optional, * and ::* stand for all of a family."),
        text("bind-source-addr", "", "Local address of outgoing connections.").later(REPLICATION),
        flag("protected-mode", "yes", "Serves only this machine as long as the default user has no password."),
        int("port", 0, 65535, "6379", "TCP port to listen on; 0 listens on none."),
        int("tcp-backlog", 0, I32, "511", "Connections that the kernel may queue before they are accepted.").startup(),
        text("unixsocket", "", "Path of a unix socket to listen on as well.").startup(),
        Row::new("unixsocketperm", Kind::Octal { max: 0o777 }, "0",
            "Permission bits of the unix socket, in octal; 0 leaves them to the umask.").startup(),
        text("unixsocketgroup", "", "Group that shall own the unix socket.").startup().later(OS),
        int("timeout", 0, I32, "0", "Seconds after which an idle client is closed; 0 never closes it."),
        int("tcp-keepalive", 0, I32, "300", "Seconds between TCP keepalive probes; 0 sends none."),
        int("socket-mark-id", 0, u32::MAX as i64, "0", "Mark of listening sockets for packet filters.").startup().later(OS),
        flag("mptcp", "no", "Listens with Multipath TCP.").startup().later(OS),
        flag("repl-mptcp", "no", "Connects to the primary with Multipath TCP.").startup().later(REPLICATION),
        text("rdma-bind", "", "RDMA addresses to listen on.").unneeded(NO_RDMA),
        int("rdma-port", 0, 65535, "0", "RDMA port to listen on.").check(no_rdma).unneeded(NO_RDMA),
        int("rdma-rx-size", 65536, 16_777_216, "1048576", "Bytes of an RDMA receive buffer.").startup().unneeded(NO_RDMA),
        int("rdma-completion-vector", -1, 1024, "-1", "Completion vector of RDMA connections.").startup().unneeded(NO_RDMA),
    ] },
    Group { title: "Protected actions", rows: &[
        pick("enable-protected-configs", PERMISSIONS, "no",
            "Who may change protected options such as dir: no (nobody), local (this machine) or yes (everybody).").startup(),
        pick("enable-debug-command", PERMISSIONS, "no", "Who may run DEBUG: no, local or yes.").startup(),
        pick("enable-module-command", PERMISSIONS, "no", "Who may run MODULE: no, local or yes.").startup().unneeded(NO_MODULES),
        flag("enable-debug-assert", "no", "Turns on Valkey's extra internal checks.").startup().hidden()
            .unneeded("larder's checks are those of a debug build"),
    ] },
    Group { title: "TLS", rows: &[
        int("tls-port", 0, 65535, "0", "TLS port to listen on; 0 listens on none.").check(no_tls).later(TLS),
        text("tls-cert-file", "", "Certificate shown to clients, in PEM form.").later(TLS),
        text("tls-key-file", "", "Private key of that certificate.").later(TLS),
        text("tls-key-file-pass", "", "Pass phrase of that key.").secret().later(TLS),
        text("tls-client-cert-file", "", "Certificate shown to other servers.").later(TLS),
        text("tls-client-key-file", "", "Private key of the certificate shown to other servers.").later(TLS),
        text("tls-client-key-file-pass", "", "Pass phrase of the key used towards other servers.").secret().later(TLS),
        text("tls-dh-params-file", "", "Diffie-Hellman parameters for old protocols.").later(TLS),
        text("tls-ca-cert-file", "", "Bundle of authorities that may sign client certificates.").later(TLS),
        text("tls-ca-cert-dir", "", "Directory of authorities that may sign client certificates.").later(TLS),
        pick("tls-auth-clients", &["no", "yes", "optional"], "yes", "Whether clients must show a certificate.").later(TLS),
        pick("tls-auth-clients-user", &["CN", "URI", "off"], "off", "Field of the certificate that names the user.").later(TLS),
        int("tls-auto-reload-interval", 0, I32, "0", "Seconds between looks for renewed certificates; 0 never looks.").later(TLS),
        flag("tls-replication", "no", "Speaks TLS to the primary.").later(TLS),
        flag("tls-cluster", "no", "Speaks TLS on the cluster bus.").later(TLS),
        text("tls-protocols", "", "TLS versions to accept; empty accepts 1.2 and 1.3.").later(TLS),
        text("tls-ciphers", "", "Ciphers up to TLS 1.2.").later(TLS),
        text("tls-ciphersuites", "", "Cipher suites of TLS 1.3.").later(TLS),
        flag("tls-prefer-server-ciphers", "no", "Lets the server's order of ciphers win.").later(TLS),
        flag("tls-session-caching", "yes", "Lets clients resume sessions.").later(TLS),
        int("tls-session-cache-size", 0, I32, "20480", "Sessions kept for resumption; 0 keeps all.").later(TLS),
        int("tls-session-cache-timeout", 0, I32, "300", "Seconds that a session can be resumed.").later(TLS),
    ] },
    Group { title: "General", rows: &[
        flag("daemonize", "no", "Runs in the background: the program ends at once, and a process without a terminal goes on.").startup(),
        pick("supervised", &["upstart", "systemd", "auto", "no"], "no", "Service manager to tell about readiness.").startup().later(OS),
        text("pidfile", "", "File that holds the process id while the server runs.").startup(),
        pick("loglevel", LEVELS, "notice", "Least important messages that are logged: debug, verbose, notice, warning or nothing."),
        text("logfile", "", "File to append the log to; empty logs to standard output.").startup(),
        pick("log-format", &["legacy", "logfmt", "json"], "legacy",
            "Shape of log lines: legacy, logfmt or json."),
        pick("log-timestamp-format", &["legacy", "iso8601", "milliseconds"], "legacy",
            "Shape of the time in log lines: legacy, iso8601 or milliseconds since 1970."),
        flag("syslog-enabled", "no", "Logs to syslog as well.").startup().later(OS),
        text("syslog-ident", "larder", "Name under which syslog shows the server.").startup().later(OS),
        pick("syslog-facility",
            &["user", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7"],
            "local0", "Syslog facility.").startup().later(OS),
        flag("hide-user-data-from-log", "yes", "Keeps keys and arguments of clients out of the log."),
        flag("crash-log-enabled", "yes", "Writes a report to the log when the server crashes.").later("crash reports"),
        flag("crash-memcheck-enabled", "yes", "Tests memory after a crash.").unneeded("larder does not test memory"),
        int("databases", 1, I32, "16", "Number of databases that SELECT can choose from.").startup(),
        flag("always-show-logo", "no", "Shows Redis's logo in the log.").startup().unneeded("larder has no logo"),
        flag("set-proc-title", "yes", "Shows addresses and mode in the process title.").startup().later(OS),
        text("proc-title-template", "{title} {listen-addr} {server-mode}",
            "Process title; the words in braces are replaced.").check(title_template).later(OS),
        text("locale-collate", "", "Locale by which SORT ALPHA compares; empty takes the environment's.").later("SORT by locale"),
        text("ignore-warnings", "", "Names of start-up checks that may fail.").unneeded("larder makes no such checks"),
        text("availability-zone", "", "Name of the zone the server runs in, told to clients.").later(CLUSTER),
        flag("extended-redis-compatibility", "no", "Valkey's way of naming itself redis where clients look.")
            .unneeded("larder always does"),
        text("hash-seed", "", "Fixes the hash of keys for tests.").startup().unneeded("larder draws a seed at every start"),
        flag("import-mode", "no", "Leaves expired keys alone while data is imported.").later("imports"),
        text("debug-context", "", "Note that a crash report repeats.").hidden().later("crash reports"),
        flag("use-exit-on-panic", "no", "Exits instead of aborting on a failed check.").hidden().later("crash reports"),
        int("watchdog-period", 0, I32, "0", "Milliseconds after which a stall is logged; 0 never logs it.").hidden().later("a watchdog"),
    ] },
    Group { title: "Snapshots", rows: &[
        list("save", Kind::SavePoints, "",
            "Saves a snapshot after so many seconds when so many keys changed; several pairs may follow each other."),
        flag("stop-writes-on-bgsave-error", "yes", "Refuses writes after a failed snapshot."),
        flag("rdbcompression", "yes", "Compresses long strings in snapshots."),
        flag("rdbchecksum", "yes", "Ends snapshots with a checksum and verifies it.").startup(),
        pick("rdb-version-check", &["strict", "relaxed"], "strict", "Whether snapshots of a newer format are tried."),
        pick("sanitize-dump-payload", &["no", "yes", "clients"], "no", "When RESTORE and loading verify data in depth.")
            .unneeded("larder always verifies"),
        text("dbfilename", "dump.rdb", "Name of the snapshot file.").protected().check(snapshot_name),
        flag("rdb-del-sync-files", "no", "Deletes snapshots that replication alone needed.").later(REPLICATION),
        Row::new("dir", Kind::Directory, "./", "Working directory, which holds snapshots and append-only files.").protected(),
        flag("rdb-save-incremental-fsync", "yes", "Syncs snapshots piece by piece while writing."),
        int("rdb-key-save-delay", i32::MIN as i64, I32, "0", "Microseconds to wait per saved key, for tests.").hidden(),
        int("key-load-delay", i32::MIN as i64, I32, "0", "Microseconds to wait per loaded key, for tests.").hidden(),
        int("loading-process-events-interval-bytes", 1024, I32, "2097152", "Bytes loaded between looks at clients.")
            .hidden().later(RDB),
    ] },
    Group { title: "Replication", rows: &[
        list("replicaof", Kind::Primary, "", "Host and port of the primary to copy.").alias(&["slaveof"]).startup().later(REPLICATION),
        text("masterauth", "", "Password for the primary.").alias(&["primaryauth"]).secret().later(REPLICATION),
        text("masteruser", "", "User for the primary.").alias(&["primaryuser"]).secret().later(REPLICATION),
        flag("replica-serve-stale-data", "yes", "Answers reads while the primary is out of reach.")
            .alias(&["slave-serve-stale-data"]).later(REPLICATION),
        flag("replica-read-only", "yes", "Refuses writes on a replica.").alias(&["slave-read-only"]).later(REPLICATION),
        flag("repl-diskless-sync", "yes", "Sends a new replica its snapshot without a file.").later(REPLICATION),
        int("repl-diskless-sync-delay", 0, I32, "5", "Seconds to wait for more replicas before sending.").later(REPLICATION),
        int("repl-diskless-sync-max-replicas", 0, I32, "0", "Replicas that end that wait early; 0 waits the full time.")
            .later(REPLICATION),
        flag("repl-rdb-channel", "yes", "Sends a new replica its snapshot over a connection of its own, on Redis 8.").hidden().later(REPLICATION),
        mem("replica-full-sync-buffer-limit", 0, MEM, "0", "Bytes that a replica keeps while it loads, on Redis 8.").hidden().later(REPLICATION),
        pick("repl-diskless-load", &["disabled", "on-empty-db", "swapdb", "flush-before-load"], "disabled",
            "How a replica loads a snapshot without a file.").later(REPLICATION),
        flag("dual-channel-replication-enabled", "no", "Sends snapshot and stream on two connections.").later(REPLICATION),
        int("repl-ping-replica-period", 1, I32, "10", "Seconds between pings to replicas.")
            .alias(&["repl-ping-slave-period"]).later(REPLICATION),
        int("repl-timeout", 1, I32, "60", "Seconds of silence after which the other side counts as lost.").later(REPLICATION),
        flag("repl-disable-tcp-nodelay", "no", "Sends to replicas in fewer, later packets.").later(REPLICATION),
        mem("repl-backlog-size", 1, MEM, "10mb", "Bytes of the stream kept for replicas that return.")
            .clamped(16384, i64::MAX).later(REPLICATION),
        int("repl-backlog-ttl", 0, I64, "3600", "Seconds without replicas after which it is freed; 0 never frees it.").later(REPLICATION),
        int("replica-priority", 0, I32, "100", "Rank in which Sentinel promotes replicas; 0 is never promoted.")
            .alias(&["slave-priority"]).later(REPLICATION),
        pick("propagation-error-behavior", &["ignore", "panic", "panic-on-replicas"], "ignore",
            "What to do when a replicated command fails.").later(REPLICATION),
        flag("replica-ignore-disk-write-errors", "no", "Lets a replica go on when it cannot write to its disk.").later(REPLICATION),
        flag("replica-announced", "yes", "Shows this replica to Sentinel's clients.").later(REPLICATION),
        int("min-replicas-to-write", 0, I32, "0", "Replicas that must be in touch for writes to be accepted.")
            .alias(&["min-slaves-to-write"]).later(REPLICATION),
        int("min-replicas-max-lag", 0, I32, "10", "Seconds of silence after which a replica is out of touch.")
            .alias(&["min-slaves-max-lag"]).later(REPLICATION),
        text("replica-announce-ip", "", "Address that a replica reports of itself.").alias(&["slave-announce-ip"]).later(REPLICATION),
        int("replica-announce-port", 0, 65535, "0", "Port that a replica reports of itself; 0 reports the real one.")
            .alias(&["slave-announce-port"]).later(REPLICATION),
    ] },
    Group { title: "Client-side caching", rows: &[
        int("tracking-table-max-keys", 0, I64, "1000000", "Keys remembered for client-side caching; 0 is no limit."),
    ] },
    Group { title: "Security", rows: &[
        int("acllog-max-len", 0, I64, "128", "Refusals kept for ACL LOG.").later(ACL),
        text("aclfile", "", "File of ACL users.").startup().check(no_acl_file).later(ACL),
        text("requirepass", "", "Password of the default user.").secret(),
        pick("acl-pubsub-default", &["allchannels", "resetchannels"], "resetchannels", "Channels that a new user may use.").later(ACL),
    ] },
    Group { title: "Clients", rows: &[
        int("maxclients", 1, u32::MAX as i64, "10000", "Clients that may be connected at once."),
        mem("client-query-buffer-limit", MB, MEM, "1gb", "Bytes of one request that may be buffered."),
        mem("proto-max-bulk-len", MB, MEM, "512mb", "Bytes of one argument, and of one string value."),
        list("client-output-buffer-limit", Kind::OutputLimits,
            "normal 0 0 0 slave 256mb 64mb 60 pubsub 32mb 8mb 60",
            "Class, hard limit, soft limit and soft seconds after which a client that does not read is closed."),
        Row::new("maxmemory-clients", Kind::MemoryOrPercent, "0",
            "Memory of all clients together, in bytes or percent of maxmemory; 0 is no limit."),
    ] },
    Group { title: "Memory", rows: &[
        mem("maxmemory", 0, u64::MAX, "0", "Memory that data may use before keys are evicted; 0 is no limit."),
        pick("maxmemory-policy", POLICIES, "noeviction",
            "Which keys are evicted: allkeys- or volatile- with lru, lfu or random, volatile-ttl, or noeviction."),
        pick("eviction-algorithm", EVICTION_ALGORITHMS, "duo",
            "How the LRU and LFU policies choose: duo, which hits more, or sampled, as Redis does."),
        int("maxmemory-samples", 1, 64, "5", "Keys compared to find one to evict."),
        int("maxmemory-eviction-tenacity", 0, 100, "10", "How long one turn of eviction may take, from 0 to 100."),
        flag("replica-ignore-maxmemory", "yes", "Leaves eviction on a replica to its primary.")
            .alias(&["slave-ignore-maxmemory"]).later(REPLICATION),
        int("hotkeys-top-k", 0, 64, "0", "Keys that HOTKEYS GET lists when no session counts; 0 makes it answer null.")
            .alias(&["hotkey-top-k"]),
        int("active-expire-effort", 1, 10, "1", "Share of time spent looking for expired keys, from 1 to 10."),
        int("lfu-log-factor", 0, I32, "10", "How many reads it takes to raise the frequency counter."),
        int("lfu-decay-time", 0, I32, "1", "Minutes in which the frequency counter falls by one."),
    ] },
    Group { title: "Lazy freeing", rows: &[
        flag("lazyfree-lazy-eviction", "yes", "Frees evicted values in the background."),
        flag("lazyfree-lazy-expire", "yes", "Frees expired values in the background."),
        flag("lazyfree-lazy-server-del", "yes", "Frees overwritten values in the background."),
        flag("replica-lazy-flush", "yes", "Empties a replica in the background before a full copy.")
            .alias(&["slave-lazy-flush"]).later(REPLICATION),
        flag("lazyfree-lazy-user-del", "yes", "Lets DEL free in the background, as UNLINK does."),
        flag("lazyfree-lazy-user-flush", "yes", "Lets FLUSHALL and FLUSHDB free in the background unless told SYNC."),
    ] },
    Group { title: "Kernel", rows: &[
        pick("oom-score-adj", &["no", "yes", "relative", "absolute"], "no", 
            "Whether to tell the kernel whom to kill first: relative to the score at the start, absolute, or no; yes is relative."),
        list("oom-score-adj-values", Kind::OomScores, "0 200 800", "Scores of primary, replica and children; larder is always a primary."),
        flag("disable-thp", "yes", "Turns transparent huge pages off for the process.").startup()
            .unneeded("larder does not fork, so huge pages do not hurt it"),
        text("server-cpulist", "", "Cores for the worker threads.").alias(&["server_cpulist"]).startup().later(OS),
        text("bio-cpulist", "", "Cores for the background threads.").alias(&["bio_cpulist"]).startup().later(OS),
        text("aof-rewrite-cpulist", "", "Cores for the log rewrite process.").alias(&["aof_rewrite_cpulist"]).startup()
            .unneeded(ONE_PROCESS),
        text("bgsave-cpulist", "", "Cores for the snapshot process.").alias(&["bgsave_cpulist"]).startup().unneeded(ONE_PROCESS),
        flag("jemalloc-bg-thread", "yes", "Lets jemalloc purge in a thread of its own.").unneeded("larder's jemalloc always purges in a thread of its own"),
    ] },
    Group { title: "Append-only file", rows: &[
        flag("appendonly", "no", "Logs every write to the append-only file."),
        text("appendfilename", "appendonly.aof", "Base name of the append-only files.").startup().check(log_name),
        text("appenddirname", "appendonlydir", "Directory below dir that holds the append-only files.").startup()
            .check(log_directory),
        pick("appendfsync", &["everysec", "always", "no"], "everysec", "When the log is synced: always, everysec or no."),
        flag("no-appendfsync-on-rewrite", "no", "Does not sync the log while it is rewritten."),
        int("auto-aof-rewrite-percentage", 0, I32, "100", "Growth in percent at which the log is rewritten; 0 never rewrites it."),
        mem("auto-aof-rewrite-min-size", 0, MEM, "64mb", "Size below which the log is not rewritten."),
        flag("aof-load-truncated", "yes", "Loads a log whose end is missing."),
        flag("aof-use-rdb-preamble", "yes", "Starts a rewritten log with a snapshot."),
        flag("aof-timestamp-enabled", "no", "Notes the time in the log."),
        flag("aof-rewrite-incremental-fsync", "yes", "Syncs a rewritten log piece by piece."),
        flag("aof-disable-auto-gc", "no", "Keeps old append-only files.").hidden(),
    ] },
    Group { title: "Shutdown", rows: &[
        int("shutdown-timeout", 0, I32, "10", "Seconds to wait for replicas at shutdown.").later(REPLICATION),
        list("shutdown-on-sigint", Kind::Words(SHUTDOWN), "default", "What SIGINT does: default, or of save, nosave, now, force, safe, failover.")
            .check(shutdown_words),
        list("shutdown-on-sigterm", Kind::Words(SHUTDOWN), "default", "What SIGTERM does, in the words of shutdown-on-sigint.")
            .check(shutdown_words),
    ] },
    Group { title: "Scripts", rows: &[
        int("busy-reply-threshold", 0, I64, "5000", "Milliseconds after which others are told that a script is busy.")
            .alias(&["lua-time-limit"]),
        flag("lua-enable-insecure-api", "no", "Lets scripts use parts of Lua that Redis has taken away.")
            .alias(&["lua-enable-deprecated-api"]).protected().hidden().unneeded(NO_OLD_LUA),
    ] },
    Group { title: "Cluster", rows: &[
        flag("cluster-enabled", "no", "Runs as a node of a cluster.").startup().later(CLUSTER),
        text("cluster-config-file", "nodes.conf", "File that the node keeps its view of the cluster in.").startup().later(CLUSTER),
        pick("cluster-config-save-behavior", &["sync", "best-effort"], "sync", "Whether a failure to write that file stops the node.").later(CLUSTER),
        int("cluster-databases", 1, I32, "1", "Number of databases in cluster mode.").startup().later(CLUSTER),
        int("cluster-node-timeout", 0, I64, "15000", "Milliseconds of silence after which a node counts as failing.").later(CLUSTER),
        int("cluster-port", 0, 65535, "0", "Port of the cluster bus; 0 is the port plus 10000.").startup().later(CLUSTER),
        int("cluster-replica-validity-factor", 0, I32, "10", "How old a replica's data may be for a failover; 0 is any age.")
            .alias(&["cluster-slave-validity-factor"]).later(CLUSTER),
        int("cluster-migration-barrier", 0, I32, "1", "Replicas a primary keeps when others need one.").later(CLUSTER),
        flag("cluster-allow-replica-migration", "yes", "Lets replicas move to primaries without one.").later(CLUSTER),
        flag("cluster-require-full-coverage", "yes", "Stops serving when a slot has no node.").later(CLUSTER),
        flag("cluster-replica-no-failover", "no", "Keeps replicas from failing over on their own.")
            .alias(&["cluster-slave-no-failover"]).later(CLUSTER),
        flag("cluster-allow-reads-when-down", "no", "Serves reads while the cluster is down.").later(CLUSTER),
        flag("cluster-allow-pubsubshard-when-down", "yes", "Serves sharded channels while the cluster is down.").later(CLUSTER),
        mem("cluster-link-sendbuf-limit", 0, u64::MAX, "0", "Bytes that may wait on a link of the bus; 0 is no limit.").later(CLUSTER),
        int("cluster-blacklist-ttl", 0, I64, "60", "Seconds that a forgotten node stays out.").later(CLUSTER),
        int("cluster-message-gossip-perc", 1, 100, "10", "Percent of the nodes that a message on the bus tells of.")
            .hidden().later(CLUSTER),
        int("cluster-compatibility-sample-ratio", 0, 100, "0", "Percent of commands that Redis checks for use in a cluster.")
            .hidden().later(CLUSTER),
        int("cluster-ping-interval", 0, I64, "1000", "Milliseconds between pings on the bus.").hidden().later(CLUSTER),
        int("cluster-manual-failover-timeout", 1, I32, "5000", "Milliseconds that a manual failover may take.").later(CLUSTER),
        flag("cluster-slot-stats-enabled", "no", "Counts requests and bytes of each slot.").later(CLUSTER),
        int("cluster-slot-migration-log-max-len", 0, I64, "1000", "Slot migrations remembered.").later(CLUSTER),
        int("slot-migration-max-failover-repl-bytes", -1, I64, "0", "Bytes a slot's target may lag when it takes over; -1 is any.").later(CLUSTER),
        text("cluster-announce-hostname", "", "Host name the node reports.").check(host_name).later(CLUSTER),
        text("cluster-announce-human-nodename", "", "Name of the node for people.").check(node_name).later(CLUSTER),
        pick("cluster-preferred-endpoint-type", &["ip", "hostname", "unknown-endpoint"], "ip",
            "What redirections name: ip, hostname or unknown-endpoint.").later(CLUSTER),
        text("cluster-announce-ip", "", "Address the node reports.").later(CLUSTER),
        text("cluster-announce-client-ipv4", "", "IPv4 address reported to clients.").check(ipv4).later(CLUSTER),
        text("cluster-announce-client-ipv6", "", "IPv6 address reported to clients.").check(ipv6).later(CLUSTER),
        int("cluster-announce-client-port", 0, 65535, "0", "Port reported to clients.").later(CLUSTER),
        int("cluster-announce-client-tls-port", 0, 65535, "0", "TLS port reported to clients.").later(CLUSTER),
        int("cluster-announce-port", 0, 65535, "0", "Port the node reports; 0 reports the real one.").later(CLUSTER),
        int("cluster-announce-tls-port", 0, 65535, "0", "TLS port the node reports; 0 reports the real one.").later(CLUSTER),
        int("cluster-announce-bus-port", 0, 65535, "0", "Bus port the node reports; 0 reports the real one.").later(CLUSTER),
    ] },
    Group { title: "Slow log", rows: &[
        int("slowlog-log-slower-than", -1, I64, "10000", "Microseconds beyond which a command is logged; -1 logs none, 0 all.")
            .alias(&["commandlog-execution-slower-than"]),
        int("slowlog-max-len", 0, I64, "128", "Slow commands kept.").alias(&["commandlog-slow-execution-max-len"]),
        int("commandlog-request-larger-than", -1, I64, "1048576", "Bytes beyond which a request is logged; -1 logs none."),
        int("commandlog-large-request-max-len", 0, I64, "128", "Large requests kept."),
        int("commandlog-reply-larger-than", -1, I64, "1048576", "Bytes beyond which a reply is logged; -1 logs none."),
        int("commandlog-large-reply-max-len", 0, I64, "128", "Large replies kept."),
    ] },
    Group { title: "Latency", rows: &[
        int("latency-monitor-threshold", 0, I64, "0", "Milliseconds from which LATENCY notes an event; 0 notes none."),
        flag("latency-tracking", "yes", "Keeps the distribution of each command's times for INFO latencystats."),
        list("latency-tracking-info-percentiles", Kind::Percentiles, "50 99 99.9", "Percentiles that INFO latencystats shows."),
    ] },
    Group { title: "Events", rows: &[
        Row::new("notify-keyspace-events", Kind::Events, "",
            "Events that are published: K and E for the channels, then classes of g$lshzxetdmn, A for g$lshzxetd."),
    ] },
    Group { title: "Encodings", rows: &[
        int("hash-max-listpack-entries", 0, I64, "512", "Fields up to which a hash stays compact.").alias(&["hash-max-ziplist-entries"]),
        mem("hash-max-listpack-value", 0, MEM, "64", "Bytes of a field or value up to which a hash stays compact.")
            .alias(&["hash-max-ziplist-value"]),
        int("list-max-listpack-size", i32::MIN as i64, I32, "-2",
            "Size of a list node: elements, or -1 to -5 for 4, 8, 16, 32 or 64 kilobytes.").alias(&["list-max-ziplist-size"]),
        int("list-compress-depth", 0, I32, "0", "Nodes at each end of a list that stay uncompressed; 0 compresses none.")
            .unneeded("larder does not compress lists"),
        int("set-max-intset-entries", 0, I64, "512", "Members up to which a set of integers stays compact."),
        int("set-max-listpack-entries", 0, I64, "128", "Members up to which any other set stays compact."),
        int("set-max-listpack-value", 0, I64, "64", "Bytes of a member up to which a set stays compact."),
        int("zset-max-listpack-entries", 0, I64, "128", "Members up to which a sorted set stays compact.")
            .alias(&["zset-max-ziplist-entries"]),
        mem("zset-max-listpack-value", 0, MEM, "64", "Bytes of a member up to which a sorted set stays compact.")
            .alias(&["zset-max-ziplist-value"]),
        mem("hll-sparse-max-bytes", 0, MEM, "3000", "Bytes up to which a HyperLogLog stays sparse."),
        mem("stream-node-max-bytes", 0, MEM, "4096", "Bytes of a stream node; 0 is no limit."),
        int("stream-node-max-entries", 0, I64, "100", "Entries of a stream node; 0 is no limit."),
    ] },
    Group { title: "Background work", rows: &[
        int("hz", 0, I32, "10", "Turns of background work per second.").clamped(1, 500),
        flag("dynamic-hz", "yes", "Makes more turns when many clients are connected.").unneeded("larder's workers pace themselves"),
        flag("activerehashing", "yes", "Rehashes tables in idle time.").unneeded(NO_REHASH),
        flag("compaction", "yes", "Moves keys and strings out of sparse pages when a tenth of the memory is lost to these."),
        flag("activedefrag", "no", "Moves values to give memory back.").check(no_defrag).unneeded(NO_DEFRAG),
        mem("active-defrag-ignore-bytes", 1, MEM, "100mb", "Waste below which nothing is moved.").unneeded(NO_DEFRAG),
        int("active-defrag-threshold-lower", 0, 1000, "10", "Waste in percent at which moving starts.").unneeded(NO_DEFRAG),
        int("active-defrag-threshold-upper", 0, 1000, "100", "Waste in percent at which moving is hardest.").unneeded(NO_DEFRAG),
        int("active-defrag-cycle-min", 1, 99, "1", "Least share of time for moving, in percent.").unneeded(NO_DEFRAG),
        int("active-defrag-cycle-max", 1, 99, "25", "Greatest share of time for moving, in percent.").unneeded(NO_DEFRAG),
        int("active-defrag-cycle-us", 0, 100_000, "500", "Microseconds of one turn of moving.").unneeded(NO_DEFRAG),
        int("active-defrag-max-scan-fields", 1, I64, "1000", "Fields scanned at once.").unneeded(NO_DEFRAG),
    ] },
];

/// The bytes of a value that is a text.
fn bytes_of(value: &Value) -> &[u8] {
    if let Value::Text(bytes) = value { bytes } else { b"" }
}

/// Passes when `holds`, else gives `why`.
fn require(holds: bool, why: &'static str) -> Result<(), &'static str> {
    if holds { Ok(()) } else { Err(why) }
}

fn no_tls(value: &Value, _: Origin) -> Result<(), &'static str> {
    require(*value == Value::Number(0), "TLS is not supported yet: tls-port must be 0")
}

fn no_rdma(value: &Value, _: Origin) -> Result<(), &'static str> {
    require(*value == Value::Number(0), "No RDMA building support.")
}

fn no_acl_file(value: &Value, _: Origin) -> Result<(), &'static str> {
    // Ignoring it would serve without the passwords that the file orders.
    require(bytes_of(value).is_empty(), NO_USERS)
}

fn no_defrag(value: &Value, origin: Origin) -> Result<(), &'static str> {
    // A file written for Redis must still start; CONFIG SET answers as a server without jemalloc does.
    require(
        *value == Value::Number(0) || origin == Origin::Startup,
        "Active defragmentation cannot be enabled: it requires a server compiled with a modified Jemalloc like the one \
         shipped by default with the source distribution",
    )
}

fn shutdown_words(value: &Value, _: Origin) -> Result<(), &'static str> {
    const SAVE_AND_NOSAVE: i64 = 0b11;
    let both = matches!(value, Value::Number(bits) if bits & SAVE_AND_NOSAVE == SAVE_AND_NOSAVE);
    require(!both, "shutdown options SAVE and NOSAVE can't be used simultaneously")
}

fn snapshot_name(value: &Value, _: Origin) -> Result<(), &'static str> {
    require(!bytes_of(value).is_empty(), "dbfilename can't be empty")?;
    require(!bytes_of(value).contains(&b'/'), "dbfilename can't be a path, just a filename")
}

fn log_name(value: &Value, _: Origin) -> Result<(), &'static str> {
    require(!bytes_of(value).is_empty(), "appendfilename can't be empty")?;
    require(!bytes_of(value).contains(&b'/'), "appendfilename can't be a path, just a filename")
}

fn log_directory(value: &Value, _: Origin) -> Result<(), &'static str> {
    require(!bytes_of(value).is_empty(), "appenddirname can't be empty")?;
    require(!bytes_of(value).contains(&b'/'), "appenddirname can't be a path, just a dirname")
}

fn host_name(value: &Value, _: Origin) -> Result<(), &'static str> {
    let name = bytes_of(value);
    require(name.len() < 256, "Hostnames must be less than 256 characters")?;
    let fits = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.');
    require(name.iter().all(fits), "Hostnames may only contain alphanumeric characters, hyphens or dots")
}

fn node_name(value: &Value, _: Origin) -> Result<(), &'static str> {
    // The file of nodes separates its fields by these.
    let fits = |b: &u8| b.is_ascii_graphic() && !b"=,;'\"#\\".contains(b);
    require(bytes_of(value).iter().all(fits), "Announced human node name contained invalid character")
}

fn address<T: std::str::FromStr>(value: &Value) -> bool {
    let text = bytes_of(value);
    text.is_empty() || std::str::from_utf8(text).is_ok_and(|text| text.parse::<T>().is_ok())
}

fn ipv4(value: &Value, _: Origin) -> Result<(), &'static str> {
    require(address::<std::net::Ipv4Addr>(value), "Invalid IPv4 address")
}

fn ipv6(value: &Value, _: Origin) -> Result<(), &'static str> {
    require(address::<std::net::Ipv6Addr>(value), "Invalid IPv6 address")
}

/// Words in braces that a process title may hold.
const TITLE_WORDS: [&str; 7] = ["title", "listen-addr", "server-mode", "port", "tls-port", "unixsocket", "config-file"];

fn title_template(value: &Value, _: Origin) -> Result<(), &'static str> {
    const BAD: &str = "template format is invalid or contains unknown variables";
    let mut rest = std::str::from_utf8(bytes_of(value)).map_err(|_| BAD)?;
    while let Some((_, after)) = rest.split_once('{') {
        let (word, after) = after.split_once('}').ok_or(BAD)?;
        require(TITLE_WORDS.contains(&word), BAD)?;
        rest = after;
    }
    Ok(())
}
