//! What every worker shares: configuration, keyspace, clients, counters, logs, the command table.

use super::append_log::AppendLog;
use super::blocking::BlockedClients;
use super::census::Census;
use super::clients::{Client, Clients};
use super::effects::EffectLog;
use super::history::History;
use super::hot::HotKeys;
use super::loading::Loading;
use super::logs::{CommandLogs, LatencyMonitor};
use super::notify;
use super::oom_score::OomScores;
use super::outside::Outside;
use super::pubsub::PubSub;
use super::saving::Saving;
use super::spec::CommandSpec;
use super::stats::Stats;
use super::table::CommandTable;
use super::tracking::Tracking;
use crate::config::Config;
use crate::keyspace::Keyspace;
use crate::keyspace::evict::engine::Budget;
use crate::persistence::disk::Disk;
use crate::script::Scripts;
use crate::util::clock::UnixMs;
use parking_lot::Mutex;
use std::sync::atomic::Ordering::{AcqRel, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, OnceLock};
use tokio::sync::{Notify, Semaphore};

/// What is known about the process from its start on.
pub struct Identity {
    /// 40 hexadecimal digits, new with each start.
    pub run_id: String,
    /// When the server started.
    pub started: UnixMs,
    /// Path of the program.
    pub executable: String,
    /// Path of the configuration file; empty for none.
    pub config_file: String,
}

/// What a request to stop says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ShutdownRequest {
    /// Does not wait for anything.
    pub now: bool,
    /// Exit status other than 0.
    pub failed: bool,
    /// A snapshot is saved first; `None`: if there are save points.
    pub save: Option<bool>,
    /// Stops even if the snapshot cannot be saved.
    pub force: bool,
}

/// Asks the server to stop.
#[derive(Default)]
pub struct Shutdown {
    /// Set once, when it is certain: connections end.
    pub requested: AtomicBool,
    /// How.
    pub request: Mutex<ShutdownRequest>,
    /// Wakes whoever waits for it.
    pub wake: Notify,
    /// It is being prepared for, and may still be given up.
    pub preparing: AtomicBool,
    /// How often it was given up.
    pub failures: AtomicU64,
}

impl Shutdown {
    /// Asks the server to stop.
    pub fn ask(&self, request: ShutdownRequest) {
        *self.request.lock() = request;
        self.preparing.store(true, Release);
        self.wake.notify_one();
    }

    /// Nothing stands in its way any more.
    pub fn decide(&self) {
        self.requested.store(true, Release);
    }

    /// Gives it up; `false` when there is nothing to give up.
    pub fn give_up(&self) -> bool {
        let given_up = self.preparing.swap(false, AcqRel);
        self.failures.fetch_add(u64::from(given_up), Release);
        given_up
    }
}

/// Replication identity of a primary without replicas.
pub struct ReplicationId {
    /// 40 hexadecimal digits.
    pub id: Mutex<String>,
}

/// What every worker shares.
pub struct Shared {
    /// Live configuration.
    pub config: Arc<Config>,
    /// Databases.
    pub keyspace: Keyspace,
    /// Registry of clients.
    pub clients: Clients,
    /// Clients that wait for keys.
    pub blocked: BlockedClients,
    /// Channels and who listens to them.
    pub pubsub: PubSub,
    /// Who has read which keys.
    pub tracking: Tracking,
    /// Where the effects of writes go.
    pub effects: EffectLog,
    /// The append-only file.
    pub append_log: Arc<AppendLog>,
    /// Whether data is being loaded.
    pub loading: Loading,
    /// Snapshots on disk.
    pub saving: Saving,
    /// Counters.
    pub stats: Stats,
    /// Logs of slow and large commands.
    pub logs: CommandLogs,
    /// Latency events.
    pub latency: LatencyMonitor,
    /// Hit ratios and evictions of the last hour.
    pub history: History,
    /// Hot keys.
    pub hot: HotKeys,
    /// Bytes by type, big keys.
    pub census: Census,
    /// Every command by name and by id.
    pub commands: CommandTable,
    /// The process.
    pub identity: Identity,
    /// Scripts and functions.
    pub scripts: Scripts,
    /// Replication id.
    pub replication: ReplicationId,
    /// Whether the active expiry cycle runs (`DEBUG SET-ACTIVE-EXPIRE`).
    pub active_expire: AtomicBool,
    /// Held by workers that expire with all the time that nobody asks them for.
    pub expiring: Semaphore,
    /// Whether what the server does by the clock stands still (`DEBUG PAUSE-CRON`).
    pub cron_paused: AtomicBool,
    /// How the server is asked to stop.
    pub shutdown: Shutdown,
    /// What the kernel knows of its importance.
    pub oom_scores: OomScores,
    /// Sockets and the log; nothing in a server that has neither.
    pub outside: OnceLock<Box<dyn Outside>>,
}

impl Shared {
    /// A server that has not started: `commands` are the rows of all groups.
    pub fn new(
        config: Arc<Config>,
        keyspace: Keyspace,
        workers: usize,
        commands: &[&'static [CommandSpec]],
        identity: Identity,
    ) -> Shared {
        let commands = CommandTable::new(commands);
        keyspace.engine().configure(|| budget_of(&config), &keyspace);
        keyspace.engine().follow(&keyspace);
        let id = Mutex::new(random_id());
        let shared = Shared {
            stats: Stats::new(workers, commands.len()),
            clients: Clients::default(),
            blocked: BlockedClients::new(Arc::clone(keyspace.attention())),
            pubsub: PubSub::default(),
            tracking: Tracking::new(Arc::clone(keyspace.attention())),
            effects: EffectLog::default(),
            append_log: Arc::default(),
            loading: Loading::default(),
            saving: Saving::new(identity.started),
            logs: CommandLogs::default(),
            latency: LatencyMonitor::default(),
            history: History::default(),
            hot: HotKeys::new(workers, identity.started),
            census: Census::default(),
            config,
            keyspace,
            commands,
            identity,
            scripts: Scripts::new(workers),
            replication: ReplicationId { id },
            active_expire: AtomicBool::new(true),
            // One removes ten million keys a second, and the processors of the others are there for whoever else wakes.
            expiring: Semaphore::new((workers / 2).max(1)),
            cron_paused: AtomicBool::new(false),
            shutdown: Shutdown::default(),
            oom_scores: OomScores::default(),
            outside: OnceLock::new(),
        };
        notify::attend(&shared);
        shared
    }
}

impl Shared {
    /// Has snapshots and the log on this file system. To be called before there is either.
    pub fn use_disk(&mut self, disk: Arc<dyn Disk>) {
        self.append_log = Arc::new(AppendLog::on(Arc::clone(&disk)));
        self.saving.disk = disk;
    }

    /// Puts the options that concern eviction into effect; waits for nobody.
    pub fn follow_budget(&self) {
        self.keyspace.engine().configure(|| budget_of(&self.config), &self.keyspace);
    }

    /// Closes a client's connection: it is told nothing more. If it waits for keys, it gets nothing from them any more, even before its connection
    /// knows.
    pub fn kill_client(&self, client: &Client) {
        self.clients.kill(client);
        self.pubsub.leave(client);
        self.untrack(client);
        if let Some(blocked) = self.blocked.find(client.id) {
            blocked.ticket.abandon();
        }
    }
}

fn budget_of(config: &Config) -> Budget {
    Budget {
        limit: config.maxmemory(),
        policy: config.maxmemory_policy(),
        algorithm: config.eviction_algorithm(),
        samples: usize::try_from(config.maxmemory_samples()).unwrap_or(1),
        tenacity: config.maxmemory_eviction_tenacity(),
        log_factor: config.lfu_log_factor(),
        decay_minutes: config.lfu_decay_time_min(),
    }
}

/// 40 random hexadecimal digits.
pub fn random_id() -> String {
    let (high, low) = (rand::random::<u128>(), rand::random::<u32>());
    format!("{high:032x}{low:08x}")
}
