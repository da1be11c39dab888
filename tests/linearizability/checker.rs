//! Decides whether a history of concurrent operations is linearizable: whether all of them could have happened one after
//! another, each at some moment between its call and its return, with the answers that were seen.
//!
//! The search is Wing and Gong's with Lowe's memory of configurations: a configuration is how far each process has come
//! (a *cut*) and the state, and none is looked at twice. Operations of one process happen in the order in which it issued
//! them, so that pipelines are checked too. Two kinds of operation are special: one without an answer, whose
//! connection was ended, may have happened or not, but neither after the end was seen nor before its predecessors; and
//! one that can only read is taken at once where its answer fits, because that forbids nothing to the others.
//!
//! A cut and its state are remembered by 128 bits of a hash: a false "seen before" needs a collision, which for the
//! millions of configurations of a run has a chance below 1 in 10^24. Must not know: the server, its commands.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

/// What the operations of a history do.
pub trait Model {
    /// A state between two operations.
    type State: Clone + Eq + Hash;

    /// The state before the first operation.
    fn start(&self) -> Self::State;

    /// Every state that operation number `operation` can leave, with the answer that was seen, when it finds `state`.
    fn step(&self, state: &Self::State, operation: usize, next: &mut Vec<Self::State>);

    /// Whether the operation, with the answer that was seen, changes nothing in any state.
    fn only_reads(&self, operation: usize) -> bool;
}

/// When an operation happened and who issued it.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// The process: its operations are in order.
    pub process: u32,
    /// When it was called, in nanoseconds.
    pub called: u64,
    /// When it returned, or its connection was seen to end.
    pub returned: u64,
    /// Whether it was answered. What follows an unanswered operation in its process is unanswered too.
    pub answered: bool,
}

/// What the search found.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is an order.
    Linearizable,
    /// There is none. The longest order found leaves these operations next in their processes.
    Violation {
        /// Operations in the longest order, by process.
        done: Vec<usize>,
        /// Those that could not follow it.
        stuck: Vec<usize>,
    },
    /// More configurations than allowed.
    Undecided,
}

type Cut = Box<[u32]>;

struct Search<'m, M: Model> {
    model: &'m M,
    spans: &'m [Span],
    /// The operations of each process, in order.
    processes: Vec<Vec<usize>>,
    seen: HashSet<u128>,
}

/// Looks for an order of the operations; gives up after `budget` configurations.
pub fn check<M: Model>(model: &M, spans: &[Span], budget: usize) -> Verdict {
    let mut search = Search { model, spans, processes: by_process(spans), seen: HashSet::new() };
    search.run(budget)
}

fn by_process(spans: &[Span]) -> Vec<Vec<usize>> {
    let mut numbers: Vec<u32> = spans.iter().map(|span| span.process).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let mut processes = vec![Vec::new(); numbers.len()];
    for (operation, span) in spans.iter().enumerate() {
        processes[numbers.partition_point(|number| *number < span.process)].push(operation);
    }
    for operations in &processes {
        let in_order = |pair: &[usize]| {
            let (first, second) = (spans[pair[0]], spans[pair[1]]);
            first.called <= second.called && first.returned <= second.returned && (first.answered || !second.answered)
        };
        assert!(operations.windows(2).all(in_order), "a process issues its operations in order");
    }
    processes
}

/// What a cut allows.
struct Front {
    /// The next operation of each process that has one.
    heads: Vec<usize>,
    /// No operation called after this may come next: one that returned then has yet to come.
    before: u64,
    /// The last call among the operations done: unanswered operations whose end was seen before it never happen.
    after: u64,
}

impl<M: Model> Search<'_, M> {
    fn run(&mut self, budget: usize) -> Verdict {
        let start: Cut = vec![0; self.processes.len()].into();
        let mut open = vec![(start.clone(), self.model.start())];
        let mut longest = start;
        while let Some((cut, state)) = open.pop() {
            let front = self.front(&cut);
            if front.heads.iter().all(|head| !self.spans[*head].answered) {
                return Verdict::Linearizable;
            }
            if total(&cut) > total(&longest) {
                longest.clone_from(&cut);
            }
            if self.seen.len() > budget {
                return Verdict::Undecided;
            }
            self.expand(&cut, &state, &front, &mut open);
        }
        self.violation(&longest)
    }

    fn front(&self, cut: &[u32]) -> Front {
        let mut front = Front { heads: Vec::new(), before: u64::MAX, after: 0 };
        for (operations, done) in self.processes.iter().zip(cut) {
            let done = *done as usize;
            if let Some(head) = operations.get(done) {
                front.heads.push(*head);
                if self.spans[*head].answered {
                    front.before = front.before.min(self.spans[*head].returned);
                }
            }
            if let Some(last) = done.checked_sub(1) {
                front.after = front.after.max(self.spans[operations[last]].called);
            }
        }
        front.heads.retain(|head| {
            let span = self.spans[*head];
            span.called <= front.before && (span.answered || front.after <= span.returned)
        });
        // The first to return is tried first: it lies at the end of the stack.
        front.heads.sort_unstable_by_key(|head| std::cmp::Reverse(self.spans[*head].returned));
        front
    }

    fn expand(&mut self, cut: &[u32], state: &M::State, front: &Front, open: &mut Vec<(Cut, M::State)>) {
        let mut next = Vec::new();
        let unanswered = front.heads.iter().map(|head| self.spans[*head]).filter(|span| !span.answered);
        let last_chance = unanswered.map(|span| span.returned).min().unwrap_or(u64::MAX);
        let reads = front.heads.iter().filter(|head| {
            let span = self.spans[**head];
            span.answered && span.called <= last_chance && self.model.only_reads(**head)
        });
        for head in reads {
            next.clear();
            self.model.step(state, *head, &mut next);
            if next.contains(state) {
                return self.push(cut, *head, state.clone(), open);
            }
        }
        for head in &front.heads {
            next.clear();
            self.model.step(state, *head, &mut next);
            for state in next.drain(..) {
                self.push(cut, *head, state, open);
            }
        }
    }

    fn push(&mut self, cut: &[u32], head: usize, state: M::State, open: &mut Vec<(Cut, M::State)>) {
        let mut cut = Cut::from(cut);
        let place = self
            .processes
            .iter()
            .zip(&cut)
            .position(|(operations, done)| operations.get(*done as usize) == Some(&head));
        if let Some(place) = place {
            cut[place] += 1;
        }
        if self.seen.insert(fingerprint(&cut, &state)) {
            open.push((cut, state));
        }
    }

    fn violation(&self, longest: &[u32]) -> Verdict {
        let both = || self.processes.iter().zip(longest);
        Verdict::Violation {
            done: both().flat_map(|(operations, done)| operations[..*done as usize].iter().copied()).collect(),
            stuck: both().filter_map(|(operations, done)| operations.get(*done as usize).copied()).collect(),
        }
    }
}

fn total(cut: &[u32]) -> u64 {
    cut.iter().map(|done| u64::from(*done)).sum()
}

fn fingerprint(cut: &[u32], state: &impl Hash) -> u128 {
    let half = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        (salt, cut, state).hash(&mut hasher);
        u128::from(hasher.finish())
    };
    half(0) << 64 | half(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A register of one number: `Some` writes it, `None` reads what `answers` says.
    struct Register {
        writes: Vec<Option<u8>>,
        answers: Vec<u8>,
    }

    impl Model for Register {
        type State = u8;

        fn start(&self) -> u8 {
            0
        }

        fn step(&self, state: &u8, operation: usize, next: &mut Vec<u8>) {
            match self.writes[operation] {
                Some(value) => next.push(value),
                None if self.answers[operation] == *state => next.push(*state),
                None => {}
            }
        }

        fn only_reads(&self, operation: usize) -> bool {
            self.writes[operation].is_none()
        }
    }

    /// Operations as (process, called, returned, write or answer of a read); one that returned at 0 was not answered, and
    /// its end was seen at 50.
    fn verdict(operations: &[(u32, u64, u64, Result<u8, u8>)]) -> Verdict {
        let register = Register {
            writes: operations.iter().map(|operation| operation.3.ok()).collect(),
            answers: operations.iter().map(|operation| operation.3.err().unwrap_or(0)).collect(),
        };
        let span = |&(process, called, returned, _): &(u32, u64, u64, _)| Span {
            process,
            called,
            returned: if returned == 0 { 50 } else { returned },
            answered: returned != 0,
        };
        check(&register, &operations.iter().map(span).collect::<Vec<_>>(), 1000)
    }

    fn accepted(operations: &[(u32, u64, u64, Result<u8, u8>)]) -> bool {
        verdict(operations) == Verdict::Linearizable
    }

    #[test]
    fn overlapping_operations_happen_in_either_order() {
        assert!(accepted(&[(1, 0, 10, Ok(1)), (2, 5, 15, Err(0)), (3, 5, 15, Err(1))]));
        assert!(accepted(&[(1, 0, 10, Ok(1)), (2, 0, 10, Ok(2)), (3, 11, 12, Err(1))]));
        assert!(accepted(&[(1, 0, 10, Ok(1)), (2, 0, 10, Ok(2)), (3, 11, 12, Err(2))]));
    }

    #[test]
    fn what_returned_has_happened() {
        assert!(!accepted(&[(1, 0, 10, Ok(1)), (2, 11, 12, Err(0))]));
        let stuck = verdict(&[(1, 0, 10, Ok(1)), (2, 11, 12, Err(0))]);
        assert_eq!(stuck, Verdict::Violation { done: vec![0], stuck: vec![1] });
        assert!(!accepted(&[(1, 0, 20, Ok(1)), (2, 1, 5, Err(1)), (3, 6, 9, Err(0))]), "not seen, then unseen");
    }

    #[test]
    fn a_pipeline_is_in_order() {
        assert!(accepted(&[(1, 0, 10, Ok(1)), (1, 0, 10, Err(1))]));
        assert!(!accepted(&[(1, 0, 10, Err(1)), (1, 0, 10, Ok(1))]));
    }

    #[test]
    fn what_was_not_answered_may_have_happened_until_its_end_was_seen() {
        assert!(accepted(&[(1, 0, 0, Ok(1)), (2, 11, 12, Err(0))]));
        assert!(accepted(&[(1, 0, 0, Ok(1)), (2, 11, 12, Err(1))]));
        assert!(accepted(&[(1, 0, 0, Ok(1)), (2, 11, 12, Err(0)), (2, 13, 14, Err(1)), (2, 60, 61, Err(1))]));
        assert!(
            !accepted(&[(1, 0, 0, Ok(1)), (2, 11, 12, Err(0)), (2, 51, 52, Err(0)), (2, 60, 61, Err(1))]),
            "too late"
        );
        assert!(!accepted(&[(1, 0, 0, Ok(1)), (1, 0, 0, Ok(2)), (2, 11, 12, Err(2)), (2, 13, 14, Err(1))]), "in order");
    }

    #[test]
    fn a_search_that_is_too_long_is_given_up() {
        let writes: Vec<_> = (0..12).map(|process| (process, 0, 10, Ok(process as u8))).collect();
        assert_eq!(verdict(&[&writes[..], &[(99, 11, 12, Err(200))]].concat()), Verdict::Undecided);
    }
}
