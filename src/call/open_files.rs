//! How many files the process may open, and how many clients that is enough for.
//!
//! A client takes a file, and must not take the last one: without any the server could neither save nor write its log, and would refuse
//! writes. Must not know: who connects. Source: the words of Valkey 9.1.

use crate::config::Config;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files that the server opens beside connections: listeners, log, snapshots, pipes.
const OWN_FILES: u64 = 32;

/// What each worker's runtime takes of them.
const WORKER_FILES: u64 = 4;

/// Files that are not for clients.
fn reserved(config: &Config) -> u64 {
    OWN_FILES + WORKER_FILES * config.threads() as u64
}

/// How many files may be open now.
fn limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Raises the limit to what `clients` need, as far as that is allowed; to twice as much where it can be, because a client that waits for
/// keys takes a second file.
///
/// # Errors
/// The number of clients that there is room for, if that is fewer.
pub fn provide_for(clients: u32, config: &Config) -> Result<(), u64> {
    let needed = u64::from(clients) + reserved(config);
    let wanted = needed + u64::from(clients);
    let limits = getrlimit(Resource::Nofile);
    if limits.current.is_some_and(|current| current < wanted) {
        let current = limits.maximum.map_or(wanted, |maximum| maximum.min(wanted));
        // Where even that is refused the limit is what it was.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(current), maximum: limits.maximum });
    }
    match limit() {
        limit if limit >= needed => Ok(()),
        limit => Err(limit.saturating_sub(reserved(config))),
    }
}

/// At the start: provides for `maxclients`, which is lowered when there is not room for so many.
///
/// # Errors
/// There is room for none.
pub fn adjust_maxclients(config: &Config) -> Result<(), String> {
    let asked = config.maxclients();
    let Err(room) = provide_for(asked, config) else { return Ok(()) };
    if room == 0 {
        let needed = u64::from(asked) + reserved(config);
        return Err(format!(
            "Your current 'ulimit -n' of {} is not enough for the server to start. Please increase your open file limit to at least \
             {needed}. Exiting.",
            limit()
        ));
    }
    tracing::warn!(
        "You requested maxclients of {asked} requiring at least {} max file descriptors.",
        u64::from(asked) + reserved(config)
    );
    tracing::warn!(
        "Current maximum open files is {}. maxclients has been reduced to {room} to compensate for low ulimit. If you need higher \
         maxclients increase 'ulimit -n'.",
        limit()
    );
    config.set_many(&[(b"maxclients", room.to_string().as_bytes())]).map(drop).map_err(|error| error.to_string())
}

/// How many files may be opened that the server does not need. A system call.
pub fn spare_files(config: &Config) -> u64 {
    limit().saturating_sub(u64::from(config.maxclients()) + reserved(config))
}
