//! Threads and lasting tasks, and what becomes of them when a bug ends one.
//!
//! Invariant: the server never goes on without one. What works turn by turn, and keeps nothing from turn to turn that it needs, begins
//! again; without any other thread requests would wait for ever, data would not be on disk as was said, or memory would not be given back:
//! then the process aborts, and the log says why. (A bug in a request ends the connection of its client alone: a task too, but one that
//! need not last.) Must not know: what the threads do.

use crate::util::bug::text;
use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// How long there is nothing before it begins again: what fails always is not to take a processor.
const PAUSE: Duration = Duration::from_millis(100);

/// Starts a thread without which the server cannot go on.
///
/// # Errors
/// The system has none.
pub fn start(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    spawn(name, move |name| {
        if let Err(bug) = catch_unwind(AssertUnwindSafe(work)) {
            tracing::error!(
                "A bug has ended {name}, without which the server cannot go on: it aborts. {}",
                text(&*bug)
            );
            std::process::abort();
        }
    })
}

/// Starts a thread whose `work` begins again when a bug ends it.
///
/// # Errors
/// The system has none.
pub fn start_again(name: &str, work: impl Fn() + Send + 'static) -> io::Result<()> {
    spawn(name, move |name| {
        let mut told = false;
        // What a bug has left half done in what is shared would be there after one in a request, too.
        while let Err(bug) = catch_unwind(AssertUnwindSafe(&work)) {
            tell(name, &*bug, &mut told);
            std::thread::sleep(PAUSE);
        }
    })
}

fn spawn(name: &str, work: impl FnOnce(&str) + Send + 'static) -> io::Result<()> {
    let own = name.to_owned();
    std::thread::Builder::new().name(name.to_owned()).spawn(move || work(&own)).map(|_| ())
}

/// Keeps a task on this thread, which begins again when a bug ends it.
pub fn keep<T: Future<Output = ()> + 'static>(name: &'static str, begin: impl Fn() -> T + 'static) {
    tokio::task::spawn_local(async move {
        let mut told = false;
        while let Err(ended) = tokio::task::spawn_local(begin()).await {
            let Ok(bug) = ended.try_into_panic() else { break };
            tell(name, &*bug, &mut told);
            tokio::time::sleep(PAUSE).await;
        }
    });
}

/// Logs the first bug of several.
fn tell(name: &str, bug: &(dyn Any + Send), told: &mut bool) {
    if !std::mem::replace(told, true) {
        tracing::error!("A bug has ended {name}, which begins again; further ones are not logged. {}", text(bug));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::os::unix::process::ExitStatusExt;
    use std::rc::Rc;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
    use std::sync::mpsc::channel;

    const PATIENCE: Duration = Duration::from_secs(10);

    /// Active expiry, delivery of messages, relief of memory: a bug ended them, and the server went on without.
    #[test]
    fn a_task_begins_again() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let (turns, (sender, mut receiver)) = (Rc::new(Cell::new(0)), tokio::sync::mpsc::unbounded_channel());
        tokio::task::LocalSet::new().block_on(&runtime, async move {
            keep("a task", move || {
                let (turns, sender) = (Rc::clone(&turns), sender.clone());
                async move {
                    tokio::task::yield_now().await;
                    turns.set(turns.get() + 1);
                    assert!(turns.get() > 2, "planted");
                    sender.send(turns.get()).unwrap();
                }
            });
            let turn = tokio::time::timeout(PATIENCE, receiver.recv()).await;
            assert_eq!(turn, Ok(Some(3)));
            assert_eq!(receiver.recv().await, None, "what has ended by itself does not begin again");
        });
    }

    #[test]
    fn a_thread_that_works_by_turns_begins_again() {
        let (turns, (sender, receiver)) = (Arc::new(AtomicU32::new(0)), channel());
        let work = move || {
            let turn = turns.fetch_add(1, SeqCst);
            assert!(turn >= 2, "planted");
            sender.send(turn).unwrap();
        };
        start_again("a-thread", work).unwrap();
        assert_eq!(receiver.recv_timeout(PATIENCE), Ok(2));
        assert!(receiver.recv_timeout(PATIENCE).is_err(), "what has ended by itself does not begin again");
    }

    const CHILD: &str = "LARDER_TEST_ABORT";

    #[test]
    fn the_server_does_not_go_on_without_another_thread() {
        if std::env::var_os(CHILD).is_some() {
            start("a-thread", || panic!("planted")).unwrap();
            std::thread::sleep(PATIENCE);
            return;
        }
        let name = "server::threads::tests::the_server_does_not_go_on_without_another_thread";
        let program = std::env::current_exe().unwrap();
        let child = std::process::Command::new(program).args(["--exact", name]).env(CHILD, "1").output().unwrap();
        assert_eq!(child.status.signal(), Some(libc::SIGABRT), "{child:?}");
    }
}
