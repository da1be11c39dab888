//! Typed reading of live options, one accessor each.
//!
//! Invariant: numbers, flags and choices cost one relaxed load; texts cost a read lock and a reference count.
//! It must not know how values are set. The unit of each is in its name or its sentence.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::config::options::{LEVELS, POLICIES, row};
use crate::config::value::name_at;
use crate::config::{ClientClass, Config, OutputLimit, Slot, load_limit};

/// Which keys are evicted when memory runs out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EvictionPolicy {
    /// Least recently used among keys with a deadline.
    VolatileLru,
    /// Least frequently used among keys with a deadline.
    VolatileLfu,
    /// Any key with a deadline.
    VolatileRandom,
    /// The key whose deadline is nearest.
    VolatileTtl,
    /// Least recently used.
    AllkeysLru,
    /// Least frequently used.
    AllkeysLfu,
    /// Any key.
    AllkeysRandom,
    /// None: writes are refused.
    NoEviction,
}

/// The policies in the order in which the table names them.
const EVICTION_POLICIES: [EvictionPolicy; 8] = [
    EvictionPolicy::VolatileLru,
    EvictionPolicy::VolatileLfu,
    EvictionPolicy::VolatileRandom,
    EvictionPolicy::VolatileTtl,
    EvictionPolicy::AllkeysLru,
    EvictionPolicy::AllkeysLfu,
    EvictionPolicy::AllkeysRandom,
    EvictionPolicy::NoEviction,
];

const _: () = assert!(EVICTION_POLICIES.len() == POLICIES.len());

impl EvictionPolicy {
    /// Redis's name of it.
    pub fn name(self) -> &'static str {
        POLICIES[self as usize]
    }

    /// Whether it evicts only keys with a deadline.
    pub fn is_volatile(self) -> bool {
        self.name().starts_with("volatile-")
    }

    /// Whether it keeps frequencies, as OBJECT FREQ asks.
    pub fn is_lfu(self) -> bool {
        matches!(self, Self::VolatileLfu | Self::AllkeysLfu)
    }
}

/// The least important messages that are logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// `.` and all below.
    Debug,
    /// `-` and all below.
    Verbose,
    /// `*` and all below.
    Notice,
    /// `#` only.
    Warning,
    /// No message at all.
    Nothing,
}

impl LogLevel {
    /// Redis's name of it.
    pub fn name(self) -> &'static str {
        LEVELS[self as usize]
    }
}

/// The shape of a line of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// `<pid>:M <time> <sign> <message>`.
    Legacy,
    /// `name=value` pairs.
    Logfmt,
    /// An object.
    Json,
}

/// The shape of the time in a line of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogTime {
    /// `21 Nov 2026 04:14:00.123`.
    Legacy,
    /// `2026-11-21T04:14:00.123+00:00`.
    Iso8601,
    /// Milliseconds since 1970.
    Milliseconds,
}

/// What the kernel is told of whom to kill when memory runs out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OomScore {
    /// Nothing.
    Untouched,
    /// An addition to the score that the process had.
    Relative,
    /// A score.
    Absolute,
}

/// Who may do something that is refused by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// Nobody.
    No,
    /// Everybody.
    Yes,
    /// Clients of this machine.
    Local,
}

impl Permission {
    /// Whether a client may, given whether it is on this machine.
    pub fn allows(self, local: bool) -> bool {
        self == Self::Yes || self == Self::Local && local
    }
}

/// Accessors that give a number, each from the row of its Redis name.
impl Config {
    /// The number in a row; 0 for a row of another shape, which no accessor names.
    #[inline]
    fn number(&self, at: usize) -> i64 {
        match self.slots.get(at) {
            Some(Slot::Number(n)) => n.load(Relaxed),
            _ => 0,
        }
    }

    /// The number in a row whose bits are a `u64`.
    #[inline]
    fn unsigned(&self, at: usize) -> u64 {
        self.number(at).cast_unsigned()
    }

    /// The number in a row that is bounded to 32 bits without sign.
    #[inline]
    fn small(&self, at: usize) -> u32 {
        u32::try_from(self.number(at)).unwrap_or(u32::MAX)
    }

    #[inline]
    fn yes(&self, at: usize) -> bool {
        self.number(at) != 0
    }

    fn bytes(&self, at: usize) -> Arc<[u8]> {
        match self.slots.get(at) {
            Some(Slot::Text(text)) => text.read().clone(),
            _ => Arc::from(&b""[..]),
        }
    }

    fn text(&self, at: usize) -> String {
        String::from_utf8_lossy(&self.bytes(at)).into_owned()
    }

    fn path(&self, at: usize) -> Option<PathBuf> {
        let bytes = self.bytes(at);
        (!bytes.is_empty()).then(|| PathBuf::from(OsStr::from_bytes(&bytes)))
    }

    fn permission(&self, at: usize) -> Permission {
        match self.number(at) {
            1 => Permission::Yes,
            2 => Permission::Local,
            _ => Permission::No,
        }
    }

    /// Worker threads: as many as set, or one per core that the process may use.
    pub fn threads(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        match usize::try_from(self.number(const { row("threads") })) {
            Ok(0) | Err(_) => cores(),
            Ok(threads) => threads,
        }
    }

    /// Addresses to listen on, `-` before one that may be missing.
    pub fn bind(&self) -> Vec<String> {
        self.text(const { row("bind") }).split_ascii_whitespace().map(str::to_owned).collect()
    }

    /// TCP port, 0 for none.
    pub fn port(&self) -> u16 {
        u16::try_from(self.number(const { row("port") })).unwrap_or_default()
    }

    /// Whether only this machine is served as long as there is no password.
    pub fn protected_mode(&self) -> bool {
        self.yes(const { row("protected-mode") })
    }

    /// Connections that the kernel may queue.
    pub fn tcp_backlog(&self) -> u32 {
        self.small(const { row("tcp-backlog") })
    }

    /// Path of the unix socket.
    pub fn unixsocket(&self) -> Option<PathBuf> {
        self.path(const { row("unixsocket") })
    }

    /// Permission bits of the unix socket; `None` leaves them to the umask.
    pub fn unixsocketperm(&self) -> Option<u32> {
        Some(self.small(const { row("unixsocketperm") })).filter(|bits| *bits != 0)
    }

    /// Seconds after which an idle client is closed, 0 for never.
    pub fn timeout_s(&self) -> u64 {
        self.unsigned(const { row("timeout") })
    }

    /// Seconds between TCP probes, 0 for none.
    pub fn tcp_keepalive_s(&self) -> u64 {
        self.unsigned(const { row("tcp-keepalive") })
    }

    /// Who may change protected options.
    pub fn enable_protected_configs(&self) -> Permission {
        self.permission(const { row("enable-protected-configs") })
    }

    /// Who may run DEBUG.
    pub fn enable_debug_command(&self) -> Permission {
        self.permission(const { row("enable-debug-command") })
    }

    /// Who may run MODULE.
    pub fn enable_module_command(&self) -> Permission {
        self.permission(const { row("enable-module-command") })
    }

    /// File for the process id.
    pub fn pidfile(&self) -> Option<PathBuf> {
        self.path(const { row("pidfile") })
    }

    /// Least important messages that are logged.
    pub fn loglevel(&self) -> LogLevel {
        match self.number(const { row("loglevel") }) {
            0 => LogLevel::Debug,
            1 => LogLevel::Verbose,
            3 => LogLevel::Warning,
            4 => LogLevel::Nothing,
            _ => LogLevel::Notice,
        }
    }

    /// File for the log; `None` is standard output.
    pub fn logfile(&self) -> Option<PathBuf> {
        self.path(const { row("logfile") })
    }

    /// Shape of log lines.
    pub fn log_format(&self) -> LogFormat {
        match self.number(const { row("log-format") }) {
            1 => LogFormat::Logfmt,
            2 => LogFormat::Json,
            _ => LogFormat::Legacy,
        }
    }

    /// Shape of the time in log lines.
    pub fn log_timestamp_format(&self) -> LogTime {
        match self.number(const { row("log-timestamp-format") }) {
            1 => LogTime::Iso8601,
            2 => LogTime::Milliseconds,
            _ => LogTime::Legacy,
        }
    }

    /// How the kernel's out-of-memory score is set.
    pub fn oom_score_adj(&self) -> OomScore {
        match self.number(const { row("oom-score-adj") }) {
            1 | 2 => OomScore::Relative,
            3 => OomScore::Absolute,
            _ => OomScore::Untouched,
        }
    }

    /// The score of a primary, -2000 to 2000.
    pub fn oom_score_adj_value(&self) -> i64 {
        let text = self.text(const { row("oom-score-adj-values") });
        text.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or_default()
    }

    /// Whether keys and arguments stay out of the log.
    pub fn hide_user_data_from_log(&self) -> bool {
        self.yes(const { row("hide-user-data-from-log") })
    }

    /// Whether Redis's logo is asked for (larder has none).
    pub fn always_show_logo(&self) -> bool {
        self.yes(const { row("always-show-logo") })
    }

    /// Whether Redis would go into the background (larder stays).
    pub fn daemonize(&self) -> bool {
        self.yes(const { row("daemonize") })
    }

    /// Whether the process title shall tell addresses and mode.
    pub fn set_proc_title(&self) -> bool {
        self.yes(const { row("set-proc-title") })
    }

    /// Template of the process title.
    pub fn proc_title_template(&self) -> String {
        self.text(const { row("proc-title-template") })
    }

    /// Whether a crash writes a report.
    pub fn crash_log_enabled(&self) -> bool {
        self.yes(const { row("crash-log-enabled") })
    }

    /// Number of databases.
    pub fn databases(&self) -> usize {
        usize::try_from(self.number(const { row("databases") })).unwrap_or(16)
    }

    /// Zone the server runs in.
    pub fn availability_zone(&self) -> String {
        self.text(const { row("availability-zone") })
    }

    /// Working directory, absolute.
    pub fn dir(&self) -> PathBuf {
        self.path(const { row("dir") }).unwrap_or_else(|| PathBuf::from("."))
    }

    /// Name of the snapshot file.
    pub fn dbfilename(&self) -> String {
        self.text(const { row("dbfilename") })
    }

    /// Whether snapshots of a version that is not known are tried.
    pub fn rdb_version_check_relaxed(&self) -> bool {
        self.number(const { row("rdb-version-check") }) == 1
    }

    /// Microseconds to wait for each key that is loaded; below 0, one for each so many keys.
    pub fn key_load_delay_us(&self) -> i64 {
        self.number(const { row("key-load-delay") })
    }

    /// Pairs of seconds and changes after which a snapshot is due.
    pub fn save_points(&self) -> Vec<(u64, u64)> {
        let text = self.text(const { row("save") });
        let numbers: Vec<u64> = text.split(' ').filter_map(|word| word.parse().ok()).collect();
        numbers.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect()
    }

    /// Whether writes are refused after a failed snapshot.
    pub fn stop_writes_on_bgsave_error(&self) -> bool {
        self.yes(const { row("stop-writes-on-bgsave-error") })
    }

    /// Whether long strings are compressed in snapshots.
    pub fn rdbcompression(&self) -> bool {
        self.yes(const { row("rdbcompression") })
    }

    /// Whether snapshots end with a checksum, and it is verified.
    pub fn rdbchecksum(&self) -> bool {
        self.yes(const { row("rdbchecksum") })
    }

    /// Whether snapshots are synced piece by piece while they are written.
    pub fn rdb_save_incremental_fsync(&self) -> bool {
        self.yes(const { row("rdb-save-incremental-fsync") })
    }

    /// Microseconds to wait for each saved key, for tests.
    pub fn rdb_key_save_delay_us(&self) -> i64 {
        self.number(const { row("rdb-key-save-delay") })
    }

    /// Whether every write is logged.
    pub fn appendonly(&self) -> bool {
        self.yes(const { row("appendonly") })
    }

    /// When the log is synced: 0 for always, 1 for every second, 2 for when the system likes.
    pub fn appendfsync(&self) -> usize {
        usize::try_from(self.number(const { row("appendfsync") })).unwrap_or(0)
    }

    /// What the names of the log's files begin with.
    pub fn appendfilename(&self) -> String {
        self.text(const { row("appendfilename") })
    }

    /// The log's directory below `dir`.
    pub fn appenddirname(&self) -> String {
        self.text(const { row("appenddirname") })
    }

    /// Whether the log is not synced while it is rewritten.
    pub fn no_appendfsync_on_rewrite(&self) -> bool {
        self.yes(const { row("no-appendfsync-on-rewrite") })
    }

    /// Growth at which the log is rewritten, in percent; 0 for never.
    pub fn auto_aof_rewrite_percentage(&self) -> u64 {
        self.unsigned(const { row("auto-aof-rewrite-percentage") })
    }

    /// Size below which the log is not rewritten by itself, in bytes.
    pub fn auto_aof_rewrite_min_size(&self) -> u64 {
        self.unsigned(const { row("auto-aof-rewrite-min-size") })
    }

    /// Whether a log without its end is loaded.
    pub fn aof_load_truncated(&self) -> bool {
        self.yes(const { row("aof-load-truncated") })
    }

    /// Whether a rewritten log begins with a snapshot.
    pub fn aof_use_rdb_preamble(&self) -> bool {
        self.yes(const { row("aof-use-rdb-preamble") })
    }

    /// Whether the log notes the time.
    pub fn aof_timestamp_enabled(&self) -> bool {
        self.yes(const { row("aof-timestamp-enabled") })
    }

    /// Whether a rewritten log is synced piece by piece.
    pub fn aof_rewrite_incremental_fsync(&self) -> bool {
        self.yes(const { row("aof-rewrite-incremental-fsync") })
    }

    /// Whether replaced files of the log stay.
    pub fn aof_disable_auto_gc(&self) -> bool {
        self.yes(const { row("aof-disable-auto-gc") })
    }

    /// Password of the default user; one load when there is none.
    #[inline]
    pub fn requirepass(&self) -> Option<Arc<[u8]>> {
        if !self.has_password.load(Relaxed) {
            return None;
        }
        Some(self.bytes(const { row("requirepass") })).filter(|password| !password.is_empty())
    }

    /// Clients that may be connected at once.
    pub fn maxclients(&self) -> u32 {
        self.small(const { row("maxclients") })
    }

    /// Bytes of one request that may be buffered.
    #[inline]
    pub fn client_query_buffer_limit(&self) -> u64 {
        self.unsigned(const { row("client-query-buffer-limit") })
    }

    /// Bytes of one argument.
    #[inline]
    pub fn proto_max_bulk_len(&self) -> u64 {
        self.unsigned(const { row("proto-max-bulk-len") })
    }

    /// Output limits of a class of clients; three loads.
    #[inline]
    pub fn output_limits(&self, class: ClientClass) -> OutputLimit {
        match self.slots.get(const { row("client-output-buffer-limit") }) {
            Some(Slot::Limits(limits)) => load_limit(&limits[class as usize]),
            _ => OutputLimit::default(),
        }
    }

    /// Memory of all clients together: bytes, or the negative of a percentage of `maxmemory`; 0 is no limit.
    pub fn maxmemory_clients(&self) -> i64 {
        self.number(const { row("maxmemory-clients") })
    }

    /// Bytes that data may use, 0 for no limit.
    #[inline]
    pub fn maxmemory(&self) -> u64 {
        self.unsigned(const { row("maxmemory") })
    }

    /// Which keys are evicted.
    #[inline]
    pub fn maxmemory_policy(&self) -> EvictionPolicy {
        let at = usize::try_from(self.number(const { row("maxmemory-policy") })).unwrap_or(usize::MAX);
        EVICTION_POLICIES.get(at).copied().unwrap_or(EvictionPolicy::NoEviction)
    }

    /// Microseconds that a worker lets requests gather.
    #[inline]
    pub fn coalesce_us(&self) -> u64 {
        u64::from(self.small(const { row("coalesce-us") }))
    }

    /// How the LRU and LFU policies choose keys: 0 for `duo`, 1 for `sampled`.
    pub fn eviction_algorithm(&self) -> usize {
        usize::try_from(self.number(const { row("eviction-algorithm") })).unwrap_or(0)
    }

    /// Keys compared to find one to evict.
    pub fn maxmemory_samples(&self) -> u32 {
        self.small(const { row("maxmemory-samples") })
    }

    /// How long a turn of eviction may take, 0 to 100.
    pub fn maxmemory_eviction_tenacity(&self) -> u32 {
        self.small(const { row("maxmemory-eviction-tenacity") })
    }

    /// How many reads raise the frequency counter.
    pub fn lfu_log_factor(&self) -> u32 {
        self.small(const { row("lfu-log-factor") })
    }

    /// Minutes in which the frequency counter falls by one.
    pub fn lfu_decay_time_min(&self) -> u32 {
        self.small(const { row("lfu-decay-time") })
    }

    /// Whether blocks are moved out of sparse pages.
    pub fn compaction(&self) -> bool {
        self.yes(const { row("compaction") })
    }

    /// Keys that HOTKEYS GET lists without a session, 0 to 64.
    pub fn hotkeys_top_k(&self) -> u32 {
        self.small(const { row("hotkeys-top-k") })
    }

    /// Effort of active expiry, 1 to 10.
    pub fn active_expire_effort(&self) -> u32 {
        self.small(const { row("active-expire-effort") })
    }

    /// Turns of background work per second, 1 to 500.
    pub fn hz(&self) -> u32 {
        self.small(const { row("hz") })
    }

    /// Whether evicted values are freed in the background.
    pub fn lazyfree_lazy_eviction(&self) -> bool {
        self.yes(const { row("lazyfree-lazy-eviction") })
    }

    /// Whether expired values are freed in the background.
    pub fn lazyfree_lazy_expire(&self) -> bool {
        self.yes(const { row("lazyfree-lazy-expire") })
    }

    /// Whether overwritten values are freed in the background.
    pub fn lazyfree_lazy_server_del(&self) -> bool {
        self.yes(const { row("lazyfree-lazy-server-del") })
    }

    /// Whether DEL frees in the background.
    pub fn lazyfree_lazy_user_del(&self) -> bool {
        self.yes(const { row("lazyfree-lazy-user-del") })
    }

    /// Whether FLUSHALL and FLUSHDB free in the background unless told SYNC.
    pub fn lazyfree_lazy_user_flush(&self) -> bool {
        self.yes(const { row("lazyfree-lazy-user-flush") })
    }

    /// Microseconds beyond which a command is slow; -1 for never.
    #[inline]
    pub fn slowlog_log_slower_than_us(&self) -> i64 {
        self.number(const { row("slowlog-log-slower-than") })
    }

    /// Slow commands kept.
    pub fn slowlog_max_len(&self) -> u64 {
        self.unsigned(const { row("slowlog-max-len") })
    }

    /// Bytes beyond which a request is large; -1 for never.
    #[inline]
    pub fn commandlog_request_larger_than_bytes(&self) -> i64 {
        self.number(const { row("commandlog-request-larger-than") })
    }

    /// Large requests kept.
    pub fn commandlog_large_request_max_len(&self) -> u64 {
        self.unsigned(const { row("commandlog-large-request-max-len") })
    }

    /// Bytes beyond which a reply is large; -1 for never.
    #[inline]
    pub fn commandlog_reply_larger_than_bytes(&self) -> i64 {
        self.number(const { row("commandlog-reply-larger-than") })
    }

    /// Large replies kept.
    pub fn commandlog_large_reply_max_len(&self) -> u64 {
        self.unsigned(const { row("commandlog-large-reply-max-len") })
    }

    /// Milliseconds from which LATENCY notes an event, 0 for none.
    #[inline]
    pub fn latency_monitor_threshold_ms(&self) -> u64 {
        self.unsigned(const { row("latency-monitor-threshold") })
    }

    /// Whether the times of each command are kept.
    #[inline]
    pub fn latency_tracking(&self) -> bool {
        self.yes(const { row("latency-tracking") })
    }

    /// Percentiles that INFO latencystats shows.
    pub fn latency_tracking_info_percentiles(&self) -> Vec<f64> {
        let text = self.text(const { row("latency-tracking-info-percentiles") });
        text.split_ascii_whitespace().filter_map(|word| word.parse().ok()).collect()
    }

    /// Bits of [`crate::config::notify`]; 0 publishes nothing.
    #[inline]
    pub fn notify_keyspace_events(&self) -> u32 {
        self.small(const { row("notify-keyspace-events") })
    }

    /// Milliseconds after which a script is busy, 0 for never.
    pub fn busy_reply_threshold_ms(&self) -> u64 {
        self.unsigned(const { row("busy-reply-threshold") })
    }

    /// Refusals kept for ACL LOG.
    pub fn acllog_max_len(&self) -> u64 {
        self.unsigned(const { row("acllog-max-len") })
    }

    /// Keys remembered for client-side caching, 0 for no limit.
    pub fn tracking_table_max_keys(&self) -> u64 {
        self.unsigned(const { row("tracking-table-max-keys") })
    }

    /// Seconds to wait for replicas at shutdown.
    pub fn shutdown_timeout_s(&self) -> u64 {
        self.unsigned(const { row("shutdown-timeout") })
    }

    /// Words of `shutdown-on-sigterm`, such as `default` or `nosave force`.
    pub fn shutdown_on_sigterm(&self) -> String {
        String::from_utf8_lossy(&self.print(const { row("shutdown-on-sigterm") })).into_owned()
    }

    /// Words of `shutdown-on-sigint`.
    pub fn shutdown_on_sigint(&self) -> String {
        String::from_utf8_lossy(&self.print(const { row("shutdown-on-sigint") })).into_owned()
    }

    /// Fields up to which a hash stays compact.
    #[inline]
    pub fn hash_max_listpack_entries(&self) -> u64 {
        self.unsigned(const { row("hash-max-listpack-entries") })
    }

    /// Bytes of a field or value up to which a hash stays compact.
    #[inline]
    pub fn hash_max_listpack_value(&self) -> u64 {
        self.unsigned(const { row("hash-max-listpack-value") })
    }

    /// Size of a list node: elements, or -1 to -5 for 4 to 64 kilobytes.
    #[inline]
    pub fn list_max_listpack_size(&self) -> i64 {
        self.number(const { row("list-max-listpack-size") })
    }

    /// Members up to which a set of integers stays compact.
    #[inline]
    pub fn set_max_intset_entries(&self) -> u64 {
        self.unsigned(const { row("set-max-intset-entries") })
    }

    /// Members up to which any other set stays compact.
    #[inline]
    pub fn set_max_listpack_entries(&self) -> u64 {
        self.unsigned(const { row("set-max-listpack-entries") })
    }

    /// Bytes of a member up to which a set stays compact.
    #[inline]
    pub fn set_max_listpack_value(&self) -> u64 {
        self.unsigned(const { row("set-max-listpack-value") })
    }

    /// Members up to which a sorted set stays compact.
    #[inline]
    pub fn zset_max_listpack_entries(&self) -> u64 {
        self.unsigned(const { row("zset-max-listpack-entries") })
    }

    /// Bytes of a member up to which a sorted set stays compact.
    #[inline]
    pub fn zset_max_listpack_value(&self) -> u64 {
        self.unsigned(const { row("zset-max-listpack-value") })
    }

    /// Bytes up to which a HyperLogLog stays sparse.
    #[inline]
    pub fn hll_sparse_max_bytes(&self) -> u64 {
        self.unsigned(const { row("hll-sparse-max-bytes") })
    }

    /// Bytes of a stream node, 0 for no limit.
    #[inline]
    pub fn stream_node_max_bytes(&self) -> u64 {
        self.unsigned(const { row("stream-node-max-bytes") })
    }

    /// Entries of a stream node, 0 for no limit.
    #[inline]
    pub fn stream_node_max_entries(&self) -> u64 {
        self.unsigned(const { row("stream-node-max-entries") })
    }

    /// Redis's `io-threads`, for clients that read it.
    pub fn io_threads(&self) -> u32 {
        self.small(const { row("io-threads") })
    }

    /// What a failing replicated command does: `ignore`, `panic` or `panic-on-replicas`.
    pub fn propagation_error_behavior(&self) -> &'static str {
        name_at(&["ignore", "panic", "panic-on-replicas"], self.number(const { row("propagation-error-behavior") }))
    }
}
