//! Who pays attention to what happens to keys: one word that the path of a request reads once.
//!
//! Invariant: a bit field is above zero for as long as somebody of that kind is there, from before it can miss anything.
//! Must not know: who they are.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Bits of each counter: more than there can be clients.
const COUNTER_BITS: u32 = 18;

/// Kinds of clients that are counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Listener {
    /// Waits for keys (BLPOP and its like).
    Waiting = 0,
    /// Watches keys (WATCH).
    Watching = 1,
    /// Is told of changes to what it caches (CLIENT TRACKING).
    Tracking = 2,
}

/// What is switched on or off for the whole server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Switch {
    /// Keyspace notifications of any class.
    Events = 60,
    /// Lookups that find nothing are to be reported.
    Misses = 61,
    /// Keys that come into being are to be reported.
    Creations = 62,
    /// The log of effects.
    Log = 63,
}

/// One counter for each kind of listener, one bit for each switch; and a counter of news.
#[derive(Default, Debug)]
pub struct Attention {
    word: AtomicU64,
    news: AtomicU64,
}

const _: () = assert!(shift(Listener::Tracking) + COUNTER_BITS <= Switch::Events as u32);

const fn shift(listener: Listener) -> u32 {
    listener as u32 * COUNTER_BITS
}

/// What needs to hear of keys that no command removed: all but those who wait, whom a removal does not serve.
const OF_REMOVALS: u64 = !(((1 << COUNTER_BITS) - 1) << shift(Listener::Waiting))
    & !(1 << Switch::Misses as u32)
    & !(1 << Switch::Creations as u32);

impl Attention {
    /// A number for a piece of news, above all before it.
    pub fn next_number(&self) -> u64 {
        self.news.fetch_add(1, Relaxed)
    }

    /// Whether anybody listens to anything; one load.
    #[inline]
    pub fn any(&self) -> bool {
        self.word.load(Relaxed) != 0
    }

    /// Whether removals that no command made are to be reported; one load.
    #[inline]
    pub fn to_removals(&self) -> bool {
        self.word.load(Relaxed) & OF_REMOVALS != 0
    }

    /// Whether one of this kind is there.
    #[inline]
    pub fn has(&self, listener: Listener) -> bool {
        self.word.load(Relaxed) >> shift(listener) & ((1 << COUNTER_BITS) - 1) != 0
    }

    /// Whether this is on.
    #[inline]
    pub fn is_on(&self, switch: Switch) -> bool {
        self.word.load(Relaxed) & 1 << switch as u32 != 0
    }

    /// One more of this kind. To be called before it begins to listen.
    pub fn enter(&self, listener: Listener) {
        self.word.fetch_add(1 << shift(listener), Relaxed);
    }

    /// One less of this kind.
    pub fn leave(&self, listener: Listener) {
        self.word.fetch_sub(1 << shift(listener), Relaxed);
    }

    /// Switches something on or off.
    pub fn switch(&self, switch: Switch, on: bool) {
        let bit = 1 << switch as u32;
        let _ = if on { self.word.fetch_or(bit, Relaxed) } else { self.word.fetch_and(!bit, Relaxed) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COUNTERS: [Listener; 3] = [Listener::Waiting, Listener::Watching, Listener::Tracking];

    #[test]
    fn counts_and_switches_do_not_disturb_each_other() {
        let attention = Attention::default();
        assert!(!attention.any());
        for listener in COUNTERS {
            attention.enter(listener);
            attention.enter(listener);
            attention.leave(listener);
            assert!(attention.has(listener) && attention.any());
        }
        for switch in [Switch::Events, Switch::Misses, Switch::Creations, Switch::Log] {
            attention.switch(switch, true);
            assert!(attention.is_on(switch));
        }
        COUNTERS.iter().for_each(|listener| attention.leave(*listener));
        assert!(COUNTERS.iter().all(|listener| !attention.has(*listener)) && attention.to_removals());
        attention.switch(Switch::Events, false);
        attention.switch(Switch::Log, false);
        assert!(attention.any() && !attention.to_removals(), "misses and creations are no removals");
    }

    #[test]
    fn who_waits_is_not_told_of_removals() {
        let attention = Attention::default();
        attention.enter(Listener::Waiting);
        assert!(attention.any() && !attention.to_removals());
        attention.enter(Listener::Watching);
        assert!(attention.to_removals());
    }
}
