//! The log of effects: what every write does, in a form that has the same effect whenever it is run again.
//!
//! Units are appended while the shards they changed are locked, so that the order of the log is the order of the changes.
//! Invariant: a unit of several effects is one transaction (its reader runs all of it or nothing). When nobody reads
//! the log, a write costs it one load of [`Attention`]. Must not know: files, replicas, any particular command.
//!
//! [`Attention`]: crate::keyspace::attention::Attention

use crate::keyspace::attention::{Attention, Switch};
use crate::protocol::batch::{OwnedRequest, RequestView};
use parking_lot::RwLock;
use std::sync::Arc;

/// One effect: a request, and the database it is run in.
pub struct Effect {
    /// Number of the database.
    pub db: usize,
    /// A request that writes, deterministic: absolute times, no random choice.
    pub request: OwnedRequest,
}

/// Who reads the log.
pub trait Sink: Send + Sync {
    /// Takes a unit. Called under shard locks: it must not wait, and not look at keys.
    fn append(&self, unit: &[(usize, RequestView<'_>)]);
}

/// Where effects go.
#[derive(Default)]
pub struct EffectLog {
    sink: RwLock<Option<Arc<dyn Sink>>>,
}

impl EffectLog {
    /// Sends effects to `sink` from now on, or (with `None`) to nobody.
    pub fn attach(&self, sink: Option<Arc<dyn Sink>>, attention: &Attention) {
        let on = sink.is_some();
        *self.sink.write() = sink;
        attention.switch(Switch::Log, on);
    }

    /// Appends what one command, transaction, script or cycle did.
    pub fn append(&self, unit: &[Effect]) {
        if unit.is_empty() {
            return;
        }
        if let Some(sink) = &*self.sink.read() {
            let views: Vec<_> = unit.iter().map(|effect| (effect.db, effect.request.view())).collect();
            sink.append(&views);
        }
    }

    /// Appends a request as the only effect of its run.
    pub fn append_one(&self, db: usize, request: RequestView<'_>) {
        if let Some(sink) = &*self.sink.read() {
            sink.append(&[(db, request)]);
        }
    }
}
