//! A FIFO of marks in blocks: 4 bytes a key, growing and shrinking by a kilobyte, never copied as a whole.

use std::collections::VecDeque;

const BLOCK: usize = 256;

/// Blocks, the first of them used from `first` on.
#[derive(Default)]
struct Run {
    blocks: VecDeque<Box<[u32; BLOCK]>>,
    first: usize,
    len: usize,
}

impl Run {
    fn push(&mut self, mark: u32) {
        let at = self.first + self.len;
        if at == self.blocks.len() * BLOCK {
            self.blocks.push_back(Box::new([0; BLOCK]));
        }
        self.blocks[at / BLOCK][at % BLOCK] = mark;
        self.len += 1;
    }

    fn front(&self) -> Option<u32> {
        (self.len > 0).then(|| self.blocks[0][self.first])
    }

    fn get(&self, index: usize) -> Option<u32> {
        let at = self.first + index;
        (index < self.len).then(|| self.blocks[at / BLOCK][at % BLOCK])
    }

    fn pop(&mut self) -> Option<u32> {
        let mark = self.front()?;
        self.first += 1;
        self.len -= 1;
        if self.first == BLOCK {
            self.blocks.pop_front();
            self.first = 0;
        }
        Some(mark)
    }
}

/// A queue of marks.
///
/// Invariant: the order is that of `head`, then `tail`. Only [`Queue::scrub`] fills the head; when the tail is empty they change places.
#[derive(Default)]
pub struct Queue {
    head: Run,
    tail: Run,
    /// Of the first marks, how many [`Queue::name_next`] has named.
    named: usize,
}

impl Queue {
    /// Number of marks.
    pub fn len(&self) -> usize {
        self.head.len + self.tail.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes taken from the allocator.
    pub fn memory_bytes(&self) -> usize {
        (self.head.blocks.len() + self.tail.blocks.len()) * BLOCK * size_of::<u32>()
    }

    /// Puts a mark at the end.
    pub fn push(&mut self, mark: u32) {
        self.tail.push(mark);
    }

    /// Takes the first mark.
    pub fn pop(&mut self) -> Option<u32> {
        self.named = self.named.saturating_sub(1);
        self.head.pop().or_else(|| self.tail.pop())
    }

    /// Names those of the first `count` marks that it has not named since they came so far to the front.
    pub fn name_next(&mut self, count: usize, named: &mut dyn FnMut(u32)) {
        for index in self.named..count.min(self.len()) {
            let behind = index.checked_sub(self.head.len);
            if let Some(mark) = behind.map_or_else(|| self.head.get(index), |behind| self.tail.get(behind)) {
                named(mark);
            }
            self.named = index + 1;
        }
    }

    /// The first mark.
    pub fn front(&self) -> Option<u32> {
        self.head.front().or_else(|| self.tail.front())
    }

    /// Drops those of the next `steps` marks that `keep` refuses, without changing the order of the others. Goes on where it stopped
    /// before, and begins again behind the last.
    pub fn scrub(&mut self, steps: usize, keep: &mut dyn FnMut(u32) -> bool) {
        for _ in 0..steps {
            let Some(mark) = self.tail.pop() else { break };
            if keep(mark) {
                self.head.push(mark);
            }
        }
        if self.tail.len == 0 {
            std::mem::swap(&mut self.head, &mut self.tail);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn does_what_a_deque_does(steps in prop::collection::vec((0_u8..4, 1_usize..900), 1..40)) {
            let (mut queue, mut model, mut next) = (Queue::default(), VecDeque::new(), 0_u32);
            for (kind, count) in steps {
                match kind {
                    0 | 1 => (0..count).for_each(|_| {
                        next += 1;
                        queue.push(next);
                        model.push_back(next);
                    }),
                    2 => (0..count).for_each(|_| assert_eq!(queue.pop(), model.pop_front())),
                    _ => {
                        // All of it, so that the model can do the same.
                        queue.scrub(queue.len(), &mut |mark| mark % 3 != 0);
                        queue.scrub(queue.len(), &mut |mark| mark % 3 != 0);
                        model.retain(|mark| mark % 3 != 0);
                    }
                }
                assert_eq!((queue.len(), queue.front()), (model.len(), model.front().copied()));
                let mut named = Vec::new();
                queue.named = 0;
                queue.name_next(20, &mut |mark| named.push(mark));
                assert!(named.iter().eq(model.iter().take(20)));
                queue.name_next(20, &mut |_| panic!("named again"));
            }
            assert!(queue.memory_bytes() <= (model.len() + 4 * BLOCK) * 4);
        }
    }
}
