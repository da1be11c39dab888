//! `INFO`: what the server says about itself, in lines.
//!
//! Invariant: a figure is measured or it is the truth by construction (no replica, no script, no eviction: 0); what is
//! not measured is left out. Costs some 100 us, whatever the number of keys. Must not know: sockets, how anything is
//! counted. Source: the sections and names of Redis 7.2 and Valkey 9.1.

mod larder;
mod memory;
mod persistence;
mod stats;

use crate::call::args::Args;
use crate::call::blocking::Blocked;
use crate::call::clients::{Client, Pause};
use crate::call::context::Context;
use crate::call::error::CommandError;
use crate::call::spec::{Categories, CommandSpec, Flags, Group, Outcome, Scope};
use crate::config::REDIS_VERSION;
use crate::util::clock::unix_us;
use crate::util::process::{self, CpuTimes};
use std::fmt::{Display, Write};
use std::sync::atomic::Ordering::Relaxed;

/// The rows.
pub const COMMANDS: &[CommandSpec] = &[CommandSpec {
    name: "info",
    arity: -1,
    flags: Flags::LOADING.and(Flags::STALE),
    categories: Categories::DANGEROUS,
    since: "1.0.0",
    group: Group::Server,
    summary: "Shows what the server is, does and has done.",
    complexity: "O(N) with N being the number of commands, clients and shards; not of keys",
    syntax: "[section:string...]",
    tips: &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"],
    history: &[("7.0.0", "Several sections.")],
    run: info,
    scope: Scope::WalkServer,
    ..CommandSpec::DEFAULT
}];

/// A section: its name in requests, its title, whether it is shown when none is named, what writes its lines.
struct Section {
    name: &'static str,
    title: &'static str,
    default: bool,
    write: fn(&mut Lines, &mut Context<'_>),
}

/// The sections in the order in which they are shown.
const SECTIONS: [Section; 14] = [
    Section { name: "server", title: "Server", default: true, write: server },
    Section { name: "clients", title: "Clients", default: true, write: clients },
    Section { name: "memory", title: "Memory", default: true, write: memory::memory },
    Section { name: "persistence", title: "Persistence", default: true, write: persistence::persistence },
    Section { name: "stats", title: "Stats", default: true, write: stats::stats },
    Section { name: "replication", title: "Replication", default: true, write: replication },
    Section { name: "cpu", title: "CPU", default: true, write: cpu },
    Section { name: "modules", title: "Modules", default: true, write: |_, _| {} },
    Section { name: "commandstats", title: "Commandstats", default: false, write: stats::commands },
    Section { name: "errorstats", title: "Errorstats", default: true, write: stats::errors },
    Section { name: "latencystats", title: "Latencystats", default: false, write: stats::latencies },
    Section { name: "cluster", title: "Cluster", default: true, write: cluster },
    Section { name: "larder", title: "Larder", default: false, write: larder::larder },
    Section { name: "keyspace", title: "Keyspace", default: true, write: keyspace },
];

/// `INFO [section ...]`
///
/// Replies a text of the named sections, of the usual ones when none is named; `all` and `everything` name them all.
/// O(clients + shards), with `commandstats` and `latencystats` O(workers x commands).
fn info<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let mut shown = SECTIONS.map(|section| section.default && args.remaining() == 0);
    while args.remaining() > 0 {
        let name = args.bytes()?;
        let is = |word: &str| name.eq_ignore_ascii_case(word.as_bytes());
        let (all, default) = (is("all") || is("everything"), is("default"));
        for (section, shown) in SECTIONS.iter().zip(&mut shown) {
            *shown |= all || default && section.default || is(section.name);
        }
    }
    let mut lines = Lines::default();
    for (section, _) in SECTIONS.iter().zip(shown).filter(|(_, shown)| *shown) {
        lines.title(section.title);
        (section.write)(&mut lines, ctx);
    }
    ctx.reply.verbatim(*b"txt", lines.0.as_bytes());
    Ok(Outcome::Done)
}

/// The text of the reply.
#[derive(Default)]
struct Lines(String);

impl Lines {
    fn title(&mut self, title: &str) {
        if !self.0.is_empty() {
            self.0.push_str("\r\n");
        }
        self.push(format_args!("# {title}\r\n"));
    }

    fn field(&mut self, name: &str, value: impl Display) {
        self.push(format_args!("{name}:{value}\r\n"));
    }

    /// The names that are 0 as long as larder lacks what they count.
    fn zeros(&mut self, names: &[&str]) {
        names.iter().for_each(|name| self.field(name, 0));
    }

    fn push(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = self.0.write_fmt(text);
    }
}

/// A key as a line can show it: what is not printable as `\\xNN`, and up to 128 bytes of it.
fn named(key: &[u8]) -> String {
    let mut shown = String::new();
    for byte in key.iter().take(128) {
        match byte {
            b'\\' => shown.push_str("\\\\"),
            0x20..=0x7e => shown.push(char::from(*byte)),
            _ => shown.push_str(&format!("\\x{byte:02x}")),
        }
    }
    if key.len() > 128 {
        shown.push_str("...");
    }
    shown
}

fn server(lines: &mut Lines, ctx: &mut Context<'_>) {
    let (shared, config) = (ctx.shared, &ctx.shared.config);
    let uptime_s = (ctx.now.0 - shared.identity.started.0).max(0) / 1000;
    lines.field("redis_version", REDIS_VERSION);
    lines.field("larder_version", env!("CARGO_PKG_VERSION"));
    lines.field("redis_git_sha1", "00000000");
    lines.field("redis_git_dirty", 0);
    lines.field("redis_mode", "standalone");
    lines.field("server_mode", "standalone");
    lines.field("os", process::system());
    lines.field("arch_bits", usize::BITS);
    lines.field("multiplexing_api", "epoll");
    lines.field("process_id", std::process::id());
    lines.field("process_supervised", "no");
    lines.field("run_id", &shared.identity.run_id);
    lines.field("tcp_port", config.port());
    lines.field("server_time_usec", unix_us());
    lines.field("uptime_in_seconds", uptime_s);
    lines.field("uptime_in_days", uptime_s / 86_400);
    lines.field("hz", config.hz());
    lines.field("configured_hz", config.hz());
    lines.field("lru_clock", crate::keyspace::access_seconds(ctx.now));
    lines.field("executable", &shared.identity.executable);
    lines.field("config_file", &shared.identity.config_file);
    lines.field("io_threads_active", 0);
    lines.field("availability_zone", config.availability_zone());
    lines.field("threads", shared.stats.workers.len());
    listeners(lines, ctx);
}

fn listeners(lines: &mut Lines, ctx: &Context<'_>) {
    let config = &ctx.shared.config;
    let mut number = 0;
    let mut listener = |text: String| {
        lines.push(format_args!("listener{number}:{text}\r\n"));
        number += 1;
    };
    if config.port() != 0 {
        let addresses: String = config.bind().iter().map(|address| format!(",bind={address}")).collect();
        listener(format!("name=tcp{addresses},port={}", config.port()));
    }
    if let Some(path) = config.unixsocket() {
        listener(format!("name=unix,bind={}", path.display()));
    }
}

fn clients(lines: &mut Lines, ctx: &mut Context<'_>) {
    let (clients, config) = (&ctx.shared.clients, &ctx.shared.config);
    let buffers = clients.buffers();
    lines.field("connected_clients", clients.len());
    lines.field("cluster_connections", 0);
    lines.field("maxclients", config.maxclients());
    lines.field("client_recent_max_input_buffer", buffers.longest_query);
    lines.field("client_recent_max_output_buffer", buffers.longest_output);
    let blocked = &ctx.shared.blocked;
    let all = clients.all();
    let is_held_up = |client: &Client| client.paused.load(Relaxed) && blocked.find(client.id).is_none();
    let held_up = all.iter().filter(|client| is_held_up(client)).count();
    lines.field("blocked_clients", blocked.len() + held_up);
    lines.field("tracking_clients", ctx.shared.tracking.clients());
    lines.field("pubsub_clients", ctx.shared.pubsub.clients());
    let watched = all.iter().map(|client| client.watched.load(Relaxed)).filter(|keys| *keys > 0);
    lines.field("watching_clients", watched.clone().count());
    lines.field("clients_in_timeout_table", blocked.timed());
    lines.field("total_watched_keys", watched.sum::<usize>());
    lines.field("total_blocking_keys", blocked.keys(|_| true));
    // Those of whom somebody is to be told when they go: only a reader of a group is.
    let of_group = |blocked: &Blocked| blocked.request.view().arg(0).eq_ignore_ascii_case(b"xreadgroup");
    lines.field("total_blocking_keys_on_nokey", blocked.keys(of_group));
    let pause = clients.pause(ctx.now);
    lines.field("paused_reason", if pause.is_some() { "client_pause" } else { "none" });
    let actions = match pause {
        Some(Pause { all: true, .. }) => "all",
        Some(_) => "write",
        None => "none",
    };
    lines.field("paused_actions", actions);
    lines.field("paused_timeout_milliseconds", pause.map_or(0, |pause| pause.until.0 - ctx.now.0));
}

fn replication(lines: &mut Lines, ctx: &mut Context<'_>) {
    let backlog = ctx.shared.config.text_of("repl-backlog-size").unwrap_or_default();
    lines.field("role", "master");
    lines.field("connected_slaves", 0);
    lines.field("replicas_waiting_psync", 0);
    lines.field("master_failover_state", "no-failover");
    lines.field("master_replid", &*ctx.shared.replication.id.lock());
    lines.field("master_replid2", "0".repeat(40));
    lines.field("master_repl_offset", 0);
    lines.field("second_repl_offset", -1);
    lines.field("repl_backlog_active", 0);
    lines.field("repl_backlog_size", String::from_utf8_lossy(&backlog));
    lines.zeros(&["repl_backlog_first_byte_offset", "repl_backlog_histlen"]);
}

fn cpu(lines: &mut Lines, _: &mut Context<'_>) {
    let (all, main) = (CpuTimes::of_process(), CpuTimes::of_main_thread());
    for (name, seconds) in [
        ("used_cpu_sys", all.system_s),
        ("used_cpu_user", all.user_s),
        ("used_cpu_sys_children", all.children_system_s),
        ("used_cpu_user_children", all.children_user_s),
        ("used_cpu_sys_main_thread", main.system_s),
        ("used_cpu_user_main_thread", main.user_s),
    ] {
        lines.field(name, format_args!("{seconds:.6}"));
    }
}

fn cluster(lines: &mut Lines, _: &mut Context<'_>) {
    lines.field("cluster_enabled", 0);
}

fn keyspace(lines: &mut Lines, ctx: &mut Context<'_>) {
    for db in 0..ctx.shared.keyspace.databases() {
        let keys = ctx.db.len(db);
        if keys > 0 {
            let (timed, average_ms) = (ctx.db.timed(db), ctx.db.average_ttl_ms(db));
            let volatile = ctx.db.volatile(db);
            lines.push(format_args!(
                "db{db}:keys={keys},expires={timed},avg_ttl={average_ms},keys_with_volatile_items={volatile}\r\n"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_two_sections() {
        let mut lines = Lines::default();
        lines.title("A");
        lines.zeros(&["x", "y"]);
        lines.title("B");
        assert_eq!(lines.0, "# A\r\nx:0\r\ny:0\r\n\r\n# B\r\n");
    }
}
