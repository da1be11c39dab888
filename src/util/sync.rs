//! The locks and atomics of what several workers share in ways that deserve proof.
//!
//! Ordinarily these are the fast ones. With the feature `model` they are those of loom, which runs a test through every
//! order in which threads could have met in them: `tests/models.rs` so tries the code itself, not a copy of it. Used by the
//! shards' locks, the tickets of those who wait, and the mailboxes of clients.

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
    use loom::sync::atomic::{AtomicUsize, Ordering::AcqRel};
    use std::sync::PoisonError;

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
    }

    impl<T: Default> Default for Mutex<T> {
        fn default() -> Mutex<T> {
            Mutex::new(T::default())
        }
    }

    /// tokio's wake-up. loom does not see into it, so what it promises is added: who is woken sees all that was done
    /// before the wake-up.
    pub struct Notify {
        inner: tokio::sync::Notify,
        order: AtomicUsize,
    }

    impl Notify {
        /// A wake-up that nobody has asked for.
        #[expect(clippy::new_without_default, reason = "the face of tokio's")]
        pub fn new() -> Notify {
            Notify { inner: tokio::sync::Notify::new(), order: AtomicUsize::new(0) }
        }

        /// Wakes one who waits, or the next to wait.
        pub fn notify_one(&self) {
            self.order.fetch_add(1, AcqRel);
            self.inner.notify_one();
        }

        /// Waits for a wake-up.
        pub async fn notified(&self) {
            self.inner.notified().await;
            self.order.fetch_add(1, AcqRel);
        }
    }
}
