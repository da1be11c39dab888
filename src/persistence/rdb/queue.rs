//! Blocks of a file on their way from the thread that reads to those that decode.
//!
//! Invariant: what waits is bounded: whoever finds no room decodes its block itself. Must not know: what is done with blocks.

use super::feed::BLOCK_BYTES;
use super::records::Found;
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;

/// Bytes that may wait; one larger block may too.
const WAITING_BYTES: usize = 16 * BLOCK_BYTES;

/// Bytes of a file with the entries that lie in them.
pub struct Block {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Where in the file they begin.
    pub start: u64,
    /// The entries, each with the number of its database.
    pub entries: Vec<(usize, Found)>,
}

#[derive(Default)]
struct State {
    blocks: VecDeque<Block>,
    bytes: usize,
    closed: bool,
}

/// Blocks that wait.
#[derive(Default)]
pub struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

impl Queue {
    /// Lets a block wait; gives it back when there is no room.
    pub fn put(&self, block: Block) -> Option<Block> {
        let mut state = self.state.lock();
        if !state.blocks.is_empty() && state.bytes + block.bytes.len() > WAITING_BYTES {
            return Some(block);
        }
        state.bytes += block.bytes.len();
        state.blocks.push_back(block);
        self.changed.notify_one();
        None
    }

    /// The next block; waits for one until the queue is closed.
    pub fn take(&self) -> Option<Block> {
        let mut state = self.state.lock();
        loop {
            if let Some(block) = state.blocks.pop_front() {
                state.bytes -= block.bytes.len();
                return Some(block);
            }
            if state.closed {
                return None;
            }
            self.changed.wait(&mut state);
        }
    }

    /// No more blocks come.
    pub fn close(&self) {
        self.state.lock().closed = true;
        self.changed.notify_all();
    }
}
