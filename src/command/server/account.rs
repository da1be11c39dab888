//! Where the memory is, as INFO, MEMORY STATS and MEMORY DOCTOR tell it. Must not know: in which words.

use crate::call::clients::Client;
use crate::call::context::Context;
use crate::util::memory::{resident_bytes, size_class, startup_bytes, used_bytes};
use std::sync::atomic::Ordering::Relaxed;

/// Bytes, and how many keys there are.
pub struct Account {
    /// Handed out by the allocator.
    pub used: u64,
    /// The most that ever was.
    pub peak: u64,
    /// Of the process, in the machine's memory.
    pub resident: u64,
    /// Handed out before there were keys.
    pub startup: u64,
    /// Clients, their requests and replies.
    pub clients: u64,
    /// Of the append-only file, not written yet.
    pub log: u64,
    /// Texts of cached scripts.
    pub scripts: u64,
    /// Texts of libraries of functions.
    pub functions: u64,
    /// Tables of the databases that have keys, and the databases' numbers.
    pub tables: Vec<(usize, u64)>,
    /// In all databases.
    pub keys: u64,
}

impl Account {
    /// As it is now. O(clients + databases), and some 20 us.
    pub fn of(ctx: &mut Context<'_>) -> Account {
        let (mut tables, mut keys) = (Vec::new(), 0);
        for db in 0..ctx.shared.keyspace.databases() {
            let count = ctx.db.len(db);
            if count > 0 {
                tables.push((db, ctx.db.table_bytes(db) as u64));
                keys += count as u64;
            }
        }
        let used = used_bytes();
        Account {
            used,
            peak: peak(ctx, used),
            resident: resident_bytes(),
            startup: startup(used),
            clients: client_bytes(ctx),
            log: ctx.shared.append_log.log.held_bytes() as u64,
            scripts: ctx.shared.scripts.cache.used_bytes() as u64,
            functions: ctx.shared.scripts.code_bytes.load(Relaxed) as u64,
            tables,
            keys,
        }
    }

    /// Of the databases' tables.
    pub fn table_bytes(&self) -> u64 {
        self.tables.iter().map(|(_, bytes)| bytes).sum()
    }

    /// What is not data.
    pub fn overhead(&self) -> u64 {
        let parts = [self.startup, self.clients, self.log, self.scripts, self.functions, self.table_bytes()];
        parts.iter().sum::<u64>().min(self.used)
    }

    /// What is data.
    pub fn dataset(&self) -> u64 {
        self.used - self.overhead()
    }

    /// Resident memory for each byte in use.
    pub fn ratio(&self) -> f64 {
        fraction(self.resident, self.used)
    }
}

/// What clients take, with what they have sent and have not read.
fn client_bytes(ctx: &Context<'_>) -> u64 {
    let clients = &ctx.shared.clients;
    (clients.len() * size_class(size_of::<Client>()) + clients.buffers().bytes) as u64
}

/// The most that ever was in use, if `used` is now.
pub fn peak(ctx: &Context<'_>, used: u64) -> u64 {
    ctx.shared.stats.peak_memory.load(Relaxed).max(used)
}

/// What was in use before there were keys, if `used` is now.
pub fn startup(used: u64) -> u64 {
    startup_bytes().min(used)
}

/// A part of a whole, of which there is one byte at least.
#[expect(clippy::cast_precision_loss, reason = "a ratio for people to read")]
pub fn fraction(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}
