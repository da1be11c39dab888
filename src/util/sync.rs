//! The locks and atomics of what several workers share in ways that deserve proof.
//!
//! Ordinarily these are the fast ones. With the feature `model` they are those of loom, which runs a test through every
//! order in which threads could have met in them: `tests/models.rs` so tries the code itself, not a copy of it. Used by the
//! shards' locks, the tickets of those who wait, and the mailboxes of clients.

/// A lock that is no part of any model.
pub use parking_lot::Mutex as PlainMutex;
#[cfg(not(feature = "model"))]
pub use parking_lot::{Mutex, MutexGuard};
#[cfg(not(feature = "model"))]
pub use std::sync::atomic;
#[cfg(not(feature = "model"))]
pub use tokio::sync::Notify;

#[cfg(feature = "model")]
pub use loom::sync::{MutexGuard, atomic};
#[cfg(feature = "model")]
pub use model::{Mutex, Notify};

#[cfg(feature = "model")]
mod model {
    use super::MutexGuard;
    use std::sync::PoisonError;
    use std::task::{Poll, Waker};

    /// loom's lock with the face of the ordinary one.
    pub struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        /// A lock around `value`.
        pub fn new(value: T) -> Mutex<T> {
            Mutex(loom::sync::Mutex::new(value))
        }

        /// Takes the lock. A panic under it fails the model, so poison needs no care.
        pub fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }

        /// Takes the lock if it is free.
        pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
            self.0.try_lock().ok()
        }

        /// Takes the lock: in a model nobody holds one for long.
        pub fn try_lock_for(&self, _: std::time::Duration) -> Option<MutexGuard<'_, T>> {
            Some(self.lock())
        }
    }

    impl<T: Default> Default for Mutex<T> {
        fn default() -> Mutex<T> {
            Mutex::new(T::default())
        }
    }

    /// A wake-up with the face and the promises of tokio's, for one who waits: a wake-up that nobody waits for is kept,
    /// and who is woken sees all that was done before.
    #[derive(Default)]
    pub struct Notify(Mutex<Slot>);

    #[derive(Default)]
    struct Slot {
        kept: bool,
        waits: Option<Waker>,
    }

    impl Notify {
        /// A wake-up that nobody has asked for.
        pub fn new() -> Notify {
            Notify(Mutex::default())
        }

        /// Wakes one who waits, or the next to wait.
        pub fn notify_one(&self) {
            let mut slot = self.0.lock();
            slot.kept = true;
            let waits = slot.waits.take();
            drop(slot);
            if let Some(waits) = waits {
                waits.wake();
            }
        }

        /// Waits for a wake-up.
        pub async fn notified(&self) {
            std::future::poll_fn(|cx| {
                let mut slot = self.0.lock();
                slot.waits = None;
                if std::mem::take(&mut slot.kept) {
                    return Poll::Ready(());
                }
                slot.waits = Some(cx.waker().clone());
                Poll::Pending
            })
            .await;
        }
    }
}
